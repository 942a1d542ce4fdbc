"""Programs as one file: a ``.pyz`` whose bytes depend on nothing but the modules in it.

It holds what a program of edgeops imports, directly or not, the entry points of the engines, so
that the registry finds them as it does where edgeops is installed, and packages of others in pure
Python with their licences.
"""

from __future__ import annotations

import ast
import io
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import edgeops
from edgeops.core import registry
from edgeops.core.files import write_atomic
from edgeops.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_ROOT = Path(edgeops.__file__).parent
_WHEN = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_FILE = 0o644 << 16
_UNIX = 3
_LICENCES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")


def make(path: Path, program: str, modules: Iterable[str], packages: Sequence[str] = ()) -> Path:
    """Write the program to ``path`` and return it; see :func:`content`."""
    write_atomic(path, content(program, modules, packages))
    return path


def content(
    program: str,
    modules: Iterable[str] = (),
    packages: Sequence[str] = (),
    *,
    compressed: bool = True,
) -> bytes:
    """Return the bytes of a program.

    Not ``compressed`` it has the same bytes everywhere, and a delta to the next version is small;
    what deflate makes differs between builds of zlib.

    ``program`` is a module of edgeops with ``main() -> int``, ``modules`` are others that it imports
    by name when it runs, ``packages`` are distributions in pure Python that go in whole. Raises
    MissingError ``pyz-package`` for a package that is not installed.
    """
    data = io.BytesIO()
    files = {**_packages(packages), **_files(program, modules)}
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(data, "w") as archive:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.external_attr, entry.create_system = _FILE, _UNIX
            archive.writestr(entry, file, how, 9)
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


def needed(program: str, modules: Iterable[str] = ()) -> dict[str, Path]:
    """Return the modules of edgeops in a program by name: what it imports, and what these import."""
    found: dict[str, Path] = {}
    wanted = [program, *modules, *(target.partition(":")[0] for target in engines().values())]
    while wanted:
        name = wanted.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found[name] = path
        package = name.rpartition(".")[0]
        wanted += [*([package] if package else ()), *_imports(ast.parse(path.read_bytes()))]
    return found


def _files(program: str, modules: Iterable[str]) -> dict[str, bytes]:
    info = f"edgeops-{edgeops.__version__}.dist-info"
    about = f"Metadata-Version: 2.1\nName: edgeops\nVersion: {edgeops.__version__}\n"
    points = "".join(f"{name} = {target}\n" for name, target in sorted(engines().items()))
    start = f"import sys\n\nfrom {program} import main\n\nsys.exit(main())\n"
    files = {
        path.relative_to(_ROOT.parent).as_posix(): path.read_bytes()
        for path in needed(program, modules).values()
    }
    return {
        **files,
        "__main__.py": start.encode(),
        f"{info}/METADATA": about.encode(),
        f"{info}/entry_points.txt": f"[edgeops.engines]\n{points}".encode(),
    }


def _packages(names: Sequence[str]) -> dict[str, bytes]:
    """Return the sources of distributions, with the version and the licences of each."""
    found: dict[str, bytes] = {}
    for name in names:
        try:
            about = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise MissingError(
                "pyz-package",
                f"the program needs the package {name}, which is not installed here",
                where=name,
                why=str(error),
                fix=f"pip install {name}",
            ) from error
        info = f"{name}-{about.version}.dist-info"
        for file in about.files or ():
            inner, path = file.as_posix(), Path(str(about.locate_file(file)))
            if inner.endswith(".py") and not inner.startswith(".."):
                found[inner] = path.read_bytes()
            elif file.name.upper().startswith(_LICENCES):
                found[f"{info}/licenses/{file.name}"] = path.read_bytes()
        # A folder without __init__.py is no package inside a zip that has no entries for folders.
        for inner in [inner for inner in found if inner.endswith(".py")]:
            for parent in list(PurePosixPath(inner).parents)[:-1]:
                found.setdefault(f"{parent}/__init__.py", b"")
        stated = f"Metadata-Version: 2.1\nName: {name}\nVersion: {about.version}\n"
        found[f"{info}/METADATA"] = stated.encode()
    return found


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
