"""Ways to damage values, bytes and folders that every kind of artefact shares."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.watch import BAIT

Rng = np.random.Generator
COUNTS = (1, 1, 1, 2, 3)
"""How many operations a case has: one of these."""
_DEPTH = 100_000
_LARGEST_BYTES = 16 << 20
RAW = "\0raw:"
"""A text that begins so is written into JSON as it is: what json.dumps would not write."""


def odd_value(rng: Rng, old: Any) -> Any:
    """Something else than `old`: of another type, too large, too long, too deep, or a way out."""
    odd = (
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**30,
        -(2**63) - 1,
        0.5,
        -0.0,
        1e308,
        5e-324,
        "",
        "x",
        "NaN",
        "\0",
        "\x1b[31mred",
        "../" + BAIT + "/a",
        f"../{BAIT}/folder",
        ".",
        "..",
        "/etc/passwd",
        "/dev/zero",
        "x" * 70_000,
        "\ud800",
        "{0.__class__}",
        "%s%n",
        [],
        {},
        [[]],
        [None],
        [0] * 100_000,
        [""],
        {"": None},
        RAW + "NaN",
        RAW + "-Infinity",
        RAW + "1e999",
        RAW + "[" * _DEPTH + "]" * _DEPTH,
        RAW + '{"a":' * _DEPTH + "1" + "}" * _DEPTH,
        RAW + "9" * 6000,
    )
    if isinstance(old, bool) or old is None or rng.random() < 0.6:
        return odd[int(rng.integers(len(odd)))]
    if isinstance(old, (int, float)):
        return [old + 1, old - 1, -old, old * 2, old * 10**9, float(old), str(old), [old]][
            int(rng.integers(8))
        ]
    if isinstance(old, str):
        return [old + "x", old[:-1], old.upper(), old * 3, "../" + old, old + "\n", [old]][
            int(rng.integers(7))
        ]
    if isinstance(old, list):
        return [
            old[:-1],
            old + old,
            old[::-1],
            old * 1000 if len(old) < 100 else old,
            [old],
            dict(enumerate(old)),
        ][int(rng.integers(6))]
    return [list(old), {**old, "also": 1}, dict(list(old.items())[1:]), {"": old}][
        int(rng.integers(4))
    ]


def damaged_json(rng: Rng, value: Any) -> tuple[Any, str]:
    """(a copy in which one place is changed, what was done)."""
    places = list(_places(value, ()))
    if not places:
        return odd_value(rng, value), "all of it"
    place = places[int(rng.integers(len(places)))]
    made = _copied(value)
    parent = made
    for key in place[:-1]:
        parent = parent[key]
    key, name = place[-1], ".".join(map(str, place))
    choice = rng.random()
    if choice < 0.12:
        del parent[key]
        return made, f"{name} is gone"
    if choice < 0.2 and isinstance(parent, list):
        parent.insert(key, parent[key])
        return made, f"{name} is there twice"
    if choice < 0.2 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
        return made, f"{name} has another name"
    new = odd_value(rng, parent[key])
    parent[key] = new
    return made, f"{name} = {repr(new)[:60]}"


def dump_json(value: Any, **options: Any) -> bytes:
    """JSON with RAW texts written as they are."""
    import json

    parts: list[str] = []

    def taken(item: Any) -> Any:
        if isinstance(item, str) and item.startswith(RAW):
            parts.append(item[len(RAW) :])
            return f"@@{len(parts) - 1}@@"
        if isinstance(item, dict):
            return {key: taken(inner) for key, inner in item.items()}
        return [taken(inner) for inner in item] if isinstance(item, (list, tuple)) else item

    text = json.dumps(taken(value), **options)
    for number, part in enumerate(parts):
        text = text.replace(f'"@@{number}@@"', part)
    return text.encode("utf-8", "surrogatepass")


def damaged_bytes(rng: Rng, data: bytes) -> tuple[bytes, str]:
    """(damaged, how): bits, spans, lengths, ends."""
    made = bytearray(data)
    size = len(made)
    choice = int(rng.integers(8))
    at = int(rng.integers(max(1, size)))
    if not size or choice == 0:
        extra = rng.integers(0, 256, int(rng.choice([1, 16, 4096])), np.uint8).tobytes()
        return bytes(made) + extra, f"{len(extra)} bytes more"
    if choice == 1:
        return bytes(made[:at]), f"cut at {at} of {size}"
    if choice == 2:
        for _ in range(count := int(rng.choice([1, 1, 3, 30]))):
            made[int(rng.integers(size))] ^= 1 << int(rng.integers(8))
        return bytes(made), f"{count} bits turned"
    if choice == 3:
        span = int(rng.choice([1, 2, 4, 8, 64]))
        made[at : at + span] = bytes([int(rng.choice([0, 255, 127, 1]))]) * span
        return bytes(made), f"{span} bytes set at {at}"
    if choice == 4:
        span = int(rng.choice([1, 2, 4, 8, 64, 1000]))
        del made[at : at + span]
        return bytes(made), f"{span} bytes gone at {at}"
    if choice == 5:
        span = int(rng.choice([4, 64, 1000]))
        made[at:at] = made[at : at + span]
        return bytes(made), f"{span} bytes twice at {at}"
    if choice == 6:
        width = int(rng.choice([2, 4, 8]))
        number = int(rng.choice([0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 10**4]))
        made[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
        return bytes(made), f"a length of {number} at {at}"
    other = int(rng.integers(size))
    span = int(rng.choice([1, 8, 200]))
    made[at : at + span] = made[other : other + span]
    return bytes(made), f"{span} bytes of {other} at {at}"


def usable(path: Path) -> bool:
    """Whether an operation may read it: a plain file, not made huge by the one before."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size < _LARGEST_BYTES


def usable_files(folder: Path) -> list[Path]:
    """All below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if usable(path))


def damage_one_of(rng: Rng, files: list[Path]) -> str:
    """Damage one file's bytes."""
    return damage_file(rng, files[int(rng.integers(len(files)))]) if files else "nothing left"


def damage_file(rng: Rng, path: Path) -> str:
    """Damage one file's bytes."""
    if not usable(path):
        return "nothing left"
    data, how = damaged_bytes(rng, path.read_bytes())
    path.write_bytes(data)
    return f"{path.name}: {how}"


def damage_folder(rng: Rng, folder: Path, *, links_out: bool = True) -> str:
    """What can be wrong with a folder without any byte of a file being wrong.

    links_out: not where the artefact is one file, which its user may well have linked to.
    """
    files = usable_files(folder)
    if not files:
        return "nothing left"
    path = files[int(rng.integers(len(files)))]
    kinds: list[Callable[[Path], str]] = [
        _gone,
        _empty,
        _loop,
        _pipe,
        _socket,
        _folder,
        _sparse,
        _device,
        _many,
    ]
    if links_out:
        kinds += [_link_out, _absolute_link, _link_out_folder]
    chosen = kinds[int(rng.integers(len(kinds)))]
    return f"{path.relative_to(folder)}: {chosen(path)}"


def _out(path: Path) -> Path:
    home = next(p for p in path.parents if (p / BAIT).is_dir())
    return home / BAIT


def _gone(path: Path) -> str:
    path.unlink()
    return "gone"


def _empty(path: Path) -> str:
    path.write_bytes(b"")
    return "empty"


def _link_out(path: Path) -> str:
    out = _out(path) / "a"
    out.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(os.path.relpath(out, path.parent))
    return "a link out"


def _absolute_link(path: Path) -> str:
    out = _out(path) / "a"
    out.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(out)
    return "a link out, absolute"


def _link_out_folder(path: Path) -> str:
    home = _out(path).parent
    folder = path.parent
    if folder.parent in (home, home.parent):  # the artefact itself may be a link
        return _link_out(path)
    out = _out(path) / "moved"
    folder.rename(out)
    folder.symlink_to(out)
    return "its folder is a link out"


def _loop(path: Path) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return "a link to itself"


def _pipe(path: Path) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


def _socket(path: Path) -> str:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        try:  # a socket's name may have but 107 bytes
            os.chdir(path.parent)
            made.bind(path.name)
        finally:
            os.chdir(here)
    return "a socket"


def _folder(path: Path) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def _sparse(path: Path) -> str:
    os.truncate(path, 5 << 29)
    return "2.5 GB, sparse"


def _device(path: Path) -> str:
    path.unlink()
    path.symlink_to("/dev/zero")
    return "a link to /dev/zero"


def _many(path: Path) -> str:
    for number in range(300):
        (path.parent / f"more-{number}").write_bytes(b"x")
    return "300 files beside it"


def _places(value: Any, at: tuple[Any, ...]) -> Any:
    pairs = (
        value.items()
        if isinstance(value, dict)
        else (enumerate(value) if isinstance(value, list) else ())
    )
    for key, inner in pairs:
        yield (*at, key)
        yield from _places(inner, (*at, key))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
