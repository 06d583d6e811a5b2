import io
import struct
import warnings
import zlib
from typing import Any

import numpy
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from polyhost.handlers.body import images
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError
from tests.handlers.served import picture

GREY = numpy.arange(12).reshape(3, 4)
COLOUR = numpy.arange(36).reshape(3, 4, 3)


@pytest.mark.parametrize(
    ("pixels", "sample", "expected"),
    [
        (GREY, (1, 3, 4), GREY[None]),
        (GREY, (3, 4), GREY),
        (GREY[:2], (2, 4, 1), GREY[:2, :, None]),
        (GREY, (3, 3, 4), numpy.stack([GREY] * 3)),
        (COLOUR, (3, 3, 4), COLOUR.transpose(2, 0, 1)),
        (COLOUR, (4, 3, 4), numpy.concatenate([COLOUR.transpose(2, 0, 1), numpy.full((1, 3, 4), 255)])),
        (GREY[:3, :3], (9,), GREY[:3, :3].reshape(9)),
    ],
)
def test_layouts(pixels: Any, sample: tuple[int, ...], expected: Any) -> None:
    tensor = images.tensor(images.read(picture(pixels)), sample)
    assert tensor.dtype == numpy.float32
    assert numpy.array_equal(tensor, expected)


def test_pictures_are_resized() -> None:
    tensor = images.tensor(images.read(picture(numpy.full((50, 20, 3), 9))), (3, 4, 5))
    assert numpy.array_equal(tensor, numpy.full((3, 4, 5), 9))


def test_channels_last() -> None:
    wide = numpy.arange(5 * 6 * 3).reshape(5, 6, 3)
    assert numpy.array_equal(images.tensor(images.read(picture(wide)), (5, 6, 3)), wide)


@pytest.mark.parametrize("sample", [(2, 8, 8), (10,), (1, 2, 3, 4)])
def test_inputs_that_no_image_fits(sample: tuple[int, ...]) -> None:
    with pytest.raises(UnsuitableMediaTypeError, match="an image does not fit"):
        images.tensor(images.read(picture(GREY)), sample)


def test_pixels_keep_their_size() -> None:
    assert numpy.array_equal(images.pixels(images.read(picture(GREY))), GREY)
    assert numpy.array_equal(images.pixels(images.read(picture(COLOUR))), COLOUR)


def test_sixteen_bits_are_scaled() -> None:
    stream = io.BytesIO()
    Image.fromarray((GREY * 256).astype(numpy.uint16)).save(stream, "PNG")
    assert numpy.array_equal(images.grey_pixels(images.read(stream.getvalue())), GREY)


@pytest.mark.parametrize("form", images.FORMATS)
def test_every_format_is_read_and_truncation_is_reported(form: str) -> None:
    whole = picture(numpy.random.default_rng(0).integers(0, 255, (64, 64)), form)
    assert images.read(whole).image.size == (64, 64)
    with pytest.raises(BadBodyError, match=r"cannot be read|is not an image"):
        images.read(whole[: len(whole) // 2])


def test_decompression_bomb_is_rejected() -> None:
    with pytest.raises(BadBodyError, match="exceeds limit"):
        images.read(_claim(100_000, 100_000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(13_300, 13_300), (1, images.MAX_PIXELS + 1)])
def test_picture_above_the_limit_is_not_decoded(width: int, height: int) -> None:
    """Pillow itself would take up to 179 million pixels."""
    with pytest.raises(BadBodyError, match=f"has {width} x {height} pixels; at most 50 million"):
        images.read(_claim(width, height))


def test_picture_at_the_limit_is_decoded() -> None:
    with pytest.raises(BadBodyError, match="cannot be read: image file is truncated"):
        images.read(_claim(1, images.MAX_PIXELS))


def _claim(width: int, height: int) -> bytes:
    """Return a PNG of this size by its header, without a pixel."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b""))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


UPRIGHT = numpy.kron(numpy.array([[10, 90, 170], [50, 130, 210]]), numpy.ones((8, 8), int))  # blocks, as JPEG has them
# How a picture is stored: for the values of the tag, row 0 and column 0 are these sides of the upright one (TIFF 6.0).
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.T,  # left, top
    6: UPRIGHT.T[::-1],  # right, top
    7: UPRIGHT.T[::-1, ::-1],  # right, bottom
    8: UPRIGHT.T[:, ::-1],  # left, bottom
}


def with_exif(pixels: Any, form: str, exif: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(numpy.uint8)).save(stream, form, exif=exif, quality=100)
    return stream.getvalue()


def exif_of(orientation: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_as_their_exif_data_say(orientation: int, form: str) -> None:
    read = images.read(with_exif(STORED[orientation], form, exif_of(orientation)))
    for pixels in (images.pixels(read), images.tensor(read, (1, 16, 24))[0], numpy.asarray(read.image.convert("L"))):
        assert numpy.allclose(pixels, UPRIGHT, atol=4)
    assert numpy.allclose(numpy.asarray(ImageOps.exif_transpose(read.image)), UPRIGHT, atol=4)  # not turned twice


def test_the_orientation_in_xmp_is_heeded_too() -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta tiff:Orientation="6"/>')
    stream = io.BytesIO()
    Image.fromarray(STORED[6].astype(numpy.uint8)).save(stream, "PNG", pnginfo=info)
    assert numpy.array_equal(images.pixels(images.read(stream.getvalue())), UPRIGHT)


BROKEN_EXIF = {
    "no EXIF": b"Exif\0\0garbage",
    "half of it": exif_of(6).tobytes()[:12],
    "nothing": b"Exif\0\0",
    "entries beyond its end": exif_of(6).tobytes().replace(b"\0\1\1\x12", b"\xff\xff\1\x12"),
    "unknown value": exif_of(9).tobytes(),
    "text": exif_of(6).tobytes().replace(b"\x12\0\3", b"\x12\0\2"),
    "an offset beyond its end": b"Exif\0\0MM\0*\xff\xff\xff\xff",
}


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("case", BROKEN_EXIF)
def test_broken_exif_data_spoil_no_picture(case: str, form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = images.pixels(images.read(with_exif(UPRIGHT, form, BROKEN_EXIF[case])))
    assert pixels.size == UPRIGHT.size
    if case not in ("half of it", "entries beyond its end"):
        assert numpy.allclose(pixels, UPRIGHT, atol=4)
