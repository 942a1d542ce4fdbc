"""The live display of long work on a terminal: one line a stage and target, figures beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console, RenderableType

_FIGURES_SHOWN = 3
_BAR_WIDTH = 16
_MARKS = {"ran": ("✓", "green"), "cached": ("·", "dim"), "failed": ("✗", "red")}


@dataclass
class Row:
    """What is known of one line: a stage of a run, or one step of another verb."""

    name: str
    what: str
    began: float
    total: int | None = None
    parts: int = 0
    status: str = ""
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)


class LiveProgress:
    """Events shown as they come, and wiped away when the work ends.

    Steps named ``stage@target: what`` share the line of their stage and target; each other step
    has a line of its own, done when the next one begins.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._current: Row | None = None
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console, transient=True, refresh_per_second=8, get_renderable=self.table
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def step(self, what: str, *, total: int | None = None) -> None:
        """Show what is being done now; ``total`` is the number of parts where it is known."""
        name, separator, rest = what.partition(": ")
        if not separator or " " in name:
            if self._current and not self._current.status:
                self._end(self._current, "ran", self._clock() - self._current.began)
            name, rest = "", what
        row = self._rows.get(name or what)
        if row is None:
            row = self._rows[name or what] = Row(name, rest, self._clock())
        row.what, row.total, row.parts = rest, total, 0
        self._current = row

    def advance(self, parts: int = 1) -> None:
        """Move the bar of the current step."""
        if self._current:
            self._current.parts += parts

    def figure(self, name: str, value: float | str) -> None:
        """Show a figure beside its line."""
        if self._current:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            self._current.figures.append(f"{name} {shown}")

    def done(self, name: str, status: str, seconds: float) -> None:
        """Mark the line of a stage as ``ran``, ``cached`` or ``failed``."""
        row = self._rows.setdefault(name, Row(name, "", self._clock()))
        self._end(row, status, seconds)

    def table(self) -> Table:
        """Return the lines as they stand."""
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        for ratio in (0, 0, 1):
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio or None)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for row in self._rows.values():
            stage, _, target = row.name.partition("@")
            figures = " · ".join(row.figures[-_FIGURES_SHOWN:])
            mark = self._mark(row)
            table.add_row(mark, stage, target, self._doing(row), self._time(row), figures)
        return table

    def _end(self, row: Row, status: str, seconds: float) -> None:
        row.status, row.seconds, row.total = status, seconds, None
        if row.name:
            row.what = status if status != "ran" else ""

    def _mark(self, row: Row) -> RenderableType:
        if not row.status:
            return self._spinner
        mark, style = _MARKS.get(row.status, ("·", "dim"))
        return Text(mark, style=style)

    def _time(self, row: Row) -> str:
        if row.status == "cached":
            return ""
        return f"{row.seconds if row.status else self._clock() - row.began:.1f} s"

    @staticmethod
    def _doing(row: Row) -> RenderableType:
        if not row.total:
            return Text(row.what)
        part = Table.grid(padding=(0, 1))
        part.add_row(
            Text(row.what),
            ProgressBar(row.total, min(row.parts, row.total), width=_BAR_WIDTH),
            Text(f"{min(row.parts, row.total)}/{row.total}", style="dim"),
        )
        return part
