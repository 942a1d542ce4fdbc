from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from edgeops.cli import main
from edgeops.commands import VERBS
from edgeops.errors import ExitCode
from edgeops.pipeline.explain import EXITS, texts
from tests.helpers import build_tree

YAML = """
    project: shop
    version: 1.0.0
    model: model.onnx
    data: {calibration: c.npz, evaluation: e.npz}
    targets:
      gateway: {engine: onnxruntime, device: local, precision: int8, threads: 2}
      desktop: {engine: onnxruntime}
    stages:
      convert: {}
      quantize: {max_drop: 0.01}
      validate: {metric: accuracy}
"""


def answer(capsys, *arguments):
    """Return exit code and JSON result of a verb."""
    capsys.readouterr()
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def text(capsys, *arguments):
    """Return exit code, standard output and standard error of a verb."""
    capsys.readouterr()
    code = main(list(arguments))
    return code, *capsys.readouterr()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb, capsys):
    code, out, _ = text(capsys, verb, "--help")
    assert code == 0
    assert VERBS[verb][1] in " ".join(out.split())
    if verb not in ("agent", "env", "keys", "stage"):
        assert "--json" in out


def test_help_lists_every_verb(capsys):
    code, out, _ = text(capsys, "--help")
    assert code == 0
    for verb, (_, line) in VERBS.items():
        assert re.search(rf"^\s+{verb}\s+{re.escape(line[:40])}", out, re.MULTILINE), verb


@pytest.mark.parametrize("group", [(), ("agent",), ("env",), ("keys",)])
def test_no_line_of_a_list_of_verbs_is_cut_short(group, capsys):
    _, out, _ = text(capsys, *group, "--help")
    lines = out[out.index("Commands:") :].splitlines()
    assert [line for line in lines if line.endswith("...")] == []


def test_doctor_finds_everything_here(capsys):
    code, result = answer(capsys, "doctor")
    assert code == 0
    assert result["ok"] is True
    assert {"dvc", "onnx", "onnxruntime", "typer"} <= {item["name"] for item in result["packages"]}
    assert all(item["version"] for item in result["packages"])
    engines = {engine["name"]: engine for engine in result["engines"]}
    assert engines["onnxruntime"]["version"] == metadata.version("onnxruntime")
    assert set(engines) >= {"litert", "mnn", "ncnn", "openvino"}
    assert all(bool(engine["version"]) != bool(engine["missing"]) for engine in engines.values())
    assert all(bool(row["missing"]) == bool(row["fix"]) for row in result["converters"])
    assert result["disk"]["free_bytes"] > 0


def test_doctor_names_the_line_that_installs_what_is_missing(monkeypatch, capsys):
    asked = metadata.version

    def version(name):
        if name == "skl2onnx":
            raise metadata.PackageNotFoundError(name)
        return asked(name)

    monkeypatch.setattr(metadata, "version", version)
    code, result = answer(capsys, "doctor")
    assert code == 4
    assert result["error"]["code"] == "machine-incomplete"
    assert [finding["where"] for finding in result["findings"]] == ["skl2onnx"]
    assert re.search(r"-m pip install 'skl2onnx.*'$", result["findings"][0]["fix"])
    assert result["ok"] is False


def test_doctor_goes_on_without_git_and_says_what_that_costs(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, _ = text(capsys, "doctor")
    assert code == 0
    assert "tool       git          missing: revisions in reports" in out


def test_plugins_lists_every_kind_and_nothing_of_ours_is_broken(capsys):
    code, result = answer(capsys, "plugins")
    assert code == 0
    found = {(row["kind"], row["name"]) for row in result["plugins"]}
    assert found >= {
        ("stages", "command"),
        ("stages", "publish"),
        ("converters", "onnxruntime"),
        ("engines", "onnxruntime"),
        ("devices", "local"),
        ("metrics", "accuracy"),
        ("datasets", "npz"),
        ("stores", "folder"),
    }
    ours = [row for row in result["plugins"] if row["distribution"] == "edgeops"]
    assert [row for row in ours if row["broken"]] == []
    assert [row for row in ours if not row["about"]] == []


def test_plugins_lists_one_kind(capsys):
    code, result = answer(capsys, "plugins", "metrics")
    assert code == 0
    assert {row["kind"] for row in result["plugins"]} == {"metrics"}


def test_plugins_refuses_an_unknown_kind(capsys):
    code, result = answer(capsys, "plugins", "metric")
    assert code == 2
    assert result["error"]["code"] == "plugin-kind-unknown"
    assert "metrics" in result["error"]["why"]


def test_targets_says_engine_device_and_what_is_missing(tmp_path, capsys):
    build_tree(tmp_path, {"edgeops.yaml": YAML})
    code, result = answer(capsys, "-C", str(tmp_path), "targets")
    assert code == 0
    assert result["project"] == "shop"
    assert result["targets"][0] == {
        "name": "gateway",
        "engine": "onnxruntime",
        "device": "local",
        "precision": "int8",
        "threads": 2,
        "missing": [],
    }
    assert [row["name"] for row in result["targets"]] == ["gateway", "desktop"]


def test_targets_probe_asks_the_device(tmp_path, capsys):
    build_tree(tmp_path, {"edgeops.yaml": YAML})
    code, result = answer(capsys, "-C", str(tmp_path), "targets", "--probe")
    assert code == 0
    assert result["targets"][0]["probe"]
    code, out, _ = text(capsys, "-C", str(tmp_path), "targets", "--probe")
    assert code == 0
    assert out.startswith("gateway  onnxruntime  local  int8  2 threads\n  ")


def test_targets_without_a_project_is_an_input_error(tmp_path, capsys):
    code, result = answer(capsys, "-C", str(tmp_path), "targets")
    assert code == 3
    assert "edgeops.yaml" in result["error"]["what"] + result["error"]["where"]


def test_explain_answers_a_code(capsys):
    code, result = answer(capsys, "explain", "disk-full")
    assert code == 0
    assert result["code"] == "disk-full"
    assert result["exit"] == 4
    assert {"title", "text", "fix", "meaning"} <= set(result)


def test_explain_answers_an_exit_code(capsys):
    code, result = answer(capsys, "explain", "11")
    assert code == 0
    assert result["exits"][0]["exit"] == 11
    assert result["exits"][0]["meaning"] == "a gate failed"


def test_explain_names_the_nearest_code(capsys):
    code, result = answer(capsys, "explain", "disk-ful")
    assert code == 2
    assert result["error"]["code"] == "code-unknown"
    assert result["error"]["fix"] == "edgeops explain disk-full"


def test_explain_lists_all_codes_by_exit_code(capsys):
    code, out, _ = text(capsys, "explain")
    assert code == 0
    listed = re.findall(r"^ {7}([a-z0-9-]+) ", out, re.MULTILINE)
    assert sorted(listed) == sorted(texts())


def test_explain_knows_the_meaning_of_every_exit_code():
    assert set(EXITS) == set(ExitCode)


def test_explain_texts_are_whole():
    for code, entry in texts().items():
        assert set(entry) == {"exit", "title", "text", "fix"}, code
        assert entry["exit"] in {int(exit_code) for exit_code in ExitCode}, code
        assert all(entry[key] for key in ("title", "text", "fix")), code
        assert not entry["title"].endswith("."), code


def test_explain_codes_stand_in_one_file_only():
    import tomllib

    import edgeops

    seen: dict[str, str] = {}
    for path in sorted((Path(edgeops.__file__).parent / "explain").glob("*.toml")):
        for code in tomllib.loads(path.read_text()):
            assert code not in seen, f"{code} stands in {seen.get(code)} and {path.name}"
            seen[code] = path.name


def test_schema_prints_draft_07(capsys):
    code, result = answer(capsys, "schema")
    assert code == 0
    assert result["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_schema_takes_the_templates(capsys):
    import jsonschema
    import ruamel.yaml

    from edgeops.pipeline.init import template_root, templates

    _, schema = answer(capsys, "schema")
    for name in templates():
        text = (template_root() / name / "edgeops.yaml").read_text()
        text = re.sub(r"__(\w+)__", r"\1", text)
        jsonschema.Draft7Validator(schema).validate(ruamel.yaml.YAML(typ="safe").load(text))


@pytest.mark.parametrize("verb", ["doctr", "explian"])
def test_unknown_verb_is_a_usage_error(verb, capsys):
    code, result = answer(capsys, verb)
    assert code == 2
    assert result["error"]["code"] == "usage"
