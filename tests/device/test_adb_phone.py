"""A phone, which has no Python: an engine's own benchmark tool measures there.

``EDGEOPS_TOOLS`` names a folder with real tools built for this machine (benchncnn,
MNNV2Basic.out, ModuleBasic.out, benchmark.out); tests of those that are not there are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core import registry
from edgeops.core.contracts import Samples
from edgeops.errors import EdgeopsError, ExitCode, InputError, MissingError, TransportError
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples
from edgeops.validate.devices.adb.device import AdbDevice
from tests.device._phone import commands, getprop, script
from tests.functional._toy import edit, git
from tests.helpers import write_tiny_data, write_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STAND_IN = Path(__file__).with_name("_benchmark_model.py")
PROPERTIES = {
    "ro_product_manufacturer": "Maker",
    "ro_product_model": "Phone 5",
    "ro_build_version_release": "14",
    "ro_product_cpu_abilist": "x86_64,arm64-v8a",
}


@pytest.fixture(params=["android", "plain"])
def phone(request, adb, tmp_path):
    """Attach a phone: with toybox and mksh as Android has them, or with what is here."""
    android = request.param == "android"
    if android and not (shutil.which("toybox") and shutil.which("mksh")):
        pytest.skip("Android's commands are not here: apt-get install toybox mksh")
    path, shell = commands(tmp_path / "bin", android=android)
    getprop(path, **PROPERTIES)
    return adb.attach(environment={"PATH": str(path)}, shell=shell)


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Return the variant of a tiny model for an engine, converted once."""
    folder = tmp_path_factory.mktemp("variants")
    model = write_tiny_model(folder / "small.onnx", hidden=20_000)

    def made(engine):
        found = registry.get("engines", engine)
        if found.available() is not None:
            pytest.skip(found.available().fix)
        if not (folder / engine).exists():
            words = [] if engine in {"litert", "onnxruntime"} else ["--input-shape", "x=1,4"]
            words = ["convert", str(model), "--to", engine, "-o", str(folder / engine), *words]
            assert main(words) == 0
        return folder / engine

    return made


def tool(tmp_path, name, text):
    """Write a tool as a program of Python; the phone has none, so it names this one's."""
    path = tmp_path / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
    path.chmod(0o755)
    return path


@pytest.fixture
def benchmark_model(tmp_path):
    return tool(tmp_path, "android_x86_64_benchmark_model", STAND_IN.read_text())


def pushed(reached, folder, variant, count=12):
    """Push a variant and samples, and return the request that measures it."""
    # Large, so that the answers of the model are not all the same.
    arrays = {"x": np.random.default_rng(0).normal(0, 3, (count, 4)).astype(np.float32)}
    about = write_samples(folder / "few.npz", Samples(arrays, None, count, "", ""))
    reached.push(folder / "few.npz", "few.npz")
    reached.push(variant, "v")
    return {
        "format": FORMAT,
        "do": "measure",
        "variant": "v",
        "threads": 1,
        "few": about,
        "seconds": 0.2,
        "least": 10,
    }, arrays


def left(device):
    return [path for path in device.root.rglob("*") if "work" in path.parent.parts]


def test_what_a_phone_is_without_any_tool(phone, tmp_path):
    with AdbDevice().reach("") as reached:
        about = reached.probe()
        assert about["system"].startswith("Android 14 (Linux")
        assert about["model"] == "Maker Phone 5"
        assert about["cores"] == os.cpu_count()
        assert about["memory_mb"] > 100
        assert about["disk_free_mb"] > 0
        for name in ("governor", "temperature_c", "battery", "python"):
            assert about[name] is not None or about["absent"][name]
        assert about["energy"].keys() & {"source", "absent"}
        request, _ = pushed(reached, tmp_path, tmp_path / "bin")
        with pytest.raises(MissingError) as failed:
            reached.run(request, timeout_s=60)
    assert failed.value.code == "device-no-tool"
    assert "binary" in failed.value.fix


def test_benchmark_model_measures_and_evaluates(phone, variants, benchmark_model, tmp_path):
    variant = variants("litert")
    told = []
    with AdbDevice().with_binary(benchmark_model).reach("") as reached:
        request, arrays = pushed(reached, tmp_path, variant)
        request |= {"data": request["few"], "out": "out.npz"}
        answer = reached.run(request, timeout_s=120, tell=told.append)
        reached.pull("out.npz", tmp_path / "out.npz")
    assert answer["calls"] >= 10
    assert 0 < answer["latency"]["min_ms"] <= answer["latency"]["p50_ms"]
    assert answer["latency"]["p90_ms"] is None
    assert answer["latency_ns"] == []
    assert answer["load_ms"] > 0
    assert answer["first_call_ms"] > 0
    assert 1e6 < answer["peak_rss_bytes"] < 2e9
    for name in ("p90_ms", "latency_ns", "cpu_ms_per_call"):
        assert answer["absent"][name]
    outputs = read_outputs(tmp_path / "out.npz", answer["outputs"])
    session = registry.get("engines", "litert").load(variant)
    wanted = session.run({"x": arrays["x"]})["probabilities"]
    assert len(set(wanted.argmax(axis=1))) > 1
    assert np.allclose(outputs["probabilities"], wanted, atol=1e-6)
    assert sum(message.get("parts", 0) for message in told) == 12
    assert not left(phone)


def test_samples_are_replayed_and_failures_told_by_index(phone, variants, tmp_path):
    odd = STAND_IN.read_text().replace(
        "    given = flags()\n",
        "    given = flags()\n"
        "    if Path('in0').read_bytes() == np.full(4, 7, np.float32).tobytes():\n"
        "        raise SystemExit('cannot take sevens')\n",
    )
    binary = tool(tmp_path, "benchmark_model", odd)
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, _ = pushed(reached, tmp_path, variants("litert"))
        arrays = {"x": np.ones((4, 4), np.float32)}
        arrays["x"][2] = 7
        data = write_samples(tmp_path / "data.npz", Samples(arrays, None, 4, "", ""))
        reached.push(tmp_path / "data.npz", "data.npz")
        request |= {"do": "replay", "data": data, "out": "out.npz"}
        answer = reached.run(request, timeout_s=120)
        assert answer["outputs"]["rows"] == [0, 1, 3]
        assert answer["errors"]["2"]["code"] == "binary-failed"
        with pytest.raises(MissingError) as failed:
            reached.run({**request, "do": "measure"}, timeout_s=120)
    assert failed.value.code == "binary-failed"
    assert "cannot take sevens" in failed.value.why


def test_a_variant_that_is_there_is_not_sent_again(phone, variants, benchmark_model, tmp_path):
    sent = []
    for _ in range(2):
        before = phone.received
        with AdbDevice().with_binary(benchmark_model).reach("") as reached:
            request, _ = pushed(reached, tmp_path, variants("litert"))
            reached.run(request, timeout_s=60)
        sent.append(phone.received - before)
    assert sent[1] < sent[0] - benchmark_model.stat().st_size


PERF_TEST = """
import sys, time
from pathlib import Path
words = sys.argv[1:]
model, result = words[-2:]
assert "-I" in words and Path(model).is_file()
assert words[words.index("-f") + 1] == "N:1"
times = [0.001 + index * 1e-6 for index in range(50)]
print("Session creation time cost: 0.0102016 s")
print("First inference time cost: 2 ms")
print(f"Total inference requests: {len(times)}")
print(f"Average inference time cost: {sum(times) / len(times) * 1000:.6g} ms")
print("Peak working set size: 36696064 bytes")
rows = "".join(f"model,{value:.6g},36696064,96,{index}\\n" for index, value in enumerate(times))
Path(result).write_text(rows)
"""


def test_perf_test_gives_single_calls_and_no_outputs(phone, variants, tmp_path):
    binary = tool(tmp_path, "onnxruntime_perf_test", PERF_TEST)
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, _ = pushed(reached, tmp_path, variants("onnxruntime"))
        request |= {"data": request["few"], "out": "out.npz"}
        answer = reached.run(request, timeout_s=60)
    assert len(answer["latency_ns"]) == 50
    assert answer["latency_ns"][:2] == [1_000_000, 1_001_000]
    assert answer["peak_rss_bytes"] == 36696064
    assert "outputs" not in answer
    assert answer["absent"]["outputs"] == (
        "onnxruntime_perf_test does not write the outputs it computes"
    )


def real(name):
    folder = os.environ.get("EDGEOPS_TOOLS")
    if not folder or not (Path(folder) / name).is_file():
        pytest.skip(f"no real {name} is here: name a folder with it in EDGEOPS_TOOLS")
    return Path(folder) / name


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("benchncnn", "ncnn"),
        ("MNNV2Basic.out", "mnn"),
        ("ModuleBasic.out", "mnn"),
        ("benchmark.out", "mnn"),
    ],
)
def test_real_tools(phone, variants, tmp_path, name, engine):
    binary, variant = real(name), variants(engine)
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, arrays = pushed(reached, tmp_path, variant)
        request |= {"data": request["few"], "out": "out.npz"}
        answer = reached.run(request, timeout_s=120)
        if "outputs" in answer:
            reached.pull("out.npz", tmp_path / "out.npz")
    assert answer["latency"]["mean_ms"] > 0
    if name in {"benchncnn", "benchmark.out"}:
        assert answer["absent"]["outputs"]
        return
    outputs = read_outputs(tmp_path / "out.npz", answer["outputs"])
    session = registry.get("engines", engine).load(variant)
    wanted = [session.run({"x": row[None]})["probabilities"][0] for row in arrays["x"]]
    assert np.allclose(outputs["probabilities"], wanted, atol=1e-4)


def run(binary, variant, tmp_path, **more):
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, _ = pushed(reached, tmp_path, variant)
        return reached.run({**request, **more}, timeout_s=more.pop("timeout_s", 60))


SLEEPS = "import time\nprint('thinking', flush=True)\ntime.sleep(100)\n"
BAD = [
    ("import sys; print('no kernel for FOO'); sys.exit(1)", MissingError, "binary-failed"),
    ("import os; os.kill(os.getpid(), 9)", TransportError, "probe-killed"),
    ("print('hello')", MissingError, "binary-unread"),
]


@pytest.mark.parametrize(("text", "kind", "code"), BAD)
def test_tools_that_go_wrong(phone, variants, tmp_path, text, kind, code):
    binary = tool(tmp_path, "benchmark_model", text)
    with pytest.raises(kind) as failed:
        run(binary, variants("litert"), tmp_path)
    assert failed.value.code == code
    assert not left(phone)


def test_a_tool_that_hangs_is_ended(phone, variants, tmp_path):
    binary = tool(tmp_path, "benchmark_model", SLEEPS)
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, _ = pushed(reached, tmp_path, variants("litert"))
        with pytest.raises(TransportError) as failed:
            reached.run(request, timeout_s=8)
    assert (failed.value.code, failed.value.why) == ("probe-timeout", "thinking")
    nothing_runs(phone, binary.name)


def nothing_runs(phone, name):
    """Wait until nothing that was started on the phone runs any more, nor what that started."""
    until = time.monotonic() + 60
    while phone.running() or running(name, str(phone.root)):
        assert time.monotonic() < until
        time.sleep(0.1)


def running(name, root):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if name in (process / "cmdline").read_text() and root in str(
                (process / "cwd").readlink()
            ):
                found.append(process.name)
        except OSError:
            continue
    return found


def test_a_phone_that_goes_ends_the_tool(adb, phone, variants, tmp_path):
    binary = tool(tmp_path, "benchmark_model", SLEEPS)
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, _ = pushed(reached, tmp_path, variants("litert"))

        def drop():
            until = time.monotonic() + 60
            while not running(sys.executable, str(phone.root)) and time.monotonic() < until:
                time.sleep(0.05)
            phone.drop()

        dropping = threading.Thread(target=drop)
        dropping.start()
        with pytest.raises(TransportError) as failed:
            reached.run(request, timeout_s=60)
        dropping.join()
    assert failed.value.code == "device-lost"
    nothing_runs(phone, binary.name)
    adb.reconnect(phone)
    with AdbDevice().reach(""):
        pass
    assert not left(phone)
    assert not (phone.root / ".cache" / "edgeops" / "lock").exists()


def test_two_measurements_never_share_a_phone(phone, variants, benchmark_model, tmp_path):
    lock = phone.root / ".cache" / "edgeops" / "lock"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    told, answers = [], []

    def measure():
        answers.append(run_told(benchmark_model, variants("litert"), tmp_path, told.append))

    with AdbDevice().reach(""):
        lock.mkdir()
        (lock / "owner").write_text(f"{boot} {os.getpid()} {start}\n")
    thread = threading.Thread(target=measure)
    thread.start()
    until = time.monotonic() + 60
    while not any("waiting" in message.get("what", "") for message in told):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not answers
    shutil.rmtree(lock)
    thread.join(60)
    assert answers[0]["calls"] >= 10
    assert not lock.exists()


def run_told(binary, variant, folder, tell):
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, _ = pushed(reached, folder, variant)
        return reached.run(request, timeout_s=60, tell=tell)


@pytest.mark.parametrize("owner", ["boot 1 1", "{boot} 1 12345678", "{boot} 99999999 1"])
def test_a_lock_whose_owner_is_gone_is_broken(phone, variants, benchmark_model, tmp_path, owner):
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    lock = phone.root / ".cache" / "edgeops" / "lock"
    lock.mkdir(parents=True)
    (lock / "owner").write_text(owner.format(boot=boot) + "\n")
    assert run(benchmark_model, variants("litert"), tmp_path)["calls"] >= 10
    assert not lock.exists()


def test_a_tool_for_another_processor_is_refused_before_it_is_sent(phone, variants, tmp_path):
    elf = bytearray(64)
    elf[:6] = b"\x7fELF\x02\x01"
    elf[18:20] = (0xF3).to_bytes(2, "little")
    binary = tmp_path / "benchmark_model"
    binary.write_bytes(elf)
    with pytest.raises(EdgeopsError) as failed:
        run(binary, variants("litert"), tmp_path)
    assert (failed.value.code, failed.value.exit_code) == (
        "binary-architecture",
        ExitCode.MISSING,
    )
    assert "riscv64" in failed.value.what


def test_pairs_are_refused_with_their_reason(phone, variants, benchmark_model, tmp_path):
    with pytest.raises(EdgeopsError) as refused:
        run(benchmark_model, variants("litert"), tmp_path, do="pair")
    assert (refused.value.code, refused.value.exit_code) == ("binary-pairs", ExitCode.REFUSED)


def test_libraries_beside_the_tool_go_with_it(phone, variants, tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "libMNN.so").write_bytes(b"library")
    text = """
        import os
        from pathlib import Path
        assert Path(os.environ["LD_LIBRARY_PATH"].split(":")[0], "libMNN.so").is_file()
        print("INFO: Inference timings in us: Init: 5, First inference: 9, "
              "Warmup (avg): 8, Inference (avg): 7")
    """
    binary = tool(folder, "benchmark_model", text)
    assert run(binary, variants("litert"), tmp_path)["latency"]["mean_ms"] == 7e-3


def test_a_tool_that_is_not_there_is_bad_configuration(tmp_path):
    with pytest.raises(InputError) as refused:
        AdbDevice().with_binary(tmp_path / "nothing")
    assert refused.value.code == "binary-missing"


def test_energy_comes_from_looks_at_the_battery(phone, tmp_path):
    from edgeops.validate.devices.phone.run import Place
    from edgeops.validate.devices.phone.tools import Command

    battery = tmp_path / "battery"
    battery.mkdir()
    (battery / "current_now").write_text("-500000\n")
    (battery / "voltage_now").write_text("4000000\n")
    script(tmp_path / "tool", "sleep 1; echo done")
    with AdbDevice().reach("") as reached:
        files = reached._device.files
        place = Place(reached.shell, files, f"{reached._device.home}/lock")
        ran = place.time(
            Command((str(tmp_path / "tool"),)), timeout_s=60, tell=None, battery=str(battery)
        )
    assert ran.text.strip() == "done"
    assert set(ran.power) == {(-500000, 4000000)}
    assert ran.peak_bytes > 0


PROJECT = """
project: handheld
version: 1.0.0
model: model.onnx
data:
  evaluation: data.npz
targets:
  phone: {engine: litert, device: adb, binary: tools/benchmark_model}
stages:
  convert: {}
  validate:
    seconds: 0.5
    gates:
      accuracy: ">= 0.9"
      latency_mean_ms: "<= 1000"
"""


@pytest.fixture
def project(tmp_path, phone):
    """Lay down a project whose target is a phone with LiteRT's tool."""
    root = tmp_path / "project"
    model = write_tiny_model(root / "model.onnx", hidden=20_000)
    write_tiny_data(root / "data.npz", model, count=12)
    (root / "edgeops.yaml").write_text(PROJECT)
    (root / "tools").mkdir()
    tool(root / "tools", "benchmark_model", STAND_IN.read_text())
    git(root, "init", "--quiet")
    return root


def test_a_phone_is_a_target_like_any_other(project, capsys):
    assert main(["-C", str(project), "run"]) == 0
    capsys.readouterr()
    evidence = json.loads((project / "reports" / "phone" / "evidence.json").read_text())
    figures = evidence["figures"]
    assert figures["accuracy"]["value"] == 1.0
    assert figures["latency_mean_ms"]["value"] > 0
    assert "as benchmark_model tells it" in figures["latency_mean_ms"]["method"]
    assert figures["latency_p90_ms"]["value"] is None
    assert "5th, 50th and 95th" in figures["latency_p90_ms"]["absent"]
    assert {gate["verdict"] for gate in evidence["gates"]} == {"pass"}
    assert evidence["device"]["model"] == "Maker Phone 5"
    assert evidence["engine_version"].startswith("benchmark_model sha256:")
    file = "reports/phone/evidence.json"
    assert main(["-C", str(project), "validate", "--replay", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("device: adb", "device: local", "binary-not-taken"),
        ("tools/benchmark_model", "tools/nothing", "binary-missing"),
        ("engine: litert", "engine: mnn", "binary-engine"),
    ],
)
def test_a_tool_that_does_not_fit_is_found_before_anything_runs(project, capsys, old, new, code):
    edit(project, old, new)
    assert main(["-C", str(project), "run", "--dry-run", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    places = {found["code"]: found["where"] for found in document["findings"]}
    assert places[code].startswith("edgeops.yaml:8:")


def test_outputs_alone_take_no_timing(phone, variants, benchmark_model, tmp_path):
    with AdbDevice().with_binary(benchmark_model).reach("") as reached:
        request, _ = pushed(reached, tmp_path, variants("litert"), count=3)
        request |= {"data": request["few"], "out": "out.npz", "seconds": 0}
        answer = reached.run(request, timeout_s=60)
    assert answer["outputs"]["names"]
    assert "latency" not in answer


def test_a_tool_without_outputs_cannot_replay(phone, variants, tmp_path):
    binary = tool(tmp_path, "onnxruntime_perf_test", PERF_TEST)
    with AdbDevice().with_binary(binary).reach("") as reached:
        request, _ = pushed(reached, tmp_path, variants("onnxruntime"))
        request |= {"do": "replay", "data": request["few"], "out": "out.npz"}
        with pytest.raises(EdgeopsError) as refused:
            reached.run(request, timeout_s=60)
    assert refused.value.code == "binary-no-outputs"
