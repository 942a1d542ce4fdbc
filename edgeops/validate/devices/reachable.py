"""Ask devices before time is spent on them: what they are, or why they cannot be reached."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.errors import EdgeopsError, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edgeops.core.contracts import Device

_AT_ONCE = 8
# A plan is looked at several times in a row; the device is asked once.
_REMEMBERED_S = 60.0
_asked: dict[tuple[str, str], tuple[float, Finding | None]] = {}


def ask_all(devices: Iterable[str]) -> Iterator[tuple[str, dict[str, Any] | EdgeopsError]]:
    """Yield each device's text with what it says of itself, or with why it does not, as they come.

    Several are asked at once. The threads do not outlive the process: an interrupt leaves them
    behind, their connections end with it, and with these what runs on the devices.
    """
    left: SimpleQueue[str] = SimpleQueue()
    told: SimpleQueue[tuple[str, dict[str, Any] | BaseException]] = SimpleQueue()
    wanted = list(dict.fromkeys(devices))
    for device in wanted:
        left.put(device)

    def work() -> None:
        # Asking first whether there is one would let two threads wait for the same.
        with suppress(Empty):
            while True:
                device = left.get_nowait()
                told.put((device, _said(device)))

    for number in range(min(len(wanted), _AT_ONCE)):
        threading.Thread(target=work, name=f"edgeops-probe-{number}", daemon=True).start()
    for _ in wanted:
        device, said = told.get()
        if isinstance(said, BaseException) and not isinstance(said, EdgeopsError):
            raise said
        yield device, said


def finding(device: str, engine: str, where: str = "") -> Finding | None:
    """Return why nothing can be measured on a device, None when it can or nobody knows.

    Takes one connection and a few seconds, for kinds of device that offer ``answers``; the others
    show it when they are reached. An answer is remembered for a minute.
    """
    known = _asked.get((device, engine))
    if known is None or time.monotonic() - known[0] > _REMEMBERED_S:
        known = time.monotonic(), _unanswered(device, engine)
        _asked[device, engine] = known
    found = known[1]
    if found is None or not where:
        return found
    return Finding(found.code, f"{found.what} ({found.where})", where, found.why, found.fix)


def _said(device: str) -> dict[str, Any] | BaseException:
    kind, _, address = device.partition(":")
    try:
        plugin: Device = registry.get("devices", kind)
        with plugin.reach(address) as reached:
            return reached.probe()
    except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
        return error


def _unanswered(device: str, engine: str) -> Finding | None:
    kind, _, address = device.partition(":")
    try:
        plugin: Device = registry.get("devices", kind)
        answers: Callable[[str, str], None] | None = getattr(plugin, "answers", None)
        if answers is not None:
            answers(address, engine)
    except EdgeopsError as error:
        return Finding(error.code, error.what, error.where, error.why, error.fix)
    return None
