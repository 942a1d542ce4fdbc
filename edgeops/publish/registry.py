"""A client of OCI registries: what the distribution specification says, no more than we need.

``oci://host[:port]/name``; plain HTTP is spoken to this machine only, or where it is said with
``oci+http://``. Every digest is checked, of what is sent and of what is read.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urljoin, urlsplit

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.manifest import MANIFEST_TYPE, Descriptor
from edgeops.errors import EdgeopsError, InputError, MissingError, TransportError, TrustError
from edgeops.publish.registry_auth import Login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Pieces = Callable[[Descriptor], Iterator[bytes]]
    Response = Any

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
SCHEMES = ("oci://", "oci+http://")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TRIES = 4
_BACKOFF_S = 0.5
_TIMEOUT_S = (10.0, 120.0)
_PART = 8 << 20
_MOST_MANIFEST = 8 << 20
_OK, _CREATED, _ACCEPTED, _NO_CONTENT = 200, 201, 202, 204
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_TOO_MANY, _SERVER = 429, 500


@dataclass(frozen=True)
class Address:
    """Where a bundle lies in a registry; ``mount`` are names that blobs may be taken from."""

    base: str
    host: str
    name: str
    reference: str = ""
    mount: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"oci://{self.host}/{self.name}"


def parse_address(location: str) -> Address:
    """Return the parts of ``oci://host[:port]/name[:tag][?mount=name]``.

    Raises InputError ``registry-address``.
    """
    parts = urlsplit(location)
    host, path = parts.netloc, parts.path.strip("/")
    name, at, reference = path.partition("@")
    if not at:
        name, _, reference = path.partition(":")
    mount = tuple(parse_qs(parts.query).get("mount", ()))
    fits = parts.scheme in ("oci", "oci+http") and host and "@" not in host
    fits = fits and all(_NAME.fullmatch(item) for item in (name, *mount))
    if not fits or (reference and not at and not _TAG.fullmatch(reference)):
        raise InputError(
            "registry-address",
            f"{location!r} is no place in a registry",
            where=location,
            why="it is a host, and a name of lower-case letters, digits and . _ - /",
            fix="say for example oci://registry.example.com/team/digits",
        )
    plain = parts.scheme == "oci+http" or parts.hostname in _LOOPBACK
    return Address(f"{'http' if plain else 'https'}://{host}", host, name, reference, mount)


class Registry:
    """One name in a registry: its blobs, manifests and tags."""

    def __init__(self, address: Address) -> None:
        import requests

        self.address = address
        self._session = requests.Session()
        self._login = Login(self._session, address.host)
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def put_blob(self, blob: Descriptor, pieces: Pieces) -> int:
        """Put a blob unless it is there or can be taken from another name; returns bytes sent."""
        answer = self._ask("HEAD", f"blobs/{blob.digest}", allowed=(_OK, _NOT_FOUND))
        if answer.status_code == _OK:
            return 0
        for other in self.address.mount:
            query = f"blobs/uploads/?mount={blob.digest}&from={other}"
            answer = self._ask("POST", query, allowed=(_CREATED, _ACCEPTED))
            if answer.status_code == _CREATED:
                return 0
        for _ in range(_TRIES):
            begun = self._ask("POST", "blobs/uploads/", allowed=(_ACCEPTED,))
            place = self._upload(self._next(begun), blob, pieces(blob))
            if place is not None:
                joint = "&" if "?" in place else "?"
                done = self._ask("PUT", f"{place}{joint}digest={blob.digest}", allowed=(_CREATED,))
                self._same(done, blob.digest)
                return blob.size
        raise self._unreachable("the upload was broken off too often")

    def get_blob(self, blob: Descriptor) -> Iterator[bytes]:
        """Yield a blob in pieces, checked as it goes: the error comes after the last piece.

        A connection that breaks is taken up where it broke.
        """
        sha, done, tries = hashlib.sha256(), 0, 0
        while done < blob.size:
            before = done
            try:
                for piece in self._range(blob, done):
                    sha.update(piece)
                    done += len(piece)
                    yield piece
            except OSError as error:  # all of requests' errors are
                tries = 1 if done > before else tries + 1
                if tries >= _TRIES:
                    raise self._unreachable(error) from error
                time.sleep(_BACKOFF_S * 2**tries)
            else:
                break
        if done != blob.size or digest(sha.hexdigest()) != blob.digest:
            raise self._differs(blob.digest)

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> bool:
        """Put a manifest under a tag or its digest; returns whether the registry lists subjects."""
        answer = self._ask(
            "PUT",
            f"manifests/{reference}",
            allowed=(_CREATED,),
            data=data,
            headers={"Content-Type": media_type},
        )
        self._same(answer, digest(sha256_bytes(data)))
        self.sent += len(data)
        return "OCI-Subject" in answer.headers

    def get_manifest(self, reference: str, media_type: str = MANIFEST_TYPE) -> bytes | None:
        """Return a manifest by tag or digest, None where there is none of that name."""
        answer = self._ask(
            "GET",
            f"manifests/{reference}",
            allowed=(_OK, _NOT_FOUND),
            headers={"Accept": media_type},
            stream=True,
        )
        with answer:
            if answer.status_code == _NOT_FOUND:
                return None
            data = bytearray()
            for piece in answer.iter_content(1 << 16):
                data += piece
                if len(data) > _MOST_MANIFEST:
                    raise self._differs(reference)
        found = digest(sha256_bytes(bytes(data)))
        if reference.startswith("sha256:") and reference != found:
            raise self._differs(reference)
        return bytes(data)

    def _range(self, blob: Descriptor, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self._ask(
            "GET", f"blobs/{blob.digest}", allowed=(_OK, 206), headers=headers, stream=True
        )
        with answer:
            skip = start if answer.status_code == _OK else 0
            left = blob.size - start
            for piece in answer.iter_content(1 << 18):
                fresh, skip = piece[skip:], max(skip - len(piece), 0)
                if fresh:
                    yield fresh[:left]
                    left -= len(fresh[:left])
                if left <= 0:
                    return

    def _upload(self, place: str, blob: Descriptor, pieces: Iterator[bytes]) -> str | None:
        """Send all of a blob; returns where to finish it, None when the registry lost the upload."""
        start, sha = 0, hashlib.sha256()
        for part in _regular(pieces):
            sha.update(part)
            after = self._send(place, start, part)
            if after is None:
                return None
            place, start = after, start + len(part)
        if digest(sha.hexdigest()) != blob.digest or start != blob.size:
            raise self._differs(blob.digest)
        return place

    def _send(self, place: str, start: int, part: bytes) -> str | None:
        """Send a part of an upload; when the connection breaks, go on from what has arrived."""
        done = 0
        for attempt in range(_TRIES):
            rest = part[done:]
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{start + done}-{start + len(part) - 1}",
            }
            try:
                answer = self._once("PATCH", place, data=rest, headers=headers)
            except OSError:
                time.sleep(_BACKOFF_S * 2**attempt)
                found = self._arrived(place)
                if found is None:
                    return None
                place, done = found[0], min(max(found[1] - start, 0), len(part))
                if done == len(part):
                    return place
                continue
            if answer.status_code != _ACCEPTED:
                raise self._refused(answer, "PATCH")
            self.sent += len(rest)
            return self._next(answer)
        return None

    def _arrived(self, place: str) -> tuple[str, int] | None:
        """Return where an upload goes on and how much of it is there, None when it was given up."""
        answer = self._ask("GET", place, allowed=(_NO_CONTENT, _NOT_FOUND))
        if answer.status_code == _NOT_FOUND:
            return None
        last = answer.headers.get("Range", "0-0").rpartition("-")[2]
        count = int(last) + 1 if last.isdigit() and last != "0" else 0
        return self._next(answer, place), count

    def _next(self, answer: Response, before: str = "") -> str:
        """Return where an upload goes on."""
        place = str(urljoin(answer.url, answer.headers.get("Location", before)))
        if urlsplit(place).scheme == "http" and not self.address.base.startswith("http:"):
            place = "https" + place[4:]
        return place

    def _ask(self, method: str, path: str, *, allowed: tuple[int, ...], **options: Any) -> Response:
        """Send a request that may be sent again, and try again while the server cannot answer."""
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                answer = self._once(method, path, **options)
            except OSError as error:
                if last:
                    raise self._unreachable(error) from error
            else:
                if answer.status_code in allowed:
                    return answer
                if last or answer.status_code not in (_TOO_MANY, *range(_SERVER, 600)):
                    raise self._refused(answer, method)
            time.sleep(_BACKOFF_S * 2**attempt)
        raise AssertionError  # the last attempt returns or raises

    def _once(self, method: str, path: str, **options: Any) -> Response:
        url = path if "://" in path else f"{self.address.base}/v2/{self.address.name}/{path}"
        headers: Mapping[str, str] = options.pop("headers", {})

        def request() -> Response:
            return self._session.request(
                method,
                url,
                headers={**headers, **self._login.headers(url)},
                timeout=_TIMEOUT_S,
                **options,
            )

        answer = request()
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code == _UNAUTHORIZED and challenge:
            answer.close()
            if self._login.answer(challenge, self.address.name, self.address.base):
                return request()
        return answer

    def _same(self, answer: Response, expected: str) -> None:
        stated = answer.headers.get("Docker-Content-Digest", expected)
        if stated != expected:
            raise self._differs(expected)

    def _differs(self, what: str) -> TrustError:
        return TrustError(
            "digest-mismatch",
            "a file of the registry is not the one that its digest names",
            where=f"{self.address}@{what}",
            why="its bytes differ",
            fix="do not use it; publish the bundle there again",
        )

    def _unreachable(self, why: object) -> TransportError:
        return TransportError(
            "registry-unreachable",
            f"the registry {self.address.host} cannot be reached",
            where=str(self.address),
            why=_innermost(why),
            fix="check the address and the network, then try again: what was sent is kept",
        )

    def _refused(self, answer: Response, method: str) -> EdgeopsError:
        said = f"{method} {urlsplit(answer.url).path}: {answer.status_code} {answer.text[:200]}"
        if answer.status_code in (_UNAUTHORIZED, _FORBIDDEN):
            return MissingError(
                "registry-credentials",
                f"the registry {self.address.host} does not let us in",
                where=str(self.address),
                why=said,
                fix=f"docker login {self.address.host} (or skopeo, podman, oras login), which "
                "writes ~/.docker/config.json",
            )
        if answer.status_code == _NOT_FOUND:
            return TransportError(
                "store-missing",
                f"the registry has no such file in {self.address.name}",
                where=str(self.address),
                why=said,
                fix="check the name; publish the bundle there again",
            )
        return TransportError(
            "registry-refused",
            f"the registry {self.address.host} did not do what it was asked",
            where=str(self.address),
            why=said,
            fix="try again; if it stays so, ask whoever runs the registry",
        )


def _regular(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= _PART:
            yield bytes(held[:_PART])
            del held[:_PART]
    if held:
        yield bytes(held)


def _innermost(why: object) -> str:
    """Return what a failure came from: requests and urllib3 wrap it in their own words."""
    seen: list[object] = []
    while why is not None and why not in seen:
        seen.append(why)
        inner = [*getattr(why, "args", ()), getattr(why, "reason", None)]
        inner += [getattr(why, "__cause__", None), getattr(why, "__context__", None)]
        why = next((item for item in inner if isinstance(item, BaseException)), None)
    return next((str(item) for item in reversed(seen) if str(item)), type(seen[0]).__name__)
