"""The functions that expressions may call beside CEL's own: over lists of numbers, and labels.

The library prints what a Python function raises and loses its class, so these raise nothing: they
note what is wrong, and the call fails with it afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_MOST_DIGITS = 16


class Functions:
    """The functions for one call; ``fault`` is the first thing that went wrong, "" for nothing."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self.fault = ""

    def named(self, names: frozenset[str]) -> dict[str, Callable[..., Any]]:
        """Return the functions of these names as the library takes them."""
        return {name: getattr(self, f"_{name}") for name in names}

    def _failed(self, why: str) -> None:
        self.fault = self.fault or why

    def _numbers(self, name: str, given: tuple[Any, ...]) -> list[float]:
        """Return numbers given one by one or as one list; empty when something is wrong."""
        values = given[0] if len(given) == 1 and isinstance(given[0], list) else list(given)
        if not values:
            self._failed(f"{name}() was given nothing")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                self._failed(f"{name}() takes numbers, and was given {type(value).__name__}")
                return []
        return [float(value) for value in values]

    def _max(self, *given: Any) -> Any:
        return max(self._numbers("max", given), default=None)

    def _min(self, *given: Any) -> Any:
        return min(self._numbers("min", given), default=None)

    def _sum(self, *given: Any) -> Any:
        return sum(self._numbers("sum", given))

    def _mean(self, *given: Any) -> Any:
        values = self._numbers("mean", given)
        return sum(values) / len(values) if values else None

    def _abs(self, *given: Any) -> Any:
        values = self._numbers("abs", given)
        return abs(values[0]) if self._one("abs", values) else None

    def _round(self, *given: Any) -> Any:
        """Round to the nearest whole number, or to as many digits as the second argument says."""
        values = self._numbers("round", given)
        digits = values[1] if len(values) == 2 else 0.0  # noqa: PLR2004
        if len(values) > min(len(given), 2):
            self._failed("round() takes one number, and digits if wanted")
        elif not abs(digits) < _MOST_DIGITS or digits != int(digits):
            self._failed(
                f"round() takes whole digits below {_MOST_DIGITS}, and was given {digits:g}"
            )
        elif values:
            return float(round(values[0], int(digits)))
        return None

    def _argmax(self, *given: Any) -> Any:
        values = self._numbers("argmax", given)
        return values.index(max(values)) if values else None

    def _label(self, *given: Any) -> Any:
        index = given[0] if len(given) == 1 else None
        if isinstance(index, bool) or not isinstance(index, int):
            self._failed("label() takes one whole number")
        elif not 0 <= index < len(self._labels):
            self._failed(f"label({index}) is beyond the {len(self._labels)} labels that there are")
        else:
            return self._labels[index]
        return None

    def _agreement(self, *given: Any) -> Any:
        """Return the share of the most frequent value."""
        values = self._votes("agreement", given)
        return max(map(values.count, values)) / len(values) if values else None

    def _majority(self, *given: Any) -> Any:
        """Return the most frequent value, of equally frequent ones the first."""
        values = self._votes("majority", given)
        return max(values, key=values.count) if values else None

    def _votes(self, name: str, given: tuple[Any, ...]) -> list[Any]:
        values = given[0] if len(given) == 1 and isinstance(given[0], list) else list(given)
        if not values:
            self._failed(f"{name}() was given nothing")
        return values

    def _one(self, name: str, values: list[float]) -> bool:
        if len(values) > 1:
            self._failed(f"{name}() takes one number")
        return len(values) == 1
