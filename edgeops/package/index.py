"""``targets.json`` of a bundle: what each target needs of a device, from what is packed.

Everything in it follows from the other files of the bundle, so that ``verify`` makes it again and
compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core.manifest import INDEX, malformed
from edgeops.core.targets import TargetNeeds, encode_targets, parse_targets
from edgeops.package.wheel import architectures

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from edgeops.core.evidence import Evidence
    from edgeops.core.variant import Variant
    from edgeops.package.bundle import Bundle
    from edgeops.runtime.rules import Rules

_MAX_INDEX = 1 << 20
_PEAK = "peak_rss_mb"


def needs_of(
    variants: Mapping[str, Variant],
    evidence: Mapping[str, Evidence],
    *,
    opsets: Mapping[str, int],
    wheels: Mapping[str, Sequence[str]],
    asked: Collection[str],
) -> dict[str, TargetNeeds]:
    """Return what each target needs; pure.

    ``wheels`` are the names of those packed for a target, ``asked`` the targets whose
    variants the rules combine.
    """
    return {
        name: TargetNeeds(
            engine=variant.engine,
            engine_version=variant.engine_version,
            precision=variant.precision,
            bytes=variant.bytes,
            digest=variant.digest,
            architectures=architectures(wheels.get(name, ())),
            opset=opsets.get(name),
            memory_mb=_memory(evidence.get(name)),
            uses=tuple(sorted(set(asked) - {name})),
        )
        for name, variant in variants.items()
    }


def asked(rules: Rules | None) -> frozenset[str]:
    """Return the targets whose variants the rules combine."""
    return frozenset(model.target for model in rules.models.values()) if rules else frozenset()


def read_targets(bundle: Bundle) -> dict[str, TargetNeeds]:
    """Return the index of a bundle, empty when it has none; raises TrustError."""
    layer = bundle.manifest.find(INDEX)
    if layer is None:
        return {}
    return parse_targets(bundle.read(layer.blob, _MAX_INDEX), bundle.where)


def check_targets(
    bundle: Bundle, stated: Mapping[str, TargetNeeds], made: Mapping[str, TargetNeeds]
) -> None:
    """Raise TrustError ``bundle-malformed`` when the index is not what the files lead to."""
    if stated and encode_targets(stated) != encode_targets(made):
        wrong = [name for name in {**stated, **made} if stated.get(name) != made.get(name)]
        why = f"targets.json does not say what is packed for {', '.join(sorted(wrong))}"
        raise malformed(bundle.where, why)


def _memory(evidence: Evidence | None) -> float | None:
    figure = evidence.figures.get(_PEAK) if evidence else None
    return None if figure is None or figure.value is None else round(float(figure.value), 3)
