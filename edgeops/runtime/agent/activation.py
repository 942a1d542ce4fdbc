"""What update() asks of whoever warms a candidate up: a verdict, then a commit or an abort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.runtime.agent.home import Home, State


class Step(Protocol):
    """A candidate that was warmed up, as ``serving.activate.Activation`` is.

    ``code`` says why it was not accepted, ``probation_s`` how long it is taken for new.
    """

    @property
    def accepted(self) -> bool:
        """Whether it may be switched to."""

    @property
    def why(self) -> str:
        """Why it may not."""

    @property
    def code(self) -> str:
        """The kind of fault, "" where there is none."""

    @property
    def fix(self) -> str:
        """What to do where the device lacks something; "" where the candidate is at fault."""

    @property
    def probation_s(self) -> float:
        """Seconds, 0 when nothing serves."""

    def commit(self) -> None:
        """Serve it from now on."""

    def abort(self) -> None:
        """Forget it."""


Activate = Callable[["Home", "Path", "State"], Step]


def activation(home: Home, folder: Path, state: State) -> Step:
    """Have the server of this home warm a slot up, or a child process where none runs."""
    from edgeops.runtime.serving.activate import activate

    target = state.candidate.target if state.candidate else ""
    # What was refused gets so far only when it was asked for again.
    again = state.candidate is not None and state.candidate.digest in state.refused
    return activate(home.path, folder, {"target": target} if target else {}, again=again)
