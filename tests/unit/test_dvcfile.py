"""dvc.yaml: generated stages are replaced, every line of a person's is kept."""

from __future__ import annotations

import textwrap

import pytest

from edgeops.core.stage import Out, Plot, StagePlan
from edgeops.errors import InputError
from edgeops.pipeline.dvcfile import HEADER, by_hand, render, stage_text, without
from edgeops.pipeline.plan import PLACEHOLDER, Step, fill


def text_of(text):
    return textwrap.dedent(text).lstrip("\n")


def command(name, run="make", **plan):
    made = StagePlan(command=run, **plan)
    return Step(name, None, "command", made, made)


def matrix(name, *targets):
    shape = StagePlan(
        deps=("m.onnx",),
        outs=(Out(f"build/{PLACEHOLDER}/converted"), Out(f"keep/{PLACEHOLDER}", persist=True)),
        metrics=(f"reports/{PLACEHOLDER}/metrics.json",),
        plots=(Plot(f"reports/{PLACEHOLDER}/latency.csv", "run", "ms", title="Latency: all"),),
        params=(f"targets.{PLACEHOLDER}", f"stages.{name}"),
    )
    return [Step(name, target, name, fill(shape, target), shape, "Does it.") for target in targets]


TRAIN = command("train", "python train.py", deps=("train.py",), outs=(Out("m.onnx"),))


def test_stage_of_targets_is_one_matrix_stage():
    expected = text_of("""
          convert:
            matrix:
              target: [gateway, camera]
            cmd: edgeops stage convert --target ${item.target}
            desc: Does it.
            deps:
            - m.onnx
            params:
            - edgeops.yaml:
              - targets.${item.target}
              - stages.convert
            outs:
            - build/${item.target}/converted
            - keep/${item.target}:
                persist: true
            metrics:
            - reports/${item.target}/metrics.json
            plots:
            - reports/${item.target}/latency.csv:
                x: run
                y: ms
                template: linear
                title: "Latency: all"
            meta:
              generated: edgeops
    """)
    generated = stage_text(matrix("convert", "gateway", "camera"))
    assert generated == textwrap.indent(expected, "  ")


def test_new_file_begins_with_whose_is_what():
    text = render([TRAIN])
    assert text.startswith(HEADER + "stages:\n  train:\n    cmd: python train.py\n")


@pytest.mark.parametrize(
    ("run", "line"),
    [
        ("echo ${HOME}", 'cmd: "echo \\\\${HOME}"'),
        ("echo 'a: b' # c", "cmd: \"echo 'a: b' # c\""),
        ("true", 'cmd: "true"'),
        ("a\nb\n", 'cmd:\n    - "a\\nb"'),
    ],
)
def test_command_is_written_so_that_dvc_reads_it_back(run, line):
    assert f"    {line}\n" in render([command("x", run)])


def test_same_steps_give_the_same_bytes():
    steps = [TRAIN, *matrix("convert", "gateway")]
    text = render(steps)
    assert render(steps, text) == text


MINE = text_of("""
    # my own file
    vars: [params.yaml]

    stages:
        # downloads
        fetch:   # weekly
            cmd: |
              curl -O x
              # not a comment
            outs: [raw]

        # old comment
        train:
            cmd: old
            meta: {generated: edgeops}

        # tells the team
        notify: {cmd: mail, deps: [m.onnx]}
    # plots of mine
    plots:
      - raw: {x: a}
    artifacts: {}
""")


def test_lines_of_a_person_are_kept_byte_for_byte():
    text = render([TRAIN, *matrix("convert", "gateway")], MINE)
    kept = [line for line in MINE.splitlines() if line != "        cmd: old"]
    kept = [line for line in kept if "generated: edgeops}" not in line]
    written = text.splitlines()
    positions = [written.index(line) for line in kept if line]
    assert positions == sorted(positions)
    assert "cmd: old" not in text
    assert list(by_hand(text)) == ["fetch", "notify"]


def test_generated_stage_that_is_no_longer_planned_goes_and_comments_stay():
    text = render([], MINE)
    assert "cmd: old" not in text
    assert "# old comment" in text
    assert "# tells the team" in text


def test_stage_that_a_person_only_formatted_differently_is_left_alone():
    text = render([TRAIN]).replace("- train.py", "# why\n    - 'train.py'")
    assert render([TRAIN], text) == text


def test_stages_are_added_below_an_empty_key():
    assert render([TRAIN], "vars: []\nstages: {}\n") == "vars: []\nstages:\n" + stage_text([TRAIN])
    assert render([TRAIN], "vars: []\nstages:\n") == "vars: []\nstages:\n" + stage_text([TRAIN])
    assert render([TRAIN], "vars: []") == "vars: []\nstages:\n" + stage_text([TRAIN])


def test_stage_by_hand_of_the_same_name_is_refused_with_its_place():
    with pytest.raises(InputError) as caught:
        render([TRAIN], "stages:\n  other: {cmd: x}\n  train: {cmd: mine}\n")
    assert (caught.value.code, caught.value.where) == ("dvc-stage-taken", "dvc.yaml:3:3")


@pytest.mark.parametrize(
    "text", ["stages: [a", "- a\n", "stages: 3\n", "stages: {mine: {cmd: x}, b: {cmd: y}}\n"]
)
def test_file_that_cannot_be_edited_is_refused(text):
    with pytest.raises(InputError) as caught:
        render([TRAIN], text)
    assert caught.value.code == "dvc-yaml-bad"


def test_lock_without_a_stage_keeps_the_others():
    lock = "schema: '2.0'\nstages:\n  a@x:\n    cmd: one\n    deps:\n    - path: p\n  b:\n    cmd: two\n"
    assert without(lock, ["a@x"]) == "schema: '2.0'\nstages:\n  b:\n    cmd: two\n"
    assert without(lock, []) == lock
