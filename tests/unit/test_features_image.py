"""Pictures: literals, Pillow's own results, and what cannot be a picture."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from edgeops.errors import MissingError
from edgeops.runtime.features import image as images
from edgeops.runtime.features.resize import resize
from tests.unit._features import features, made, refused

RNG = np.random.default_rng(3)


def pixels(height, width, channels=3):
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def file(array, kind="PNG", **options):
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind, **options)
    return data.getvalue()


def grey(*rows):
    return np.array(rows, np.uint8)


def test_two_pixels_become_one_by_their_mean():
    found = made(
        "image", grey([10, 20], [30, 41]), {"resize": {"width": 1, "height": 1}}, colour="grey"
    )
    # Across first: 15 and 35.5, which rounds to 36; then 25.5, which rounds to 26.
    assert found.tolist() == [[[26]]]


def test_enlarging_mixes_neighbours_with_half_pixel_centres():
    found = made("image", grey([0, 100]), {"resize": {"width": 4, "height": 1}}, colour="grey")
    assert found[..., 0].tolist() == [[0, 25, 75, 100]]


def test_shrinking_without_antialias_takes_two_neighbours():
    options = {"width": 2, "height": 1, "antialias": False}
    found = made("image", grey([0, 8, 16, 24, 32, 40]), {"resize": options}, colour="grey")
    assert found[..., 0].tolist() == [[8, 32]]


def test_nearest_takes_the_pixel_in_whose_middle_it_lies():
    found = made(
        "image",
        grey([0, 1, 2, 3, 4]),
        {"resize": {"width": 2, "height": 1, "method": "nearest"}},
        colour="grey",
    )
    assert found[..., 0].tolist() == [[1, 3]]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_direction_equals_pillow(channels):
    for _ in range(60):
        height, width, size = (int(each) for each in RNG.integers(1, 70, 3))
        array = pixels(height, width, channels)
        picture = Image.fromarray(array if channels != 1 else array[..., 0])
        for to in ((size, height), (width, size)):
            wanted = np.asarray(picture.resize(to, Image.Resampling.BILINEAR))
            found = resize(array, *to, "bilinear", antialias=True)
            np.testing.assert_array_equal(found, wanted.reshape(found.shape))


def test_both_directions_differ_from_pillow_by_rounding_alone():
    for _ in range(60):
        height, width, rows, columns = (int(each) for each in RNG.integers(1, 70, 4))
        array = pixels(height, width)
        picture = Image.fromarray(array).resize((columns, rows), Image.Resampling.BILINEAR)
        found = resize(array, columns, rows, "bilinear", antialias=True)
        assert np.abs(found.astype(int) - np.asarray(picture)).max() <= 1


def test_resizing_without_antialias_equals_its_formula():
    array = pixels(9, 13)
    places = np.clip((np.arange(5) + 0.5) * 13 / 5 - 0.5, 0, 12)
    low = np.floor(places).astype(int)
    part = (places - low)[:, None]
    wanted = array[:, low] * (1 - part) + array[:, np.minimum(low + 1, 12)] * part
    found = resize(array, 5, 9, "bilinear", antialias=False)
    np.testing.assert_array_equal(found, np.floor(wanted + 0.5 - 1e-9).astype(np.uint8))


def test_resizing_floats_rounds_nothing():
    step = {"resize": {"width": 1, "height": 1}}
    found = made("image", grey([1, 2], [3, 5]), {"normalize": {"scale": 0.5}}, step, colour="grey")
    np.testing.assert_allclose(found, [[[1.375]]])


def test_the_shorter_side_keeps_the_proportion():
    maker = features(
        "image", {"resize": {"shortest": 4}}, {"centre_crop": {"width": 4, "height": 4}}
    )
    found = maker({"x": pixels(8, 10)})
    assert found["x"].shape == (1, 4, 4, 3)
    (place,) = found.meta["x"]
    assert (place.scale_x, place.scale_y, place.offset_x, place.offset_y) == (0.5, 0.5, 0, 0)
    assert maker({"x": pixels(40, 4)})["x"].shape == (1, 4, 4, 3)


def test_a_letterbox_keeps_proportion_and_says_where_things_went():
    maker = features("image", {"letterbox": {"width": 8, "height": 8, "pad": 7}}, colour="grey")
    found = maker({"x": np.full((2, 4), 200, np.uint8)})
    rows = found["x"][0, :, :, 0]
    assert rows[:, 0].tolist() == [7, 7, 200, 200, 200, 200, 7, 7]
    (place,) = found.meta["x"]
    assert (place.scale_x, place.scale_y) == (2, 2)
    assert (place.offset_x, place.offset_y) == (0, 2)
    # The box of the picture in the model's pixels is the whole source.
    np.testing.assert_array_equal(place.to_source([0, 2, 8, 6]), [0, 0, 4, 2])
    np.testing.assert_array_equal(
        place.to_source([[0.5, 0, 1, 1]], fractions=True, clip=True), [[2, 0, 4, 2]]
    )


def test_a_letterbox_may_begin_at_the_corner():
    step = {"letterbox": {"width": 4, "height": 4, "anchor": "top_left"}}
    found = made("image", np.full((2, 4), 9, np.uint8), step, colour="grey")
    assert found[:, 0, 0].tolist() == [9, 9, 0, 0]


def test_places_add_up_over_steps():
    maker = features(
        "image",
        {"crop": {"x": 2, "y": 4, "width": 8, "height": 8}},
        {"resize": {"width": 4, "height": 16}},
        {"layout": "NWHC"},
    )
    found = maker({"x": pixels(20, 20)})
    assert found["x"].shape == (1, 4, 16, 3)
    (place,) = found.meta["x"]
    assert place.swapped
    # The model sees width before height: its first coordinate is the source's y.
    np.testing.assert_array_equal(place.to_source([6, 3]), [8, 7])


def test_a_part_outside_of_the_picture_is_refused():
    step = {"crop": {"x": 1, "y": 0, "width": 4, "height": 2}}
    assert "leaves the picture" in refused("image", pixels(2, 4), step)


def test_layouts():
    array = pixels(2, 4)
    for order, axes in (("NHWC", (0, 1, 2)), ("NCHW", (2, 0, 1)), ("NCWH", (2, 1, 0))):
        found = made("image", array, {"layout": order})
        np.testing.assert_array_equal(found, array.transpose(axes))


def test_normalizing_by_table_equals_the_formula():
    array = pixels(5, 7)
    step = {"normalize": {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.2, 0.3, 0.4]}}
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.2, 0.3, 0.4], np.float32)
    wanted = (array.astype(np.float32) * np.float32(1 / 255) - mean) / std
    np.testing.assert_array_equal(made("image", array, step), wanted)
    after = made("image", array, {"layout": "NCHW"}, step)
    np.testing.assert_array_equal(after, wanted.transpose(2, 0, 1))


def test_pixels_become_int8_as_the_model_has_them():
    steps = [{"quantize": {"scale": 1.0, "zero_point": -128}}]
    assert made("image", grey([0, 255]), *steps, colour="grey")[0, :, 0].tolist() == [-128, 127 - 0]
    steps = [{"normalize": {"std": 255}}, {"quantize": {"scale": 1 / 255, "zero_point": -128}}]
    assert made("image", grey([0, 255]), *steps, colour="grey")[0, :, 0].tolist() == [-128, 127]


def test_colours():
    array = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [12, 34, 56]]], np.uint8)
    wanted = np.asarray(Image.fromarray(array).convert("L"))
    assert made("image", array, colour="grey")[..., 0].tolist() == wanted.tolist()
    assert made("image", array, colour="bgr")[0, 0].tolist() == [0, 0, 255]
    assert made("image", array, arrays="bgr")[0, 0].tolist() == [0, 0, 255]
    assert made("image", array, arrays="bgr", colour="bgr")[0, 0].tolist() == [255, 0, 0]
    assert made("image", grey([5]))[0, 0].tolist() == [5, 5, 5]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "GIF"])
def test_files_without_loss_are_their_pixels(kind, tmp_path):
    array = np.repeat(grey([0, 50], [100, 200])[..., None], 3, axis=2)
    data = file(array, kind)
    (tmp_path / "x").write_bytes(data)
    for value in (data, bytearray(data), memoryview(data), tmp_path / "x"):
        np.testing.assert_array_equal(made("image", value), array)


def test_alpha_is_dropped_and_palettes_are_looked_up():
    array = np.concatenate([pixels(3, 4), np.full((3, 4, 1), 9, np.uint8)], axis=2)
    np.testing.assert_array_equal(made("image", file(array)), array[..., :3])
    np.testing.assert_array_equal(made("image", array), array[..., :3])
    picture = Image.fromarray(array[..., :3]).quantize(4)
    data = io.BytesIO()
    picture.save(data, "PNG")
    np.testing.assert_array_equal(
        made("image", data.getvalue()), np.asarray(picture.convert("RGB"))
    )


def test_sixteen_bits_keep_the_upper_eight():
    found = made("image", file(np.array([[0, 256, 65535]], np.uint16)), colour="grey")
    assert found[0, :, 0].tolist() == [0, 1, 255]
    # Pillow gives this one, and PNG before 10.3, as 32 bits; few white values are spread over 16.
    for white, value in ((65535, b"\x01\x00"), (1000, b"\x00\x04")):
        found = made("image", b"P5 1 1 %d\n" % white + value, colour="grey")
        assert found.tolist() == [[[1]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_seen_as_its_orientation_says(orientation):
    from PIL import ImageOps

    array = pixels(4, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file(array, exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(made("image", data), wanted)
    np.testing.assert_array_equal(images.turned(array, orientation), wanted)


def test_of_an_animation_the_first_picture_is_taken():
    first, second = (Image.new("RGB", (3, 2), colour) for colour in ("red", "blue"))
    data = io.BytesIO()
    first.save(data, "GIF", save_all=True, append_images=[second])
    assert made("image", data.getvalue())[0, 0].tolist() == [255, 0, 0]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width, height):
    """Return a PNG of a few bytes that says it has so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize("side", [8000, 12_000, 60_000])
def test_bombs_are_refused_before_they_unfold(side):
    assert "pixels" in refused("image", bomb(side, side))


def test_more_pixels_than_the_document_allows_are_refused():
    assert "more than 10 are refused" in refused("image", pixels(4, 4), max_pixels=10)
    assert "more than 10 are refused" in refused("image", file(pixels(4, 4)), max_pixels=10)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"no picture",
        file(pixels(40, 40))[:200],
        file(pixels(40, 40), "JPEG")[:300],
        "photo.jpg",
        None,
        3,
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros(3, np.uint8),
    ],
    ids=repr,
)
def test_what_is_no_picture_is_refused(value):
    assert refused("image", value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "is no file" in refused("image", tmp_path / "none.png")
    assert "is no file" in refused("image", tmp_path)


def test_pixels_of_unknown_white_are_refused():
    assert "32 bit" in refused("image", b"Pf\n1 1\n-1.0\n" + struct.pack("<f", 1))


def test_without_pillow_files_are_refused_and_arrays_are_taken(monkeypatch):
    data = file(pixels(2, 2))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingError) as caught:
        made("image", data)
    assert caught.value.code == "pillow-missing"
    assert "pip install" in caught.value.fix
    assert made("image", pixels(2, 2)).shape == (2, 2, 3)
