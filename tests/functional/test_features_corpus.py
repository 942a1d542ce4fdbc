"""Features of real models: their makers' own inputs and answers come out of documents alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.runtime.features import FORMAT, parse


def features(kind, *steps, to="x", batch=True, **options):
    return parse(
        {
            "format": FORMAT,
            "inputs": {"it": {"kind": kind, "steps": [*steps], **options}},
            "outputs": {to: {"from": "it", "batch": batch}},
        }
    )


def session(model):
    """Return a model in ONNX Runtime, which the makers' figures were made with."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(model), options)


FACES = (
    {"normalize": {"mean": 127, "std": 128}},
    {"layout": "NCHW"},
)


def test_a_photo_becomes_what_the_face_detector_was_given(corpus):
    folder = corpus / "ultraface_rfb320"
    reference = np.load(folder / "reference_rfb320.npz")
    maker = features("image", {"resize": {"width": 320, "height": 240}}, *FACES, to="input")
    found = maker({"it": folder / "one_face.jpg"})
    # The reference was made by Pillow's bilinear resize: not one value differs.
    np.testing.assert_array_equal(found["input"], reference["input"])


@pytest.mark.parametrize("step", ["resize", "letterbox"])
def test_a_face_is_found_where_it_is_in_the_photo(corpus, step):
    folder = corpus / "ultraface_rfb320"
    maker = features("image", {step: {"width": 320, "height": 240}}, *FACES, to="input")
    found = maker({"it": folder / "one_face.jpg"})
    scores, boxes = session(folder / "version-RFB-320.onnx").run(None, dict(found))
    best = int(scores[0, :, 1].argmax())
    (place,) = found.meta["it"]
    index = json.loads((corpus / "index.json").read_text())
    (about,) = (each for each in index["entries"] if each["id"] == "ultraface_rfb320")
    score, box = about["recomputed"]["value"]["one_face.jpg"]["RFB"]
    wanted = np.array(box) * [place.width, place.height, place.width, place.height]
    assert scores[0, best, 1] == pytest.approx(score, abs=5e-3)
    # A few pixels of 458: a letterboxed face is smaller, so its box is coarser.
    np.testing.assert_allclose(place.to_source(boxes[0, best], fractions=True), wanted, atol=4)


def test_a_photo_becomes_what_the_cascade_was_given(corpus):
    reference = np.load(corpus / "mtcnn" / "reference.npz")["pnet_in"]
    maker = features(
        "image",
        {"resize": {"width": 114, "height": 106}},
        {"normalize": {"mean": 127.5, "std": 128}},
        {"layout": "NWHC"},
    )
    found = maker({"it": corpus / "ultraface_rfb320" / "one_face.jpg"})["x"]
    np.testing.assert_array_equal(found, reference)


FIRST, LAST, PAD = 1024, 1024, 256


def small_files(rows):
    """Yield rows of the reference with the bytes of their files, where these can be told.

    The first part begins after leading white space and the last part ends before trailing white
    space, so a file that fits into both is their overlap.
    """
    space = b" \t\n\r\x0b\x0c"
    for row, codes in enumerate(rows):
        head = bytes(code for code in codes[:FIRST].tolist() if code != PAD)
        tail = bytes(code for code in codes[FIRST:].tolist() if code != PAD)
        if len(head) < FIRST and len(tail) < LAST:
            yield row, tail[: len(tail) - len(tail.lstrip(space))] + head


def test_bytes_of_files_become_what_magika_was_given(corpus):
    folder = corpus / "magika_v3_3"
    reference = np.load(folder / "eval_204.npz")
    config = json.loads((folder / "config.min.json").read_text())
    ends = {
        "first": config["beg_size"],
        "last": config["end_size"],
        "pad": config["padding_token"],
        "block": config["block_size"],
        "strip": True,
    }
    maker = features("bytes", {"ends": ends}, to="bytes")
    rows, data = zip(*small_files(reference["features"]), strict=True)
    assert len(rows) > 50
    found = maker.batch([{"it": each} for each in data])["bytes"]
    np.testing.assert_array_equal(found, reference["features"][list(rows)])
    # One by one, as the reference was made: a batch differs in the fourth digit.
    run = session(folder / "model.onnx").run
    for row, codes in zip(rows[::6], found[::6], strict=True):
        (scores,) = run(None, {"bytes": codes[None]})
        assert scores[0].argmax() == reference["expected_index"][row]
        assert scores[0].max() == pytest.approx(reference["expected_score"][row], abs=1e-5)


def test_a_recording_becomes_the_windows_of_basic_pitch(corpus):
    folder = corpus / "basic_pitch"
    maker = features(
        "audio",
        {"pad": {"before": 3840}},
        {"frames": {"length": 43844, "step": 36164, "window": "none", "pad": "end"}},
        {"reshape": [-1, 43844, 1]},
        batch=False,
        rate=22050,
        resample=True,
    )
    found = maker({"it": folder / "vocadito_10.wav"})["x"]
    wanted = np.load(folder / "windows_22050.npz")["windows"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_recordings_become_what_the_microcontroller_heard(corpus):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    folder = corpus / "micro_speech"
    reference = np.load(folder / "features_4.npz")
    maker = features(
        "audio",
        {"length": 16000},
        "micro_frontend",
        {"quantize": {"scale": 666 / 256, "zero_point": -128}},
        {"reshape": [1960]},
        rate=16000,
    )
    sounds = [folder / f"{name}_1000ms.wav" for name in reference["names"]]
    found = maker.batch([{"it": each} for each in sounds])["x"]
    # The front end of TensorFlow Lite Micro made the reference: 27 of 7,840 values differ.
    assert (found == reference["features"]).mean() > 0.996
    model = litert.Interpreter(str(folder / "micro_speech_quantized.tflite"))
    model.allocate_tensors()
    for row, wanted in zip(found, reference["expected_int8_output"], strict=True):
        model.set_tensor(model.get_input_details()[0]["index"], row[None])
        model.invoke()
        scores = model.get_tensor(model.get_output_details()[0]["index"])[0]
        assert np.abs(scores.astype(int) - wanted).max() <= 1


def test_a_machine_is_judged_by_windows_of_its_spectrum(corpus):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    folder = corpus / "ad_toycar"
    maker = features("tensor", {"stack": {"count": 5}}, batch=False, shape=[-1, 128])
    file = folder / "normal_id_01_00000000_hist_librosa.bin"
    rows = maker({"it": np.fromfile(file, "<f4").reshape(-1, 128)})["x"]
    assert rows.shape == (196, 640)
    model = litert.Interpreter(str(folder / "ad01_fp32.tflite"))
    model.resize_tensor_input(model.get_input_details()[0]["index"], rows.shape)
    model.allocate_tensors()
    model.set_tensor(model.get_input_details()[0]["index"], rows)
    model.invoke()
    again = model.get_tensor(model.get_output_details()[0]["index"])
    # The makers' own score of this recording stands in published_tflite_anomaly_score_*.csv.
    assert ((rows - again) ** 2).mean() == pytest.approx(9.70710781339692, rel=1e-4)


def test_mfcc_are_quantized_as_the_keyword_model_takes_them(corpus):
    rows = np.load(corpus / "kws_dscnn" / "kws01_1000.npz")["features"]
    scale, zero = 0.5847029089927673, 83
    maker = features(
        "tensor",
        {"quantize": {"scale": scale, "zero_point": zero}},
        {"reshape": [49, 10, 1]},
        shape=[49, 10],
    )
    floats = (rows.astype(np.float32) - zero) * np.float32(scale)
    found = maker.batch([{"it": each} for each in floats[:100]])["x"]
    np.testing.assert_array_equal(found[..., 0], rows[:100])
