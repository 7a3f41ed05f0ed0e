"""The policy folder: what is written is what is read, and damage is named."""

from __future__ import annotations

import json
import random
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.folder import Policy, load_policy, save_policy
from tests.synthetic import tiny_policy, tiny_trunk

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/policies"


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def seal(path: Path) -> None:
    """The hashes that config.json names, as whoever changes a file can write them."""
    hashes = {name: sha256_file(path / name) for name in ("model.safetensors", "statistics.json")}
    edit(path / "config.json", lambda value: value.update(files=hashes))


def refused(path: Path, *words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_round_trip(policy: Policy, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    save_policy(policy, again)
    loaded = load_policy(again)
    assert loaded.config == policy.config
    assert loaded.statistics == policy.statistics
    assert not loaded.network.training
    for name, value in policy.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value)


def test_config_round_trip(policy: Policy) -> None:
    plain = json.loads(json.dumps(policy.config.to_json()))
    assert PolicyConfig.from_json(plain) == policy.config


def test_folder_holds_no_pickle(policy_path: Path) -> None:
    names = {file.name for file in policy_path.iterdir()}
    assert names == {"config.json", "model.safetensors", "statistics.json"}


def test_missing_folder(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "not a policy folder")
    refused(tmp_path, "config.json")


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.json", "config.json"])
def test_missing_file_is_named(policy_path: Path, name: str) -> None:
    (policy_path / name).unlink()
    refused(policy_path, name)


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.json", "config.json"])
def test_truncated_file_is_named(policy_path: Path, name: str) -> None:
    data = (policy_path / name).read_bytes()
    (policy_path / name).write_bytes(data[: len(data) // 2])
    refused(policy_path, name)


def test_another_schema_version_says_which(policy_path: Path) -> None:
    edit(policy_path / "config.json", lambda value: value.update(schema_version=9))
    refused(policy_path, "version 9", "reads 1")


@pytest.mark.parametrize("key", ["method", "network", "spec", "time_rows", "training", "cameras"])
def test_missing_entry_is_named(policy_path: Path, key: str) -> None:
    edit(policy_path / "config.json", lambda value: value.pop(key))
    refused(policy_path, key)


def test_unknown_entry_is_named(policy_path: Path) -> None:
    edit(policy_path / "config.json", lambda value: value["network"].update(heads=4))
    refused(policy_path, "heads")


def test_entry_of_another_type_is_named(policy_path: Path) -> None:
    edit(policy_path / "config.json", lambda value: value["network"]["trunk"].update(width="wide"))
    refused(policy_path, "width", "int", "'wide'")


@pytest.mark.parametrize("value", [3, "x", None, [1]])
@pytest.mark.parametrize("key", ["network", "spec", "time_rows", "training", "cameras"])
def test_entry_of_another_form_is_an_error_of_the_policy(
    policy_path: Path, key: str, value: Any
) -> None:
    edit(policy_path / "config.json", lambda config: config.update({key: value}))
    refused(policy_path)


def test_weights_of_another_size(policy_path: Path) -> None:
    edit(policy_path / "config.json", lambda value: value["network"]["trunk"].update(width=40))
    refused(policy_path, "model.safetensors", "expected shape")


@pytest.mark.parametrize("kind", ["mlp", "unet", "transformer"])
def test_every_trunk_survives_the_round_trip(tmp_path: Path, kind: str) -> None:
    path = tiny_policy(tmp_path / "policy", trunk=kind)
    policy = load_policy(path)
    assert policy.config.network.trunk == tiny_trunk(kind)
    assert json.loads((path / "config.json").read_text())["network"]["trunk"]["kind"] == kind


def test_a_folder_without_a_trunk_entry_holds_an_mlp(policy_path: Path) -> None:
    expected = load_policy(policy_path)

    def old(value: Any) -> None:
        trunk = value["network"].pop("trunk")
        value["network"].update(width=trunk["width"], blocks=trunk["blocks"])

    edit(policy_path / "config.json", old)
    assert load_policy(policy_path).config == expected.config
    edit(policy_path / "config.json", lambda value: value["network"].pop("width"))
    refused(policy_path, "config.network.trunk.width", "missing")


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/config.json")), ids=lambda p: p.parent.name
)
def test_shipped_policies_load(path: Path) -> None:
    assert load_policy(path.parent).config.network.trunk.kind == "mlp"


@pytest.mark.parametrize("value", [3, None, {}, {"kind": "rnn"}, {"kind": ["mlp"]}])
def test_a_trunk_of_another_form_is_refused(policy_path: Path, value: Any) -> None:
    edit(policy_path / "config.json", lambda config: config["network"].update(trunk=value))
    refused(policy_path, "config.network.trunk.kind", "mlp, transformer, unet")


def test_sizes_of_another_trunk_are_refused(policy_path: Path) -> None:
    other = {"kind": "unet", "width": 32, "blocks": 1}
    edit(policy_path / "config.json", lambda config: config["network"].update(trunk=other))
    refused(policy_path, "config.network.trunk.channels", "missing")


@pytest.mark.parametrize("value", ["wide", 3, ["a"], []])
def test_a_list_of_another_form_is_named(policy_path: Path, value: Any) -> None:
    edit(policy_path / "config.json", lambda c: c["network"].update(point_channels=value))
    refused(policy_path, "config.network.point_channels", "whole numbers")


def test_weights_with_nan(policy_path: Path) -> None:
    tensors = load_file(policy_path / "model.safetensors")
    tensors["null"][0] = float("nan")
    save_file(tensors, policy_path / "model.safetensors")
    seal(policy_path)
    refused(policy_path, "null", "NaN")


def test_statistics_without_a_field(policy_path: Path) -> None:
    edit(policy_path / "statistics.json", lambda value: value.pop("grip"))
    seal(policy_path)
    refused(policy_path, "'grip'")


def test_a_bundle_is_no_policy(policy_path: Path) -> None:
    (policy_path / "manifest.json").write_text("{}")
    refused(policy_path, "is a bundle")


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.json"])
def test_every_single_changed_bit_is_found_before_a_file_is_opened(
    policy_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of them would give a policy that loads and answers otherwise."""

    def never(*_: object, **__: object) -> None:
        pytest.fail("it was opened")

    for opener in ("weights.load_file", "weights.safe_open", "folder.statistics_from_json"):
        monkeypatch.setattr(f"ofp_edge.policy.{opener}", never)
    whole = (policy_path / name).read_bytes()
    rng = random.Random(0)
    for _ in range(40):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (policy_path / name).write_bytes(data)
        refused(policy_path, name, "damaged or was changed", "SHA-256")


def test_a_folder_of_before_names_no_hashes_and_loads(policy_path: Path) -> None:
    edit(policy_path / "config.json", lambda value: value.pop("files"))
    assert load_policy(policy_path).config.files == {}


def test_shipped_policies_name_the_hashes_of_all_their_files() -> None:
    for path in EXAMPLES.glob("*/config.json"):
        files = json.loads(path.read_text())["files"]
        assert {"config.json", *files} == {x.name for x in path.parent.iterdir()}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"../x": "0"}, "plain file names"), ({".x": "0"}, "plain file names"),
        ({"absent": "0"}, "absent"), ({"model.safetensors": 3}, "config.files.model.safetensors"),
        (["x"], "config.files"),
    ],
)  # fmt: skip
def test_hashes_of_another_form_are_refused(policy_path: Path, files: Any, said: str) -> None:
    edit(policy_path / "config.json", lambda value: value.update(files=files))
    refused(policy_path, said)


@pytest.mark.parametrize("key", ["width", "blocks"])
@pytest.mark.parametrize("size", [10**5, 60_000, 10**30, -1])
def test_a_network_that_its_weights_are_not_is_never_built(
    policy_path: Path, key: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60,000 wide would be 14 GB a layer."""
    if key == "blocks" and size == 60_000:
        size = 70
    edit(policy_path / "config.json", lambda value: value["network"]["trunk"].update({key: size}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(policy_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17  # KiB


def test_statistics_of_another_form_are_refused(policy_path: Path) -> None:
    for change in (
        lambda v: v["grip"].update(low=[]), lambda v: v["grip"].update(low=["x"]),
        lambda v: v["grip"].update(mean=[1.0, 2.0]), lambda v: v.update(grip=[1]),
        lambda v: v["grip"].update(std=[1e400]), lambda v: v["grip"].update(count="x"),
    ):  # fmt: skip
        whole = (policy_path / "statistics.json").read_bytes()
        edit(policy_path / "statistics.json", change)
        seal(policy_path)
        refused(policy_path, "statistics")
        (policy_path / "statistics.json").write_bytes(whole)
