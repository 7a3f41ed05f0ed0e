"""Read height and width of a packed image from its first bytes: JPEG, PNG, JPEG 2000, JPEG XL.

A decoder allocates memory for every pixel, and a few bytes may state any number of them.
"""

from __future__ import annotations

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a length
_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_JXL = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # JPEG XL's, width to height
_LOOKED_AT, _MOST_CHANNELS = 1 << 16, 4


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return the (height, width) that a decoder would allocate, or None for any other format."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            return _number(data, 20, 4), _number(data, 16, 4)
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:12] == _JP2:
            return _jpeg2000(_box(data, b"jp2c"))
        if data[:4] == b"\xff\x4f\xff\x51":
            return _jpeg2000(data)
        if data[:12] == _JXL:
            return _jpegxl(_box(data, b"jxlc") or _box(data, b"jxlp")[4:])
        if data[:2] == b"\xff\x0a":
            return _jpegxl(data)
    except IndexError:
        pass  # it ends before it says
    return None


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big")


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if marker in _START_OF_FRAME:
            return _number(data, at + 3, 2), _number(data, at + 5, 2)
        if marker in (0x00, 0xD9, 0xDA):
            return None  # pixels before their size
        if marker not in _ALONE:
            at += max(2, _number(data, at, 2))
        if data[at] != 0xFF:
            return None


def _jpeg2000(data: bytes) -> tuple[int, int] | None:
    if data[:4] != b"\xff\x4f\xff\x51":
        return None
    if _number(data, 40, 2) > _MOST_CHANNELS:
        return None
    right, bottom, left, top = (_number(data, at, 4) for at in (8, 12, 16, 20))
    return max(0, bottom - top), max(0, right - left)


def _box(data: bytes, name: bytes) -> bytes:
    """The content of the first box of this name; boxes before it are small."""
    at = 0
    while at + 8 <= len(data):
        size, start = _number(data, at, 4), at + 8
        if size == 1:
            size, start = _number(data, at + 8, 8), at + 16
        if data[at + 4 : at + 8] == name:
            return data[start : start + _LOOKED_AT]
        if size < start - at:
            break
        at += size
    return b""


def _jpegxl(data: bytes) -> tuple[int, int] | None:
    """A bit stream, the lowest bit first (ISO/IEC 18181-1, SizeHeader, ImageMetadata).

    An animation, or a preview before the image, is none: one chunk or row holds one image.
    """
    if data[:2] != b"\xff\x0a" or len(data) < 14:
        return None
    bits, at = int.from_bytes(data[2:14], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        value = bits >> at & (1 << count) - 1
        at += count
        return value

    def side(small: int) -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = side(small)
    ratio = take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        width = height * across // down
    else:
        width = side(small)
    usual, more = take(1), take(1)
    if not usual and more and take(6) >> 3:  # after 3 bits of orientation
        return None
    return height, width
