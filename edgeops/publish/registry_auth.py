"""Logging in to an OCI registry: what ~/.docker/config.json says, given to whom it asks for it."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import requests

_PAIR = re.compile(r'([a-z_]+)="([^"]*)"')
_TIMEOUT_S = 30.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Login:
    """Answers a registry's challenges; a token or password goes to that registry alone."""

    def __init__(self, session: requests.Session, host: str) -> None:
        self._session = session
        self._host = host
        self._header = ""

    def headers(self, url: str) -> dict[str, str]:
        """Return the headers that let a request in, none for another host."""
        if self._header and urlsplit(url).netloc == self._host:
            return {"Authorization": self._header}
        return {}

    def answer(self, challenge: str, name: str, base: str) -> bool:
        """Get what a ``WWW-Authenticate`` asks for; returns whether there is something new."""
        kind, _, rest = challenge.partition(" ")
        about = dict(_PAIR.findall(rest))
        user, password = credentials(self._host)
        before = self._header
        if kind.lower() == "basic" and user:
            self._header = f"Basic {_basic(user, password)}"
        elif kind.lower() == "bearer" and about.get("realm"):
            token = self._token(about, name, base, user, password)
            self._header = f"Bearer {token}" if token else ""
        return bool(self._header) and self._header != before

    def _token(
        self, about: dict[str, str], name: str, base: str, user: str, password: str
    ) -> str | None:
        realm = urlsplit(about["realm"])
        plain = base.startswith("http:") and realm.hostname in (*_LOOPBACK, urlsplit(base).hostname)
        if realm.scheme != "https" and not plain:
            return None  # a password is never sent in the open to a place that somebody names
        asked = {"scope": about.get("scope") or f"repository:{name}:pull,push"}
        if about.get("service"):
            asked["service"] = about["service"]
        answer = self._session.get(
            about["realm"],
            params=asked,
            headers={"Authorization": f"Basic {_basic(user, password)}"} if user else {},
            timeout=_TIMEOUT_S,
        )
        if not answer.ok:
            return None
        try:
            document: dict[str, Any] = answer.json()
            return str(document.get("token") or document.get("access_token") or "") or None
        except (ValueError, AttributeError):
            return None


def credentials(host: str) -> tuple[str, str]:
    """Return user and password for a registry from Docker's config.json, "" where there are none."""
    folder = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    try:
        auths = json.loads((Path(folder) / "config.json").read_bytes()).get("auths", {})
        for key in (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/"):
            if key in auths:
                entry = auths[key]
                if "auth" in entry:
                    user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                    return user, password
                return str(entry.get("username", "")), str(entry.get("password", ""))
    except (OSError, ValueError, AttributeError, TypeError, binascii.Error):
        pass
    return "", ""


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
