"""An emulated bus of Feetech servos, whose packets are answered on a pseudo-terminal.

It speaks the servos' protocol byte by byte, so that the driver, the SDK and the serial layer are
the real ones. Servos move towards their goals at a fixed speed. Each thing that can go wrong on a
wire is an attribute that may be changed at any time.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections import deque

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 1, 2, 3, 0x82, 0x83
_GOAL, _POSITION, _VELOCITY, _TORQUE = 42, 56, 58, 40
_STS3215 = 777


class EmulatedBus:
    """The servos of these ids behind `path`.

    `silent` holds ids that do not answer, `deaf` ids that miss what is written to all at once,
    `damaged` ids whose answers have a wrong checksum, and `cut` ids whose answers lack their last
    byte. `errors` has error bits by id. `delay_s` passes before every answer. `registers[id]` is
    the servo's memory, 256 bytes. `speed` is in ticks a second. `requests` counts the packets seen.
    `dead_s` passes before a servo begins to move towards a goal that was written to all at once.
    """

    def __init__(self, ids: tuple[int, ...] = (1, 2, 3, 4, 5, 6), speed: int = 2000) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.silent: set[int] = set()
        self.deaf: set[int] = set()
        self.damaged: set[int] = set()
        self.cut: set[int] = set()
        self.errors: dict[int, int] = {}
        self.delay_s = self.dead_s = 0.0
        self._coming: deque[tuple[float, int, int]] = deque()  # when, whose, which goal
        self._goals: dict[int, int] = {}  # of those for which a goal was on its way
        self.speed, self.requests = speed, 0
        self.registers = {servo: bytearray(256) for servo in ids}
        for servo in ids:
            self.put(servo, 3, _STS3215)
            self.put(servo, _POSITION, 2048)
            self.put(servo, _GOAL, 2048)
        self._open = True
        self._moved_s = time.monotonic()
        self._thread = threading.Thread(target=self._serve, name="emulated bus", daemon=True)
        self._thread.start()

    def put(self, servo: int, address: int, value: int) -> None:
        """Write a word, with sign and magnitude."""
        word = value if value >= 0 else 1 << 15 | -value
        self.registers[servo][address : address + 2] = word.to_bytes(2, "little")

    def get(self, servo: int, address: int) -> int:
        """Read a word."""
        return int.from_bytes(self.registers[servo][address : address + 2], "little")

    def close(self) -> None:
        """Pull the cable. Idempotent."""
        if self._open:
            self._open = False
            self._thread.join()
            os.close(self._master)
            os.close(self._slave)

    def _serve(self) -> None:
        waiting = b""
        while self._open:
            ready, _, _ = select.select([self._master], [], [], 0.02)
            if ready:
                with contextlib.suppress(OSError):  # nobody has the other end open
                    waiting += os.read(self._master, 4096)
            while (packet := _first_packet(waiting)) is not None:
                body, waiting = packet
                if body:
                    self._move()
                    self._answer(body)

    def _answer(self, body: bytes) -> None:
        """Answer a packet: `body` is id, length, instruction, parameters; the checksum was
        right."""
        self.requests += 1
        servo, instruction, parameters = body[0], body[2], body[3:]
        known = servo in self.registers
        if instruction == SYNC_READ:
            address, size = parameters[:2]
            for each in parameters[2:]:
                if each in self.registers:
                    self._send(each, self.registers[each][address : address + size])
        elif instruction == SYNC_WRITE:
            address, size = parameters[:2]
            for i in range(2, len(parameters), size + 1):
                if parameters[i] in self.registers and parameters[i] not in self.deaf:
                    memory = self.registers[parameters[i]]
                    if address == _GOAL and self.dead_s > 0:
                        self._goals.setdefault(parameters[i], self.get(parameters[i], _GOAL))
                        goal = int.from_bytes(parameters[i + 1 : i + 3], "little")
                        self._coming.append((self._moved_s + self.dead_s, parameters[i], goal))
                    memory[address : address + size] = parameters[i + 1 : i + 1 + size]
        elif instruction == READ and known:
            self._send(servo, self.registers[servo][parameters[0] : sum(parameters[:2])])
        elif instruction == WRITE and known:
            values = parameters[1:]
            self.registers[servo][parameters[0] : parameters[0] + len(values)] = values
            self._send(servo, b"")
        elif instruction == PING and known:
            self._send(servo, b"")

    def _send(self, servo: int, data: bytes | bytearray) -> None:
        if servo in self.silent:
            return
        body = bytes([servo, len(data) + 2, self.errors.get(servo, 0), *data])
        check = ~sum(body) & 0xFF
        if servo in self.damaged:
            check ^= 0x55
        packet = b"\xff\xff" + body + bytes([check])
        time.sleep(self.delay_s)
        os.write(self._master, packet[:-1] if servo in self.cut else packet)

    def _move(self) -> None:
        now = time.monotonic()
        while self._coming and self._coming[0][0] <= now:
            due, servo, goal = self._coming.popleft()
            self._move_until(max(due, self._moved_s))
            self._goals[servo] = goal
        self._move_until(now)

    def _move_until(self, now: float) -> None:
        reach, self._moved_s = self.speed * (now - self._moved_s), now
        for servo, memory in self.registers.items():
            if not memory[_TORQUE] or reach == 0:
                continue
            here, goal = self.get(servo, _POSITION), self._goals.get(servo, self.get(servo, _GOAL))
            step = max(-reach, min(reach, goal - here))
            self.put(servo, _POSITION, round(here + step))
            self.put(servo, _VELOCITY, 0 if goal == here else round(self.speed * step / reach))


def _first_packet(data: bytes) -> tuple[bytes, bytes] | None:
    """Return (body without header and checksum, the rest); the body is empty for bytes that are no
    packet. Return None when more has to come."""
    start = data.find(b"\xff\xff")
    if start < 0 or len(data) < start + 4:
        return None
    end = start + 4 + data[start + 3]
    if len(data) < end:
        return None
    body, check = data[start + 2 : end - 1], data[end - 1]
    return (body if ~sum(body) & 0xFF == check else b""), data[end:]
