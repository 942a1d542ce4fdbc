"""Fetching a release: what this device needs of it and lacks, by deltas where they pay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeops.core.manifest import Descriptor, malformed, parse_manifest
from edgeops.core.targets import parse_targets
from edgeops.errors import EdgeopsError, TransportError, TrustError
from edgeops.runtime.agent import files, log, plan, slots
from edgeops.runtime.agent.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeops.core.channel import Offer
    from edgeops.core.manifest import Layer, Manifest
    from edgeops.core.targets import TargetNeeds
    from edgeops.runtime.agent.fetch import Remote
    from edgeops.runtime.agent.home import Home, Slot, State
    from edgeops.runtime.agent.update import Options

_MOST_MANIFEST = 16 << 20
_MOST_INDEX = 4 << 20
_DELTAS = "edgeops.deltas/1"


class Fetching:
    """Brings the blobs of one release into storage.

    ``facts`` gives the device's attributes for an engine; ``previous`` is afterwards the slot that
    can still be gone back to.
    """

    def __init__(
        self,
        home: Home,
        remote: Remote,
        options: Options,
        facts: Callable[[str], Mapping[str, Any]],
        stop: Callable[[], bool],
        give_up: Callable[[], None],
    ) -> None:
        self._home = home
        self._remote = remote
        self._options = options
        self._facts = facts
        self._stop = stop
        self._blobs = Blobs(home)
        self._give_up = give_up
        self._current: Slot | None = None
        self._previous: Slot | None = None
        self._missing: Sequence[Layer] = ()

    def left(self) -> int:
        """Return how many bytes of the release are still to be fetched, as far as is known."""
        blobs = [layer.blob for layer in self._missing]
        return sum(self._blobs.rest(blob) for blob in blobs if not self._blobs.has(blob))

    def release(self, offer: Offer, state: State) -> tuple[Manifest, str, Sequence[Layer]]:
        """Fetch what this device needs of an offer; return manifest, target and layers.

        Raises RefusedError ``device-unfit``, InputError ``target-unknown`` or ``target-needed``,
        MissingError ``storage-full`` or ``disk-full``, and what :meth:`Blobs.fetch` raises.
        """
        self._current, self._previous = state.current, state.previous
        if offer.bundle.size > _MOST_MANIFEST:
            raise malformed(offer.digest, f"its manifest has {offer.bundle.size} bytes")
        self._blobs.fetch(self._remote, offer.bundle)
        manifest = parse_manifest(self._blobs.read(offer.bundle), offer.digest)
        if manifest.version != offer.version:
            raise malformed(offer.digest, f"it is {manifest.version}, offered as {offer.version}")
        needs = self._needs(manifest)
        asked, kept = self._options.target, state.target
        target = plan.choose_target(manifest, needs, asked, kept, self._facts)
        wrong = plan.misfits(manifest, needs, target, self._facts)
        if wrong:
            raise plan.unfit(manifest, wrong)
        uses = needs[target].uses if target in needs else ()
        layers = slots.wanted(manifest, target, uses)
        self._fetch(offer, layers)
        return manifest, target, layers

    def _needs(self, manifest: Manifest) -> dict[str, TargetNeeds]:
        for layer in manifest.layers:
            if layer.path == plan.INDEX and layer.blob.size <= _MOST_INDEX:
                self._blobs.fetch(self._remote, layer.blob)
                return parse_targets(self._blobs.read(layer.blob), plan.INDEX)
        return {}

    def _fetch(self, offer: Offer, layers: Sequence[Layer]) -> None:
        unique = {layer.blob.digest: layer for layer in layers}.values()
        missing = self._missing = [x for x in unique if not self._blobs.whole(x.blob)]
        self._make_room(offer, layers, missing)
        use = self._deltas(offer, missing)
        for layer in missing:
            if self._stop():
                return
            delta = use.get(layer.blob.digest)
            if delta is None or not self._by_delta(delta, layer.blob):
                self._blobs.fetch(self._remote, layer.blob)

    def _make_room(self, offer: Offer, layers: Sequence[Layer], missing: Sequence[Layer]) -> None:
        """Let pass what has room, giving up the previous release for it where that is allowed."""
        need, limit = sum(layer.blob.size for layer in missing), self._options.max_bytes
        new = {layer.blob.hex for layer in layers} | {offer.bundle.hex}
        total = self._stored(new) + need
        if limit is not None and total > limit and self._options.evict_previous and self._previous:
            self._evict(new)
            total = self._stored(new) + need
        self._blobs.collect(self._needed(new))
        self._blobs.room(sum(self._blobs.rest(layer.blob) for layer in missing), total, limit)

    def _needed(self, new: set[str]) -> set[str]:
        return slots.needed(self._home, [self._current, self._previous]) | new

    def _stored(self, new: set[str]) -> int:
        keep = self._needed(new)
        return sum(path.stat().st_size for path in self._home.blobs.iterdir() if path.name in keep)

    def _evict(self, new: set[str]) -> None:
        """Let the previous release go, so that the new one has room."""
        self._give_up()
        self._previous = None
        slots.remove_others(self._home, [self._current])
        self._blobs.collect(self._needed(new))

    def _deltas(self, offer: Offer, missing: Sequence[Layer]) -> dict[str, plan.Delta]:
        """Return which deltas to use; a list of them that cannot be read is as none."""
        listed = offer.deltas
        if listed is None or not missing or listed.size > _MOST_INDEX:
            return {}
        if listed.size >= sum(layer.blob.size for layer in missing):
            return {}
        from edgeops.runtime.delta import methods

        try:
            self._blobs.fetch(self._remote, listed)
            document = json.loads(self._blobs.read(listed))
            entries = list(document["deltas"]) if document["format"] == _DELTAS else []
        except (TrustError, TransportError, ValueError, LookupError, TypeError, RecursionError):
            return {}
        return plan.deltas_to_use(entries, missing, self._has, methods())

    def _has(self, name: str) -> bool:
        return self._blobs.path(name.partition(":")[2]).is_file()

    def _by_delta(self, delta: plan.Delta, blob: Descriptor) -> bool:
        """Make a blob out of one in storage; False when the whole blob has to be fetched."""
        from edgeops.runtime.delta import apply

        place = self._home.partial / f"{blob.hex}.delta"
        packed = Descriptor("", delta.digest, delta.size)
        try:
            self._blobs.fetch(self._remote, packed)
            base = self._blobs.path(delta.base.partition(":")[2])
            apply(base, self._blobs.path(packed.hex), place, expect=blob.digest, size=blob.size)
        except (EdgeopsError, OSError, ValueError, TypeError) as error:
            # There may be room for the file and none for what it is made of beside it.
            for path in (place, self._blobs.path(packed.hex), self._home.partial / packed.hex):
                files.unlink(path)
            log.write(self._home.path, "delta-failed", to=blob.digest, why=str(error))
            return False
        self._blobs.take(place, blob)
        return True
