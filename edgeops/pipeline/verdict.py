"""The verdict of a run: what the gates of edgeops.yaml say of every target that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.project import Project
    from edgeops.pipeline.plan import Step

_STAGE = "validate"


def of(root: Path, project: Project, steps: Sequence[Step]) -> dict[str, Any]:
    """Return ``verdict``, ``gates`` and ``metrics`` of the targets that ``steps`` validate.

    ``verdict`` is None where nothing was validated; each gate says its ``target``.
    """
    targets = [str(step.target) for step in steps if step.uses == _STAGE and step.target]
    if not targets:
        return {"verdict": None, "gates": [], "metrics": {}}
    from edgeops.core.verdicts import judge_project

    judged = judge_project(root, project, targets)
    metrics = {name: about["metrics"] for name, about in judged["targets"].items()}
    return {"verdict": judged["verdict"], "gates": judged["gates"], "metrics": metrics}


def enforce(result: Mapping[str, Any]) -> None:
    """Raise GateFailed or GateInconclusive, with the result, when the verdict is not to pass."""
    if result.get("verdict") in (None, "pass"):
        return
    from edgeops.core.verdicts import enforce as judge

    judge(result)
