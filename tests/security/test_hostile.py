"""Bundles that a publisher signed and must not have: what a device refuses although the keys are right."""

from __future__ import annotations

import copy
import io
import json
import stat
import zipfile
import zlib
from hashlib import sha256

import pytest

from edgeops.core.files import canonical_json
from edgeops.errors import EdgeopsError
from edgeops.runtime import delta as delta_room
from edgeops.runtime.agent.attributes import attributes
from edgeops.runtime.delta import Header
from edgeops.runtime.delta.header import END
from tests.security._device import devices
from tests.security._world import blob_path, channel_file, craft, forge, layer_of

BOMB = 64 << 20


@pytest.fixture(scope="module")
def templates(world, fast_folder):
    return devices(world, fast_folder / "hostile")


@pytest.fixture
def device(templates, fast_folder):
    return templates["first"].copy_to(fast_folder / "hostile" / "one")


@pytest.fixture
def refuses(world, device):
    """The code is said, the first release goes on, nothing lies outside, the next good one is taken."""

    def check(files, code):
        assert device.update(files) == code
        assert device.serving() == "1.0.0"
        assert sorted(path.name for path in device.folder.iterdir()) == [
            "home",
            "repo",
            "root.json",
        ]
        good = forge(world.states[2], world.signers, {"targets": _ten_more, "snapshot": _ten_more})
        good = forge(good, world.signers, {"timestamp": _ten_more})
        assert device.update(good) == "updated"
        assert device.serving() == "1.2.0"

    return check


def _ten_more(signed):
    signed.version += 10


def _wheel(*entries):
    """Return a wheel of (name, bytes, mode) and so many more entries as are given."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return data.getvalue()


def _with_wheel(data):
    def change(manifest, store):
        layer = copy.deepcopy(layer_of(manifest, "variant.json"))
        layer.update(store(data))
        layer["mediaType"] = "application/vnd.cncf.model.code.v1.raw"
        layer["annotations"].update(
            {
                "org.cncf.model.filepath": "runtime/gateway/engine-1.0-py3-none-any.whl",
                "dev.edgeops.kind": "runtime",
            }
        )
        manifest["layers"].append(layer)

    return change


FILE = stat.S_IFREG | 0o644


@pytest.mark.parametrize(
    "entries",
    [
        [("../../../evil.py", b"1", FILE)],
        [("/tmp/evil.py", b"1", FILE)],
        [("a/../../evil.py", b"1", FILE)],
        [("..\\evil.py", b"1", FILE)],
        [("c:evil.py", b"1", FILE)],
        [("link", b"../../../../root.json", stat.S_IFLNK | 0o777)],
        [("link", b"/etc", stat.S_IFLNK | 0o777), ("link/passwd", b"1", FILE)],
        [("pipe", b"", stat.S_IFIFO | 0o644)],
        [("a", b"1", FILE), ("A", b"2", FILE)],
        [("a", b"1", FILE), ("a/b", b"2", FILE)],
        [("bomb", bytes(BOMB), FILE)],
        [(f"bomb{number}", bytes(1 << 20), FILE) for number in range(40)],
    ],
    ids=lambda entries: entries[0][0],
)
def test_a_wheel_that_is_a_trick(world, refuses, entries):
    refuses(craft(world, _with_wheel(_wheel(*entries))), "wheel-unsafe")


@pytest.mark.parametrize("damage", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_a_wheel_that_is_none(world, refuses, damage):
    data = damage if len(damage) < 20 else damage[:-1]
    refuses(craft(world, _with_wheel(data)), "wheel-unsafe")


def test_a_wheel_that_says_it_is_small(world, refuses):
    """The sizes in the directory of an archive are what somebody wrote there."""
    honest = _wheel(("bomb", bytes(BOMB), FILE))
    size = BOMB.to_bytes(4, "little")
    refuses(craft(world, _with_wheel(honest.replace(size, b"\x10\0\0\0"))), "wheel-unsafe")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("variants/gateway/../../../evil", "bundle-path-outside"),
        ("variants/gateway//evil", "bundle-path-outside"),
        ("variants/gateway/c:evil", "bundle-path-outside"),
        ("variants/gateway/..\\evil", "bundle-path-outside"),
        ("variants/gateway/evil\n", "bundle-path-outside"),
        ("/etc/passwd", "bundle-malformed"),
        ("../evil", "bundle-malformed"),
        ("variants/phone/model.onnx", "bundle-malformed"),
        ("variants/gateway/model.onnx/evil", "bundle-malformed"),
        ("variants/gateway/MODEL.onnx", "bundle-malformed"),
        ("bundle.json", "bundle-malformed"),
    ],
)
def test_a_manifest_whose_paths_are_tricks(world, refuses, path, code):
    def change(manifest, store):
        layer = copy.deepcopy(layer_of(manifest, "model.onnx"))
        layer["annotations"]["org.cncf.model.filepath"] = path
        manifest["layers"].append(layer)

    refuses(craft(world, change), code)


def test_a_manifest_of_another_format(world, refuses):
    def change(manifest, store):
        manifest["annotations"]["dev.edgeops.format"] = "edgeops.bundle/9"

    refuses(craft(world, change), "bundle-malformed")


# --- what the device cannot run


def _needing(**needs):
    def change(manifest, store):
        layer = layer_of(manifest, "targets.json")
        document = json.loads(change.files[blob_path(layer["digest"])])
        document["targets"]["gateway"].update(needs)
        layer.update(store(canonical_json(document)))

    return change


@pytest.mark.parametrize(
    "needs",
    [
        {"engine": "openvino", "engine_version": "3000.1"},
        {"engine": "executorch", "engine_version": "1.0"},
        {"engine_version": "9.0.0"},
        {"engine_version": "1.9999.0"},
        {"architectures": ["riscv64"]},
        {"memory_mb": 1e9},
    ],
    ids=str,
)
def test_a_release_for_another_device(world, refuses, needs):
    change = _needing(**needs)
    change.files = world.states[1]
    refuses(craft(world, change), "device-unfit")


def test_a_device_that_is_too_small_takes_it_when_it_has_grown(world, device):
    (device.home / "attributes.json").write_text('{"memory_mb": 8}')
    change = _needing(memory_mb=64.0)
    change.files = world.states[1]
    files = craft(world, change)
    assert device.update(files) == "device-unfit"
    assert device.update(files) == "refused"
    assert attributes(device.home)["memory_mb"] == 8.0
    (device.home / "attributes.json").unlink()
    assert device.update(files) == "updated"


# --- deltas


def _model(world, number):
    files = world.states[number]
    offer = json.loads(files[channel_file(files)])["offers"][0]
    layer = layer_of(json.loads(files[blob_path(offer["digest"])]), "model.onnx")
    return layer["digest"], files[blob_path(layer["digest"])]


def _offered(world, delta, base=0):
    """Return the second release, whose model can be made by one delta."""
    (old, _), (new, _) = _model(world, base), _model(world, 1)
    name = sha256(delta).hexdigest()
    entry = {
        "from": old,
        "to": new,
        "method": "tensor",
        "digest": f"sha256:{name}",
        "size": len(delta),
    }
    index = canonical_json({"format": "edgeops.deltas/1", "deltas": [entry]})
    return craft(world, lambda manifest, store: store(delta), deltas=index)


def _header(world, *, base=0, size=None, after=None):
    (old, before), (new, model) = _model(world, base), _model(world, 1)
    promised = len(model) if size is None else size
    return Header("tensor", old, after or new, len(before), promised).encode()


def _bombs(world):
    zeros = zlib.compress(bytes(1 << 20), 9)
    number = bytes([0x80, 0x80, 0x40])  # 2**20, seven bits a byte
    literal = (
        b"\x02" + number + b"\x01" + bytes([len(zeros) & 0x7F | 0x80, len(zeros) >> 7]) + zeros
    )
    whole = _header(world)
    yield "nothing follows", whole
    yield "ends at once", whole + bytes([END])
    yield "many literals of zeros", whole + literal * 5
    yield "copies without end", whole + (b"\x01\x00" + number) * 1000
    yield "a size of exabytes", _header(world, size=1 << 62) + literal
    yield "an operation that nobody defined", whole + b"\x77" * 100
    yield "noise", whole + bytes(range(256)) * 20
    yield "another result", _header(world, after="sha256:" + "ab" * 32) + bytes([END])
    yield "no delta", b"GIF89a" * 300


BOMBS = [
    "nothing follows",
    "ends at once",
    "many literals of zeros",
    "copies without end",
    "a size of exabytes",
    "an operation that nobody defined",
    "noise",
    "another result",
    "no delta",
]


@pytest.fixture
def tried(monkeypatch):
    """Return the codes with which deltas are refused while they are applied."""
    codes = []
    real = delta_room.apply

    def apply(*about, **options):
        try:
            return real(*about, **options)
        except EdgeopsError as error:
            codes.append(error.code)
            raise

    monkeypatch.setattr(delta_room, "apply", apply)
    return codes


@pytest.mark.parametrize("name", BOMBS)
def test_a_delta_that_is_a_trick_is_left_for_the_whole_file(world, device, tried, name):
    """A delta only saves bytes: what is wrong with it must not keep a device from a good release."""
    files = _offered(world, dict(_bombs(world))[name])
    assert device.update(files) == "updated"
    assert tried == ["delta-malformed"]
    assert device.serving() == "1.1.0"
    kept = sum(path.stat().st_size for path in device.home.rglob("*") if path.is_file())
    assert kept < 1_000_000


def test_a_delta_for_another_base_is_left_for_the_whole_file(world, device, tried):
    """The list says that it fits what the device has; its header, that it does not."""
    old, before = _model(world, 0)
    new, model = _model(world, 1)
    for base, size in (("sha256:" + "0" * 64, len(before)), (old, len(before) + 1)):
        delta = Header("tensor", base, new, size, len(model)).encode() + bytes([END])
        fresh = device.copy_to(device.folder.with_name("again"))
        assert fresh.update(_offered(world, delta)) == "updated"
        assert fresh.serving() == "1.1.0"
    assert tried == ["delta-base-mismatch"] * 2


@pytest.mark.parametrize("index", [b"", b"[]", b"[" * 50_000, b'{"deltas": 5}', b'{"format": 1}'])
def test_a_list_of_deltas_that_is_none(world, device, index):
    files = craft(world, lambda manifest, store: None, deltas=index)
    assert device.update(files) == "updated"
