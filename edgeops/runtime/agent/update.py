"""One update: believe, choose, fetch, lay out, warm up, switch. See docs/formats/agent.md.

Whatever goes wrong, what was installed goes on serving, and the next update begins again with what
is in storage.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from edgeops import __version__
from edgeops.core import lifecycle
from edgeops.core.channel import choose, why_not
from edgeops.core.digest import sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.errors import EdgeopsError, TrustError
from edgeops.runtime.agent import clock, log, slots
from edgeops.runtime.agent.attributes import attributes
from edgeops.runtime.agent.changes import (
    at_rest,
    brief,
    clean,
    finish_switch,
    make_way,
    move,
    recover,
    untidy,
)
from edgeops.runtime.agent.fetch import open_remote
from edgeops.runtime.agent.fetching import Fetching
from edgeops.runtime.agent.heal import heal, looks_whole
from edgeops.runtime.agent.home import Home, Slot
from edgeops.runtime.agent.http import Limits
from edgeops.runtime.agent.trouble import candidate_refused, disk, no_fault_of
from edgeops.runtime.agent.trust import anchor, read_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from edgeops.core.channel import Channel, Offer
    from edgeops.core.manifest import Layer, Manifest
    from edgeops.runtime.agent.activation import Activate
    from edgeops.runtime.agent.fetch import Remote
    from edgeops.runtime.agent.home import State

# What is wrong with the release itself, whoever asks and whenever: it is not tried again.
_FINAL = frozenset(
    {
        "bundle-malformed",
        "bundle-path-outside",
        "wheel-unsafe",
        "device-unfit",
        "candidate-refused",
    }
)
# What may have been the device's doing, this time.
_AGAIN = frozenset({"warmup-too-slow", "warmup-short"})
# What keeps a warm-up from beginning: no release can do anything about it.
_NOT_BEGUN = frozenset({"serve-busy", "serve-options", "serve-preparing", "serve-stopping"})


@dataclass(frozen=True)
class Options:
    """What an agent was started with; ``max_bytes`` bounds what lies in HOME/blobs."""

    home: Path
    repo: str = ""
    root: Path | None = None
    channel: str | None = None
    target: str = ""
    device_id: str = ""
    max_bytes: int | None = None
    evict_previous: bool = False
    retry: bool = False
    verify: bool = False
    limits: Limits = field(default_factory=Limits)


def update(
    options: Options,
    *,
    stop: Callable[[], bool] = lambda: False,
    activate: Activate | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Bring a home to what its channel offers it, and return what ``--json`` prints.

    ``outcome`` is ``updated``, ``current``, ``nothing-offered``, ``refused``, ``probation``,
    ``stopped`` or ``superseded``; where it is ``refused``, what the state remembers of the release
    is under that name too. Raises MissingError ``agent-busy``, ``disk-full`` or ``storage-full``, or
    with the code of what the device lacks to load the release, as ``engine-import-failed``;
    RefusedError ``device-unfit`` or ``candidate-refused``; TrustError and
    TransportError of the repository, and ``clock-wrong``.
    """
    home, remote = Home(options.home), None
    try:
        with disk(home.path):
            home.prepare()
            with home.lock(), open_remote(options.repo, options.limits) as remote:
                return _Run(home, options, remote, now, stop, activate).go()
    except EdgeopsError as error:
        error.result = {**error.result, **_figures(remote)}
        log.write(home.path, "update-failed", code=error.code, what=error.what)
        raise


def _figures(remote: Remote | None) -> dict[str, Any]:
    return {
        "bytes_downloaded": remote.bytes if remote else 0,
        "requests": remote.requests if remote else 0,
    }


class _Run:
    """An update under way; ``state`` is what was last written."""

    def __init__(
        self,
        home: Home,
        options: Options,
        remote: Remote,
        now: datetime | None,
        stop: Callable[[], bool],
        activate: Activate | None,
    ) -> None:
        self.home = home
        self.options = options
        self.remote = remote
        self.given = now
        self.now = now or clock.utc_now()
        self.at = clock.stamp(self.now)
        self.stop = stop
        self.activate = activate
        self.state = at_rest(home)
        self.fetching = Fetching(home, remote, options, self._facts, stop, self._evict)

    def go(self) -> dict[str, Any]:
        if self.state.state == lifecycle.PROBATION and not self._probation_over():
            return self.result("probation", "what was switched to last is still on probation")
        channel = self._believe()
        offer = self._choose(channel)
        if offer is None:
            lines = why_not(channel, self.state.device_id, self._facts(), __version__, self.now)
            return self._done("nothing-offered", "; ".join(lines) or "the channel offers nothing")
        self._available({"version": offer.version, "digest": offer.digest})
        current = self.state.current
        asked = self.options.target
        if current and offer.digest == current.digest and asked in ("", current.target):
            self._mend()
            if self.state.current == current:
                return self._done("current")
        refused = self.state.refused.get(offer.digest)
        if refused and not self.options.retry and not self._changed(refused):
            found = self._done("refused", refused["why"])
            return {**found, "refused": {offer.digest: dict(refused)}}
        return self._take(offer)

    def result(self, outcome: str, why: str = "") -> dict[str, Any]:
        state = self.state
        return {
            "outcome": outcome,
            "why": why,
            "state": state.state,
            "current": state.current.to_json() if state.current else None,
            "previous": state.previous.to_json() if state.previous else None,
            "available": state.available,
            **_figures(self.remote),
        }

    # Belief and choice

    def _believe(self) -> Channel:
        clock.check(self.now, clock.parse(self.state.clock.get(clock.SEEN)))
        root = anchor(self.home, self.options.root)
        try:
            seen = read_channel(self.remote, root, self.options.channel, self.home.trust)
        except TrustError as error:
            if error.code == "metadata-expired":
                hint = clock.expired_hint(self.now, clock.parse(self.state.clock.get(clock.SEEN)))
                error.why = f"{error.why}; {hint}" if hint else error.why
            raise
        self.state = replace(
            self.state,
            last_checked=self.at,
            last_verified=self.at,
            expires=clock.stamp(seen.expires),
            clock=clock.saw(self.state.clock, self.now),
            device_id=self._device_id(),
        )
        return seen.channel

    def _device_id(self) -> str:
        if self.options.device_id or self.state.device_id:
            return self.options.device_id or self.state.device_id
        import uuid

        return uuid.uuid4().hex

    def _facts(self, engine: str = "") -> dict[str, Any]:
        return dict(attributes(self.home.path, engine))

    def _choose(self, channel: Channel) -> Offer | None:
        return choose(channel, self.state.device_id, self._facts(), __version__, self.now)

    def _available(self, offered: dict[str, str]) -> None:
        """Remember what is offered; how often it was begun to be warmed up begins anew with it."""
        same = self.state.available == offered and not self.options.retry
        warm_ups = self.state.warm_ups if same else 0
        self.state = replace(self.state, available=offered, warm_ups=warm_ups)

    def _changed(self, refused: Any) -> bool:
        """Return whether a release that did not fit would be judged by other facts now."""
        facts = refused.get("device")
        return facts is not None and facts != self._judged_by()

    def _judged_by(self) -> str:
        facts = {**self._facts(), "target": self.options.target}
        return sha256_bytes(canonical_json(facts))[:16]

    def _probation_over(self) -> bool:
        from edgeops.runtime.agent.probation import confirm, over

        if not over(self.home, self.state, self.now):
            return False
        confirm(self.home.path)  # unless the server did so meanwhile, or went back
        self.state = self.home.read()
        return True

    def _mend(self) -> None:
        """Throw away what is installed and damaged."""
        look = self.options.verify or not looks_whole(self.home, self.state)
        if look and heal(self.home.path):
            self.state = self._seen_in(self.home.read())

    def _seen_in(self, there: State) -> State:
        """Return a state that was read anew, with what this update has seen so far."""
        return replace(self.state, **{name: getattr(there, name) for name in _OWNED})

    def _done(self, outcome: str, why: str = "") -> dict[str, Any]:
        """Write what was seen; nothing else changes."""
        with brief(self.home):
            self.state = self.home.write(self._seen_in(self.home.read()))
        if untidy(self.home, self.state):
            clean(self.home, self.state)
        return self.result(outcome, why)

    # Taking a release

    def _take(self, offer: Offer) -> dict[str, Any]:
        self._move("offer", candidate=Slot(offer.version, offer.digest))
        log.write(self.home.path, "offer", version=offer.version, digest=offer.digest)
        try:
            with disk(self.home.path, self.fetching.left):
                manifest, layers = self._fetch(offer)
                if self.stop():
                    return self._stopped()
                self._warm(manifest, self._stage(offer, layers))
        except EdgeopsError as error:
            with suppress(OSError):  # what cannot be written now, the next start finds out
                self._failed(offer, error)
            raise
        except _Superseded:
            self.state = at_rest(self.home)
            return self.result("superseded", "it was taken back while the update was under way")
        return self._switched()

    def _fetch(self, offer: Offer) -> tuple[Manifest, Sequence[Layer]]:
        manifest, target, layers = self.fetching.release(offer, self.state)
        self.state = replace(
            self.state,
            target=target,
            candidate=Slot(offer.version, offer.digest, target),
        )
        return manifest, layers

    def _evict(self) -> None:
        """Let the previous release go: there is nothing to go back to then."""
        with brief(self.home):
            self._expect()
            self.state = self.home.write(replace(self.state, previous=None))
            self.home.point(self.home.previous, None)

    def _stage(self, offer: Offer, layers: Sequence[Layer]) -> Path:
        self._move("fetched", candidate=self.state.candidate, target=self.state.target)
        assert self.state.candidate is not None  # noqa: S101 - the line above
        return slots.stage(self.home, self.state.candidate, offer.bundle, layers)

    def _warm(self, manifest: Manifest, folder: Path) -> None:
        from edgeops.runtime.agent.activation import activation

        begun = self.state.warm_ups
        if begun >= lifecycle.MOST_WARM_UPS:
            raise candidate_refused(
                manifest, f"the device went down {begun} times while it was warmed up"
            )
        self._move("warm", warm_ups=begun + 1)
        try:
            step = (self.activate or activation)(self.home, folder, self.state)
        except EdgeopsError as error:
            if error.code in _NOT_BEGUN:
                self.state = replace(self.state, warm_ups=begun)
            raise
        if not step.accepted:
            found = no_fault_of(manifest, step, slots.damaged(folder))
            if found is not None:
                self.state = replace(self.state, warm_ups=begun)
                raise found
            again = step.code in _AGAIN and begun + 1 < lifecycle.MOST_WARM_UPS
            raise candidate_refused(manifest, step.why, again=again)
        try:
            self._switch(step.probation_s)
        except BaseException:
            step.abort()
            raise
        try:
            step.commit()
        except EdgeopsError as error:
            # The links say what is to be served, and the server follows them by itself.
            log.write(self.home.path, "not-committed", code=error.code, why=error.why)

    def _switch(self, probation_s: float) -> None:
        # Fetching may have taken hours: what is new is so from here on.
        now = self.given or clock.utc_now()
        over = clock.stamp(now + timedelta(seconds=probation_s))
        with brief(self.home):
            self._expect()
            self.state = move(self.home, self.state, "accepted")
            done = finish_switch(self.home, self.state)
            probation = {"since": clock.stamp(now), "until": over} if probation_s else None
            self.state = self.home.write(replace(done, probation=probation))
            if not probation_s:
                self.state = move(self.home, self.state, "kept")

    def _switched(self) -> dict[str, Any]:
        log.write(
            self.home.path,
            "updated",
            version=self.state.current.version if self.state.current else "",
        )
        clean(self.home, self.state)
        return self.result("updated")

    def _stopped(self) -> dict[str, Any]:
        self._move("failed", candidate=None)
        return self.result("stopped", "the agent was told to end; the next update goes on here")

    def _failed(self, offer: Offer, error: EdgeopsError) -> None:
        """Write that the candidate is none any more, and whether it is tried again."""
        if error.code in _FINAL:
            more = {"device": self._judged_by()} if error.code == "device-unfit" else {}
            why = f"{error.what}: {error.why}"
            self.state = self.state.refuse(offer.digest, why, self.at, code=error.code, **more)
        if error.code == "disk-full":
            make_way(self.home, self.state)
        with brief(self.home):
            there = self.home.read()
            if there.state not in lifecycle.UNDER_WAY or self._changed_by_others(there):
                # The switch was begun: it is finished or taken back, as after a kill.
                self.state = recover(self.home, there)
                return
            self.state = move(self.home, self.state, "failed", candidate=None)
        if error.code in _FINAL:
            clean(self.home, self.state)

    # The state

    def _move(self, event: str, **changes: Any) -> None:
        with brief(self.home):
            self._expect()
            self.state = move(self.home, self.state, event, **changes)

    def _expect(self) -> None:
        """Let pass unless another program took the home back meanwhile, as a breaker does."""
        if self._changed_by_others(self.home.read()):
            raise _Superseded

    def _changed_by_others(self, there: State) -> bool:
        return (there.state, there.current) != (self.state.state, self.state.current)


class _Superseded(Exception):
    """The home was rolled back while an update was under way."""


# What others may have changed in the state file while an update looked at its repository.
_OWNED = ("state", "current", "previous", "candidate", "refused", "probation")
