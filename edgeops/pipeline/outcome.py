"""Why a run failed: the error that the stage itself told, or what can be made of DVC's words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgeops.errors import (
    EdgeopsError,
    ExitCode,
    Finding,
    GateFailed,
    GateInconclusive,
    InputError,
    Interrupted,
    MissingError,
    RefusedError,
    StageFailed,
    TransportError,
    TrustError,
    UsageProblem,
)
from edgeops.pipeline.dvc import is_busy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.pipeline.dvc import Repro
    from edgeops.pipeline.plan import Step
    from edgeops.pipeline.watch import Watch

_KINDS: dict[int, type[EdgeopsError]] = {
    kind.exit_code: kind
    for kind in (
        UsageProblem,
        InputError,
        MissingError,
        RefusedError,
        StageFailed,
        GateFailed,
        GateInconclusive,
        TrustError,
        TransportError,
        Interrupted,
    )
}
_STATUS = re.compile(r"failed to run: .*, exited with (-?\d+)$", re.DOTALL)
_FIELDS = ("code", "what", "where", "why", "fix")
_LOCK = re.compile(r"'[^']*dvc\.lock' (?:is invalid|validation failed)")
_SHELL_SIGNAL = 128
_FULL = ("[Errno 28]", "[Errno 122]")  # ENOSPC and EDQUOT, as Python words them


def failure(
    steps: Sequence[Step], watch: Watch, repro: Repro, result: Mapping[str, Any]
) -> EdgeopsError:
    """Return the error of a failed ``dvc repro``, with the result so far."""
    told = watch.errors.get(watch.failed)
    if told:
        return from_json(told, result)
    tail = "\n".join(watch.tails.get(watch.failed, ()))
    if match := _STATUS.search(watch.reason):
        return _command_failed(steps, watch.failed, int(match[1]), tail, result)
    said = "\n".join(line for line in repro.tail if line.strip())
    if is_busy(repro.tail):
        return TransportError(
            "dvc-busy",
            "another run is working on this project",
            where=watch.failed,
            why=said,
            fix="wait until it is over, then run again",
            result=result,
        )
    return _dvc_failed(watch.failed, watch.reason or said or "it said nothing", said, result)


def _dvc_failed(address: str, why: str, said: str, result: Mapping[str, Any]) -> EdgeopsError:
    """Return the error of a DVC that gave up for a reason of its own."""
    if any(sign in why + said for sign in _FULL):
        return MissingError(
            "disk-full",
            f"no space left on the disk: DVC could not keep the results of {address or 'the run'}",
            where=address,
            why=why,
            fix="free some space (dvc gc -w removes cached results nobody uses) and run it again",
            result=result,
        )
    if _LOCK.search(said):
        return InputError(
            "lock-unusable",
            "dvc.lock cannot be read",
            where="dvc.lock",
            why=said,
            fix="bring it back: git checkout dvc.lock; or delete it, and run again",
            result=result,
        )
    return StageFailed(
        "dvc-failed",
        f"DVC could not bring {address or 'the pipeline'} up to date",
        where=address,
        why=why,
        fix="mend what it says; dvc status and dvc repro tell more",
        result=result,
    )


def interrupted(result: Mapping[str, Any]) -> Interrupted:
    """Return the error of a run that a person or the system ended."""
    running = [row for row in result["stages"] if row["status"] == "failed"]
    names = ", ".join(_address(row) for row in running)
    return Interrupted(
        "interrupted",
        f"interrupted while {names} ran" if names else "interrupted",
        why="its process was ended; stages that were finished are kept",
        fix="run the same command again: it goes on where it was",
        result=result,
    )


def _address(row: Mapping[str, Any]) -> str:
    return f"{row['name']}@{row['target']}" if row["target"] else str(row["name"])


def from_json(told: Mapping[str, Any], result: Mapping[str, Any]) -> EdgeopsError:
    """Return the error that a stage's process sent as an event, its class by the exit code."""
    kind = _KINDS.get(told["exit"], EdgeopsError)
    about = {name: told["error"][name] for name in _FIELDS}
    findings = [_finding(item) for item in told.get("findings", ())]
    known = ("kind", "stage", "target", "exit", "error", "findings")
    own = {key: value for key, value in told.items() if key not in known}
    return kind(
        about.pop("code"), about.pop("what"), **about, findings=findings, result={**own, **result}
    )


def _finding(item: Mapping[str, Any]) -> Finding:
    details = {key: value for key, value in item.items() if key not in _FIELDS}
    return Finding(**{name: item[name] for name in _FIELDS}, details=details)


def _command_failed(
    steps: Sequence[Step], address: str, status: int, tail: str, result: Mapping[str, Any]
) -> EdgeopsError:
    step = next((one for one in steps if one.address == address), None)
    if status == ExitCode.BUG and step is not None and step.plan.command is None:
        return EdgeopsError(
            "bug",
            f"the stage {address} met an error it does not know",
            where=address,
            why=tail,
            fix=f"run it alone and report what it prints: edgeops --debug stage {address}",
            result=result,
        )
    number = -status if status < 0 else status - _SHELL_SIGNAL
    by_signal = status < 0 or _SHELL_SIGNAL < status < 2 * _SHELL_SIGNAL
    how = f"it was ended by signal {number}" if by_signal else f"it ended with status {status}"
    return StageFailed(
        "stage-failed",
        f"the command of stage {address!r} failed",
        where=(step.plan.command if step else None) or address,
        why=f"{how}; its last lines were:\n{tail}" if tail else f"{how} and printed nothing",
        fix="mend the command or what it reads, then run again: finished stages are kept",
        result=result,
    )
