"""Room for the bodies of requests: how many bytes of them are held at once, by all connections."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Whoever asks for little is not to wait for those who send much; each connection may hold so much.
SMALL = 1 << 16


class Room:
    """Bytes that may be held at once; one body is always let in, however large it is."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._free = threading.Condition()

    def take(self, size: int, seconds: float) -> Held | None:
        """Return room for a body, None when there was none for so long."""
        if size <= SMALL:
            return Held()
        until = time.monotonic() + seconds
        with self._free:
            while self._held and self._held + size > self._most:
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._free.wait(left)
            self._held += size
        return Held(partial(self._give, size))

    def _give(self, size: int) -> None:
        with self._free:
            self._held -= size
            self._free.notify_all()


class Held:
    """Room that was taken; giving it back twice does nothing."""

    def __init__(self, give: Callable[[], None] = lambda: None) -> None:
        self._give = give

    def give_back(self) -> None:
        """Let others have it: the body is not held any more."""
        give, self._give = self._give, lambda: None
        give()
