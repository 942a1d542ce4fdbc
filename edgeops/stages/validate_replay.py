"""The verb ``validate --replay``: the gates judged again from evidence alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core.evidence import read_evidence
from edgeops.core.gates import unknown_gates
from edgeops.errors import from_findings
from edgeops.stages.validate_verb import parsed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def replay_evidence(file: Path, gates: Sequence[str]) -> dict[str, Any]:
    """Judge the gates that evidence states, or others, on figures that are computed again.

    The result is that of ``validate`` with ``replayed``: ``recomputed`` figures, and ``as_recorded``
    with the reason for each. Raises GateFailed or GateInconclusive with it; InputError
    ``evidence-missing``, ``evidence-malformed``, ``gate-unknown``; TrustError ``evidence-edited``.
    """
    from edgeops.core.verdicts import enforce, summary
    from edgeops.validate.again import check

    evidence = read_evidence(file)
    asked = parsed(gates) or {gate.name: gate.bound for gate in evidence.gates}
    if findings := unknown_gates(asked, evidence.figures, "--gate"):
        raise from_findings(findings)
    recomputed, as_recorded = check(evidence, str(file))
    replayed = {
        "file": str(file),
        "digest": evidence.digest,
        "recomputed": recomputed,
        "as_recorded": as_recorded,
    }
    return enforce({"replayed": replayed, **summary(evidence, asked)})
