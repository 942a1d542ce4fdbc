"""The live display of long work on a terminal: one line a stage and target, figures beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

_FIGURES_SHOWN = 4


class LiveProgress:
    """Events shown as they come.

    Steps named ``stage@target: what`` get a line of their own for each stage and target; others
    share one.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[figures]}[/]"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._figures: dict[str, list[str]] = {}
        self._current = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def step(self, what: str, *, total: int | None = None) -> None:
        """Show what is being done now; ``total`` is the number of parts where it is known."""
        self._current = what.split(":", maxsplit=1)[0] if ": " in what else ""
        if self._current not in self._tasks:
            self._tasks[self._current] = self._progress.add_task(what, total=total, figures="")
        self._progress.update(self._task, description=what, total=total, completed=0)

    def advance(self, parts: int = 1) -> None:
        """Move the bar of the current step."""
        if self._tasks:
            self._progress.advance(self._task, parts)

    def figure(self, name: str, value: float | str) -> None:
        """Show a figure beside its line."""
        if not self._tasks:
            return
        shown = self._figures.setdefault(self._current, [])
        shown.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
        self._progress.update(self._task, figures=" · ".join(shown[-_FIGURES_SHOWN:]))

    @property
    def _task(self) -> Any:
        return self._tasks[self._current]
