"""Every operator in its cases on every engine: each ends proven or refused before it is converted."""

from __future__ import annotations

import pytest

from tests.property.test_random_models import ENGINES, run

# All cases of all engines take the better part of an hour: make engines runs them.
EVERY = 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ENGINES)
def test_operator_cases_end_proven_or_refused_before(engine):
    done = run("try_engine.py", engine, "--show", "late,crash", "--every", str(EVERY))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " 0 late, 0 crash" in done.stdout
