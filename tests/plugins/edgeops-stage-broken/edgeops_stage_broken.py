"""Stages that break the contract, one way each."""

from __future__ import annotations

from dataclasses import dataclass

from edgeops.plugin import Out, StageInfo, StagePlan, StageResult


@dataclass(frozen=True)
class Nothing:
    """No options."""


class _Whole:
    Options = Nothing

    def plan(self, project, target, options):
        return StagePlan()

    def preflight(self, root, project, target, options):
        return []

    def run(self, context, options):
        return StageResult()


class Half:
    """Has no run."""

    info = StageInfo("half", "Lacks a part.")
    Options = Nothing

    def plan(self, project, target, options):
        return StagePlan()


class Future(_Whole):
    """Speaks an api that is not there yet."""

    info = StageInfo("future", "From the future.", api=99)


class Alias(_Whole):
    """Is registered under another name than its own."""

    info = StageInfo("other", "Calls itself otherwise.")


class Taken(_Whole):
    """Wants to replace a built-in stage."""

    info = StageInfo("convert", "Not the convert you expect.")


class Loose(_Whole):
    """Its Options can be changed."""

    info = StageInfo("loose", "Options that are not frozen.")

    @dataclass
    class Options:
        """Not frozen."""

        depth: int = 1


class Uneven(_Whole):
    """Plans other outputs for one target than for another."""

    info = StageInfo("uneven", "A plan whose shape depends on the target.")

    def plan(self, project, target, options):
        name = "small" if target.precision == "int8" else "large"
        return StagePlan(outs=(Out(f"build/{target.name}/{name}"),))
