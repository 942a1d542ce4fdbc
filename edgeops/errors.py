"""Every way edgeops refuses: what happened, where, why, what to do next, and the exit code.

The class says who must act and fixes the exit code; ``code`` names the one cause and is what
``edgeops explain CODE`` looks up in ``edgeops/explain/*.toml``. Nothing here prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ExitCode(IntEnum):
    """The exit codes of every verb; the table is a promise to scripts (ADR 0002)."""

    OK = 0
    USAGE = 2
    INPUT = 3
    MISSING = 4
    REFUSED = 5
    STAGE = 10
    GATE_FAILED = 11
    GATE_INCONCLUSIVE = 12
    TRUST = 20
    TRANSPORT = 30
    BUG = 70
    INTERRUPTED = 130


@dataclass(frozen=True)
class Finding:
    """One problem found before time was spent on it.

    ``where`` is ``FILE:LINE:COL`` (1-based) or a node's name; ``details`` holds what only some
    findings have (``node``, ``op``, ``alternatives``).
    """

    code: str
    what: str
    where: str = ""
    why: str = ""
    fix: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the finding as it appears in ``findings`` of a JSON result."""
        return {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "fix": self.fix,
            **self.details,
        }


class EdgeopsError(Exception):
    """Base of all refusals; raise a subclass, never this.

    ``findings`` lists every problem when there are several. ``result`` is merged into the JSON
    document beside ``error``, for verbs whose figures matter even when they fail.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: str = "",
        why: str = "",
        fix: str = "",
        findings: Sequence[Finding] = (),
        result: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix
        self.findings = tuple(findings)
        self.result = dict(result) if result else {}

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document that a failed verb prints."""
        document: dict[str, Any] = {
            "error": {
                "code": self.code,
                "what": self.what,
                "where": self.where,
                "why": self.why,
                "fix": self.fix,
            }
        }
        if self.findings:
            document["findings"] = [finding.to_json() for finding in self.findings]
        document.update(self.result)
        return document


class UsageProblem(EdgeopsError):
    """The command line itself is wrong."""

    exit_code = ExitCode.USAGE


class InputError(EdgeopsError):
    """Configuration, an input file or a data set is bad: whoever wrote it must mend it."""

    exit_code = ExitCode.INPUT


class MissingError(EdgeopsError):
    """Something needed is not installed or not there by choice; ``fix`` says how to get it."""

    exit_code = ExitCode.MISSING


class RefusedError(EdgeopsError):
    """The model cannot be converted or quantized as asked."""

    exit_code = ExitCode.REFUSED


class StageFailed(EdgeopsError):
    """A command that the project brings failed."""

    exit_code = ExitCode.STAGE


class GateFailed(EdgeopsError):
    """A gate failed: the evidence says no."""

    exit_code = ExitCode.GATE_FAILED


class GateInconclusive(EdgeopsError):
    """The noise does not let a gate decide."""

    exit_code = ExitCode.GATE_INCONCLUSIVE


class TrustError(EdgeopsError):
    """A signature, digest, rollback or expiry check failed: never retried."""

    exit_code = ExitCode.TRUST


class TransportError(EdgeopsError):
    """A device or server could not be reached: may be retried."""

    exit_code = ExitCode.TRANSPORT


class Interrupted(EdgeopsError):
    """A person or the system ended the verb."""

    exit_code = ExitCode.INTERRUPTED


def from_findings(
    findings: Sequence[Finding],
    kind: type[EdgeopsError] = InputError,
    result: Mapping[str, Any] | None = None,
) -> EdgeopsError:
    """Return one error that carries all findings, headed by the first of them."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return kind(
        first.code,
        first.what + more,
        where=first.where,
        why=first.why,
        fix=first.fix,
        findings=findings,
        result=result,
    )
