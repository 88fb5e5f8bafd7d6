"""Pictures: exact pixels for every format and mode, one clear refusal for every fault."""

import hashlib
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from core.errors import InputError
from core.images import ImageInput, Limits, decode, encode_png, from_rgb

# What core.images ignores for the whole process; pytest replaces its filters by its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL.PngImagePlugin"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


CLOSEST: dict[str, dict[str, object]] = {
    "JPEG": {"subsampling": 0, "quality": 95},
    "WEBP": {"lossless": True},
}


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **CLOSEST.get(kind, {}), **options)
    return buffer.getvalue()


def quarters() -> Image.Image:
    """Return red and green over blue and black, each of whole JPEG blocks."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :32], pixels[:16, 32:], pixels[16:, :32] = RED, GREEN, BLUE
    return Image.fromarray(pixels)


def png(
    width: int, height: int, *, bits: int = 8, kind: int = 2, rows: bytes = b"", extra: bytes = b""
) -> bytes:
    """Write a PNG file by hand; `kind` is the colour type, `extra` whole chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def tiff(bits: int, pixels: bytes, width: int, height: int, sample_format: int = 1) -> bytes:
    """Write an uncompressed little-endian grey TIFF file by hand."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags += [(279, len(pixels)), (339, sample_format)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    offset = 8 + len(pixels)
    return (
        struct.pack("<2sHI", b"II", 42, offset) + pixels + struct.pack("<H", len(tags)) + directory + bytes(4)
    )


# --- formats and modes


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
    ],
)
def test_lossless_formats_give_back_the_pixels(kind: str, options: dict[str, object]) -> None:
    data = save(Image.fromarray(NOISE), kind, **options)
    image = decode(data, "noise.bin")
    assert np.array_equal(image.rgb, NOISE)
    assert (image.format, image.width, image.height, image.name) == (kind, 30, 20, "noise.bin")
    assert (image.data, image.sha256) == (data, hashlib.sha256(data).hexdigest())


def test_jpeg_gives_what_pillow_decodes() -> None:
    data = save(quarters(), "JPEG")
    image = decode(data, "a.jpg")
    assert image.format == "JPEG"
    assert np.array_equal(image.rgb, np.asarray(Image.open(io.BytesIO(data))))
    assert np.abs(image.rgb.astype(int) - np.asarray(quarters())).mean() < 2


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in (RED, GREEN, BLUE)]
    for kind, options in (("GIF", {}), ("WEBP", {}), ("PNG", {}), ("TIFF", {})):
        data = save(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (decode(data, "moving").rgb == RED).all(), kind


def test_name_does_not_decide_the_format() -> None:
    assert decode(save(quarters(), "JPEG"), "really.png").format == "JPEG"


def test_palette_with_and_without_transparency() -> None:
    indexed = Image.new("P", (3, 1))
    indexed.putpalette([*RED, *GREEN, *BLUE])
    indexed.putdata([0, 1, 2])
    assert decode(save(indexed, "PNG"), "p").rgb.tolist() == [[[*RED], [*GREEN], [*BLUE]]]
    assert decode(save(indexed, "GIF"), "p").rgb.tolist() == [[[*RED], [*GREEN], [*BLUE]]]
    assert decode(save(indexed, "PNG", transparency=1), "p").rgb.tolist() == [[[*RED], [*WHITE], [*BLUE]]]
    partly = decode(save(indexed, "PNG", transparency=bytes([255, 0, 128])), "p").rgb[0].tolist()
    assert partly == [[*RED], [*WHITE], [127, 127, 255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_lies_over_white(kind: str) -> None:
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], np.uint8)
    data = save(Image.fromarray(pixels), kind, **({"exact": True} if kind == "WEBP" else {}))
    assert decode(data, "a").rgb.tolist() == [[[200, 0, 0], [255, 255, 255], [244, 204, 204]]]


def test_grey_with_alpha_and_grey_and_colour_with_a_transparent_value() -> None:
    grey_alpha = Image.fromarray(np.array([[[100, 255], [100, 0]]], np.uint8), "LA")
    assert decode(save(grey_alpha, "PNG"), "la").rgb[0, :, 0].tolist() == [100, 255]
    grey = Image.fromarray(np.array([[10, 20]], np.uint8))
    assert decode(save(grey, "PNG", transparency=20), "l").rgb[0, :, 0].tolist() == [10, 255]
    colour = Image.fromarray(np.array([[RED, GREEN]], np.uint8))
    assert decode(save(colour, "PNG", transparency=GREEN), "c").rgb.tolist() == [[[*RED], [*WHITE]]]


def test_one_bit() -> None:
    bits = Image.fromarray(np.array([[True, False, True]]))
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        assert decode(save(bits, kind), "bits").rgb.tolist() == [[[*WHITE], [*BLACK], [*WHITE]]], kind


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(values / 257).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        rgb = decode(save(Image.fromarray(values), kind), "deep").rgb
        assert np.array_equal(rgb, np.repeat(expected[:, :, None], 3, axis=2)), kind
    big_endian = save(Image.frombytes("I;16B", (256, 256), values.astype(">u2").tobytes()), "TIFF")
    assert np.array_equal(decode(big_endian, "deep").rgb[..., 0], expected)


def test_sixteen_bit_grey_with_a_transparent_value() -> None:
    rows = b"\0" + struct.pack(">HH", 1000, 40000)
    data = png(2, 1, bits=16, kind=0, rows=rows, extra=chunk(b"tRNS", struct.pack(">H", 1000)))
    assert decode(data, "deep").rgb[0, :, 0].tolist() == [255, 156]


def test_sixteen_bit_colour() -> None:
    rows = b"\0" + struct.pack(">HHH", 255 * 257, 100 * 257, 0)
    assert decode(png(1, 1, bits=16, rows=rows), "deep").rgb.tolist() == [[[255, 100, 0]]]


def test_twelve_bit_tiff_uses_its_whole_range() -> None:
    packed = bytes([0xFF, 0xF0, 0x00])  # 4095 and 0
    assert decode(tiff(12, packed, 2, 1), "x-ray.tif").rgb[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize(("dtype", "sample_format"), [("<f4", 3), ("<i4", 2), ("<u4", 1)])
def test_32_bit_tiff_is_refused_in_words(dtype: str, sample_format: int) -> None:
    data = tiff(32, np.ones((2, 2), dtype).tobytes(), 2, 2, sample_format)
    with pytest.raises(InputError, match=r"deep\.tif holds 32-bit numbers") as caught:
        decode(data, "deep.tif")
    assert "8 or 16 bits" in caught.value.remedy


def test_cmyk_jpeg_and_tiff() -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow: red
    for kind in ("JPEG", "TIFF"):  # Pillow writes JPEG the Adobe way, with inverted inks
        data = save(inks, kind)
        assert (b"Adobe" in data) == (kind == "JPEG")
        assert np.abs(decode(data, "print").rgb.astype(int) - RED).max() <= 2, kind


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = save(quarters(), kind, exif=exif)
    upright = np.asarray(quarters())
    # TIFF 6.0, tag 274: which side of the picture row 0 and column 0 of the file are
    row, column = {1: "TL", 2: "TR", 3: "BR", 4: "BL", 5: "LT", 6: "RT", 7: "RB", 8: "LB"}[orientation]
    if row in "LR":
        upright = upright.transpose(1, 0, 2)
        row, column = column, row
    upright = upright[:: -1 if row == "B" else 1, :: -1 if column == "R" else 1]
    rgb = decode(data, "turned").rgb
    assert rgb.shape == upright.shape
    assert np.abs(rgb.astype(int) - upright).max() <= (2 if kind == "JPEG" else 0)


def test_sixteen_bit_grey_is_turned_too() -> None:
    exif = Image.Exif()
    exif[274] = 6
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 257
    rgb = decode(save(Image.fromarray(values), "PNG", exif=exif), "deep").rgb
    assert rgb[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]


def test_broken_exif_does_not_cost_the_picture() -> None:
    data = save(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\x99" * 40)
    assert decode(data, "odd.jpg").rgb.shape == (32, 64, 3)


# --- colour profiles


def test_embedded_profile_is_converted_to_srgb() -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    swapped = ImageCms.ImageCmsProfile(srgb).tobytes().replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ")
    swapped = swapped.replace(b"tXYZ", b"gXYZ").replace(b"s\0R\0G\0B\0", b"s\0w\0a\0p\0")
    data = save(Image.new("RGB", (4, 4), RED), "PNG", icc_profile=swapped)
    assert np.abs(decode(data, "swapped").rgb.astype(int) - GREEN).max() <= 2
    # a profile of another colour space than the pixels', and one that is none, are ignored
    for profile in (ImageCms.ImageCmsProfile(lab).tobytes(), b"nonsense" * 40):
        assert (decode(save(Image.new("RGB", (4, 4), RED), "PNG", icc_profile=profile), "x").rgb == RED).all()


def test_srgb_profile_leaves_pixels_exactly_alone() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(save(Image.fromarray(NOISE), "PNG", icc_profile=profile), "x").rgb, NOISE)


# --- refusals


def refusal(data: bytes, name: str = "file.png", limits: Limits | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        decode(data, name, limits or Limits())
    assert caught.value.message.startswith(name)
    assert caught.value.message.endswith(".")
    assert caught.value.message.count(". ") == 0  # one sentence
    assert caught.value.remedy.endswith(".")
    return caught.value


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"hello, this is text", "is not a picture in a known format"),
        (b"%PDF-1.7 ...", "is a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "is a PostScript drawing"),
        (b"\xef\xbb\xbf\n <svg xmlns='x'/>", "is an SVG drawing"),
        (b"<?xml version='1.0'?><svg/>", "is an XML or SVG file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "is an AVIF picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isom", "is a video"),
        (b"8BPS\0\x01", "is a Photoshop file"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(data: bytes, what: str) -> None:
    assert what in refusal(data).message


@pytest.mark.parametrize("kind", ["PCX", "PPM", "TGA", "ICO", "JPEG2000", "SGI"])
def test_other_formats_of_pillow_are_never_reached(kind: str) -> None:
    assert "known format" in refusal(save(quarters(), kind)).message


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_pictures_without_pixels(width: int, height: int) -> None:
    assert "has no pixels" in refusal(png(width, height)).message
    bitmap = bytearray(save(quarters(), "BMP"))
    bitmap[18:26] = struct.pack("<ii", width, height)
    refusal(bytes(bitmap))
    gif = bytearray(save(quarters(), "GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    if width == height == 0:
        assert decode(bytes(gif), "gif").rgb.shape == (32, 64, 3)  # the frame says its own size


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_truncated(kind: str) -> None:
    data = save(Image.fromarray(NOISE), kind)
    for length in (4, 12, 20, len(data) // 2, len(data) - len(data) // 4):
        refusal(data[:length])


def test_too_many_bytes_are_refused_unread() -> None:
    error = refusal(b"\0" * 2_500_000, "long.png", Limits(max_mb=2))
    assert error.message == "long.png has 2.5 MB; at most 2 MB are accepted."


@pytest.mark.parametrize(
    ("width", "height"), [(9000, 9000), (12_000, 12_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_png_bombs_are_refused_with_their_numbers(width: int, height: int) -> None:
    message = refusal(png(width, height, rows=bytes(1000))).message
    assert f"{width} x {height} = {width * height / 1e6:.1f} megapixels; at most 40 are" in message


def test_bombs_of_other_formats_are_refused_with_numbers() -> None:
    jpeg = bytearray(save(quarters(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 50_000)
    assert "50000 x 60000 = 3000.0 megapixels" in refusal(bytes(jpeg)).message
    bitmap = bytearray(save(quarters(), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 40_000, 40_000)
    assert "40000 x 40000 = 1600.0 megapixels" in refusal(bytes(bitmap)).message
    grey = tiff(8, bytes(16), 100_000, 100_000)
    assert "100000 x 100000 = 10000.0 megapixels" in refusal(grey).message
    gif = bytearray(save(quarters(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    assert "65535 x 65535 = 4294.8 megapixels" in refusal(bytes(gif)).message


@pytest.mark.parametrize(("side", "said"), [(9999, "9999 x 9999 = 100.0"), (16_383, "more than 179")])
def test_webp_bombs_are_refused_with_numbers(side: int, said: str) -> None:
    body = b"\x2f" + struct.pack("<I", (side - 1) | (side - 1) << 14) + bytes(9)  # lossless header
    data = b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    assert f"{said} megapixels; at most 40 are" in refusal(data).message


def test_limits_are_inclusive() -> None:
    data = encode_png(np.zeros((100, 100, 3), np.uint8))
    assert decode(data, "x", Limits(max_mb=len(data) / 1e6, max_megapixels=0.01)).width == 100
    refusal(data, limits=Limits(max_megapixels=0.0099))
    refusal(data, limits=Limits(max_mb=(len(data) - 1) / 1e6))


def test_text_chunk_bombs_do_not_fill_the_memory() -> None:
    hidden = b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9)
    refusal(png(1, 1, rows=b"\0" + bytes(3), extra=chunk(b"zTXt", hidden)))


def test_an_animation_of_many_frames_costs_one_frame() -> None:
    frames = [Image.new("L", (64, 64), i % 256) for i in range(800)]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        data = save(frames[0], kind, save_all=True, append_images=frames[1:])
        assert decode(data, "long").rgb.shape == (64, 64, 3)


def test_no_warning_reaches_the_person() -> None:
    program = (
        "import sys; from core.images import decode, InputError\n"
        "for data in sys.stdin.buffer.read().split(b'=next='):\n"
        "    try: print(decode(data, 'x').rgb.shape)\n"
        "    except InputError as error: print('refused')"
    )
    odd_tiff = bytearray(tiff(8, bytes(4), 2, 2))
    odd_tiff[14 + 9 * 12 + 4 : 14 + 9 * 12 + 8] = struct.pack("<I", 3)  # a tag with too many values
    body = b"\x2f" + struct.pack("<I", 9998 | 9998 << 14) + bytes(9)
    bomb = b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    apng = png(1, 1, rows=b"\0" + bytes(3), extra=chunk(b"acTL", bytes(8)))
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", program],
        input=b"=next=".join((bytes(odd_tiff), bomb, apng)),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert done.stdout.split(b"\n")[1:3] == [b"refused", b"(1, 1, 3)"]


# --- anything at all

SEEDS = [save(quarters().resize((9, 7)), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")]
SEEDS += [
    save(Image.new("LA", (5, 4)), "PNG"),
    save(Image.new("I;16", (5, 4)), "TIFF"),
    tiff(12, bytes(6), 2, 2),
]
SEEDS += [save(Image.new("P", (5, 4)), "GIF", transparency=0), save(Image.new("CMYK", (9, 9)), "JPEG")]
LIMITS = Limits(max_megapixels=1)


def survives(data: bytes) -> None:
    try:
        image = decode(data, "fuzz", LIMITS)
    except InputError as error:
        assert error.message
        assert error.remedy
    else:
        assert image.rgb.shape == (image.height, image.width, 3)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([seed[:12] for seed in SEEDS]))
def test_random_bytes_are_a_picture_or_an_input_error(tail: bytes, head: bytes) -> None:
    survives(tail)
    survives(head + tail)


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from(SEEDS))
def test_damaged_files_are_a_picture_or_an_input_error(data: st.DataObject, file: bytes) -> None:
    damaged = bytearray(file[: data.draw(st.integers(1, len(file)))])
    for place, value in data.draw(
        st.dictionaries(st.integers(0, len(damaged) - 1), st.integers(0, 255), max_size=6)
    ).items():
        damaged[place] = value
    survives(bytes(damaged))


# --- the value and the way back


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_from_rgb_and_decode_are_inverse(height: int, width: int, seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    made = from_rgb(rgb, "made")
    read = decode(made.data, "made")
    assert np.array_equal(made.rgb, rgb)
    assert np.array_equal(read.rgb, rgb)
    assert (made.sha256, made.format) == (read.sha256, read.format)


def test_pixels_are_read_only_and_not_the_callers() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    made = from_rgb(rgb, "made")
    rgb[0, 0] = 9
    assert made.rgb[0, 0, 0] == 0
    for image in (made, decode(made.data, "read")):
        with pytest.raises(ValueError, match="read-only"):
            image.rgb[0, 0] = 1


@pytest.mark.parametrize(
    "make",
    [lambda: np.zeros((4, 4), np.uint8), lambda: np.zeros((4, 4, 3)), lambda: np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_a_bug(make: Callable[[], np.ndarray]) -> None:
    with pytest.raises(ValueError, match="uint8 H W 3"):
        ImageInput("x", b"", "", "PNG", make())


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(640, 320, (160, 80)), (50, 30, (50, 30)), (4000, 2, (160, 1))]
)
def test_thumbnail(width: int, height: int, expected: tuple[int, int]) -> None:
    image = from_rgb(np.full((height, width, 3), (200, 30, 60), np.uint8), "wide")
    thumbnail = Image.open(io.BytesIO(image.thumbnail))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", expected)
    assert np.abs(np.asarray(thumbnail).astype(int) - (200, 30, 60)).max() <= 3
    assert image.thumbnail is image.thumbnail


def test_many_threads_decode_at_once() -> None:
    files = [encode_png(np.roll(NOISE, shift, axis=0)) for shift in range(20)] + SEEDS * 2
    alone = [decode(file, "x").rgb for file in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda file: decode(file, "x").rgb, files * 5))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 5, together, strict=True))
