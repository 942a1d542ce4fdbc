"""``edgeops-agent.pyz``: the agent as one file, for devices that have Python, numpy and an engine.

tuf, securesystemslib and urllib3 go in as sources, uncompressed: the bytes are the same on every
machine, and a delta between two versions holds what changed. Signatures are verified without the package
cryptography: securesystemslib brings ed25519 in pure Python.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeops.core import pyz
from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import write_atomic
from edgeops.package.layout import Part

NAME = "edgeops-agent.pyz"
PLACE = f"runtime/{NAME}"
PROGRAM = "edgeops.runtime.agent.cli"
PACKAGES = ("tuf", "securesystemslib", "urllib3")


def make(path: Path) -> dict[str, Any]:
    """Write the program to ``path``; return its path, size and digest.

    Raises MissingError ``pyz-package``, ``disk-full`` or ``not-writable``.
    """
    data = content()
    write_atomic(path, data)
    return {"program": str(path), "bytes": len(data), "digest": digest(sha256_bytes(data))}


@cache
def content() -> bytes:
    """Return the bytes of the program, the same for the same edgeops, tuf and urllib3."""
    return pyz.content(PROGRAM, _modules(), PACKAGES, compressed=False)


def agent_part() -> Part:
    """Return the program as a file of a bundle, for the devices of all targets."""
    return Part(PLACE, "runtime", content())


def packages() -> list[tuple[str, str]]:
    """Return the packages in the program with their versions, edgeops first."""
    import edgeops

    return [("edgeops", edgeops.__version__), *((name, version(name)) for name in PACKAGES)]


def _modules() -> list[str]:
    """Return the modules below runtime: some are imported by a name that is found when it runs."""
    import edgeops

    root = Path(edgeops.__file__).parent
    return [
        ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((root / "runtime").rglob("*.py"))
    ]
