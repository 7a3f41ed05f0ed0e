"""Messages between the control loop and a robot's own process, over a Unix socket pair.

    4 bytes  length of the JSON header, little-endian
    header   {"kind": ..., "arrays": [[name, bytes], ...], ...}
    arrays   npy of plain numbers, one after the other: never pickled, never unpickled

The socket keeps messages apart (SOCK_SEQPACKET), so a message goes out whole or not at all, and
neither side can ever be left in the middle of one.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.arrays import read_npy
from ofp_edge.errors import RobotError
from ofp_edge.strict import parse_json, shown

LARGEST_BYTES = 128 * 1024
"""The most bytes of one message: states and actions are small, and the kernel takes no more at
once."""
_LENGTH = struct.Struct("<I")
_HANDLE_BYTES = 4  # of a file descriptor in a message
_WHAT = "a message that can't be read"


class WireError(RobotError):
    """The bytes are no message, or a message whose form is not that of its kind."""


def received(end: socket.socket, flags: int = 0) -> tuple[bytes, int | None]:
    """Receive a message, and the file descriptor that came with it, closed on exec, or None."""
    message, extra, _, _ = end.recvmsg(LARGEST_BYTES, socket.CMSG_LEN(_HANDLE_BYTES), flags)
    if not extra:
        return message, None
    handle = int.from_bytes(extra[0][2][:_HANDLE_BYTES], sys.byteorder)
    os.set_inheritable(handle, False)  # socket.recv_fds drops its flags
    return message, handle


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, **values: Any) -> bytes:
    """Encode one message. Raises WireError when it is larger than LARGEST_BYTES."""
    blobs = []
    for name, array in (arrays or {}).items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
        blobs.append((name, buffer.getvalue()))
    sizes = [[name, len(blob)] for name, blob in blobs]
    header = json.dumps({"kind": kind, "arrays": sizes, **values}).encode()
    message = _LENGTH.pack(len(header)) + header + b"".join(blob for _, blob in blobs)
    if len(message) > LARGEST_BYTES:
        raise WireError(f"a message of {len(message)} bytes, more than {LARGEST_BYTES}")
    return message


def decode(message: bytes) -> tuple[str, dict[str, Any], dict[str, NDArray[Any]]]:
    """Decode one message into (kind, values, arrays). Raises WireError, one line, when it is
    damaged, larger than LARGEST_BYTES, or holds anything but plain numbers; nothing larger than the
    message is ever made of it."""
    if not _LENGTH.size <= len(message) <= LARGEST_BYTES:
        raise WireError(f"{_WHAT}: it has {len(message)} bytes.")
    (length,) = _LENGTH.unpack_from(message)
    start = _LENGTH.size + length
    if start > len(message):
        raise WireError(f"{_WHAT}: it ends in its header.")
    values = parse_json(message[_LENGTH.size : start], _WHAT, WireError, largest=LARGEST_BYTES)
    kind, entries = _header(values)
    arrays: dict[str, NDArray[Any]] = {}
    for name, size in entries:
        what = f"{_WHAT}: array {shown(name)}"
        if size > len(message) - start or name in arrays:
            raise WireError(f"{what} is there twice, or cut off.")
        arrays[name] = read_npy(message[start : start + size], what, WireError)
        start += size
    if start != len(message):
        raise WireError(f"{_WHAT}: it has {len(message)} bytes and should have {start}.")
    return kind, values, arrays


def _header(values: Any) -> tuple[str, list[tuple[str, int]]]:
    """Take kind and arrays out of a message's values."""
    if not isinstance(values, dict):
        raise WireError(f"{_WHAT}: expected an object, got {shown(values)}.")
    kind, entries = values.pop("kind", None), values.pop("arrays", None)
    if not isinstance(kind, str) or not isinstance(entries, list):
        raise WireError(f"{_WHAT}: expected kind and arrays, got {shown(kind)}, {shown(entries)}.")
    for entry in entries:
        two = isinstance(entry, list) and len(entry) == 2
        if not two or not isinstance(entry[0], str) or type(entry[1]) is not int or entry[1] < 0:
            raise WireError(f"{_WHAT}: expected an array's name and size, got {shown(entry)}.")
    return kind, [(name, size) for name, size in entries]
