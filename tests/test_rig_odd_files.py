"""What is no rig file, or no file, is one line at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tomlkit

from ofp_edge.errors import RigError
from ofp_edge.rig.file import look_at_rig, read_rig
from tests.rig_text import GOOD, rig


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="nothing.toml does not exist"):
        read_rig(tmp_path / "nothing.toml")
    (tmp_path / "rig.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RigError, match="not valid TOML"):
        read_rig(tmp_path / "rig.toml")


def test_a_folder_is_no_rig(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="cannot be read"):
        read_rig(tmp_path)


def test_a_pipe_a_device_and_a_huge_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    rig(tmp_path)
    os.truncate(tmp_path / "rig.toml", 6 << 30)
    for name, said in (("pipe", "plain file"), ("zero", "plain file"), ("rig.toml", "at most")):
        with pytest.raises(RigError, match=said):
            read_rig(tmp_path / name)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("latency_ms", "1e300"), ("latency_ms", "9" * 400), ("latency_ms", "9" * 5000),
        ("max_skew_ms", "1e308"), ("max_skew_ms", "5e-324"), ("max_skew_ms", "nan"),
        ("cross_fade_steps", "9" * 30), ("cross_fade_steps", '"\\u001b[2J"'),
        ("cross_fade_steps", "[" + "0," * 9000 + "]"), ("max_skew_ms", "[" * 3000 + "]" * 3000),
    ],
)  # fmt: skip
def test_a_number_that_can_mean_nothing_is_one_short_line(
    tmp_path: Path, entry: str, value: str
) -> None:
    text = "\n".join(x for x in GOOD.splitlines() if not x.startswith(entry))
    with pytest.raises(RigError) as caught:
        read_rig(rig(tmp_path, f"{text}\n{entry} = {value}\n"))
    line = str(caught.value)
    assert line.isprintable() and len(line) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = 1\n\x00", b"[" * 999, b"a.b = 1\na = 2"])
def test_what_is_no_toml_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "rig.toml").write_bytes(data)
    with pytest.raises(RigError, match="is not valid TOML") as caught:
        read_rig(tmp_path / "rig.toml")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("seed", range(12))
def test_collecting_what_is_wrong_judges_as_reading_does(tmp_path: Path, seed: int) -> None:
    """Entries changed, lost and put in at random: no trace, and wrong where reading refuses."""
    random, odd = Random(seed), ["?", "", 3, -1, 1e300, True, [], [1, 2], {}, {"a": "?"}, "x" * 300]
    texts = [x.read_text() for x in Path("examples").glob("rig*.toml")]
    for _ in range(10):
        document = tomlkit.parse(random.choice(texts)).unwrap()
        for _ in range(random.randint(1, 3)):
            table = random.choice(list(_tables(document)))
            key = random.choice([*table, "odd"])
            if random.random() < 0.2:
                table.pop(key, None)
            else:
                table[key] = random.choice(odd)
        path = rig(tmp_path, tomlkit.dumps(document))
        try:
            read_rig(path)
            refused = False
        except RigError:
            refused = True
        _, asked, wrong = look_at_rig(path)
        assert refused == bool(asked or wrong), (document, asked, wrong)


def _tables(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield document
    for value in document.values():
        if isinstance(value, dict):
            yield from _tables(value)
