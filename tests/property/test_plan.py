"""Any pipeline is put in an order in which everything is made before it is read, or refused."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.core.project import Data, Project, StageSpec
from edgeops.errors import InputError
from edgeops.pipeline.dvcfile import by_hand, render
from edgeops.pipeline.plan import dependencies, overlap, plan, upstream
from edgeops.stages.command import CommandOptions

# The first example imports the schema, and test machines are busy.
UNTIMED = settings(deadline=None)


@st.composite
def pipelines(draw):
    """Stages s0..sn, each writing a folder of its own and reading some of the others'."""
    count = draw(st.integers(1, 7))
    order = draw(st.permutations(range(count)))
    stages = {}
    for number in order:
        reads = draw(st.sets(st.integers(0, count - 1), max_size=3))
        inside = draw(st.booleans())
        deps = tuple(f"out{one}/file" if inside else f"out{one}" for one in sorted(reads))
        options = CommandOptions("x", deps=deps, outs=(f"out{number}",))
        stages[f"s{number}"] = StageSpec(f"s{number}", "command", options)
    return Project("p", "1.0.0", "m", Data(), {}, stages)


@UNTIMED
@given(pipelines())
def test_steps_are_ordered_or_a_real_ring_is_named(project):
    try:
        steps = plan(project)
    except InputError as error:
        ring = error.what.partition(": ")[2].split(" -> ")
        assert ring[0] == ring[-1]
        for writer, reader in itertools.pairwise(ring):
            outs = project.stages[writer].options.outs
            assert any(overlap(dep, outs[0]) for dep in project.stages[reader].options.deps)
        return
    assert sorted(step.stage for step in steps) == sorted(project.stages)
    places = {step: index for index, step in enumerate(steps)}
    for step, needs in dependencies(steps).items():
        assert all(places[one] < places[step] for one in needs)


@UNTIMED
@given(pipelines(), st.data())
def test_upstream_is_closed(project, data):
    try:
        steps = plan(project)
    except InputError:
        return
    found = set(upstream(steps, [data.draw(st.sampled_from(steps))]))
    assert all(set(needs) <= found for step, needs in dependencies(steps).items() if step in found)


COMMENTS = st.lists(st.sampled_from(["# a note", "", "    # deeper", "# x: y"]), max_size=3)


@UNTIMED
@given(pipelines(), COMMENTS, COMMENTS)
def test_rendering_again_changes_nothing_and_keeps_stages_by_hand(project, above, below):
    try:
        steps = plan(project)
    except InputError:
        return
    mine = "\n".join(["stages:", *above, "  mine:", "    cmd: |", "      a", *below, ""])
    text = render(steps, mine)
    assert render(steps, text) == text
    assert by_hand(text).keys() == {"mine"}
    assert render([], text).split("\n") == mine.split("\n")
