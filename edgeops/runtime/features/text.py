"""Text and bytes: tokens by a vocabulary, hashes, and the first and last bytes of a file."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features import array
from edgeops.runtime.features.checks import (
    Misfit,
    Option,
    choice,
    either,
    flag,
    is_mapping,
    listed,
    optional,
    text,
    whole,
)
from edgeops.runtime.features.columns import fnv1a
from edgeops.runtime.features.form import BadValue, Form, Kind, Run, StepType, Trace
from edgeops.runtime.features.source import read_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_TOKENS = 1 << 20
_MOST_ID = (1 << 31) - 1
_SIDES = ("both", "left", "right")


def start_text(options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Return what reads a text: str, or bytes of UTF-8."""
    most = options["max_characters"]

    def run(value: Any, _trace: Trace) -> Any:
        if isinstance(value, (bytes, bytearray)):
            try:
                value = bytes(value).decode()
            except UnicodeDecodeError as error:
                raise BadValue("the bytes are no UTF-8", str(error)[:200]) from error
        if not isinstance(value, str):
            raise BadValue(f"a text cannot be {type(value).__name__}", "it is str, or UTF-8 bytes")
        if len(value) > most:
            raise BadValue(
                f"the text has {len(value)} characters",
                f"more than {most} are refused",
                "cut it, or raise max_characters of the input",
            )
        return str(value)

    return run, Form("text", (), "str")


def start_bytes(_options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Return what reads bytes: bytes, the file at a path, or an array of uint8."""

    def run(value: Any, _trace: Trace) -> Any:
        if isinstance(value, (bytes, bytearray, memoryview, os.PathLike)):
            return read_bytes(value)
        if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1:
            return value.tobytes()
        raise BadValue(
            f"bytes cannot be {type(value).__name__}",
            "they are bytes, a pathlib.Path or an array of uint8 with one axis",
            "text is never taken for a path: give pathlib.Path(text)",
        )

    return run, Form("bytes", (None,), "uint8")


def _text(change: Any) -> Any:
    """Return what makes a step that changes a text without options, or each of several tokens."""

    def make(form: Form, _options: Mapping[str, Any]) -> tuple[Run, Form]:
        if form.state == "tokens":
            return lambda value, _trace: [change(token) for token in value], form
        return lambda value, _trace: change(value), form

    return make


def _unicode(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    kind = options["form"]
    return lambda value, _trace: unicodedata.normalize(kind, value), form


def _split(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    run: Run = lambda value, _trace: list(value)  # noqa: E731
    if options["by"] == "whitespace":
        run = lambda value, _trace: value.split()  # noqa: E731
    return run, replace(form, state="tokens", shape=(None,))


def _encode(form: Form, _options: Mapping[str, Any]) -> tuple[Run, Form]:
    return lambda value, _trace: value.encode("utf-8", "surrogatepass"), replace(
        form, state="bytes", shape=(None,), dtype="uint8"
    )


def _vocabulary(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    given, other = options["tokens"], options["unknown"]
    table = dict(given) if is_mapping(given) else {token: at for at, token in enumerate(given)}
    if len(table) != len(given):
        raise Misfit("given each token once")

    def run(value: Any, _trace: Trace) -> Any:
        found = [table.get(token, other) for token in value]
        if None in found:
            raise BadValue(
                f"{value[found.index(None)][:40]!r} is not in the vocabulary",
                "what is not in it is refused unless the document says its id: unknown",
            )
        return np.asarray(found, np.int32)

    return run, replace(form, state="ids", shape=(None,), dtype="int32")


def _hash(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    buckets, first = options["buckets"], options["first"]

    def run(value: Any, _trace: Trace) -> Any:
        codes = (fnv1a(token.encode("utf-8", "surrogatepass")) % buckets for token in value)
        return np.asarray([first + code for code in codes], np.int32)

    return run, replace(form, state="ids", shape=(None,), dtype="int32")


def _codes(form: Form, _options: Mapping[str, Any]) -> tuple[Run, Form]:
    return lambda value, _trace: np.frombuffer(value, np.uint8).astype(np.int32), replace(
        form, state="ids", shape=(None,), dtype="int32"
    )


def _length(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Put ``before`` and ``after`` around the ids, and cut or fill to a length."""
    wanted, pad, start = options["to"], options["pad"], options["keep"] == "start"
    before, after = (np.asarray(options[key], np.int32) for key in ("before", "after"))
    room = wanted - len(before) - len(after)
    if room < 0:
        raise Misfit("of room for before and after")

    def run(value: Any, _trace: Trace) -> Any:
        kept = value[:room] if start else value[max(0, len(value) - room) :]
        found = np.full(wanted, pad, np.int32)
        whole_ids = np.concatenate([before, kept, after])
        if options["fill"] == "end":
            found[: len(whole_ids)] = whole_ids
        else:
            found[wanted - len(whole_ids) :] = whole_ids
        return found

    return run, replace(form, shape=(wanted,))


def _bag(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Count how often each id from 0 occurs; ids beyond ``size`` are left out."""
    size, binary = options["size"], options["binary"]

    def run(value: Any, _trace: Trace) -> Any:
        inside = value[(value >= 0) & (value < size)]
        counts = np.bincount(inside, minlength=size).astype(np.float32)
        return np.minimum(counts, np.float32(1)) if binary else counts

    return run, replace(form, state="array", shape=(size,), dtype="float32")


def _strip(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    side = options["side"]
    name = {"both": "strip", "left": "lstrip", "right": "rstrip"}[side]
    return lambda value, _trace: getattr(value, name)(), form


def _ends(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Take the first bytes, filled at their end, then the last, filled at their beginning."""
    first, last, pad, strip = (options[key] for key in ("first", "last", "pad", "strip"))
    block = options["block"]
    if not first + last:
        raise Misfit("given first or last")
    if block is not None and block < max(first, last):
        raise Misfit("given a block of at least first and last")

    def run(value: Any, _trace: Trace) -> Any:
        head = value if block is None else value[:block]
        tail = value if block is None else value[max(0, len(value) - block) :]
        head, tail = (head.lstrip(), tail.rstrip()) if strip else (head, tail)
        head, tail = head[:first], tail[max(0, len(tail) - last) :]
        found = np.full(first + last, pad, np.int32)
        found[: len(head)] = np.frombuffer(head, np.uint8)
        found[first + last - len(tail) :] = np.frombuffer(tail, np.uint8)
        return found

    return run, replace(form, state="ids", shape=(first + last,), dtype="int32")


def _tokens(value: Any) -> Any:
    """Read tokens: a list, whose places are the ids, or a mapping from token to id."""
    if not is_mapping(value):
        return listed(text, most=_MOST_TOKENS)(value)
    good = all(isinstance(key, str) for key in value)
    if not good or not 0 < len(value) <= _MOST_TOKENS:
        raise Misfit(f"a list or a mapping of 1 to {_MOST_TOKENS} tokens")
    return {key: _ID(value[key]) for key in value}


_ID = whole(-_MOST_ID, _MOST_ID)
_SIZE = whole(0, 1 << 22)
_IDS = either(listed(_ID, least=0, most=256))
_STRIP = StepType({"side": Option(choice(*_SIDES), "both")}, _strip, short="side")
_LOWER = StepType({}, _text(str.lower))

_ON_BYTES = {
    "strip": _STRIP,
    "ends": StepType(
        {
            "first": Option(_SIZE, 0),
            "last": Option(_SIZE, 0),
            "pad": Option(_ID),
            "strip": Option(flag, default=False),
            "block": Option(optional(whole(1, 1 << 28)), None),
        },
        _ends,
    ),
    "codes": StepType({}, _codes),
}
_ON_IDS = {
    "length": StepType(
        {
            "to": Option(whole(1, 1 << 22)),
            "pad": Option(_ID, 0),
            "keep": Option(choice("start", "end"), "start"),
            "fill": Option(choice("end", "start"), "end"),
            "before": Option(_IDS, ()),
            "after": Option(_IDS, ()),
        },
        _length,
        short="to",
    ),
    "bag": StepType(
        {"size": Option(whole(1, 1 << 22)), "binary": Option(flag, default=False)},
        _bag,
        short="size",
    ),
    **array.STEPS,
}
_ON_TEXT = {
    "unicode": StepType(
        {"form": Option(choice("NFC", "NFKC", "NFD", "NFKD"), "NFC")}, _unicode, short="form"
    ),
    "lower": _LOWER,
    "strip": _STRIP,
    "split": StepType(
        {"by": Option(choice("whitespace", "characters"), "whitespace")}, _split, "by"
    ),
    "encode": StepType({}, _encode),
}
_ON_TOKENS = {
    "lower": _LOWER,
    "vocabulary": StepType(
        {"tokens": Option(_tokens), "unknown": Option(optional(_ID), None)},
        _vocabulary,
        short="tokens",
    ),
    "hash": StepType(
        {"buckets": Option(whole(1, _MOST_ID >> 1)), "first": Option(whole(0, 1 << 20), 0)},
        _hash,
        short="buckets",
    ),
}
_AFTER = {"bytes": _ON_BYTES, "ids": _ON_IDS, "array": array.STEPS}
_OPEN = {
    "tokens": "tokens become numbers by vocabulary or hash",
    "bytes": "bytes become numbers by ends or codes",
}

TEXT = Kind(
    options={"max_characters": Option(whole(1, 1 << 26), 1_000_000)},
    start=start_text,
    steps={"text": _ON_TEXT, "tokens": _ON_TOKENS, **_AFTER},
    raw=lambda _options: ((), "str"),
    open_states=_OPEN,
)
BYTES = Kind(
    options={},
    start=start_bytes,
    steps=_AFTER,
    raw=lambda _options: (("length",), "uint8"),
    open_states=_OPEN,
)
