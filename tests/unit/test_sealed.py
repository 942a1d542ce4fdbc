"""Sealed files: who can open them, what is noticed, and that no plaintext reaches a disk."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgeops.core.digest import sha256_bytes
from edgeops.core.manifest import SEALED_PIECE, SEALED_TAG, parse_manifest, sealed_size
from edgeops.errors import EdgeopsError, InputError, MissingError, TrustError
from edgeops.package.bundle import open_bundle
from edgeops.package.diff import diff
from edgeops.package.inspect import inspect_bundle
from edgeops.package.layout import Part
from edgeops.package.sealing import Sealer, make_recipient, read_recipient
from edgeops.package.unpack import write_files
from edgeops.package.verify import verify_bundle
from edgeops.package.write import write_bundle
from edgeops.publish.keys import init_keys
from edgeops.runtime.sealed import content_key, opened, read_key, unsealed_folder
from edgeops.runtime.session import load_session
from tests.unit._bundles import pack_full

CHECKOUT = Path(__file__).resolve().parents[2]


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with two recipients and a bundle that is sealed for the first."""
    folder = tmp_path_factory.mktemp("sealed")
    for name in ("device", "other"):
        make_recipient(folder / name)
    pack_full(
        folder,
        encrypt=("variant:gateway", "rules", "labels"),
        recipients=(folder / "device",),
    )
    return folder


def _unpacked(place, out):
    with open_bundle(place / "full.edgeops") as bundle:
        write_files(out, bundle.manifest_bytes, bundle.manifest.layers, bundle.pieces)
    return out, parse_manifest((out / "bundle.json").read_bytes(), "m")


def test_a_sealed_bundle_is_verified_and_shown_without_a_key(place):
    result = verify_bundle(place / "full.edgeops")
    assert result["sealed"] == [
        "labels.txt",
        "rules.json",
        "rules.yaml",
        "variants/gateway/model.onnx",
    ]
    about = inspect_bundle(place / "full.edgeops")
    assert about["targets"]["gateway"]["needs"]["opset"] == 17
    assert about["targets"]["gateway"]["needs"]["uses"] == ["camera"]
    assert {item["path"] for item in about["layers"] if item["sealed"]} == set(result["sealed"])


def test_demo_says_that_its_model_is_sealed_and_what_opens_it(place, tmp_path):
    out, manifest = _unpacked(place, tmp_path / "out")
    demos = [each.path for each in manifest.layers if each.path.endswith("python/demo.py")]
    done = {
        target: subprocess.run(
            [sys.executable, path, f"variants/{target}"],
            cwd=out,
            capture_output=True,
            text=True,
            check=False,
        )
        for path in demos
        for target in ("gateway", "camera")
        if f"/{target}/" in path
    }
    sealed = done["gateway"].stderr.splitlines()
    assert (done["gateway"].returncode, len(sealed)) == (1, 1)
    assert sealed[0].startswith("model.onnx is sealed")
    assert "Predictor(" in sealed[0]
    assert "device.key" in sealed[0]
    assert (done["camera"].returncode, done["camera"].stderr) == (0, "")


def test_nothing_sealed_stands_in_the_bundle_in_clear(place):
    whole = (place / "full.edgeops").read_bytes()
    assert (place / "gateway" / "model.onnx").read_bytes() not in whole
    assert (place / "camera" / "model.onnx").read_bytes() in whole
    assert b"- answer: {found: true}" not in whole
    assert b"dog\nbird" not in whole
    assert b"`bird`" not in whole  # the card lists labels


def test_a_recipient_opens_all_and_loads_the_model(place, tmp_path):
    out, manifest = _unpacked(place, tmp_path / "out")
    assert (out / "labels.txt").read_bytes() != b"cat\ndog\nbird\n"
    with unsealed_folder(out, manifest, place / "device" / "device.key") as folder:
        for layer in manifest.layers:
            data = (folder / layer.path).read_bytes()
            assert sha256_bytes(data) == layer.content.hex
            assert len(data) == layer.content.size
        assert (folder / "bundle.json").read_bytes() == (out / "bundle.json").read_bytes()
        session = load_session(folder / "variants" / "gateway")
        assert session.inputs[0].name == "x"
    assert not folder.exists()


def test_opened_files_are_in_memory_and_cannot_be_written(place, tmp_path):
    out, manifest = _unpacked(place, tmp_path / "out")
    with unsealed_folder(out, manifest, place / "device" / "device.key") as folder:
        link = folder / "variants" / "gateway" / "model.onnx"
        assert str(link.readlink().readlink()).startswith("/memfd:")
        with pytest.raises(PermissionError), link.open("r+b", buffering=0) as file:
            file.write(b"x")


_TRACED = """
import sys, tempfile
from pathlib import Path
from edgeops.core.manifest import parse_manifest
from edgeops.runtime.sealed import unsealed_folder
out, key = Path(sys.argv[1]), Path(sys.argv[2])
written = []
tempfile.gettempdir()  # which tries where it may write
sys.addaudithook(lambda event, given: written.append(given) if event == "open" else None)
with unsealed_folder(out, parse_manifest((out / "bundle.json").read_bytes(), "m"), key) as folder:
    (folder / "variants/gateway/model.onnx").read_bytes()
    kinds = [p.is_symlink() for p in folder.rglob("*") if not p.is_dir()]
    assert kinds and all(kinds), kinds
for path, mode, flags in written:
    if isinstance(path, str) and flags & 3:
        raise SystemExit(f"{path} was opened for writing")
"""


def test_no_file_is_opened_for_writing(place, tmp_path):
    out, _ = _unpacked(place, tmp_path / "out")
    subprocess.run(
        [sys.executable, "-c", _TRACED, str(out), str(place / "device" / "device.key")],
        cwd=CHECKOUT,
        check=True,
    )


def test_a_bundle_with_nothing_sealed_needs_no_key(tmp_path):
    pack_full(tmp_path)
    out, manifest = _unpacked(tmp_path, tmp_path / "out")
    with unsealed_folder(out, manifest, None) as folder:
        assert folder == out


def _open(folder, manifest, key):
    with unsealed_folder(folder, manifest, key):
        pass


def test_nobody_else_opens_it(place, tmp_path):
    out, manifest = _unpacked(place, tmp_path / "out")
    key = place / "device" / "device.key"
    assert _code(_open, out, manifest, None) == ("sealed-key-needed", 4)
    other = place / "other" / "device.key"
    assert _code(_open, out, manifest, other) == ("sealed-for-others", 20)
    assert _code(_open, out, manifest, tmp_path / "no.key") == ("sealed-key-missing", 4)
    (tmp_path / "bad.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n")
    assert _code(_open, out, manifest, tmp_path / "bad.key") == ("sealed-key-malformed", 3)
    (tmp_path / "new.key").write_bytes(key.read_bytes().replace(b"BQYDK2Vu", b"BQYDK2Vz"))
    assert _code(_open, out, manifest, tmp_path / "new.key") == ("sealed-key-malformed", 3)
    public = place / "device" / "device.pub"
    assert _code(_open, out, manifest, public) == ("sealed-key-malformed", 3)
    init_keys(tmp_path / "signing")
    signing = next((tmp_path / "signing").glob("*.pem"))
    assert _code(_open, out, manifest, signing) == ("sealed-key-malformed", 3)
    (out / "sealed.json").unlink()
    assert _code(_open, out, manifest, key) == ("sealed-changed", 20)


def _edited(place, tmp_path, path, change):
    out, manifest = _unpacked(place, tmp_path / "out")
    (out / path).write_bytes(change((out / path).read_bytes()))
    return _code(_open, out, manifest, place / "device" / "device.key")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "sealed-changed"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 128]), "sealed-changed"),
        (lambda data: data[:-1], "sealed-changed"),
        (lambda data: data + b"\0", "sealed-changed"),
        (lambda data: b"", "sealed-truncated"),
    ],
)
def test_a_changed_file_does_not_open(place, tmp_path, change, code):
    assert _edited(place, tmp_path, "variants/gateway/model.onnx", change) == (code, 20)


def _entry(**changes):
    def change(data):
        document = json.loads(data)
        document["recipients"][0].update(changes)
        return json.dumps(document).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"[]",
        lambda data: b"[" * 5000,
        lambda data: data.replace(b"sealed/1", b"sealed/2"),
        _entry(wrapped="00" * 48),
        _entry(wrapped="zz"),
        _entry(ephemeral="00" * 31),
        _entry(ephemeral="00" * 32),
    ],
)
def test_changed_keys_do_not_open(place, tmp_path, change):
    assert _edited(place, tmp_path, "sealed.json", change) == ("sealed-changed", 20)


def test_a_file_does_not_open_in_the_place_of_another(place, tmp_path):
    out, manifest = _unpacked(place, tmp_path / "out")
    secret = content_key(
        (out / "sealed.json").read_bytes(), read_key(place / "device" / "device.key"), "x"
    )
    layer = manifest.find("labels.txt")
    data = (out / "labels.txt").read_bytes()
    assert b"".join(opened([data], layer, secret)) == b"cat\ndog\nbird\n"
    moved = replace(layer, path="other.txt")
    with pytest.raises(TrustError) as caught:
        list(opened([data], moved, secret))
    assert caught.value.code == "sealed-changed"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return a sealed file of three pieces: its layer, its bytes, its plaintext and its key."""
    folder = tmp_path_factory.mktemp("large")
    make_recipient(folder / "key")
    plain = os.urandom(2 * SEALED_PIECE + 1000)
    sealing = Sealer(["code"], [read_recipient(folder / "key")])
    part = Part("weights.raw", "code", plain)
    path = write_bundle(folder / "x", "x", "1", [part], variants={}, sealer=sealing).path
    with open_bundle(path) as bundle:
        layer = bundle.manifest.find("weights.raw")
        data = b"".join(bundle.pieces(layer.blob))
        document = bundle.read(bundle.manifest.find("sealed.json").blob, 1 << 16)
    return layer, data, plain, content_key(document, read_key(folder / "key/device.key"), "x")


def test_pieces_cannot_be_dropped_moved_or_repeated(large):
    layer, data, plain, key = large
    size = SEALED_PIECE + SEALED_TAG
    first, second, third = data[:size], data[size : 2 * size], data[2 * size :]
    assert b"".join(opened([data], layer, key)) == plain
    wrong = {
        "dropped": first + third,
        "cut at a piece": first + second,
        "moved": second + first + third,
        "repeated": first + first + second + third,
        "cut within a piece": data[: size + 5000],
        "longer": data + third,
    }
    for name, changed in wrong.items():
        with pytest.raises(TrustError) as caught:
            list(opened([changed], layer, key))
        assert caught.value.code in ("sealed-changed", "sealed-truncated"), name


def test_sealing_twice_gives_other_bytes_and_the_same_content(place, tmp_path):
    sealed = {"encrypt": ("variant",), "recipients": (place / "device",)}
    one, two = (pack_full(tmp_path / name, **sealed) for name in "ab")
    assert one.read_bytes() != two.read_bytes()
    found = {item["path"]: item for item in diff(tmp_path, str(one), str(two))["layers"]}
    model = found["variants/camera/model.onnx"]
    assert model["change"] == "changed"
    assert model["before"]["content"] == model["after"]["content"]
    assert found["variants/camera/variant.json"]["change"] == "unchanged"
    assert found["labels.txt"]["change"] == "unchanged"


def test_each_recipient_opens_and_keys_are_wrapped_anew_each_time(place, tmp_path):
    both = (place / "device", place / "other" / "device.pub", place / "device")
    bundle = pack_full(tmp_path, encrypt=("labels",), recipients=both)
    out, manifest = _unpacked(tmp_path, tmp_path / "out")
    assert bundle.is_file()
    for name in ("device", "other"):
        with unsealed_folder(out, manifest, place / name / "device.key") as folder:
            assert (folder / "labels.txt").read_bytes() == b"cat\ndog\nbird\n"
    entries = json.loads((out / "sealed.json").read_bytes())["recipients"]
    assert len(entries) == 2
    assert entries == sorted(entries, key=lambda entry: entry["recipient"])
    assert len({entry["ephemeral"] for entry in entries}) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"encrypt": ("variant",)},
        {"recipients": ("device",)},
        {"encrypt": ("evidence",), "recipients": ("device",)},
        {"encrypt": ("index",), "recipients": ("device",)},
        {"encrypt": ("runtime",), "recipients": ("device",)},
        {"encrypt": ("variant:nowhere",), "recipients": ("device",)},
        {"encrypt": ("labels:gateway",), "recipients": ("device",)},
        {"encrypt": ("doc",), "recipients": ("device",)},
        {"encrypt": ("variant", "baseline:gateway"), "recipients": ("device",)},
    ],
)
def test_what_cannot_be_sealed_is_refused(place, tmp_path, given):
    recipients = [place / name for name in given.get("recipients", ())]
    found = _code(pack_full, tmp_path, **{**given, "recipients": recipients})
    assert found == ("encrypt-usage", 2)
    assert not (tmp_path / "full.edgeops").exists()


def test_a_recipient_is_made_once_and_its_key_is_for_its_owner_alone(tmp_path):
    made = make_recipient(tmp_path / "key")
    assert (tmp_path / "key" / "device.key").stat().st_mode & 0o777 == 0o600
    assert made["recipient"] == sha256_bytes(read_recipient(tmp_path / "key"))
    with pytest.raises(InputError) as caught:
        make_recipient(tmp_path / "key")
    assert caught.value.code == "recipient-exists"


def test_what_is_no_recipient_is_refused(tmp_path):
    init_keys(tmp_path / "signing")
    assert _code(read_recipient, tmp_path / "no.pub") == ("recipient-missing", 3)
    for data in (b"", b"\0\1", (tmp_path / "signing" / "release.pub").read_bytes()):
        (tmp_path / "bad.pub").write_bytes(data)
        assert _code(read_recipient, tmp_path / "bad.pub") == ("recipient-malformed", 3)


def test_a_device_without_cryptography_is_told_so(place, tmp_path, monkeypatch):
    out, manifest = _unpacked(place, tmp_path / "out")
    for name in [name for name in sys.modules if name.startswith("cryptography.hazmat.primitives")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(MissingError) as caught:
        _open(out, manifest, place / "device" / "device.key")
    assert caught.value.code == "sealed-no-cryptography"


def test_a_file_of_another_size_than_it_had_is_not_sealed(tmp_path):
    make_recipient(tmp_path / "key")
    sealing = Sealer(["code"], [read_recipient(tmp_path / "key")])

    for size in (3, 9):
        source = sealing.sealed("x.raw", io.BytesIO(b"01234"), size)
        with pytest.raises(ValueError, match="something is writing"):
            list(iter(lambda: source.readinto(memoryview(bytearray(64))), 0))  # noqa: B023


def test_sizes_of_sealed_files():
    assert sealed_size(0) == SEALED_TAG
    assert sealed_size(1) == 1 + SEALED_TAG
    assert sealed_size(SEALED_PIECE) == SEALED_PIECE + SEALED_TAG
    assert sealed_size(SEALED_PIECE + 1) == SEALED_PIECE + 1 + 2 * SEALED_TAG


def test_files_open_by_what_the_documentation_says_alone(large, place, tmp_path):
    """A client in another language has docs/formats/encryption.md and nothing else."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    def derive(secret, salt, info):
        return HKDF(hashes.SHA256(), 32, salt, b"edgeops.sealed/1 " + info).derive(secret)

    out, _ = _unpacked(place, tmp_path / "out")
    key = load_pem_private_key((place / "device" / "device.key").read_bytes(), None)
    public = key.public_key().public_bytes_raw()
    document = json.loads((out / "sealed.json").read_bytes())
    (entry,) = document["recipients"]
    assert entry["recipient"] == sha256_bytes(public)
    ephemeral = bytes.fromhex(entry["ephemeral"])
    secret = key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    wrapping = AESGCM(derive(secret, ephemeral + public, b"wrap"))
    content = wrapping.decrypt(bytes(12), bytes.fromhex(entry["wrapped"]), None)
    manifest = json.loads((out / "bundle.json").read_bytes())
    for layer in manifest["layers"]:
        if "dev.edgeops.sealed" in layer["annotations"]:
            path = layer["annotations"]["org.cncf.model.filepath"]
            about = json.loads(layer["annotations"]["dev.edgeops.sealed"])
            file = derive(content, bytes.fromhex(about["nonce"]), b"file " + path.encode())
            plain = AESGCM(file).decrypt(bytes(11) + b"\1", (out / path).read_bytes(), None)
            assert f"sha256:{sha256_bytes(plain)}" == about["plain"]
            assert len(plain) == about["size"]
    layer, data, plain, content = large
    file = AESGCM(derive(content, bytes.fromhex(layer.seal.nonce), b"file weights.raw"))
    size = (1 << 20) + 16
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    opened_by_hand = [
        file.decrypt(number.to_bytes(11, "big") + bytes([number == len(pieces) - 1]), piece, None)
        for number, piece in enumerate(pieces)
    ]
    assert b"".join(opened_by_hand) == plain
