"""Images: decoded once, and converted to the size and channels that a model takes."""

import io
import math
from collections.abc import Sequence

import numpy
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from polyhost.handlers.body.payload import Picture
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM")
MAX_PIXELS = 50_000_000  # a file of 1 MB may claim more, and each takes four bytes of memory
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

_ORIENTATION = 0x0112  # the tag of EXIF and TIFF: how a picture is to be turned before it is shown
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # where Pillow looks for the tag


def read(body: bytes | bytearray) -> Picture:
    """Decode an image, turned as its EXIF data say. Raises BadBodyError."""
    try:
        image: Image.Image = Image.open(io.BytesIO(body), formats=FORMATS)
        _check_size(*image.size)
        image.load()
        image = _upright(image)
    except UnidentifiedImageError:
        raise BadBodyError(f"the body of {len(body)} bytes is not an image; readable: {', '.join(FORMATS)}") from None
    # Pillow reports a damaged file by any of these: a truncated one is an OSError, a bad PNG chunk a SyntaxError.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BadBodyError(f"the image of {len(body)} bytes cannot be read: {error}") from error
    return Picture(image)


def _upright(image: Image.Image) -> Image.Image:
    """Return the picture as a camera that was held upright would have stored it."""
    if not any(name in image.info for name in _EXIF):
        return image
    turn = _TURNS.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
        for name in _EXIF:  # or a library that heeds it would turn the picture again
            image.info.pop(name, None)
    return image


def _orientation(image: Image.Image) -> int:
    """Return the tag's value, 1 if it has none that can be read: broken EXIF data spoil no picture."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # of many kinds, and none of them is about the pixels
        return 1
    return value if isinstance(value, int) else 1


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadBodyError(
            f"the image has {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} million are read"
        )


def grey_pixels(picture: Picture) -> NDArray[numpy.uint8]:
    """Return the picture at its own size as grey values, 0 to 255: height x width."""
    return numpy.asarray(_in_mode(picture.image, "L"))


def pixels(picture: Picture) -> NDArray[numpy.uint8]:
    """Return the picture at its own size, values 0 to 255: height x width x 3, or height x width if it is grey.

    A copy, for a script's own functions: an array on the image's memory could not be written to.
    """
    return numpy.array(_in_mode(picture.image, "L" if _is_grey(picture.image) else "RGB"))


def tensor(picture: Picture, sample: Sequence[int]) -> NDArray[numpy.float32]:
    """Return the picture as one sample of the model's shape, values 0 to 255; resized, not cropped, if it must be."""
    channels, height, width, channels_last = _layout(tuple(sample))
    image = _in_mode(picture.image, _MODES[channels])
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    array = numpy.asarray(image, dtype=numpy.float32).reshape(height, width, channels)
    return (array if channels_last else array.transpose(2, 0, 1)).reshape(sample)


def _layout(sample: tuple[int, ...]) -> tuple[int, int, int, bool]:
    """Return channels, height, width, and whether the channels come last."""
    match sample:
        case (channels, height, width) if channels in _MODES:
            return channels, height, width, False
        case (height, width, channels) if channels in _MODES:
            return channels, height, width, True
        case (height, width):
            return 1, height, width, False
        case (size,) if math.isqrt(size) ** 2 == size:
            return 1, math.isqrt(size), math.isqrt(size), False
    raise UnsuitableMediaTypeError(
        f"an image does not fit the model's input of shape {list(sample)} (without the batch); "
        "it fits [channels, height, width] with 1, 3 or 4 channels, [height, width], or a square number of pixels"
    )


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    # convert() would clip a 16-bit picture to white rather than scale it.
    if image.mode.startswith("I"):
        image = Image.fromarray((numpy.asarray(image) >> 8).clip(0, 255).astype(numpy.uint8))
    return image if image.mode == mode else image.convert(mode)


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I")
