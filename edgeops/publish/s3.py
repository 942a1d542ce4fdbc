"""A repository in an S3 bucket, or in what speaks its protocol: ``s3://bucket/prefix``.

Credentials and region are what boto3 finds (environment, profile, role of the machine). Another
endpoint is named by EDGEOPS_S3_ENDPOINT, or as the AWS tools do by AWS_ENDPOINT_URL_S3.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, InputError, MissingError, TransportError
from edgeops.publish.s3_lock import LOCK, Lease, code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDPOINT = "EDGEOPS_S3_ENDPOINT"
_PART = 16 << 20
_GONE = {"404", "NoSuchKey", "NotFound"}
_NOT_ALLOWED = {"403", "AccessDenied", "AllAccessDisabled"}
_WRONG = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_NEVER_CACHED = "no-cache"


class S3Store:
    """Objects below a prefix of a bucket; an object is there whole or not at all."""

    name = "s3"
    api = 1

    def __init__(self, location: str = "", client: Any = None) -> None:
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        self._where = location
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._made = client
        self._bucket_seen = False
        self._lease: Lease | None = None

    def at(self, location: str, base: Path) -> S3Store:
        """Return the store for ``s3://bucket/prefix``; ``base`` means nothing here."""
        del base
        return S3Store(location)

    def put(self, path: str, data: bytes | Iterator[bytes]) -> None:
        """Write an object whole: large ones in parts that appear together when the last is there."""
        if self._lease is not None:
            self._lease.check()
        key = self._key(path)
        options = {"CacheControl": _NEVER_CACHED} if path == "metadata/timestamp.json" else {}
        with self._errors(path):
            if isinstance(data, bytes):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **options)
                return
            self._parts(key, data, options)

    def get(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of an object; beyond its end there is nothing.

        Raises TransportError ``store-missing``.
        """
        if length == 0:
            return b""
        end = "" if length is None else str(start + length - 1)
        ranged = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
        from botocore.exceptions import ClientError

        with self._errors(path):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(path), **ranged)
            except ClientError as error:
                if code(error) in ("InvalidRange", "416"):
                    return b""
                raise
            return bytes(answer["Body"].read())

    def exists(self, path: str) -> bool:
        """Return whether an object is there."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Return how long an object is, None when it is not there; its bytes are those put."""
        from botocore.exceptions import ClientError

        with self._errors(path):
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=self._key(path))
            except ClientError as error:
                if code(error) in _GONE:
                    self._check_bucket()
                    return None
                raise
        return int(answer["ContentLength"])

    def list(self, prefix: str) -> list[str]:
        """Return the paths that begin with ``prefix``, sorted."""
        found = []
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                found += [item["Key"][len(self._prefix) :] for item in page.get("Contents", ())]
        return sorted(path for path in found if path != LOCK)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other publishers out by an object that only one can make.

        Raises TransportError ``store-busy`` when another publisher holds it for too long, and from
        :meth:`put` once another has taken it over.
        """
        place = {"Bucket": self._bucket, "Key": self._key(LOCK)}
        with Lease(self._client, place, self._where, self._errors) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def _parts(self, key: str, data: Iterator[bytes], options: dict[str, str]) -> None:
        """Send pieces in parts of a fixed size; when they raise, no object appears."""
        pieces = _regular(data)
        first = next(pieces, b"")
        second = next(pieces, None)
        if second is None:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=first, **options)
            return
        begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, **options)
        about = {"Bucket": self._bucket, "Key": key, "UploadId": begun["UploadId"]}
        try:
            done: list[dict[str, Any]] = []
            for piece in _chain(first, second, pieces):
                number = len(done) + 1
                answer = self._client.upload_part(
                    **about, PartNumber=number, Body=io.BytesIO(piece)
                )
                done.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._client.complete_multipart_upload(**about, MultipartUpload={"Parts": done})
        except BaseException:
            self._client.abort_multipart_upload(**about)
            raise

    def _key(self, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
            raise InputError(
                "path-outside",
                f"{path!r} leads outside {self._where}",
                where=self._where,
                why="a file may only name files within its own folder",
                fix="put the file inside the folder and name it by its relative path",
            )
        return self._prefix + path

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = _connect(self._where)
        return self._made

    def _check_bucket(self) -> None:
        """Tell a bucket that is not there from an object that is not."""
        from botocore.exceptions import ClientError

        if self._bucket_seen:
            return
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if code(error) not in _NOT_ALLOWED:  # who may only read objects may not ask this
                raise
        self._bucket_seen = True

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """Turn what boto3 raises into the error a person can act on."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except EdgeopsError:
            raise
        except NoCredentialsError as error:
            raise self._credentials("boto3 finds none") from error
        except ClientError as error:
            raise self._refused(error, path) from error
        except (BotoCoreError, Boto3Error) as error:
            raise TransportError(
                "repository-unreachable",
                f"{self._where} cannot be reached",
                where=self._where,
                why=str(error),
                fix=f"check the network, the region and {ENDPOINT}, then try again",
            ) from error

    def _refused(self, error: Any, path: str) -> EdgeopsError:
        which, message = code(error), error.response.get("Error", {}).get("Message", "")
        if which == "NoSuchBucket" or (which in _GONE and error.operation_name == "HeadBucket"):
            return InputError(
                "bucket-missing",
                f"there is no bucket {self._bucket}",
                where=self._where,
                why=message or which,
                fix="make the bucket, or correct the address",
            )
        if which in _GONE:
            return TransportError(
                "store-missing",
                f"the repository has no {path}",
                where=self._where,
                why="it is not there, or not yet: a copy may still be under way",
                fix="try again; if it stays away, publish the release again",
            )
        if which in _NOT_ALLOWED | _WRONG:
            return self._credentials(f"{which}: {message}")
        return TransportError(
            "repository-unreachable",
            f"{self._where} did not do what it was asked",
            where=f"{self._where}: {path}",
            why=f"{error.operation_name}: {which}: {message}",
            fix="try again; if it stays so, ask whoever runs the store",
        )

    def _credentials(self, why: str) -> MissingError:
        return MissingError(
            "store-credentials",
            f"{self._where} cannot be used without credentials that may do this",
            where=self._where,
            why=why,
            fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; publishing needs "
            "to list, read, write and delete objects below the prefix",
        )


def _connect(where: str) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise MissingError(
            "boto3-missing",
            "publishing to S3 needs boto3",
            where=where,
            why=str(error),
            fix="pip install 'edgeops[s3]'",
        ) from error
    config = Config(
        retries={"max_attempts": 5, "mode": "standard"},
        connect_timeout=10,
        read_timeout=60,
        # Stores other than Amazon's refuse checksums that they do not know.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    endpoint = os.environ.get(ENDPOINT) or None
    try:
        session = boto3.session.Session()
        region = session.region_name or "us-east-1"
        return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise MissingError(
            "store-credentials",
            f"{where} cannot be used: boto3 is set up wrong",
            where=where,
            why=str(error),
            fix=f"check AWS_PROFILE, AWS_REGION and {ENDPOINT}",
        ) from error


def _chain(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest


def _regular(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of pieces in parts of one size, the last one shorter."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= _PART:
            yield bytes(held[:_PART])
            del held[:_PART]
    if held:
        yield bytes(held)
