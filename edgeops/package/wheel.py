"""Wheels that go into a bundle: the engine of a target and what it needs, looked at before packing.

A wheel is refused when it is no sound archive, when it holds another package than the target's
engine (or one that the engine requires), another version than the variant was made with can use, or
is built for another processor than the target's other wheels.
"""

from __future__ import annotations

import re
import stat
import zipfile
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgeops.core.targets import architecture, new_enough
from edgeops.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from email.message import Message
    from pathlib import Path

    from edgeops.core.variant import Variant

# The distributions that hold an engine; normalized as PyPI does (PEP 503).
PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-qnn"),
    "litert": ("ai-edge-litert", "tflite-runtime"),
    "mnn": ("mnn",),
    "ncnn": ("ncnn",),
    "openvino": ("openvino",),
}
# PEP 427: {distribution}-{version}(-{build})?-{python}-{abi}-{platform}.whl
_NAME = re.compile(
    r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9._!+]+)(-\d[A-Za-z0-9_.]*)?"
    r"-(?P<python>[a-z0-9.]+)-(?P<abi>[a-z0-9_.]+)-(?P<platform>[a-z0-9_.]+)\.whl"
)
_MACHINE = re.compile(r"(x86_64|amd64|aarch64|arm64|armv7l|armv6l|i686|riscv64|ppc64le|s390x)")
_MAX_FILES = 20_000
_MAX_METADATA = 4 << 20
_MAX_UNPACKED = 2 << 30  # what a device unpacks at most (runtime.agent.wheels)


@dataclass(frozen=True)
class Wheel:
    """A wheel: distribution (normalized), version, the processors it runs on; none of them: any."""

    path: Path
    name: str
    version: str
    architectures: frozenset[str]
    requires: frozenset[str]


def check_wheels(
    target: str, variants: Mapping[str, Variant], paths: Sequence[Path]
) -> tuple[Wheel, ...]:
    """Return the wheels of a target, each found fit for it.

    Raises InputError ``wheel-missing`` or ``wheel-malformed``, RefusedError ``wheel-misfit``.
    """
    variant = variants.get(target)
    if variant is None:
        known = ", ".join(sorted(variants))
        raise _misfit(target, f"the bundle has no target {target!r}", f"its targets are {known}")
    wheels = tuple(read_wheel(path) for path in paths)
    packages = PACKAGES.get(variant.engine, ())
    engines = [wheel for wheel in wheels if wheel.name in packages]
    for wheel in wheels:
        if wheel in engines or any(wheel.name in each.requires for each in wheels):
            continue
        wanted = f"{target} runs on {variant.engine}, which is in {' or '.join(packages) or 'none'}"
        raise _misfit(wheel.path, f"{wheel.path.name} is not for {target}", wanted)
    for wheel in engines:
        if not new_enough(wheel.version, variant.engine_version):
            made = f"the variant was made with {variant.engine} {variant.engine_version}"
            raise _misfit(
                wheel.path,
                f"{wheel.path.name} is another version than {target} needs",
                f"{made}: the same major version, not older, runs it",
            )
    if architectures([wheel.path.name for wheel in wheels]) == ():
        each = "; ".join(f"{w.path.name}: {', '.join(sorted(w.architectures))}" for w in wheels)
        raise _misfit(target, f"the wheels of {target} run on no processor together", each)
    return wheels


def architectures(names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the processors that wheels of these names all run on, None when they run on any."""
    bound = [found for found in map(_machines, names) if found]
    return tuple(sorted(frozenset.intersection(*bound))) if bound else None


def read_wheel(path: Path) -> Wheel:
    """Return what a wheel is; raises InputError ``wheel-missing`` or ``wheel-malformed``."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise _malformed(path, "its name is not {name}-{version}-{python}-{abi}-{platform}.whl")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive)
            about = _metadata(path, archive)
            broken = archive.testzip()
    except FileNotFoundError as error:
        raise InputError(
            "wheel-missing",
            f"there is no wheel at {path}",
            where=str(path),
            why="no such file",
            fix="get it with: pip download --no-deps --only-binary=:all: --platform PLATFORM NAME",
        ) from error
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise _malformed(path, str(error) or type(error).__name__) from error
    if broken is not None:
        raise _malformed(path, f"{broken} in it is damaged")
    name, version = _normal(about["Name"] or ""), about["Version"] or ""
    if (name, version) != (_normal(match["name"]), match["version"]):
        raise _malformed(path, f"inside it says that it is {about['Name']} {version}")
    requires = about.get_all("Requires-Dist") or []
    wanted = {_normal(re.split(r"[^\w.-]", text)[0]) for text in requires if "extra" not in text}
    return Wheel(path, name, version, _machines(path.name), frozenset(wanted))


def _metadata(path: Path, archive: zipfile.ZipFile) -> Message:
    files = [
        name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
    ]
    tags = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/WHEEL", name)]
    if len(files) != 1 or len(tags) != 1:
        raise _malformed(path, "it has no dist-info/METADATA or no dist-info/WHEEL")
    stated = _headers(archive, tags[0]).get_all("Tag") or []
    platforms = {text.rpartition("-")[2] for text in stated}
    match = _NAME.fullmatch(path.name)
    if match is None or not set(match["platform"].split(".")) <= platforms | {match["platform"]}:
        raise _malformed(path, f"it is named for another platform than {', '.join(platforms)}")
    inside = frozenset(machine for text in platforms for machine in _machine(text))
    if inside and inside != _machines(path.name):
        raise _malformed(path, f"it is named for another platform than {', '.join(platforms)}")
    return _headers(archive, files[0])


def _headers(archive: zipfile.ZipFile, name: str) -> Message:
    with archive.open(name) as file:
        return BytesHeaderParser().parsebytes(file.read(_MAX_METADATA))


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > _MAX_FILES:
        raise _malformed(path, f"it has {len(entries)} files")
    if sum(entry.file_size for entry in entries) > _MAX_UNPACKED:
        raise _malformed(path, f"it unpacks to more than the {_MAX_UNPACKED} bytes a device takes")
    for entry in entries:
        pure = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if pure.is_absolute() or ".." in pure.parts or "\\" in entry.filename:
            raise _malformed(path, f"{entry.filename!r} leads outside it")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _malformed(path, f"{entry.filename!r} is no file but a link or a device")


def _machines(name: str) -> frozenset[str]:
    match = _NAME.fullmatch(name)
    return frozenset(_machine(match["platform"])) if match else frozenset()


def _machine(platform: str) -> list[str]:
    return [architecture(found) for found in _MACHINE.findall(platform)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _malformed(path: Path, why: str) -> InputError:
    return InputError(
        "wheel-malformed",
        f"{path.name} is no wheel that can be packed",
        where=str(path),
        why=why,
        fix="download it again, or name the .whl file of the engine",
    )


def _misfit(where: Path | str, what: str, why: str) -> RefusedError:
    return RefusedError(
        "wheel-misfit",
        what,
        where=str(where),
        why=why,
        fix="name TARGET=WHEEL with the wheel of that target's engine and processor",
    )
