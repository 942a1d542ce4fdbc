"""Sizes of axes that are known, or known only by name, and what can be computed with them.

A size is an int, or a ``Term``: a positive number times named sizes. What cannot be written as such
a product (the sum of two names, say) becomes a new name made of the expression, so that the same
expression is the same size wherever it stands.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Term(NamedTuple):
    """``factor`` times the sizes called ``names`` (sorted, one named twice is squared)."""

    factor: int
    names: tuple[str, ...]


Dim = int | Term


def named(name: str) -> Term:
    """Return the size called ``name``."""
    return Term(1, (name,))


def text(dim: Dim) -> str:
    """Return a size as an expression, the same for equal sizes."""
    if isinstance(dim, int):
        return str(dim)
    names = "*".join(dim.names)
    return names if dim.factor == 1 else f"{dim.factor}*{names}"


def times(one: Dim, other: Dim) -> Dim:
    """Return the product of two sizes."""
    if isinstance(one, int) and isinstance(other, int):
        return one * other
    a, b = _split(one), _split(other)
    return _joined(a[0] * b[0], (*a[1], *b[1]))


def product(dims: Iterable[Dim]) -> Dim:
    """Return the product of sizes."""
    factor = 1
    names: tuple[str, ...] = ()
    for dim in dims:
        number, more = _split(dim)
        factor, names = factor * number, (*names, *more)
    return _joined(factor, names)


def plus(one: Dim, other: Dim, sign: int = 1) -> Dim:
    """Return the sum of two sizes, or with ``sign`` -1 their difference."""
    a, b = _split(one), _split(other)
    if a[1] == b[1]:
        return _joined(a[0] + sign * b[0], a[1])
    if b[0] == 0:
        return one
    if a[0] == 0 and sign > 0:
        return other
    parts = sorted([text(one), text(other)]) if sign > 0 else [text(one), text(other)]
    return named(f"({'+-'[sign < 0].join(parts)})")


def over(one: Dim, other: Dim) -> Dim | None:
    """Return the quotient, rounded down, or None where the divisor is not above zero."""
    if isinstance(one, int) and isinstance(other, int):
        return one // other if other > 0 and one >= 0 else None
    exact = ratio(one, other)
    if exact is not None:
        return exact
    return named(f"({text(one)}//{text(other)})") if _split(other)[0] > 0 else None


def ratio(one: Dim, other: Dim) -> Dim | None:
    """Return the quotient when it is a whole size whatever the named sizes are, else None."""
    (number, names), (below, divisors) = _split(one), _split(other)
    left = list(names)
    for name in divisors:
        if name not in left:
            return None
        left.remove(name)
    if below < 1 or number < 1 or number % below:
        return None
    return _joined(number // below, tuple(left))


def _split(dim: Dim) -> tuple[int, tuple[str, ...]]:
    return (dim, ()) if isinstance(dim, int) else (dim.factor, dim.names)


def _joined(factor: int, names: tuple[str, ...]) -> Dim:
    if not names or factor == 0:
        return factor
    return Term(factor, tuple(sorted(names)))


def elements(shape: Iterable[Dim] | None) -> int | None:
    """Return how many elements a shape holds, or None when an axis is open or nothing is known."""
    if shape is None:
        return None
    sizes = list(shape)
    if not all(isinstance(size, int) for size in sizes):
        return None
    return math.prod(size for size in sizes if isinstance(size, int))
