"""CEL expressions: compiled once, bounded, and told apart when they fail.

CEL has no loops, no assignments and nothing to call but what is listed here, so an expression ends;
what its time and memory can grow with is bounded: its length, the values of an array that it is
handed and that it comes to, and how its macros (``map``, ``filter``, ``all``, ``exists``, ``exists_one``) nest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edgeops.errors import MissingError
from edgeops.runtime.rules.code import Code, entries
from edgeops.runtime.rules.document import OWN, malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LENGTH = 500
MOST_VALUES = 256
MOST_TEXT = 4096
# What an expression may come to: values count each element, so that values cannot double for ever.
MOST_RESULT, MOST_RESULT_TEXT = 4096, 65_536
_MOST_NESTED = 2
# A function of Python takes longer than CEL's own; two macros over 256 values call it 65,536 times.
_MOST_NESTED_CALLS = 1
_PLACE = re.compile(r"ERROR: <input>:\d+:(\d+): (.*)")
CONVERSIONS = ("int", "uint", "double", "string")
STANDARD = frozenset((*CONVERSIONS, "size", "matches", "contains", "startsWith", "endsWith", "has"))
OWN_FUNCTIONS = frozenset(
    ("max", "min", "sum", "mean", "abs", "round", "argmax", "label", "agreement", "majority")
)


@dataclass(frozen=True)
class Expression:
    """A compiled expression with its place in the document.

    ``parts`` are the entries that it looks at of ``outputs``, ``features``, ``inputs`` and
    ``models``; None stands for all of them. ``bound`` are names that only its macros know.
    """

    source: str
    path: str
    program: Any
    names: frozenset[str]
    functions: frozenset[str]
    bound: frozenset[str] = frozenset()

    @cached_property
    def parts(self) -> Mapping[str, frozenset[str] | None]:
        """Entries by the name they are looked up in."""
        return {name: entries(self.source, name) for name in OWN if name in self.names}


def compiled(source: Any, where: str, path: str) -> Expression:
    """Compile an expression; InputError ``rules-malformed``, MissingError ``cel-missing``."""
    if not isinstance(source, str) or not 0 < len(source) <= MOST_LENGTH:
        why = f"an expression is a text of 1 to {MOST_LENGTH} characters"
        raise malformed(where, path, why, "split it: name parts of it under values")
    bound = _check_macros(source, where, path)
    try:
        program = library().compile(source)
        references = program.references()
    except (ValueError, RuntimeError, OverflowError) as error:
        raise malformed(where, path, first_line(error), "mend the CEL expression") from error
    names = frozenset(references["variables"]) - bound
    functions = frozenset(name for name in references["functions"] if name[0].isalpha())
    unknown = sorted(functions - STANDARD - OWN_FUNCTIONS)
    if unknown:
        known = ", ".join(sorted(STANDARD | OWN_FUNCTIONS))
        raise malformed(where, path, f"there is no function {unknown[0]!r}", f"known: {known}")
    return Expression(source, path, program, names, functions & OWN_FUNCTIONS, bound)


def library() -> Any:
    """Return the module ``cel``; MissingError ``cel-missing``."""
    try:
        import cel
    except ImportError as error:
        raise MissingError(
            "cel-missing",
            "the rules hold expressions, and the library that evaluates them is not installed",
            where="cel",
            why=str(error),
            fix="python3 -m pip install common-expression-language",
        ) from error
    return cel


def first_line(error: BaseException) -> str:
    """Return what the library says of an error, without its drawing of where."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, KeyError):
        return f"there is no {text}"
    if place := _PLACE.search(text):
        return f"column {place[1]}: {place[2]}"
    # The library goes on with advice for its own users.
    return text.partition(". Check ")[0].partition(" CEL does not coerce")[0]


def _check_macros(source: str, where: str, path: str) -> frozenset[str]:
    """Return the names that macros bind, refusing macros that multiply what they are given."""
    code = Code(source)
    taken = sorted(code.bound & set(OWN))
    if taken:
        raise malformed(where, path, f"a macro binds {taken[0]!r}", "take another name, such as x")
    if code.maps > 1:
        raise malformed(where, path, "it has more than one map", "name parts of it under values")
    if code.deepest > _MOST_NESTED:
        why = f"its macros are nested more than {_MOST_NESTED} deep"
        raise malformed(where, path, why, "name parts of it under values")
    if called := code.called(OWN_FUNCTIONS, _MOST_NESTED_CALLS + 1):
        why = f"{called}() stands inside two macros, and would run up to {MOST_VALUES**2:,} times"
        each = f"for each item of a list: list.map(x, {called}(x))"
        fix = f"compute it once before: name it under values, and use that name ({each})"
        raise malformed(where, path, why, fix)
    return code.bound
