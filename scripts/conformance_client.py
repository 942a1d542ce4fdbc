#!/usr/bin/env python
# ruff: noqa: SLF001 - part of no package; what it shows is how the agent trusts, from within
"""The agent's trust as a client under test of the TUF conformance suite, which asks for this command line.

    pytest tuf_conformance --entrypoint .../scripts/conformance_client.py

in a checkout of theupdateframework/tuf-conformance; docs/security.md says what came of it. The suite looks for the
root in use at ``root.json``, where the agent keeps the chain of roots by version, and for one
artifact at a time, where the agent reads channels: both are put there for it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from edgeops.errors import EdgeopsError
from edgeops.runtime.agent import files, trust
from edgeops.runtime.agent.fetch import open_remote

if TYPE_CHECKING:
    from collections.abc import Sequence

ANCHOR = "anchor"
METADATA = "/metadata"


def init(state: Path, root: Path) -> None:
    """Trust a root from now on."""
    shutil.copyfile(root, state / ANCHOR)
    shutil.copyfile(root, state / "root.json")


def update(state: Path, metadata_url: str, names: Sequence[str], out: Path) -> None:
    """Refresh what is known, and download the targets named; raises EdgeopsError."""
    files.mkdir(state / "root_history")
    url = metadata_url.rstrip("/").removesuffix(METADATA)
    with open_remote(url) as remote, trust._trust(url):
        updater = trust._updater(remote, (state / ANCHOR).read_bytes(), state)
        try:
            updater.refresh()
            for name in names:
                trust._target(updater, remote, name, out / quote(name, safe=""))
        finally:
            _show_root(state, updater)


def _show_root(state: Path, updater: Any) -> None:
    version = updater._trusted_set.root.version
    kept = state / "root_history" / f"{version}.root.json"
    if kept.is_file():
        shutil.copyfile(kept, state / "root.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the suite asks; returns 1 where the agent would refuse."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--metadata-url")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path, default=Path())
    parser.add_argument("--target-base-url")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("init").add_argument("root", type=Path)
    verbs.add_parser("refresh")
    verbs.add_parser("download")
    given = parser.parse_args(arguments)
    if given.verb == "init":
        init(given.metadata_dir, given.root)
        return 0
    try:
        update(given.metadata_dir, given.metadata_url, given.target_name, given.target_dir)
    except EdgeopsError as error:
        sys.stderr.write(f"{error.code}: {error.why or error.what}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
