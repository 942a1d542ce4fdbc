"""The process that serves a home: what it starts with, when it ends, what it tells the agent."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.files import canonical_json, write_atomic
from edgeops.errors import EdgeopsError, InputError, MissingError
from edgeops.runtime.serving.doors import Server, bound_tcp
from edgeops.runtime.serving.options import Options, read_options
from edgeops.runtime.serving.place import CURRENT, PREVIOUS, SOCKET, address, led_to
from edgeops.runtime.serving.requests import Recorder
from edgeops.runtime.serving.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FORMAT = "edgeops.serving/1"
DEATHS = "serving.json"
# How long a rollback is tried again while an update holds the home.
_BUSY_S = 120.0
_AGAIN_S = 0.2
# Between threads of Python; the default of 5 ms is what a quick answer would wait for a slow one.
_SWITCH_S = 0.0005


def serve(home: Path, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Serve a home until SIGTERM or SIGINT, and return what there is to print.

    ``given`` may have ``target``, ``threads``, ``isolate``, ``port`` or ``http`` (HOST:PORT),
    ``expose``, and ``ready``, which is called with the TCP address once requests are taken. Raises
    InputError ``serve-options`` or ``serve-address``, MissingError ``serve-running``, ``not-writable``
    where no socket can be made, or ``serving-stopped`` when the agent's policy says so.
    """
    from edgeops.runtime.agent.policy import may_serve

    given = given or {}
    may_serve(home)
    with _claimed(home):
        return _serve(home, given, _options(home, given))


def _serve(home: Path, given: Mapping[str, Any], options: Options) -> dict[str, Any]:
    from edgeops.runtime.agent.policy import may_serve
    from edgeops.runtime.agent.status import status
    from edgeops.runtime.agent.trouble import disk

    with disk(home):
        door = _unix(home)
    http = _http(given)
    sys.setswitchinterval(_SWITCH_S)
    drained, before = True, _on_signals(_leave)
    try:
        serving = started(home, options)
        recorder = Recorder(home, options.record, options.record_every_s, options.record_most_bytes)
        server = Server(
            serving, recorder, exposed=bool(given.get("expose")), allowed=lambda: may_serve(home)
        )
        _on_signals(server.stop)
        if http is not None:
            server.listen(http)
        server.listen(door)
        where = server.http or ""
        _say(f"serving {_named(serving)} on {home / SOCKET}{' and ' + where if where else ''}")
        if given.get("ready"):
            given["ready"](where)
        server.keep_house()
        _end(home, before)
        drained = server.drain()
    except _Left:
        _end(home, before)
    return {**status(home), "drained": drained}


def started(home: Path, options: Options) -> Serving:
    """Return what serves the home's current model; the previous one when that cannot be loaded.

    A model that lacks something on this device, as its engine, a key or memory, is not given up: it is
    tried again while the previous one serves.
    A model that has ended the process of the server as often as may be opens of its breaker is
    given up before it is loaded.
    """
    serving = Serving(
        home, options, given_up=lambda slot, why: give_up(home, slot, why), kept=lambda: kept(home)
    )
    slot = led_to(home)
    if slot is not None:
        deaths = _remember(home, clean=False, slot=slot, window_s=options.openings_window_s)
        if options.openings and deaths >= options.openings:
            give_up(home, slot, f"the serving process ended {deaths} times with it")
    for _ in range(2):
        slot = led_to(home)
        if slot is None:
            break
        try:
            serving.install(slot)
        except Exception as error:  # noqa: BLE001 - a server that ends here would be counted as killed by it
            serving.trouble = f"{slot.name}: {_words(error)}"
            _say(f"the current model cannot be loaded: {serving.trouble}")
            if isinstance(error, MissingError) or not isinstance(error, EdgeopsError):
                break
            give_up(home, slot, serving.trouble)
            continue
        return serving
    previous = led_to(home, PREVIOUS)
    if previous is not None:
        try:
            serving.install(previous)
        except Exception as error:  # noqa: BLE001 - as above
            serving.trouble += f"; {previous.name}: {_words(error)}"
    return serving


def _words(error: Exception) -> str:
    if isinstance(error, EdgeopsError):
        return f"{error.what} [{error.code}]: {error.why}"
    return f"{type(error).__name__}: {error}"


def give_up(home: Path, slot: Path, reason: str) -> bool:
    """Have the agent go back and remember not to take a slot again; waits while it is busy."""
    from edgeops.runtime.agent.rollback import GIVEN_UP, rollback

    until = time.monotonic() + _BUSY_S
    while led_to(home) == slot:
        try:
            rollback(home, reason, GIVEN_UP)
        except MissingError as error:
            if time.monotonic() >= until:
                _say(f"not rolled back: {error.what}")
                return False
            time.sleep(_AGAIN_S)
        except EdgeopsError as error:
            _say(f"not rolled back: {error.what}: {error.why}")
            return False
        else:
            _say(f"rolled back: {reason}")
            return True
    return True


def kept(home: Path) -> None:
    """Tell the agent that what serves has served its probation."""
    from edgeops.runtime.agent.probation import confirm

    try:
        confirm(home)
    except EdgeopsError as error:
        _say(f"the end of the probation was not noted: {error.what}")


def _options(home: Path, given: Mapping[str, Any]) -> Options:
    options = read_options(home)
    named = {name: given[name] for name in ("target", "threads", "isolate") if given.get(name)}
    return replace(options, **named)


@contextmanager
def _claimed(home: Path) -> Iterator[None]:
    """Keep other servers off a home, also while this one still loads and answers nobody.

    Raises MissingError ``serve-running``, InputError ``serve-home``.
    """
    import fcntl

    try:
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(
            "serve-home",
            f"there is no agent's folder at {home}",
            where=str(home),
            why=error.strerror or str(error),
            fix="run edgeops-agent update --home DIR first",
        ) from error
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MissingError(
                "serve-running",
                "a server runs on this home already",
                where=str(home / SOCKET),
                why="it serves, or loads what it is to serve",
                fix="use that one, or end it first",
            ) from error
        except OSError:
            pass  # a file system that has no locks is no reason not to serve
        yield
    finally:
        os.close(folder)


def _unix(home: Path) -> socket.socket:
    """Return the bound socket of the home; only its owner may connect."""
    (home / SOCKET).unlink(missing_ok=True)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with address(home) as name:
            link.bind(name)
    finally:
        os.umask(before)
    return link


def _http(given: Mapping[str, Any]) -> socket.socket | None:
    named = given.get("http")
    if not named and given.get("port") is not None:
        named = f"127.0.0.1:{given['port']}"
    return bound_tcp(str(named), expose=bool(given.get("expose"))) if named else None


class _Left(BaseException):
    """The server was told to end while it still loaded."""


def _leave() -> None:
    raise _Left


def _end(home: Path, before: Mapping[int, Any]) -> None:
    """Take no more connections, and note that the server was told to end: no model ended it."""
    for number, handler in before.items():
        signal.signal(number, handler)
    (home / SOCKET).unlink(missing_ok=True)
    _remember(home, clean=True)


def _on_signals(stop: Callable[[], None]) -> dict[int, Any]:
    """Have SIGTERM and SIGINT end the server gently; return what they did before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        number: signal.signal(number, lambda *_: stop())
        for number in (signal.SIGTERM, signal.SIGINT)
    }


def _remember(home: Path, *, clean: bool, slot: Path | None = None, window_s: float = 0.0) -> int:
    """Note that the server starts or ends; return how often it died lately with this slot."""
    path, now = home / DEATHS, time.time()
    try:
        before = json.loads(path.read_bytes())
        deaths = [float(when) for when in before["deaths"]]
        same = slot is not None and before["slot"] == slot.name
        # A device whose power was cut ended its server too, whatever the model.
        died = not before["clean"] and before.get("boot", "") == _boot()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        deaths, same, died = [], False, False
    if clean:
        deaths = []
    elif same and died:
        deaths = [*(when for when in deaths if abs(now - when) < window_s), now]
    elif not same:
        deaths = []
    name = slot.name if slot is not None else ""
    document = {"format": FORMAT, "clean": clean, "slot": name, "deaths": deaths, "boot": _boot()}
    try:
        write_atomic(path, canonical_json(document))
    except (OSError, EdgeopsError):
        return 0  # a full disk is no reason not to serve
    return len(deaths)


def _boot() -> str:
    """Return what tells one run of this machine from the next, "" where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _named(serving: Serving) -> str:
    current = serving.line.current
    if current is None:
        return f"no model ({serving.trouble or CURRENT + ' is not there'})"
    return f"{current.version or 'a variant'} ({current.digest[:19]})"


def _say(text: str) -> None:
    sys.stderr.write(f"edgeops-agent: {text}\n")
    sys.stderr.flush()
