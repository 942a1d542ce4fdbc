"""``edgeops-probe.pyz``: the measuring program as one file, for devices that have no edgeops.

It holds what ``edgeops.runtime.probe`` imports, directly or not, and nothing else: modules of
``runtime``, ``core`` and ``errors``, and the entry points of the engines, so that the registry finds
them as it does where edgeops is installed. The same modules give the same bytes.
"""

from __future__ import annotations

import ast
import atexit
import io
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import edgeops
from edgeops.core import registry
from edgeops.core.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "edgeops-probe.pyz"
PROGRAM = "edgeops.runtime.probe.__main__"
_ROOT = Path(edgeops.__file__).parent
_WHEN = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_FILE = 0o644 << 16
_UNIX = 3
_START = f"""import sys

from {PROGRAM} import main

sys.exit(main())
"""


def program() -> Path:
    """Return the program as a file, which is there as long as this process."""
    return _folder() / NAME


def make(path: Path) -> Path:
    """Write the program to ``path`` and return it."""
    write_atomic(path, content())
    return path


def content() -> bytes:
    """Return the bytes of the program."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, file in sorted(_files().items()):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.external_attr, entry.create_system = _FILE, _UNIX
            archive.writestr(entry, file, zipfile.ZIP_DEFLATED, 9)
    return data.getvalue()


def engines() -> dict[str, str]:
    """Return the entry points of edgeops's engines that run in the process that measures.

    The others run in environments that edgeops makes, and a device has none.
    """
    return {
        plugin.name: plugin.target
        for plugin in registry.registered("engines")
        if plugin.distribution == registry.OWN and not hasattr(plugin.value, "environment")
    }


def modules() -> dict[str, Path]:
    """Return the modules in the program by name: what it imports, and what these import."""
    found: dict[str, Path] = {}
    wanted = [PROGRAM, *(target.partition(":")[0] for target in engines().values())]
    while wanted:
        name = wanted.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found[name] = path
        package = name.rpartition(".")[0]
        wanted += [*([package] if package else ()), *_imports(ast.parse(path.read_bytes()))]
    return found


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="edgeops-probe-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make(folder / NAME)
    return folder


def _files() -> dict[str, bytes]:
    info = f"edgeops-{edgeops.__version__}.dist-info"
    about = f"Metadata-Version: 2.1\nName: edgeops\nVersion: {edgeops.__version__}\n"
    points = "".join(f"{name} = {target}\n" for name, target in sorted(engines().items()))
    files = {
        path.relative_to(_ROOT.parent).as_posix(): path.read_bytes() for path in modules().values()
    }
    return {
        **files,
        "__main__.py": _START.encode(),
        f"{info}/METADATA": about.encode(),
        f"{info}/entry_points.txt": f"[edgeops.engines]\n{points}".encode(),
    }


def _path(name: str) -> Path | None:
    """Return the file of a module of edgeops, None when the name is none."""
    first, *rest = name.split(".")
    if first != _ROOT.name:
        return None
    path = _ROOT.joinpath(*rest)
    if path.is_dir():
        return path / "__init__.py"
    path = path.with_suffix(".py")
    return path if path.is_file() else None


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield the names that a module imports when it runs: not those for the type checker."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.If) and ast.unparse(inner.test) == "TYPE_CHECKING":
            continue
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom) and inner.module:
            yield inner.module
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)
        else:
            yield from _imports(inner)
