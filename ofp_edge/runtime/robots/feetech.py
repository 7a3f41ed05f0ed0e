"""A bus of Feetech STS servos over `feetech-servo-sdk`, with time-outs that fit a control loop.

The SDK builds and parses the packets. Its own port waits 34 ms and more for an answer, by the wall
clock, and polls meanwhile in a loop that holds the interpreter; `ServoPort` stands in for it: it
sleeps in the kernel, and gives up after the bytes' own time and `patience_ms`, monotonic clock.
One thread uses a bus.
"""

from __future__ import annotations

import errno
import os
import select
import termios
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.extras import require

MODEL, HOMING_OFFSET, OPERATING_MODE = (3, 2), (31, 2), (33, 1)
TORQUE_ENABLE, ACCELERATION, GOAL_POSITION = (40, 1), (41, 1), (42, 2)
PRESENT_POSITION = (56, 2)
STS3215 = 777
_STATE_BYTES = 4  # position and velocity stand beside each other
_ERRORS = {
    1: "voltage out of range",
    2: "angle sensor",
    4: "too hot",
    8: "over-current",
    32: "overload",
}


class ServoPort:
    """A port with what the SDK's packet handler needs: see its PortHandler, whose names these
    are."""

    def __init__(self, path: str, baudrate: int, patience_ms: float) -> None:
        serial = require("serial", "so101")
        # Exclusive: two programs on one bus would read each other's answers.
        try:
            self._serial = serial.Serial(
                path, baudrate, timeout=0, write_timeout=0.2, exclusive=True
            )
        except OSError as cause:
            raise RobotError(f"SO-101: port {path}: {_why_closed(cause)}") from None
        self._fd: int = self._serial.fileno()
        self._ns_per_byte = 10 * 10**9 // baudrate
        self.patience_ns = round(patience_ms * 1e6)
        self._deadline_ns = 0
        self.is_using = False

    def clearPort(self) -> None:  # noqa: N802
        """Forget what came late: it would be taken for the next answer."""
        try:
            self._serial.reset_input_buffer()
        except termios.error as cause:  # termios.error is not an OSError, though it should be one
            raise OSError(*cause.args) from None

    def writePort(self, packet: Sequence[int]) -> int:  # noqa: N802
        """Send the bytes and return how many went out."""
        return int(self._serial.write(bytes(packet)))

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
        """Begin to wait for an answer of that many bytes."""
        self._deadline_ns = (
            time.monotonic_ns() + packet_length * self._ns_per_byte + self.patience_ns
        )

    def isPacketTimeout(self) -> bool:  # noqa: N802
        """Say whether to give up."""
        return time.monotonic_ns() >= self._deadline_ns

    def readPort(self, length: int) -> bytes:  # noqa: N802
        """Read at most `length` bytes; wait for the first one until the deadline."""
        left_s = max(0.0, (self._deadline_ns - time.monotonic_ns()) / 1e9)
        ready, _, _ = select.select([self._fd], [], [], left_s)
        return os.read(self._fd, length) if ready else b""

    def close(self) -> None:
        """Release the port."""
        self._serial.close()


def _why_closed(cause: OSError) -> str:
    """Say why a port can't be opened, and what opens it."""
    if cause.errno == errno.ENOENT:
        return "it does not exist. Plug the arm in; `ofp-edge robots` lists the ports here."
    if cause.errno == errno.EACCES:
        return "you may not open it. Run: sudo usermod -aG dialout $USER, then log in again."
    if cause.errno in (errno.EAGAIN, errno.EBUSY):
        return "another program has it open: one at a time reads a bus. End it."
    return f"{cause}."


class ServoBus:
    """A bus that reads and writes servos by id. Raises RobotError (one line, `names` for people)
    when the port can't be opened, when a servo does not answer in time, answers damaged bytes, or
    reports a fault of its own; OSError when the port is gone."""

    def __init__(self, path: str, baudrate: int, names: dict[int, str], patience_ms: float) -> None:
        self.names, self._ids = names, list(names)
        self._sdk = require("scservo_sdk", "so101")
        self._packets: Any = self._sdk.protocol_packet_handler()
        self._port = ServoPort(path, baudrate, patience_ms)

    def read(self, servo: int, register: tuple[int, int], *, faulty: bool = False) -> int:
        """Read one register (address, bytes) of one servo; with `faulty`, even of one that reports
        a fault."""
        address, size = register
        data, result, error = self._packets.readTxRx(self._port, servo, address, size)
        self._require(servo, result, 0 if faulty else error)
        return int.from_bytes(bytes(data[:size]), "little")

    def write(self, servo: int, register: tuple[int, int], value: int) -> None:
        """Write one register of one servo, which acknowledges it."""
        address, size = register
        data = list(value.to_bytes(size, "little"))
        result, error = self._packets.writeTxRx(self._port, servo, address, size, data)
        self._require(servo, result, error)

    def read_state(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read ticks and ticks a second of every servo, by one request for all."""
        address, ids = PRESENT_POSITION[0], self._ids
        sent = self._packets.syncReadTx(self._port, address, _STATE_BYTES, ids, len(ids))
        self._port.is_using = False
        self._require(ids[0], sent, 0)
        found = np.empty((2, len(ids)), dtype=np.int64)
        for column, servo in enumerate(ids):
            data, result, error = self._packets.readRx(self._port, servo, _STATE_BYTES)
            self._require(servo, result, error)
            found[:, column] = [signed(data[0] | data[1] << 8), signed(data[2] | data[3] << 8)]
        return found[0], found[1]

    def write_goals(self, ticks: NDArray[np.int64]) -> None:
        """Write the goal ticks of every servo, in one packet that nobody acknowledges."""
        values: list[int] = []
        for servo, tick in zip(self._ids, ticks, strict=True):
            values += [servo, int(tick) & 0xFF, int(tick) >> 8]
        address, size = GOAL_POSITION
        result = self._packets.syncWriteTxOnly(self._port, address, size, values, len(values))
        self._require(self._ids[0], result, 0)

    def set_patience(self, patience_ms: float) -> None:
        """Set how much longer than its bytes an answer may take from now on."""
        self._port.patience_ns = round(patience_ms * 1e6)

    def close(self) -> None:
        """Release the port."""
        self._port.close()

    def _require(self, servo: int, result: int, error: int) -> None:
        self._port.is_using = False  # the SDK leaves it set after some failures
        if result == self._sdk.COMM_RX_CORRUPT:
            what = "answered with damaged bytes. Check the cable and its connectors"
        elif result != self._sdk.COMM_SUCCESS:
            what = "does not answer. Check its cable, its id, and the power"
        elif faults := [text for bit, text in _ERRORS.items() if error & bit]:
            what = f"reports {', '.join(faults)}. Switch the arm off and let it rest"
        else:
            return
        raise RobotError(f"servo {servo} ({self.names[servo]}) {what}.")


def signed(word: int, sign_bit: int = 15) -> int:
    """Decode sign and magnitude, the form in which these servos write negative numbers."""
    magnitude = word & ((1 << sign_bit) - 1)
    return -magnitude if word >> sign_bit & 1 else magnitude
