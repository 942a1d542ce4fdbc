"""Judge evidence by the gates that hold now, and turn a verdict into an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core.evidence import Evidence, read_evidence
from edgeops.core.gates import Figure, Verdict, judge, overall, parse_name
from edgeops.core.project import evidence_file
from edgeops.errors import GateFailed, GateInconclusive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.project import Project, Target


def gates_of(project: Project, target: Target) -> dict[str, str]:
    """Return the gates of a target: the validate stage's, with the target's own over them."""
    spec = project.stage_using("validate")
    common = dict(getattr(spec.options, "gates", {})) if spec else {}
    return {**spelled(common), **spelled(target.gates)}


def verdicts(
    figures: Mapping[str, Figure], gates: Mapping[str, str], digest: str = ""
) -> tuple[Verdict, ...]:
    """Return the verdict of each gate; one whose figure is not there is inconclusive.

    ``digest`` names the evidence that the figures stand in.
    """
    absent = Figure(None, absent="it is not in the evidence: validate again")
    return tuple(
        judge(name, bound, figures.get(name, absent), digest)
        for name, bound in spelled(gates).items()
    )


def spelled(gates: Mapping[str, str]) -> dict[str, str]:
    """Return gates by the one spelling of their figures' names; what is no name stays as it is."""
    found = {}
    for name, bound in gates.items():
        try:
            found[str(parse_name(name))] = bound
        except ValueError:
            found[name] = bound
    return found


def summary(evidence: Evidence, gates: Mapping[str, str]) -> dict[str, Any]:
    """Return evidence as a verb's result: metrics, absent, gates, verdict, device, notes."""
    digest = evidence.digest
    judged = verdicts(evidence.figures, gates, digest)
    return {
        "target": evidence.target,
        "verdict": overall(judged),
        "evidence": digest,
        "date": evidence.date,
        "metrics": flat(evidence.figures),
        "gates": [{"target": evidence.target, **verdict.to_json()} for verdict in judged],
        "figures": {name: figure.to_json() for name, figure in evidence.figures.items()},
        "device": dict(evidence.device),
        "engine": evidence.engine,
        "engine_version": evidence.engine_version,
        "precision": evidence.precision,
        "threads": evidence.threads,
        "notes": list(evidence.notes),
    }


def judge_project(root: Path, project: Project, targets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the verdicts of a project's evidence by the gates now in edgeops.yaml.

    ``targets`` limits it to these. The result has ``verdict``, ``gates`` (all targets, each with
    its ``target``), ``targets`` (a summary by name), ``metrics`` and ``device``: those of the
    target when there is one, else by target. Raises InputError ``evidence-missing`` or
    ``evidence-malformed``.
    """
    chosen = [project.targets[name] for name in targets or project.targets]
    found = {
        target.name: summary(
            read_evidence(root / evidence_file(target.name)), gates_of(project, target)
        )
        for target in chosen
    }
    gates = [gate for one in found.values() for gate in one["gates"]]
    words = [one["verdict"] for one in found.values()]
    alone = next(iter(found.values())) if len(found) == 1 else None
    return {
        "verdict": next((w for w in ("fail", "inconclusive") if w in words), "pass"),
        "metrics": alone["metrics"] if alone else {n: one["metrics"] for n, one in found.items()},
        "gates": gates,
        "device": alone["device"] if alone else {n: one["device"] for n, one in found.items()},
        "targets": found,
    }


def enforce(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a judged result, or raise GateFailed or GateInconclusive that carries it.

    Codes ``gate-failed`` (exit 11) and ``gate-inconclusive`` (exit 12).
    """
    if result["verdict"] == "fail":
        bad = [gate for gate in result["gates"] if gate["verdict"] == "fail"]
        raise GateFailed(
            "gate-failed",
            f"{_count(bad, 'gate')} failed: {_listed(bad)}",
            where=_where(bad),
            why=_why(bad),
            fix="make the variant better, or change the gate in edgeops.yaml and say why",
            result=result,
        )
    if result["verdict"] == "inconclusive":
        bad = [gate for gate in result["gates"] if gate["verdict"] == "inconclusive"]
        what = f"{_count(bad, 'gate')} cannot be decided: {_listed(bad)}"
        raise GateInconclusive(
            "gate-inconclusive",
            what if bad else "not every target was measured",
            where=_where(bad),
            why=_why(bad),
            fix=_decided_by(bad),
            result=result,
        )
    return dict(result)


def _decided_by(gates: Sequence[Mapping[str, Any]]) -> str:
    """Return what lets gates decide: more time is of use only where an interval is too wide."""
    whys = [str(gate["why"]) for gate in gates]
    if whys and all(why.startswith("not judged") for why in whys):
        return "measure on a device where this can be judged, or take these gates from the target"
    if whys and all(why.startswith("not ") for why in whys):
        return "mend what keeps these figures from being measured, or take these gates away"
    return "measure longer (`seconds`) or on a quieter machine, then validate again"


def _count(gates: Sequence[Mapping[str, Any]], word: str) -> str:
    return f"{len(gates)} {word}{'' if len(gates) == 1 else 's'}"


def _listed(gates: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{gate['name']} {gate['bound']} ({named(gate['value'])}"
        + (f" on {gate['target']})" if gate.get("target") else ")")
        for gate in gates
    )


def _why(gates: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(str(gate["why"]) for gate in gates))


def _where(gates: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(gate["target"] for gate in gates if gate.get("target")))


def flat(figures: Mapping[str, Figure]) -> dict[str, float]:
    """Return the figures that have a value, by name, as dvc metrics and reports read them."""
    return {name: figure.value for name, figure in figures.items() if figure.value is not None}


def named(value: float | None) -> str:
    """Return a value as it is shown to a person: four significant digits, or that it is absent."""
    return "not measured" if value is None else f"{value:.4g}"
