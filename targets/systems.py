"""The system that a board's wheels must fit: machine, Python and glibc, of CPU and Orin boards."""

from __future__ import annotations

from dataclasses import dataclass

from ofp_edge.boards.cpu import boards
from ofp_edge.boards.orin import orin_boards, orin_systems
from ofp_edge.errors import UnknownName

_OLDEST_GLIBC_MINOR = 17
_TENSORRT = (
    "TensorRT is no wheel: it comes with JetPack. On the device: sudo apt-get install -y "
    "nvidia-jetpack python3-libnvinfer"
)


@dataclass(frozen=True)
class System:
    """The software of a board. glibc: the newest that wheels may ask for. python: e.g. "3.11".

    extras: what a robot with such a board installs unless told otherwise. venv: the options that
    its virtual environment is made with. note: what the wheels can't bring; may be empty.
    """

    board: str
    machine: str
    python: str
    glibc: str
    extras: tuple[str, ...] = ("onnxruntime", "executorch", "realsense")
    venv: str = ""
    note: str = ""

    def platforms(self) -> list[str]:
        """Return the platform tags that the system can install, newest first."""
        newest = int(self.glibc.partition(".")[2])
        minors = range(newest, _OLDEST_GLIBC_MINOR - 1, -1)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in minors]
        return [*tags, f"manylinux2014_{self.machine}"]


def system(board: str, python: str) -> System:
    """Return a board's system. UnknownName for an unknown board or a Python without wheels."""
    if board in orin_boards():
        found = {x.python: x for x in orin_systems()}
        if python not in found:
            raise UnknownName(f"Python for {board}", python, found)
        return System(
            board,
            "aarch64",
            python,
            found[python].glibc,
            ("jetson", "realsense"),
            "--system-site-packages ",
            _TENSORRT,
        )
    if board not in boards():
        raise UnknownName("board", board, {*boards(), *orin_boards()})
    chosen = boards()[board]
    if python not in chosen.wheels:
        raise UnknownName(f"Python for {board}", python, chosen.wheels)
    return System(board, chosen.machine, python, chosen.glibc)
