"""Find out what a Zarr chunk would unpack to before it is unpacked.

A chunk's size follows from its array's metadata. A packed chunk that states another size is damaged
or a trap, and is refused while it is still small.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from ofp_edge.image_size import image_size

_BITS = {"zlib": 15, "gzip": 31}
_IMAGES = ("jpeg", "jpeg2k", "jpegxl", "png")


def refusal(codec: str | None, data: bytes, size: int) -> str | None:
    """Say why `data` packed by `codec` (None: not at all) must not unpack to `size` bytes."""
    if codec is None:
        return None if len(data) <= size else f"{len(data)} bytes, expected {size}"
    if codec in IMAGE_CODECS:
        found = image_size(data)
        if found is None:
            return "no image that is known"
        pixels = found[0] * found[1]
        return None if pixels <= size else f"an image of {found[1]} x {found[0]} in {size} bytes"
    stated = _STATED[codec](data, size)
    return None if stated == size else f"{stated} bytes unpacked, expected {size}"


def _blosc(data: bytes, _: int) -> int:
    if len(data) < 16 or int.from_bytes(data[12:16], "little") != len(data):
        return -1
    return int.from_bytes(data[4:8], "little")


def _lz4(data: bytes, _: int) -> int:
    return int.from_bytes(data[:4], "little", signed=True)


def _zstd(data: bytes, _: int) -> int:
    """Return the size that the first frame's header states; the decoder takes no more for all."""
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 6:
        return -1
    flags = data[4]
    alone = flags >> 5 & 1
    at = 5 + (not alone) + (0, 1, 2, 4)[flags & 3]
    width = (alone, 2, 4, 8)[flags >> 6]
    if not width or at + width > len(data):
        return -1  # no size stated: numcodecs, which writes chunks, always states it
    return int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)


def _deflated(bits: int) -> Callable[[bytes, int], int]:
    def unpacked(data: bytes, size: int) -> int:
        """These state no size: unpacked as far as the size allows, and one byte more."""
        made = 0
        try:
            while data and made <= size:
                one = zlib.decompressobj(bits)
                while not one.eof and made <= size:
                    part = one.decompress(data, min(1 << 20, size + 1 - made))
                    data = one.unconsumed_tail
                    made += len(part)
                    if not part and not data:
                        return made if one.eof else -1
                data = one.unused_data if bits == _BITS["gzip"] else b""  # of several members
        except zlib.error:
            return -1
        return made

    return unpacked


_STATED: dict[str, Callable[[bytes, int], int]] = {
    "blosc": _blosc, "lz4": _lz4, "zstd": _zstd,
    **{name: _deflated(bits) for name, bits in _BITS.items()},
}  # fmt: skip
IMAGE_CODECS = tuple(f"imagecodecs_{name}" for name in _IMAGES)
CODECS = (*_STATED, *IMAGE_CODECS)
"""The codecs that are read; no other is ever looked up."""
