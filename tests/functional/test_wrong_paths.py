"""A path that is not there, or is something else: what to type next is in the error."""

from __future__ import annotations

import json
import shutil

import pytest

from edgeops.cli import main
from tests.helpers import build_tree, write_tiny_data, write_tiny_model
from tests.unit._bundles import make_bundle, make_variant

DATA = ("--evaluation", "data/evaluation.npz")
QUANTIZE = ("quantize", "build/model.onnx", "--to", "onnxruntime", "-o", "q")
PUBLISH = ("--to", "repo", "--channel", "beta")


@pytest.fixture
def place(tmp_path):
    build_tree(tmp_path, {"edgeops.yaml": "project: shop\n"})
    for name in ("build", "data", "dist"):
        (tmp_path / name).mkdir()
    model = write_tiny_model(tmp_path / "build" / "model.onnx")
    write_tiny_data(tmp_path / "data" / "evaluation.npz", model)
    make_variant(tmp_path / "build" / "gateway" / "converted")
    assert main(["-C", str(tmp_path), "keys", "init", "keys"]) == 0
    bundle = make_bundle(tmp_path / "f", key=tmp_path / "keys")
    bundle.rename(tmp_path / "dist" / "shop.edgeops")
    shutil.rmtree(tmp_path / "f")
    return tmp_path


# Arguments, the code, and what the fix says; <dir> is the folder.
WRONG = {
    "a misspelt model": (
        ("inspect", "build/modl.onnx"),
        "model-missing",
        "did you mean <dir>/build/model.onnx?",
    ),
    "a misspelt folder above a model": (
        ("bench", "biuld/model.onnx"),
        "model-missing",
        "did you mean <dir>/build/model.onnx?",
    ),
    "misspelt data": (
        (*QUANTIZE, "--calibration", "data/evaluatoin.npz"),
        "data-missing",
        "did you mean <dir>/data/evaluation.npz?",
    ),
    "a misspelt variant": (
        ("validate", "build/gatway/converted", *DATA),
        "variant-missing",
        "did you mean <dir>/build/gateway/converted?",
    ),
    "a folder of variants": (
        ("inspect", "build"),
        "variant-missing",
        "name one in it, such as <dir>/build/gateway/converted",
    ),
    "a model where a variant is needed": (
        ("validate", "build/model.onnx", *DATA),
        "variant-missing",
        "make one with: edgeops convert MODEL --to onnxruntime -o DIR",
    ),
    "no bundle, and no keys either": (
        ("publish", "dist/shp.edgeops", *PUBLISH),
        "bundle-missing",
        "did you mean <dir>/dist/shop.edgeops?",
    ),
    "no repository, and no keys either": (
        ("renew", "--to", "repo"),
        "repository-empty",
        "check the address, or publish a bundle there first: edgeops publish",
    ),
    "keys to sign with that are not there": (
        ("keys", "sign", "kyes"),
        "rotation-none",
        "did you mean <dir>/keys?",
    ),
    "a root key that is not there": (
        ("keys", "rotate", "keys", "--role", "timestamp", "--with", "root-1.pem"),
        "keys-missing",
        "name with --with where the holder of the key keeps it",
    ),
    "no calibration, before the model is converted": (
        QUANTIZE,
        "calibration-missing",
        "give --calibration FILE.npz",
    ),
    "a folder in a project": (("-C", "data", "run"), "project-missing", "edgeops -C <dir> ..."),
    "an error code in brackets, misspelt": (
        ("explain", "[KEYS_MISING]"),
        "code-unknown",
        "edgeops explain keys-missing",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_path_is_told_with_what_to_do(place, monkeypatch, capsys, case):
    monkeypatch.chdir(place)
    arguments, code, fix = WRONG[case]
    capsys.readouterr()
    assert main([*arguments, "--json"]) != 0
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["code"] == code
    assert fix.replace("<dir>", str(place)) in error["fix"]
    assert error["why"]
    assert "proving it equal" not in said.err or code == "data-missing"


def _lose(place, *names):
    for name in names:
        path = place / "keys" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# What is lost of the keys folder, and what the fix says then.
LOST = {
    ("root.json",): "put it back: cp <keys>/roots/1.root.json <keys>/root.json",
    ("root.json", "roots"): "a repository has it as metadata/N.root.json",
    ("targets.pem",): "edgeops keys rotate <keys> --role targets",
    ("offline",): "name where they are kept: edgeops keys rotate <keys> --role targets --with KEY",
}


@pytest.mark.parametrize("lost", LOST)
def test_what_is_lost_of_the_keys_is_told_with_what_brings_it_back(place, capsys, lost):
    _lose(place, *lost)
    verb = ["publish", "dist/shop.edgeops", *PUBLISH, "--key", "keys"]
    if lost == ("offline",):
        verb = ["keys", "rotate", "keys", "--role", "targets"]
    capsys.readouterr()
    assert main(["-C", str(place), *verb, "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "keys-missing"
    assert LOST[lost].replace("<keys>", str(place / "keys")) in error["fix"]


def test_a_file_that_is_no_root_of_trust_is_named(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    publish = ["publish", "dist/shop.edgeops", *PUBLISH, "--key", "keys", "--accept", "no gates"]
    assert main(publish) == 0
    unpack = ["unpack", "repo", "-o", "device", "--channel", "beta", "--root"]
    capsys.readouterr()
    assert main([*unpack, "edgeops.yaml", "--json"]) == 20
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "edgeops.yaml"
    assert main([*unpack, "keys/rot.json", "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["fix"] == f"did you mean {place}/keys/root.json?"
