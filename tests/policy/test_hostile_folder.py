"""A policy folder whose files are links, pipes or other programs is one line, and opens nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ofp_edge.cli.inspect import inspect
from ofp_edge.cli.output import Output
from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.imports.program import import_program
from ofp_edge.imports.record import write_imported
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.imported.operations import is_allowed
from ofp_edge.quantize.gate import read_gate
from ofp_edge.quantize.plan import FILE, plan_from_json
from tests.imports.program_parts import Own, arguments, repacked, saved, spec_file

FILES = ("config.json", "model.safetensors", "statistics.json")


def link_out(path: Path) -> None:
    path.rename(path.parent.parent / "outside")
    path.symlink_to(path.parent.parent / "outside")


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("change", [link_out, device, pipe])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_of_its_own_is_refused(
    name: str, change: Callable[[Path], None], named: bool, policy_path: Path
) -> None:
    """Also in a folder of before, which names no hashes."""
    if not named:
        edit(policy_path / "config.json", lambda value: value.pop("files"))
    change(policy_path / name)
    with pytest.raises(PolicyError, match="leads out of|not a plain file|neither"):
        inspect(Output(True), policy_path)
    with pytest.raises(PolicyError, match="leads out of|not a plain file"):
        load_policy(policy_path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 5000, '{"a":"' + "x" * 70_000 + '"}'])
def test_a_configuration_that_is_deep_or_long_is_one_short_line(
    text: str, policy_path: Path
) -> None:
    (policy_path / "config.json").write_text(text)
    with pytest.raises(PolicyError) as caught:
        load_policy(policy_path)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value", [{}, [], {"schema_version": 2}, {"schema_version": {}},
              {"schema_version": 2, "layers": 3}],
)  # fmt: skip
def test_a_plan_of_another_form_is_named(value: Any) -> None:
    with pytest.raises(PolicyError, match=r"q\.json(:| is malformed)"):
        plan_from_json(value, "q.json", PolicyError)


@pytest.mark.parametrize(
    "value", [3, {}, {"schema_version": 1, "plan_sha256": 3, "checks": []},
              {"schema_version": 1, "plan_sha256": "", "checks": [{"name": [], "passed": 1}]}],
)  # fmt: skip
def test_a_gate_of_another_form_is_named(value: Any, tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text(json.dumps(value))
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(PolicyError, match=r"gate\.json.*Run quantize --gate again"):
        read_gate(tmp_path)


class Unsafe(Own):
    """Reads past the end of a tensor when it is run."""

    def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
        lengths = torch.tensor([3, 5])
        return torch.segment_reduce(z[0, :, 0], "sum", lengths=lengths, unsafe=True)


def renamed(files: dict[str, bytes], mark: Path) -> None:
    """An input's name becomes Python that leaves a mark."""
    name = next(x for x in files if x.endswith("models/model.json"))
    code = f"x=__import__('pathlib').Path('{mark}').touch()"
    value = json.loads(files[name])
    nodes = value["graph_module"]["graph"]["nodes"]
    given = [x["arg"] for node in nodes for x in node["inputs"] if "as_tensor" in x["arg"]]
    given[0]["as_tensor"]["name"] = code
    files[name] = json.dumps(value).encode()


def test_a_folder_whose_program_was_exchanged_is_held_to_the_same_list(tmp_path: Path) -> None:
    good = saved(Own(), tmp_path / "u.pt2")
    found = import_program("exported", good, spec_file(tmp_path / "s.json"))
    write_imported(found, tmp_path / "policy", force=False)
    load_policy(tmp_path / "policy")
    torch.export.save(torch.export.export(Unsafe(), arguments()), tmp_path / "unsafe.pt2")
    exchange(tmp_path / "policy", (tmp_path / "unsafe.pt2").read_bytes())
    with pytest.raises(PolicyError, match=r"segment_reduce.*is not on the list"):
        load_policy(tmp_path / "policy")
    mark = tmp_path / "ran"
    exchange(tmp_path / "policy", repacked(good, lambda files: renamed(files, mark)))
    with pytest.raises(PolicyError, match="would stand in code"):
        load_policy(tmp_path / "policy")
    assert not mark.exists()


def test_packed_sequences_are_not_on_the_list() -> None:
    assert is_allowed("torch.ops.aten.lstm.input") and is_allowed("torch.ops.aten.gru.input")
    for name in ("lstm.data", "gru.data", "rnn_tanh.data", "rnn_relu.data"):
        assert not is_allowed(f"torch.ops.aten.{name}")


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def exchange(folder: Path, data: bytes) -> None:
    (folder / "program.pt2").write_bytes(data)
    digest = sha256_file(folder / "program.pt2")
    edit(folder / "config.json", lambda x: x["network"]["program"].update(sha256=digest))
