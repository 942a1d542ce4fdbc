"""One publisher and one attacker for all tests of security: making them takes longer than a test."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.security._world import make_world

_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def fast_folder():
    """Return a folder that no disk slows down, where the machine has one."""
    folder = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def world(fast_folder):
    """Return three releases, and another publisher's; tests that publish more make their own."""
    return make_world(fast_folder / "world")
