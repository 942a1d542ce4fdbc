# ruff: noqa: INP001 - a script of the Makefile, part of no package
"""Print the packages of pyproject.toml's ``dev`` group, for a pip that knows no ``--group``."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
sys.stdout.write("\n".join(project["dependency-groups"]["dev"]) + "\n")
