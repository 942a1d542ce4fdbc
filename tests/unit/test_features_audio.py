"""Sounds: literals, scipy's own results, and WAV files that are none."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.runtime.features import audio_steps
from edgeops.runtime.features.fixed_fft import rfft
from edgeops.runtime.features.mel import cosines, mel_filters, to_hertz, to_mel
from edgeops.runtime.features.resample import resample
from tests.unit._features import features, made, misfit, refused, wav

RATE = 16000
RNG = np.random.default_rng(5)


def sound(value, *steps, rate=RATE, **options):
    return made("audio", value, *steps, rate=rate, **options)


@pytest.mark.parametrize(
    ("bits", "kind", "data", "expected"),
    [
        (8, 1, bytes([0, 128, 255]), [-1, 0, 127 / 128]),
        (16, 1, struct.pack("<3h", -32768, 0, 16384), [-1, 0, 0.5]),
        (24, 1, b"\x00\x00\x80\x00\x00\x00\x00\x00\x40", [-1, 0, 0.5]),
        (32, 1, struct.pack("<3i", -(1 << 31), 0, 1 << 30), [-1, 0, 0.5]),
        (32, 3, struct.pack("<3f", -1, 0, 1.5), [-1, 0, 1.5]),
        (64, 3, struct.pack("<3d", -1, 0, 0.25), [-1, 0, 0.25]),
        (16, 0xFFFE, struct.pack("<3h", -32768, 0, 16384), [-1, 0, 0.5]),
    ],
)
def test_samples_of_every_kind_of_file(bits, kind, data, expected):
    np.testing.assert_array_equal(sound(wav(data, bits=bits, kind=kind)), expected)


def test_channels_are_mixed_or_chosen():
    data = wav(struct.pack("<4h", 16384, 0, -32768, 16384), channels=2)
    np.testing.assert_array_equal(sound(data), [0.25, -0.25])
    np.testing.assert_array_equal(sound(data, channel=1), [0, 0.5])
    assert "2 channels" in refused("audio", data, rate=RATE, channel=2)


def test_other_chunks_are_passed_over_and_an_open_end_is_read_to_the_end():
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    data = struct.pack("<2h", 16384, -16384)
    np.testing.assert_array_equal(sound(wav(data, extra=extra)), [0.5, -0.5])
    np.testing.assert_array_equal(sound(wav(data, announced=0xFFFFFFFF)), [0.5, -0.5])


@pytest.mark.parametrize("whole", [0, 0xFFFFFFFF, 36])
# sox for 24 bits in stereo and arecord write the two in the middle.
@pytest.mark.parametrize("announced", [0, 0x7FFFEFFC, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("rest", [b"", b"\1"])
def test_stream_whose_sizes_nobody_filled_in_is_read_to_its_end(whole, announced, rest):
    file = wav(struct.pack("<2h", 16384, -16384) + rest, announced=announced)
    np.testing.assert_array_equal(
        sound(file[:4] + struct.pack("<I", whole) + file[8:]), [0.5, -0.5]
    )


def test_empty_recording_with_other_chunks_after_it_is_no_stream():
    assert "no samples" in refused("audio", wav(b"LIST\4\0\0\0abcd", announced=0), rate=RATE)


@pytest.mark.parametrize("announced", [0x7FFFDFFF, 1000])
@pytest.mark.parametrize("whole", [0, 0xFFFFFFFF])
def test_any_other_size_that_is_not_there_is_cut_off(announced, whole):
    file = wav(bytes(8), announced=announced)
    file = file[:4] + struct.pack("<I", whole) + file[8:]
    assert "cut off" in refused("audio", file, rate=RATE)


def test_arrays_and_paths(tmp_path):
    (tmp_path / "x.wav").write_bytes(wav(struct.pack("<2h", 16384, -16384)))
    for value in (
        np.array([16384, -16384], np.int16),
        np.array([0.5, -0.5]),
        np.array([[0.5], [-0.5]], np.float32),
        (RATE, np.array([0.5, -0.5], np.float32)),
        tmp_path / "x.wav",
    ):
        np.testing.assert_array_equal(sound(value), [0.5, -0.5])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "no WAV file"),
        (b"RIFF1234WAVE", "cut off"),
        (wav(bytes(8))[:-3], "cut off"),
        (wav(bytes(7)), "cut off"),
        (wav(bytes(8), announced=1000), "cut off"),
        (wav(bytes(8), kind=6), "of kind 6"),
        (wav(bytes(8), bits=20), "20 bits"),
        (wav(bytes(8), channels=0), "0 channels"),
        (wav(bytes(8), rate=0), "rate is 0 Hz"),
        (wav(b""), "no samples"),
        (wav(bytes(8), rate=8000), "has 8000 Hz"),
        (wav(struct.pack("<2f", 1, math.nan), bits=32, kind=3), "NaN"),
        (np.zeros(RATE * 2 + 1, np.int16), "more than 2 s"),
        ((0, np.zeros(2, np.int16)), "no rate"),
        (np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.zeros((1, 16000), np.float32), "16000 channels"),
        ("sound.wav", "cannot be str"),
        ([0.5, 1], "cannot be list"),
        (None, "cannot be NoneType"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_sound_is_refused(value, words):
    assert words in refused("audio", value, rate=RATE, max_seconds=2)


def test_every_cut_of_a_file_is_refused():
    whole = wav(RNG.bytes(40))
    for size in range(len(whole)):
        assert refused("audio", whole[:size], rate=RATE)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(44100, 16000), (48000, 44100), (8000, 16000), (16000, 8000), (11025, 16000), (44100, 22050)],
)
def test_resampling_is_that_of_scipy(given, wanted):
    signal = pytest.importorskip("scipy.signal")
    common = math.gcd(given, wanted)
    for size in (1, 2, 17, 4801):
        samples = RNG.normal(size=size).astype(np.float32)
        expected = signal.resample_poly(
            samples.astype(np.float64), wanted // common, given // common
        )
        np.testing.assert_allclose(resample(samples, given, wanted), expected, atol=1e-6)


def test_sounds_of_another_rate_are_resampled_when_asked():
    found = sound(wav(bytes(2 * 8000), rate=8000), resample=True)
    assert found.shape == (16000,)
    told = refused("audio", wav(bytes(8), rate=44101), rate=RATE, resample=True)
    assert "44101 Hz cannot be made 16000 Hz" in told


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"length": 2}], [1, 2]),
        ([{"length": 5}], [1, 2, 3, 0, 0]),
        ([{"length": {"samples": 2, "keep": "end"}}], [2, 3]),
        ([{"length": {"samples": 5, "keep": "end"}}], [0, 0, 1, 2, 3]),
        ([{"pad": {"before": 1, "after": 2}}], [0, 1, 2, 3, 0, 0]),
        ([{"preemphasis": 0.5}], [1, 1.5, 2]),
    ],
)
def test_steps_on_samples(steps, expected):
    np.testing.assert_array_equal(sound(np.array([1.0, 2, 3]), *steps), expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[1, 2, 3, 4], [3, 4, 5, 6]]),
        ({"pad": "end"}, [[1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 0]]),
        ({"pad": "centre"}, [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 0]]),
        ({"pad": "reflect"}, [[3, 2, 1, 2], [1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 6]]),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_frames(options, expected, known):
    step = {"frames": {"length": 4, "step": 2, "window": "none", **options}}
    steps = [{"length": 7}, step] if known else [step]
    maker = features("audio", *steps, rate=RATE)
    found = maker({"x": np.arange(1.0, 8)})["x"][0]
    np.testing.assert_array_equal(found, expected)
    assert maker.outputs[0].shape == ("batch", len(expected) if known else "any", 4)


def test_sounds_too_short_for_a_frame():
    step = {"frames": {"length": 4, "step": 2}}
    assert "a frame has 4" in refused("audio", np.zeros(3), step, rate=RATE)
    mirrored = {"frames": {"length": 8, "step": 2, "pad": "reflect"}}
    assert "mirrored" in refused("audio", np.zeros(3), mirrored, rate=RATE)
    padded = {"frames": {"length": 4, "step": 2, "pad": "end", "window": "none"}}
    assert sound(np.ones(3), padded).tolist() == [[1, 1, 1, 0]]
    assert "at least 4 samples" in misfit("audio", {"length": 3}, step, rate=RATE)


@pytest.mark.parametrize("kind", ["hann", "hamming"])
@pytest.mark.parametrize("periodic", [False, True])
def test_windows_are_those_of_scipy(kind, periodic):
    windows = pytest.importorskip("scipy.signal.windows")
    wanted = getattr(windows, kind)(25, sym=not periodic)
    found = audio_steps.window(25, kind, periodic=periodic)
    np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_a_spectrum_by_hand():
    step = {"frames": {"length": 4, "step": 4, "window": "none"}}
    value = np.array([1.0, 2, 3, 4])
    for power, expected in ((2, [100, 8, 4]), (1, [10, math.sqrt(8), 2])):
        found = sound(value, step, {"spectrum": {"power": power}})
        np.testing.assert_allclose(found, [expected], rtol=1e-6)
    longer = sound(value, step, {"spectrum": {"fft": 8, "power": 1}})
    np.testing.assert_allclose(longer[0, ::2], [10, math.sqrt(8), 2], rtol=1e-6)
    assert "at least the 4 samples" in misfit("audio", step, {"spectrum": {"fft": 3}}, rate=RATE)


def test_mel_scales_at_known_places():
    # 1 kHz is 1000 mel on HTK's scale and 15 mel on Slaney's, 6.4 kHz is 42 there.
    assert to_mel(np.array([1000.0]), "htk")[0] == pytest.approx(999.9856, abs=1e-3)
    np.testing.assert_allclose(to_mel(np.array([200 / 3, 1000.0, 6400]), "slaney"), [1, 15, 42])
    for scale in ("htk", "slaney"):
        places = np.array([0.0, 80, 999, 1001, 7000])
        np.testing.assert_allclose(to_hertz(to_mel(places, scale), scale), places, atol=1e-9)


def test_mel_filters_are_triangles():
    options = {"scale": "slaney", "triangles": "hz"}
    # Feet at 0, 200, 400 and 600 Hz; the spectrum has a value each 100 Hz.
    found = mel_filters(1600, 16, 2, 0.0, 600.0, norm="none", **options)
    np.testing.assert_allclose(found[:, 0], [0, 0.5, 1, 0.5, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found[:, 1], [0, 0, 0, 0.5, 1, 0.5, 0, 0, 0], atol=1e-12)
    even = mel_filters(1600, 16, 2, 0.0, 600.0, norm="slaney", **options)
    np.testing.assert_allclose(even, found * 2 / 400)
    # Up to 1 kHz Slaney's mel are straight in Hz, so both kinds of triangles are the same.
    options["triangles"] = "mel"
    straight = mel_filters(1600, 16, 2, 0.0, 600.0, norm="none", **options)
    np.testing.assert_allclose(straight, found, atol=1e-12)


def test_cosines_are_the_dct_of_scipy():
    fft = pytest.importorskip("scipy.fft")
    rows = RNG.normal(size=(5, 12))
    ortho = fft.dct(rows, type=2, norm="ortho")
    np.testing.assert_allclose(rows @ cosines(12, 7, "ortho"), ortho[:, :7], atol=1e-12)
    flat = fft.dct(rows, type=2) / math.sqrt(24)
    np.testing.assert_allclose(rows @ cosines(12, 12, "flat"), flat, atol=1e-12)


def test_mfcc_whole_way_is_that_of_scipy():
    signal, fft = pytest.importorskip("scipy.signal"), pytest.importorskip("scipy.fft")
    samples = RNG.normal(size=RATE).astype(np.float32)
    maker = features(
        "audio",
        {"length": RATE},
        {"frames": {"length": 640, "step": 320}},
        {"spectrum": {"fft": 1024, "power": 1}},
        {"mel": {"bins": 40, "low": 20, "high": 4000}},
        {"log": {"offset": 1e-6}},
        {"mfcc": 10},
        {"reshape": [49, 10, 1]},
        rate=RATE,
    )
    found = maker({"x": samples})["x"]
    assert maker.outputs[0].shape == ("batch", 49, 10, 1)
    assert found.shape == (1, 49, 10, 1)
    weights = signal.windows.hann(640, sym=False)
    rows = np.stack([samples[at : at + 640] * weights for at in range(0, RATE - 639, 320)])
    power = np.abs(fft.rfft(rows, 1024))
    mel = power @ mel_filters(
        RATE, 1024, 40, 20.0, 4000.0, scale="htk", norm="none", triangles="hz"
    )
    wanted = fft.dct(np.log(mel + 1e-6), type=2, norm="ortho")[:, :10]
    np.testing.assert_allclose(found[0, :, :, 0], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [64, 128, 512])
def test_the_transform_in_integers_is_near_the_real_one(size):
    frames = RNG.integers(-30000, 30000, (5, size))
    real, imaginary = rfft(frames)
    wanted = np.fft.rfft(frames) / size
    assert np.abs(real - wanted.real).max() <= 4
    assert np.abs(imaginary - wanted.imag).max() <= 4


def test_the_front_end_of_microcontrollers_hears_tones_and_not_silence():
    maker = features("audio", {"length": RATE}, "micro_frontend", rate=RATE)
    assert maker.outputs == (TensorInfo("x", ("batch", 49, 40), "int32"),)
    assert not maker({"x": np.zeros(RATE, np.int16)})["x"].any()
    tone = np.sin(np.arange(RATE) * (2 * np.pi * 1000 / RATE)) * 0.3
    found = maker({"x": tone})["x"][0]
    # Of 42 feet from 185 to 2774 mel, 1000 mel lie at the 13th: the top of channel 12. A tone that
    # stays is learned as noise.
    assert found[0].argmax() == 12
    assert found[0, 12] > found[48, 12]
    plain = made("audio", tone, {"micro_frontend": {"pcan": False}}, rate=RATE)
    assert plain[0].argmax() == 12
    assert "a frame has 480" in refused("audio", np.zeros(3), "micro_frontend", rate=RATE)
    assert "power of 2" in misfit("audio", {"micro_frontend": {"fft": 500}}, rate=RATE)


def test_a_logarithm_of_silence_is_refused_without_an_offset():
    steps = [{"frames": {"length": 4, "step": 4}}, "spectrum"]
    assert "infinite" in refused("audio", np.zeros(4), *steps, "log", rate=RATE)
    assert np.isfinite(sound(np.zeros(4), *steps, {"log": {"offset": 1e-6}})).all()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"mel": {"bins": 4}}], "steps on samples: length, pad"),
        (
            [{"frames": {"length": 4, "step": 2}}, "spectrum", {"mel": {"bins": 4, "high": 9000}}],
            "high <= 8000",
        ),
        (
            [
                {"frames": {"length": 4, "step": 2}},
                "spectrum",
                {"mel": {"bins": 4}},
                {"mfcc": 5},
            ],
            "at most the 4 bins",
        ),
    ],
)
def test_steps_that_do_not_follow_are_refused(steps, words):
    assert words in misfit("audio", *steps, rate=RATE)
