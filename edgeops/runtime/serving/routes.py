"""What is asked under which path, and what is answered; who may ask it stands here too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, MissingError, RefusedError
from edgeops.runtime.serving.body import inputs_of, reply_of
from edgeops.runtime.serving.http import answered, malformed
from edgeops.runtime.serving.options import parse_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.runtime.serving.http import Head, Reply
    from edgeops.runtime.serving.local import Input
    from edgeops.runtime.serving.serving import Answer, Serving

FORMAT = "edgeops.serve/1"
PREDICT = "/v1/predict"
METHODS = {
    PREDICT: "POST",
    "/v1/status": "GET",
    "/v1/health": "GET",
    "/v1/prepare": "POST",
    "/v1/commit": "POST",
    "/v1/abort": "POST",
    "/v1/rollback": "POST",
}
CONTROL = ("/v1/prepare", "/v1/commit", "/v1/abort", "/v1/rollback")
_OF_BYTES = ("image", "audio", "bytes")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


def check(head: Head, *, local: bool, exposed: bool) -> None:
    """Refuse what may not be asked here, before a body is read.

    Raises InputError ``serve-path``, ``serve-method``, ``serve-control`` or ``serve-host``. Pure.
    """
    method = METHODS.get(head.path)
    if method is None:
        raise InputError(
            "serve-path",
            f"there is nothing at {head.path[:80]!r}",
            where=head.path[:80],
            why=f"there are {', '.join(METHODS)}",
            fix="ask for one of these",
        )
    if head.method != method and not (method == "GET" and head.method == "HEAD"):
        raise InputError(
            "serve-method",
            f"{head.path} takes {method}",
            where=head.method[:20],
            why="each path has one method",
            fix=f"send {method}",
        )
    if local:
        return
    if head.path in CONTROL:
        raise InputError(
            "serve-control",
            f"{head.path} is answered on the Unix socket only",
            where=head.path,
            why="anybody on this machine can reach the port, the agent's user alone the socket",
            fix="ask over HOME/serve.sock",
        )
    host = head.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if exposed or (name in _LOOPBACK and "origin" not in head.headers):
        return
    raise InputError(
        "serve-host",
        "the request comes from a web page or was sent to another name",
        where=host[:80],
        why="a page in a browser could reach this port; only programs of this machine may",
        fix="send it from a program to 127.0.0.1, without the header Origin",
    )


def inputs(serving: Serving, head: Head, data: bytes) -> dict[str, Any]:
    """Return the inputs of a request for ``predict``; raises InputError."""
    model = serving.line.current
    tensors: tuple[Input, ...] = () if model is None else model.runner.inputs
    kind = head.headers.get("content-type", "")
    values = inputs_of(kind, data, tensors, head.query.get("input"))
    for each in tensors:
        if each.kind in _OF_BYTES and isinstance(values.get(each.name), str):
            values[each.name] = _bytes(each, values[each.name])
    return values


def _bytes(tensor: Input, text: str) -> bytes:
    """Return the bytes that a text stands for.

    In this process a text is the path of a file. Whoever asks over a socket is not to read files
    with the rights of the server.
    """
    if tensor.kind == "bytes":
        return text.encode()
    raise malformed(
        f"{tensor.name!r} takes the bytes of an {tensor.kind}, as base64 or as the body itself, "
        "and never the path of a file"
    )


def predicted(answer: Answer, head: Head) -> Reply:
    """Return the reply to ``predict``."""
    return reply_of(answer, head.headers.get("accept", ""))


def asked(serving: Serving, head: Head, about: Mapping[str, Any]) -> Reply:
    """Answer ``status`` or ``health``."""
    if head.path == "/v1/status":
        return answered({"format": FORMAT, **about, **serving.about()})
    line = serving.line
    models = [each for each in (line.current, line.previous) if each is not None]
    able = [each for each in models if each.breaker.state == "closed" and each.runner.ready]
    words = "ok" if able and able[0] is line.current else "degraded" if able else "unavailable"
    return answered({"status": words}, 200 if able else 503)


def controlled(serving: Serving, head: Head, data: bytes) -> Reply:
    """Do what the agent asks over the Unix socket; raises InputError, RefusedError."""
    document = _document(data)
    if head.path == "/v1/prepare":
        options = parse_options(document.get("options") or {}, "options", serving.options)
        slot = Path(_text(document, "slot"))
        return answered(
            serving.prepare(slot, options, again=document.get("again") is True).to_json()
        )
    if head.path == "/v1/commit":
        serving.commit(document.get("digest"))
    elif head.path == "/v1/abort":
        return answered({"aborted": serving.abort()})
    else:
        _back(serving, str(document.get("reason") or "asked to"))
    current = serving.line.current
    return answered(
        {
            "version": None if current is None else current.version,
            "digest": None if current is None else current.digest,
        }
    )


def _back(serving: Serving, reason: str) -> None:
    before = serving.line
    serving.follow()
    if serving.line is before and not serving.rollback(reason):
        raise RefusedError(
            "serve-no-previous",
            "there is no previous model to go back to",
            why="its probation is over and it was unloaded, or there never was one",
            fix="edgeops-agent rollback goes back to HOME/previous, and the server follows",
        )


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise malformed(f"its body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise malformed("its body is no JSON object")
    return document


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise malformed(f"its body has no {name!r}")
    return value


def busy(what: str) -> MissingError:
    """Return the error for a request that comes when there is no room for it."""
    return MissingError(
        "serve-busy",
        "the server has more to do than it may take on",
        why=what,
        fix="send it again after a moment, or raise connections or concurrency",
    )


def no_room(size: int) -> MissingError:
    """Return the error for a body that comes while others take up what may be held at once."""
    return MissingError(
        "serve-no-room",
        f"there is no room for a body of {size} bytes beside those that are being answered",
        why="most_bodies bounds what all requests hold at once, and a wait of wait_s brought none",
        fix="send it again after a moment, or raise most_bodies",
    )


def stopping() -> MissingError:
    """Return the error for a request that comes while the server is ending."""
    return MissingError(
        "serve-stopping",
        "the server is ending",
        why="it was told to, and finishes what it has begun",
        fix="send it again once it has been started again",
    )
