"""Real models: pictures to boxes, images and sounds to labels, through features and rules."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.core import registry
from edgeops.core.contracts import Samples
from edgeops.model.load import load_model
from edgeops.runtime.features import parse as parse_features
from edgeops.runtime.predictor_chain import Chain
from edgeops.runtime.predictor_samples import run_samples
from edgeops.runtime.rules import parse as parse_rules
from tests.corpus_models import ONNX, TFLITE

FACES = {
    "format": "edgeops.features/1",
    "inputs": {
        "photo": {
            "kind": "image",
            "steps": [
                {"resize": {"width": 320, "height": 240}},
                {"normalize": {"mean": 127, "std": 128}},
                {"layout": "NCHW"},
            ],
        }
    },
    "outputs": {"input": {"from": "photo"}},
}
DETECT = {"name": "faces", "kind": "detection", "form": "ssd", "boxes": "boxes", "scores": "scores"}
DETECT |= {"background": 0, "least": 0.7, "overlap": 0.3, "labels": ["face"]}
# What the corpus states of one_face.jpg: relative corners, made with Pillow's bilinear resize.
FACE, SCORE = [0.3176, 0.0768, 0.4162, 0.1861], 0.9943
PRIORS = {
    "strides": [8, 16, 32, 64],
    "sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "variances": [0.1, 0.2],
}


def _session(path):
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    loaded = load_model(path)
    return OnnxRuntimeSession(path, inputs=loaded.inputs, outputs=loaded.outputs)


def _rules(**parts):
    return parse_rules({"format": "edgeops.rules/1", **parts})


@pytest.fixture
def faces(corpus):
    return corpus / "ultraface_rfb320"


def test_a_face_is_found_where_the_corpus_says(faces):
    rules = _rules(
        steps=[DETECT],
        rules=[
            {"when": "size(faces) == 0", "answer": {"faces": 0}},
            {"answer": {"faces": "size(faces)", "box": "faces[0].box", "score": "faces[0].score"}},
        ],
    )
    chain = Chain(_session(faces / "version-RFB-320.onnx"), parse_features(FACES), rules)
    from PIL import Image

    with Image.open(faces / "one_face.jpg") as picture:
        width, height = picture.size
    answer = chain.predict({"photo": faces / "one_face.jpg"})
    assert answer["faces"] == 1
    assert answer["score"] == pytest.approx(SCORE, abs=0.003)
    relative = np.array(answer["box"]) / [width, height, width, height]
    np.testing.assert_allclose(relative, FACE, atol=0.004)
    assert chain.predict({"photo": faces / "no_face.jpg"}) == {"faces": 0}


def test_the_reference_outputs_give_the_stated_box(faces):
    reference = np.load(faces / "reference_rfb320.npz")
    outputs = {name: reference[name] for name in ("boxes", "scores")}
    (face,) = _rules(steps=[DETECT])({}, outputs)["faces"]
    assert face["label"] == "face"
    assert face["score"] == pytest.approx(SCORE, abs=5e-5)
    np.testing.assert_allclose(face["box"], FACE, atol=5e-5)


def test_boxes_of_a_letterboxed_photo_are_those_of_the_photo(faces):
    steps = [{"letterbox": {"width": 320, "height": 240}}, *FACES["inputs"]["photo"]["steps"][1:]]
    boxed = {**FACES, "inputs": {"photo": {"kind": "image", "steps": steps}}}
    session, rules = _session(faces / "version-RFB-320.onnx"), _rules(steps=[DETECT])
    found = [
        Chain(session, parse_features(features), rules).predict({"photo": faces / "one_face.jpg"})
        for features in (FACES, boxed)
    ]
    one, other = (np.array(each["faces"][0]["box"]) for each in found)
    size = np.array([one[2] - one[0], one[3] - one[1]] * 2)
    assert (np.abs(one - other) / size < 0.15).all()


def test_priors_decode_what_the_model_decodes_itself(faces):
    reference = np.load(faces / "reference_rfb320.npz")
    raw = _session(faces / "version-RFB-320_without_postprocessing.onnx")
    outputs = raw.run({"input": reference["input"]})
    step = {**DETECT, "priors": PRIORS, "size": [320, 240], "apply": "none"}
    (face,) = _rules(steps=[step])({}, outputs)["faces"]
    assert face["score"] == pytest.approx(SCORE, abs=1e-3)
    np.testing.assert_allclose(np.array(face["box"]) / [320, 240, 320, 240], FACE, atol=1e-3)


MODELS = {model.name: model for model in (*ONNX, *TFLITE)}


def _accuracy(chain, path, answer, count):
    with np.load(path) as data:
        arrays = {name: data[name][:count] for name in data.files}
    labels = arrays.pop("labels")
    outputs, _ = run_samples(chain, Samples(arrays, labels, len(labels), "", ""))
    return outputs[answer], labels


def test_digits_are_named(corpus, tmp_path):
    model = MODELS["mnist_cnn"]
    path = model.data(corpus, tmp_path / "d.npz")
    names = [f"digit {number}" for number in range(10)]
    step = {"name": "top", "kind": "classification", "apply": "softmax", "labels": names}
    rules = _rules(steps=[step], rules=[{"answer": {"name": "top[0].label"}}])
    found, labels = _accuracy(Chain(_session(corpus / model.file), None, rules), path, "name", 1000)
    right = np.mean(found == np.array(names)[labels])
    assert right > 0.98


def test_hand_signs_are_named_by_an_integer_output(corpus, tmp_path):
    model = MODELS["hand_keypoint"]
    path = model.data(corpus, tmp_path / "d.npz")
    rules = _rules(rules=[{"answer": {"sign": "label(outputs.class_ids)"}}])
    chain = Chain(_session(corpus / model.file), None, rules, ("open", "close", "pointer"))
    found, labels = _accuracy(chain, path, "sign", 0x7FFF)
    assert np.mean(found == np.array(chain.labels)[labels]) == pytest.approx(model.top1, abs=1e-4)


def _litert(corpus, file, folder):
    """Return a session of a .tflite file as it is."""
    from edgeops.core.variant import Variant, entries, write_variant
    from edgeops.model.source import open_source
    from edgeops.runtime.session import load_session

    if registry.get("engines", "litert").available() is not None:
        pytest.skip("litert is not installed")
    folder.mkdir()
    copy = folder / "model.tflite"
    copy.write_bytes((corpus / file).read_bytes())
    source = open_source(copy)
    tensors = {"inputs": source.inputs, "outputs": source.outputs, "files": entries(folder)}
    about = Variant("litert", "2.1", "int8", copy.name, source="sha256:0", **tensors)
    write_variant(folder, about)
    return load_session(folder)


def test_words_are_named_by_an_int8_model(corpus, tmp_path):
    model = MODELS["kws_int8"]
    path = model.data(corpus, tmp_path / "d.npz")
    step = {"name": "top", "kind": "classification"}
    rules = _rules(steps=[step], rules=[{"answer": {"word": "top[0].index"}}])
    session = _litert(corpus, model.file, tmp_path / "v")
    found, labels = _accuracy(Chain(session, None, rules), path, "word", 200)
    assert np.mean(found == labels) > 0.85


HEARD = ("silence", "unknown", "yes", "no")


def test_a_folder_of_recordings_is_heard(corpus, tmp_path):
    from edgeops.project.datasets import load_samples
    from edgeops.project.documents import raw_samples

    session = _litert(corpus, "micro_speech/micro_speech_quantized.tflite", tmp_path / "v")
    steps = [{"length": 16000}, "micro_frontend"]
    steps += [{"quantize": {"scale": 666 / 256, "zero_point": -128}}, {"reshape": [1960]}]
    sound = {"kind": "audio", "rate": 16000, "steps": steps}
    (tensor,) = session.inputs
    features = parse_features(
        {
            "format": "edgeops.features/1",
            "inputs": {"sound": sound},
            "outputs": {tensor.name: {"from": "sound"}},
        }
    )
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for name in ("yes", "no", "silence"):
        file = f"{name}_1000ms.wav"
        (sounds / file).write_bytes((corpus / "micro_speech" / file).read_bytes())
    rows = "".join(f"{name}_1000ms.wav,{name}\n" for name in ("yes", "no", "silence"))
    (sounds / "labels.csv").write_text(f"file,labels\n{rows}")
    step = {"name": "top", "kind": "classification", "labels": list(HEARD)}
    rules = _rules(steps=[step], rules=[{"answer": {"word": "top[0].label"}}])
    samples = load_samples("sounds", tmp_path)
    raw = raw_samples(samples, features)
    outputs, _ = run_samples(Chain(session, features, rules), raw)
    assert outputs["word"].tolist() == samples.labels.tolist()
