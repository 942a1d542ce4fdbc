"""A repository for tests of the agent: really signed, made of any files, in a folder; no packing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from edgeops.core.channel import Channel, Offer
from edgeops.core.digest import digest, sha256_bytes, sha256_file
from edgeops.core.files import canonical_json
from edgeops.core.manifest import CONFIG_TYPE, Descriptor, Layer, Manifest
from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from tests.helpers import write_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

BYTES = "application/octet-stream"
_ROLES = ("root", "timestamp", "snapshot", "targets")


@dataclass
class Repo:
    """A folder that an agent updates from; ``publish`` signs what it then serves."""

    folder: Path
    signers: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    root: bytes = b""
    offers: dict[str, tuple[Offer, ...]] = field(default_factory=dict)
    made: list[Offer] = field(default_factory=list)

    def __post_init__(self) -> None:
        from securesystemslib.signer import CryptoSigner
        from tuf.api.metadata import Metadata, Root

        for name in _ROLES:
            self.signers.setdefault(name, CryptoSigner.generate_ed25519())
        root = Root(expires=_later(365), consistent_snapshot=True)
        for name, signer in self.signers.items():
            root.add_key(signer.public_key, name)
        metadata = Metadata(root)
        metadata.sign(self.signers["root"])
        self.root = metadata.to_bytes()
        self.write("metadata/1.root.json", self.root)

    def write(self, path: str, data: bytes) -> Path:
        """Put a file into the repository."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place

    def blob(self, data: bytes, media_type: str = BYTES) -> Descriptor:
        """Put a blob into the repository and return its descriptor."""
        name = sha256_bytes(data)
        self.write(f"blobs/sha256/{name}", data)
        return Descriptor(media_type, digest(name), len(data))

    def bundle(self, version: str, files: dict[str, tuple[bytes, str, str | None]]) -> Offer:
        """Put a bundle in: path -> (bytes, kind, target); return an offer of it to everybody."""
        layers = tuple(
            Layer(self.blob(data), path, kind, target)
            for path, (data, kind, target) in sorted(files.items())
        )
        manifest = Manifest("tiny", version, self.blob(b"{}", CONFIG_TYPE), layers)
        data = manifest.encode()
        self.blob(data)
        self.made.append(Offer(version, manifest.descriptor, f"releases/tiny/{version}.json"))
        return self.made[-1]

    def publish(
        self, *offers: Offer, channel: str = "stable", expires: timedelta = timedelta(days=30)
    ) -> Offer:
        """Have a channel offer these, newest first, and sign all of it; return the first."""
        from tuf.api.metadata import MetaFile, Snapshot, TargetFile, Targets, Timestamp

        self.offers[channel] = offers
        self.version += 1
        listed = {}
        for name, each in self.offers.items():
            data = Channel(name, "tiny", each).encode()
            path = f"channels/{name}.json"
            listed[path] = TargetFile.from_data(path, data, ["sha256"])
            self.write(f"targets/channels/{sha256_bytes(data)}.{name}.json", data)
        number, when = self.version, datetime.now(UTC).replace(microsecond=0) + expires
        targets = self._signed("targets", Targets(number, expires=_later(365), targets=listed))
        self.write(f"metadata/{number}.targets.json", targets)
        meta = {"targets.json": MetaFile(number)}
        snapshot = self._signed("snapshot", Snapshot(number, expires=_later(90), meta=meta))
        self.write(f"metadata/{number}.snapshot.json", snapshot)
        about = MetaFile(number, len(snapshot), {"sha256": sha256_bytes(snapshot)})
        stamp = Timestamp(number, expires=when, snapshot_meta=about)
        self.write("metadata/timestamp.json", self._signed("timestamp", stamp))
        return offers[0]

    def _signed(self, role: str, signed: Any) -> bytes:
        from tuf.api.metadata import Metadata

        metadata = Metadata(signed)
        metadata.sign(self.signers[role])
        return metadata.to_bytes()


def variant_files(folder: Path, *, seed: int = 0, target: str = "gateway") -> dict[str, Any]:
    """Return the files of a bundle with one real model and labels."""
    model = write_tiny_model(folder / "model.onnx", seed=seed)
    variant = Variant(
        engine="onnxruntime",
        engine_version="1.20.0",
        precision="fp32",
        model_file="model.onnx",
        inputs=(TensorInfo("x", ("N", 4), "float32"),),
        outputs=(TensorInfo("probabilities", ("N", 3), "float32"),),
        source=digest(sha256_file(model)),
        files=entries(folder),
    )
    write_variant(folder, variant)
    files = {
        f"variants/{target}/{path.name}": (path.read_bytes(), "variant", target)
        for path in folder.iterdir()
    }
    return {**files, "labels.txt": (b"cat\ndog\nbird\n", "labels", None)}


def plain_files(text: str, *, target: str = "gateway") -> dict[str, Any]:
    """Return the files of a bundle whose model is a text: for tests that load nothing."""
    return {
        f"variants/{target}/model.bin": (text.encode() * 50, "variant", target),
        f"variants/{target}/variant.json": (canonical_json({"is": text}), "variant", target),
        "labels.txt": (b"cat\ndog\nbird\n", "labels", None),
    }


def _later(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


def anchored(folder):
    """Return an empty repository in ``folder/repo``, whose root lies beside it."""
    made = Repo(folder / "repo")
    (folder / "root.json").write_bytes(made.root)
    return made
