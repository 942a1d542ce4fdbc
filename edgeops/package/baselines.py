"""Baselines that go into a bundle: each one readable, and of the variant that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.variant import Variant
    from edgeops.runtime.baseline import Baseline


def check_baselines(baselines: Mapping[str, Path], variants: Mapping[str, Variant]) -> None:
    """Raise InputError ``baseline-foreign`` unless every device could hold its model against them.

    Raises what reading one does. Whether the variant answers so is not asked: that is what the
    warm-up on each device is for.
    """
    from edgeops.runtime.baseline import read_baseline

    for target, path in baselines.items():
        variant = variants.get(target)
        if variant is None:
            why = f"there is no target {target!r}: there are {', '.join(sorted(variants))}"
        else:
            why = _misfit(read_baseline(path), variant)
        if why:
            raise InputError(
                "baseline-foreign",
                f"{path.name} cannot be the baseline of {target}",
                where=str(path),
                why=why,
                fix="record it again: edgeops validate VARIANT --evaluation DATA --record FILE",
            )


def _misfit(baseline: Baseline, variant: Variant) -> str:
    if not baseline.rows or not baseline.outputs:
        return "it holds no sample that was answered"
    for what, told, tensors in (
        ("inputs", baseline.inputs, variant.inputs),
        ("outputs", baseline.outputs, variant.outputs),
    ):
        names = sorted(tensor.name for tensor in tensors)
        if sorted(told) != names:
            return f"its {what} are {', '.join(sorted(told))}, the variant's {', '.join(names)}"
    return ""
