"""Images: bytes, a path or an array of 8 bit pixels become height x width x channels."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.errors import MissingError
from edgeops.runtime.features.checks import Option, choice, whole
from edgeops.runtime.features.form import BadValue, Form, Kind, Placement, Run, Trace
from edgeops.runtime.features.image_steps import STEPS
from edgeops.runtime.features.source import read_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

# From here on Pillow warns by itself of a decompression bomb.
_PILLOW_WARNS = 89_478_485
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM")
_ORIENTATION = 0x0112
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
# In these formats grey has 16 bits at most, and Pillow spreads it over them: PNG before 10.3 as well.
_SIXTEEN_IN_32 = ("PNG", "PPM")
_PLANES = {"rgb": 3, "bgr": 3, "grey": 1}
# The weights of ITU-R 601 times 65536, as Pillow and libjpeg round them.
_GREY = (19595, 38470, 7471)
_AXES = (2, 3)


def start(options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Return what reads an image, and the form that it makes."""
    colour, given, most = options["colour"], options["arrays"], options["max_pixels"]

    def run(value: Any, trace: Trace) -> Any:
        if isinstance(value, (bytes, bytearray, memoryview, os.PathLike)):
            pixels = _decoded(read_bytes(value), most)
        else:
            pixels = _pixels(value, most)
            pixels = pixels[..., ::-1] if given == "bgr" and pixels.shape[2] != 1 else pixels
        height, width = pixels.shape[:2]
        trace.placement = Placement(width, height, width, height)
        return coloured(pixels, colour)

    return run, Form("pixels", (None, None, _PLANES[colour]), "uint8")


def coloured(pixels: np.ndarray[Any, Any], colour: str) -> np.ndarray[Any, Any]:
    """Return grey or RGB pixels in the colours that are asked for."""
    if colour == "grey":
        if pixels.shape[2] == 1:
            return pixels
        red, green, blue = (pixels[..., plane].astype(np.uint32) for plane in range(3))
        mixed = red * _GREY[0] + green * _GREY[1] + blue * _GREY[2] + 0x8000
        return (mixed >> 16).astype(np.uint8)[..., None]
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return pixels[..., ::-1] if colour == "bgr" else pixels


def _pixels(value: Any, most: int) -> np.ndarray[Any, Any]:
    """Return an array as height x width x 1 or 3, RGB or as it was given; alpha is dropped."""
    if not isinstance(value, np.ndarray):
        raise BadValue(
            f"an image cannot be {type(value).__name__}",
            "an image is the bytes of a file, a pathlib.Path or an array",
            "text is never taken for a path: give pathlib.Path(text)",
        )
    if value.dtype != np.uint8:
        raise BadValue(
            f"the image is {value.dtype}",
            "pixels are uint8, 0 to 255",
            "give the file, or its pixels before they are scaled; of 0 to 1: (255 * array).round().astype('uint8')",
        )
    pixels = value[..., None] if value.ndim == _AXES[0] else value
    if pixels.ndim != _AXES[1] or pixels.shape[2] not in {1, 3, 4}:
        raise BadValue(
            f"the image has the shape {list(value.shape)}",
            "an image is [height, width] or [height, width, 1, 3 or 4]",
        )
    _check_size(pixels.shape[1], pixels.shape[0], most)
    return pixels[..., :3]


def _check_size(width: int, height: int, most: int) -> None:
    if width < 1 or height < 1:
        raise BadValue(f"the image is {width} x {height}", "it has no pixels")
    if width * height > most:
        raise BadValue(
            f"the image has {width} x {height} pixels",
            f"more than {most} are refused: a small file can unfold into all the memory there is",
            "send a smaller image, or raise max_pixels of the input",
        )


def _decoded(data: bytes, most: int) -> np.ndarray[Any, Any]:
    """Return the first picture of a file as it is meant to be seen: its orientation is applied."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingError(
            "pillow-missing",
            "an image file cannot be decoded here",
            why=f"Pillow does not load: {error}",
            fix="pip install pillow, or give the pixels as an array",
        ) from error
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(*image.size, most)
            turn = _orientation(image)
            return turned(_array(image), turn)
    except BadValue:
        raise
    except Exception as error:  # decoders raise whatever their parsing meets
        bomb = "DecompressionBomb" in type(error).__name__
        unknown = "Unidentified" in type(error).__name__
        raise BadValue(
            "the image has too many pixels" if bomb else "the image cannot be decoded",
            "no decoder knows it" if unknown else f"{type(error).__name__}: {error}"[:200],
            "send a smaller image" if bomb else f"send one of {', '.join(_FORMATS)}, whole",
        ) from error


def _array(image: Any) -> np.ndarray[Any, Any]:
    if image.mode in _SIXTEEN:
        return (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)[..., None]
    if image.mode == "I" and image.format in _SIXTEEN_IN_32:
        return (np.asarray(image) >> 8).astype(np.uint8)[..., None]
    if image.mode in {"I", "F"}:
        raise BadValue(
            f"the image has pixels of mode {image.mode}",
            "32 bit pixels have no known white",
            "save it with 8 or 16 bits a channel",
        )
    if image.mode in {"1", "L", "LA"}:
        return np.asarray(image.convert("L"))[..., None]
    # Converting to the mode that it has would copy all pixels once more.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - the note is broken, not the picture
        return 1


def turned(pixels: np.ndarray[Any, Any], orientation: int) -> np.ndarray[Any, Any]:
    """Return pixels as EXIF's orientation 1 to 8 says that they are to be seen."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return pixels


KIND = Kind(
    options={
        "colour": Option(choice("rgb", "bgr", "grey"), "rgb"),
        "arrays": Option(choice("rgb", "bgr"), "rgb"),
        "max_pixels": Option(whole(1, _PILLOW_WARNS), 25_000_000),
    },
    start=start,
    steps=STEPS,
    raw=lambda _options: (("height", "width", 3), "uint8"),
)
