"""How fast bundles are packed and verified, as a share of the speed of sha256 over the same bytes."""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import time

import pytest

from edgeops.core.digest import digest, sha256_file
from edgeops.core.events import Silence
from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from edgeops.package.pack import Contents, pack_files
from edgeops.package.sealing import make_recipient
from edgeops.package.verify import verify_bundle
from edgeops.publish.keys import init_keys

pytestmark = pytest.mark.bench

MEGA = 1 << 20
SIZE = int(os.environ.get("EDGEOPS_BENCH_PACK_MB", "500")) * MEGA
ROUNDS = int(os.environ.get("EDGEOPS_BENCH_PACK_ROUNDS", "7"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a variant of ``SIZE`` bytes in two files, and a recipient's key."""
    folder = tmp_path_factory.mktemp("pack")
    variant = folder / "gateway"
    variant.mkdir()
    for name in ("model.xml", "model.bin"):
        with (variant / name).open("wb") as file:
            for _ in range(SIZE // MEGA // 2):
                file.write(os.urandom(MEGA))
    tensor = TensorInfo("x", (1, 4), "float32")
    about = ("openvino", "2026.0.0", "fp32", "model.xml", (tensor,), (tensor,))
    write_variant(
        variant, Variant(*about, digest(hashlib.sha256(b"").hexdigest()), entries(variant))
    )
    make_recipient(folder / "key")
    init_keys(folder / "signing")
    return folder


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def hash_all(place):
    for path in sorted((place / "gateway").glob("model.*")):
        sha256_file(path)


def pack(place, **changes):
    contents = Contents("big", "1.0.0", {"gateway": place / "gateway"}, {}, {}, **changes)
    return pack_files(contents, place / "big.edgeops", sign=None, events=Silence()).path


def test_speed_of_packing_and_verifying(place):
    """Take turns, so that the machine's mood is in all of them."""
    sealed = {"encrypt": ["variant"], "recipients": [place / "key" / "device.pub"]}
    took = {name: [] for name in ("sha256", "pack", "verify", "pack sealed")}
    for number in range(ROUNDS + 1):
        found = {
            "sha256": seconds(lambda: hash_all(place)),
            "pack sealed": seconds(lambda: pack(place, **sealed)),
            "pack": seconds(lambda: pack(place)),
            "verify": seconds(lambda: verify_bundle(place / "big.edgeops")),
        }
        for name, value in found.items() if number else ():
            took[name].append(value)
    middle = {name: statistics.median(values) for name, values in took.items()}
    rate = {name: SIZE / MEGA / value for name, value in middle.items()}
    for name in ("pack", "verify", "pack sealed"):
        ratios = [hashed / value for hashed, value in zip(took["sha256"], took[name], strict=True)]
        sys.stdout.write(
            f"\n{name}: {statistics.median(ratios):.2f} of the speed of sha256, best of "
            f"{ROUNDS} {max(ratios):.2f} ({rate[name]:.0f} of {rate['sha256']:.0f} MB/s)"
        )
    sys.stdout.write("\n")
