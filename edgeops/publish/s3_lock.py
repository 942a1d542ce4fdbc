"""The lock of a repository in S3: an object that only one publisher can make, renewed while it works.

By the clock of the server alone: a lock that nobody renewed for ``LOCK_S`` is of a publisher that
died, and is taken over by whoever replaces exactly that object.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from edgeops.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

LOCK = ".edgeops-publishing"
LOCK_S = 900.0
RENEW_S = 120.0
WAIT_S = 120.0
_GONE = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class Lease:
    """Holds the lock while the block runs; ``check`` raises once another publisher has it.

    ``errors`` turns what boto3 raises into the store's own errors.
    """

    def __init__(
        self,
        client: Any,
        place: dict[str, str],
        where: str,
        errors: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._client, self._place = client, place
        self._where, self._errors = where, errors
        self._mine = secrets.token_hex(16).encode()
        self._tag = ""
        self._ended = threading.Event()
        self._lost = False
        self._renewing = threading.Thread(target=self._renew, name="edgeops-lock", daemon=True)

    def __enter__(self) -> Self:
        self._tag = self._take()
        self._renewing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._renewing.join()
        if not self._lost:
            self._leave()

    def check(self) -> None:
        """Raise TransportError ``store-busy`` when the lock was taken over."""
        if self._lost:
            raise self._busy("another publisher took the lock over, for it had not been renewed")

    def _put(self, condition: dict[str, str]) -> str:
        answer = self._client.put_object(**self._place, Body=self._mine, **condition)
        return str(answer["ETag"])

    def _take(self) -> str:
        from botocore.exceptions import ClientError

        until = time.monotonic() + WAIT_S
        condition = {"IfNoneMatch": "*"}
        while True:
            with self._errors(LOCK):
                try:
                    return self._put(condition)
                except ClientError as error:
                    if code(error) not in _TAKEN | _GONE:
                        raise
                condition = self._stale()
            if time.monotonic() > until:
                raise self._busy(f"the lock was held for {WAIT_S:g} s")
            time.sleep(min(1.0, WAIT_S / 10))

    def _stale(self) -> dict[str, str]:
        """Return the condition to take a lock by: that it is gone, or as old as it is now."""
        from botocore.exceptions import ClientError

        try:
            held = self._client.head_object(**self._place)
        except ClientError as error:
            if code(error) in _GONE:
                return {"IfNoneMatch": "*"}
            raise
        age = (_date(held) - held["LastModified"]).total_seconds()
        return {"IfMatch": held["ETag"]} if age > LOCK_S else {"IfNoneMatch": "*"}

    def _renew(self) -> None:
        """Write the lock again while the publisher works: large bundles take long to send."""
        from botocore.exceptions import BotoCoreError, ClientError

        while not self._ended.wait(RENEW_S):
            try:
                self._tag = self._put({"IfMatch": self._tag})
            except ClientError as error:
                self._lost = code(error) in _TAKEN | _GONE
                if self._lost:
                    return
            except BotoCoreError:
                continue  # LOCK_S leaves time to try again

    def _leave(self) -> None:
        """Remove the lock unless somebody took it over or removed it."""
        from botocore.exceptions import ClientError

        with self._errors(LOCK):
            try:
                if self._client.head_object(**self._place)["ETag"] == self._tag:
                    self._client.delete_object(**self._place)
            except ClientError as error:
                if code(error) not in _GONE:
                    raise

    def _busy(self, why: str) -> TransportError:
        return TransportError(
            "store-busy",
            f"somebody else is publishing to {self._where}",
            where=f"{self._where.rstrip('/')}/{LOCK}",
            why=why,
            fix="try again; a lock of a publisher that died is taken over after "
            f"{LOCK_S / 60:g} minutes",
        )


def code(error: Any) -> str:
    """Return the code of what S3 refused with."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _date(answer: dict[str, Any]) -> Any:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
