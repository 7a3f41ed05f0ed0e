"""A checkpoint that says little and takes much, or has entries of another form, is one line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.imports.checkpoint import import_checkpoint, plain_config
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.lerobot import import_lerobot
from ofp_edge.imports.unpickle import Record, read_checkpoint
from tests.hostile import read_apart

FIXTURES = Path(__file__).parent / "fixtures"
RATE = Wanted(control_hz=10.0)


def packed(path: Path, program: bytes, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program)
        for name, data in files.items():
            archive.writestr(f"x/data/{name}", data)
    return path


FLOATS = (
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
)


def tensor(size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A dictionary of one tensor over four floats."""
    numbers = (
        "".join(f"L{x}L\n" for x in size).encode(),
        "".join(f"L{x}L\n" for x in stride).encode(),
    )
    return (
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n" + FLOATS
        + b"K\x00(" + numbers[0] + b"t(" + numbers[1] + b"ttRs."
    )  # fmt: skip


def test_a_tensor_written_by_hand_is_read(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "x.ckpt", tensor((2, 2), (2, 1)), **{"0": struct.pack("<4f", 1, 2, 3, 4)}
    )
    assert read_checkpoint(path)["a"].tolist() == [[1, 2], [3, 4]]


def text(length: int) -> bytes:
    return b"X" + struct.pack("<I", length) + b"a" * length


BOMBS = {
    "memo": b"\x80\x02}r" + struct.pack("<I", 3 << 28) + b".",
    "memo in text": b"}p900000000\n.",
    "one tensor of few numbers": tensor((1 << 20, 1 << 20), (0, 0)),
    "a text again and again": b"\x80\x02c_codecs\nencode\nq\x00" + text(1 << 20) + b"q\x01"
    + b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R" * 3000 + b".",
    "a shape again and again": b"\x80\x02(" + b"N" * (1 << 20) + b"lq\x01ctorch\nSize\nq\x00"
    + b"h\x00h\x01\x85R" * 1000 + b".",
    "an array that is not there": b"\x80\x05\x96" + struct.pack("<Q", 3 << 30) + b".",
    "a huge text that is not there": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b".",
}  # fmt: skip


def test_pickles_that_say_little_and_take_much_are_refused_in_little_memory(
    tmp_path: Path,
) -> None:
    torch.save({"a": 1}, tmp_path / "warm.ckpt")
    paths = [packed(tmp_path / f"{n}.ckpt", x, **{"0": bytes(16)}) for n, x in BOMBS.items()]
    twice = packed(tmp_path / "twice.ckpt", tensor((2, 2), (2, 1)), **{"0": bytes(16)})
    data = bytearray(twice.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the directory's entry of the tensor's data: 1 GiB of 16 bytes
    data[at + 20 : at + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    twice.write_bytes(data)
    said = read_apart(
        "ofp_edge.imports.unpickle:read_checkpoint", tmp_path / "warm.ckpt", [*paths, twice]
    )
    for line in said:
        assert "its pickle is damaged" in line or "larger than it is" in line, line


def test_pickles_in_pickles_are_looked_through_once_each_and_not_for_ever(tmp_path: Path) -> None:
    inside = pickle.dumps({"a": 1})
    shared = pickle.dumps([inside] * 100_000)  # one object, referred to
    read_checkpoint(packed(tmp_path / "x.ckpt", pickle.dumps({"pickles": [shared]})))
    for _ in range(10):
        inside = pickle.dumps(inside)
    with pytest.raises(PolicyError, match="deeper than"):
        read_checkpoint(packed(tmp_path / "y.ckpt", pickle.dumps({"a": inside})))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_a_checkpoint_that_is_no_plain_file(make: Callable[[Any], Any], tmp_path: Path) -> None:
    make(tmp_path / "x.ckpt")
    with pytest.raises(PolicyError, match=r"not a plain file|a folder"):
        read_checkpoint(tmp_path / "x.ckpt")


def growing() -> dict[str, Any]:
    return {"a0": "x" * 100, **{f"a{i + 1}": f"${{a{i}}}" * 30 for i in range(8)}}


def laughing() -> dict[str, Any]:
    value: Any = ["x"]
    for _ in range(40):
        value = [value, value]
    return {"a": value}


def circular() -> Record:
    record = Record()
    record["_content"] = {"a": record}
    return record


@pytest.mark.parametrize("make", [growing, laughing, circular])
def test_a_configuration_that_grows_without_end_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(PolicyError, match="grows without end"):
        plain_config(make(), "x.ckpt")


def test_references_are_looked_up_and_sums_made_of_numbers_alone() -> None:
    made = {
        "n": 2,
        "a": "${n}",
        "b": "${eval: ${n} + 10}",
        "c": "${eval:1++2}",
        "d": {"e": ["${a}"]},
    }
    assert plain_config(made, "x") == {
        "n": 2, "a": 2, "b": 12, "c": "${eval:1++2}", "d": {"e": [2]},
    }  # fmt: skip


SETTINGS: list[dict[str, Any]] = [
    {"type": ["diffusion"]}, {"type": "x" * 70_000}, {"down_dims": None}, {"down_dims": [16, "32"]},
    {"down_dims": []}, {"down_dims": [1 << 40]}, {"down_dims": [1 << 30, 1 << 30]},
    {"kernel_size": 1 << 60}, {"kernel_size": 10**9}, {"num_train_timesteps": 10**12},
    {"beta_start": 10**400}, {"noise_scheduler_type": {}}, {"prediction_type": 1},
    {"input_features": []}, {"input_features": {"observation.state": {"type": [], "shape": [7]}}},
    {"input_features": {"observation.state": {"type": "STATE", "shape": []}}},
    {"input_features": {"observation.state": {"type": "STATE", "shape": "7"}}},
    {"input_features": {"\x1b[2J": {"type": "STATE", "shape": [1 << 40]}}},
    {"output_features": {}}, {"horizon": 1 << 40},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda x: str(x)[:40])
def test_an_entry_of_lerobot_of_another_form_is_one_line(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(FIXTURES / "lerobot_state", tmp_path / "p"))
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    refused(lambda: import_lerobot(folder, RATE))


PROCESSOR = "policy_preprocessor.json"


@pytest.mark.parametrize(
    ("key", "value"),
    [("registry_name", ["x"]), ("registry_name", "x" * 70_000), ("config", []), ("config", None),
     ("state_file", "../x"), ("state_file", ".."), ("state_file", "\0"), ("state_file", "x" * 5000),
     ("class", {"a": "\x1b"})],
)  # fmt: skip
def test_a_step_of_another_form_is_one_line(key: str, value: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "lerobot_state", tmp_path / "p"))
    path = folder / PROCESSOR
    whole = json.loads(path.read_text())
    for step in whole["steps"]:
        if step["registry_name"] == "normalizer_processor":
            step[key] = value
    path.write_text(json.dumps(whole))
    refused(lambda: import_lerobot(folder, RATE))
    path.write_text(json.dumps({**whole, "steps": 3}))
    refused(lambda: import_lerobot(folder, RATE))


@pytest.mark.parametrize(
    "change",
    [lambda c: c["policy"].update(_target_=3), lambda c: c["policy"]["model"].update(down_dims=5),
     lambda c: c["policy"]["model"].update(kernel_size=10**9),
     lambda c: c["policy"].update(model=[]), lambda c: c.update(training=None),
     lambda c: c["policy"]["noise_scheduler"].update(prediction_type={}),
     lambda c: c["policy"].update(horizon="8")],
)  # fmt: skip
def test_an_entry_of_a_checkpoint_of_another_form_is_one_line(
    change: Callable[[Any], Any], tmp_path: Path
) -> None:
    whole = read_checkpoint(FIXTURES / "diffusion_policy.ckpt")
    cfg = plain_config(whole["cfg"], "x")
    change(cfg)
    torch.save({"cfg": cfg, "state_dicts": whole["state_dicts"]}, tmp_path / "x.ckpt")
    refused(lambda: import_checkpoint(tmp_path / "x.ckpt", RATE))


def refused(call: Callable[[], Any]) -> None:
    with pytest.raises(OfpError) as caught:
        call()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2000


def test_a_network_is_not_built_before_its_shapes_are_those_of_the_weights(tmp_path: Path) -> None:
    """Layers of 40 GB each would be built otherwise, and the process end."""
    folder = Path(shutil.copytree(FIXTURES / "lerobot_state", tmp_path / "p"))
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "down_dims": [32_768, 65_536]}))
    with pytest.raises(PolicyError, match="expected shape"):
        import_lerobot(folder, RATE)
