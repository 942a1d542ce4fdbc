"""The demos that go with a variant: run, and compared with what the predictor answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core.variant import read_variant
from edgeops.package.sdk import sdk_parts
from edgeops.runtime import Predictor

pytestmark = pytest.mark.slow

ENGINES = ("onnxruntime", "litert", "mnn", "ncnn", "openvino")
SAMPLE = np.random.default_rng(3).normal(size=(1, 1, 8, 8)).astype(np.float32)


def _model(path):
    """Write a small convolutional network: image float32 [N,1,8,8] -> probabilities [N,10]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "fc": rng.normal(size=(64, 10)).astype(np.float32) / 10,
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "fc"], ["l"]),
        helper.make_node("Softmax", ["l"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a model and one sample as a raw file."""
    folder = tmp_path_factory.mktemp("demos")
    _model(folder / "m.onnx")
    SAMPLE.tofile(folder / "image.bin")
    return folder


@pytest.fixture
def demo(place):
    """Return a function that lays down the demo of an engine and language beside its variant."""

    def lay_down(engine, language):
        variant = place / engine
        if not variant.exists():
            model = str(place / "m.onnx")
            code = main(["convert", model, "--to", engine, "-o", str(variant), "--json"])
            if code == 4:
                pytest.skip(f"{engine} or its converter is not installed")
            assert code == 0
        for part in sdk_parts({engine: read_variant(variant)}, (language,)):
            path = place / part.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(part.source)
        return variant, place / "code" / engine / language

    return lay_down


def _same(out, variant):
    """Compare a demo's line with the predictor."""
    (line,) = [line for line in out.splitlines() if line.startswith("probabilities ")]
    told = np.array(line.partition("]: ")[2].split(), np.float32)
    expected = Predictor(variant).predict({"image": SAMPLE})["probabilities"][0]
    np.testing.assert_allclose(told, expected, rtol=1e-4, atol=1e-6)
    assert told.argmax() == expected.argmax()


def _run(*command, **options):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_python_demo_answers_as_the_predictor_does(demo, place, engine):
    variant, folder = demo(engine, "python")
    done = _run(sys.executable, "-B", folder / "demo.py", variant, place / "image.bin")
    assert done.returncode == 0, done.stderr
    _same(done.stdout, variant)
    assert _run(sys.executable, "-B", folder / "demo.py", variant).returncode == 0  # zeros


def _built(folder, *options):
    for program in ("cmake", "g++"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    configured = _run("cmake", "-S", folder, "-B", folder / "build", *options)
    if configured.returncode:
        return configured
    return _run("cmake", "--build", folder / "build")


def test_the_cpp_demo_of_openvino_answers_as_the_predictor_does(demo, place):
    openvino = pytest.importorskip("openvino")
    library = Path(openvino.__path__[0])
    if not (library / "cmake" / "OpenVINOConfig.cmake").is_file():
        pytest.skip("this wheel of openvino has no headers")
    variant, folder = demo("openvino", "cpp")
    built = _built(folder, f"-DOpenVINO_DIR={library / 'cmake'}")
    assert built.returncode == 0, built.stdout + built.stderr
    program = folder / "build" / "demo"
    done = _run(program, variant, place / "image.bin")
    assert done.returncode == 0, done.stderr
    _same(done.stdout, variant)
    short = place / "short.bin"
    short.write_bytes(b"1234")
    refused = _run(program, variant, short)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "image takes 256 bytes, got 4" in refused.stderr
    assert _run(program, place / "nowhere").returncode == 1


def test_the_cpp_demo_of_ncnn_answers_as_the_predictor_does(demo, place):
    if shutil.which("pkg-config") is None or _run("pkg-config", "--exists", "ncnn").returncode:
        pytest.skip("libncnn-dev is not installed")
    variant, folder = demo("ncnn", "cpp")
    built = _built(folder)
    assert built.returncode == 0, built.stdout + built.stderr
    done = _run(folder / "build" / "demo", variant, place / "image.bin")
    assert done.returncode == 0, done.stderr
    _same(done.stdout, variant)


# What the demos call of the engines' libraries for Android, which Debian does not have: documented
# signatures without bodies. Enough to compile against, not to run.
ANDROID = Path(__file__).parents[1] / "data" / "android"
TOLD = """package edgeops.demo

fun main() {
    for (tensor in INPUTS + OUTPUTS) {
        println("${tensor.name} ${tensor.bytes} ${tensor.buffer().capacity()}")
    }
}
"""


def _kotlin(folder, *more):
    """Compile what lies in a folder and return the archive, which runs by itself."""
    compiler = shutil.which("kotlinc")
    if compiler is None:
        pytest.skip("kotlinc is not installed")
    made = folder.parent / f"{folder.name}.jar"
    # Debian's compiler is old and leaves out what `use` of Java's AutoCloseable needs.
    library = Path(compiler).resolve().parents[1] / "lib" / "kotlin-stdlib-jdk7.jar"
    options = ["-Werror", "-include-runtime", "-cp", library, "-d", made]
    done = _run(compiler, *options, *sorted(folder.glob("*.kt")), *more)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize("engine", ["onnxruntime", "litert", "mnn", "ncnn"])
def test_the_kotlin_demo_compiles_and_knows_its_tensors(demo, engine):
    _, folder = demo(engine, "kotlin")
    (folder / "told.kt").write_text(TOLD)
    made = _kotlin(folder, ANDROID)
    told = _run("java", "-cp", made, "edgeops.demo.ToldKt")
    assert told.stdout.splitlines() == ["image 256 256", "probabilities 40 40"], told.stderr


def test_a_tensor_of_the_kotlin_demo_may_have_any_name(demo, tmp_path):
    variant, _ = demo("onnxruntime", "kotlin")
    about = read_variant(variant)
    odd = replace(about.inputs[0], name='a$b ${c} "d" \\e é')
    about = replace(about, inputs=(odd,))
    for part in sdk_parts({"x": about}, ("kotlin",)):
        (tmp_path / Path(part.path).name).write_bytes(part.source)
    (tmp_path / "Demo.kt").unlink()
    (tmp_path / "told.kt").write_text(TOLD)
    told = _run("java", "-Dfile.encoding=UTF-8", "-cp", _kotlin(tmp_path), "edgeops.demo.ToldKt")
    assert told.stdout.splitlines()[0] == f"{odd.name} 256 256", told.stderr
