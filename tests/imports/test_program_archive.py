"""The archive of a program is data: nothing in it is unpickled, evaluated or imported."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.imports.program import import_program
from ofp_edge.policy.imported.archive import clean_archive, load_program
from ofp_edge.policy.imported.onnx_graph import OnnxModule
from tests.imports.program_parts import (
    Own,
    arguments,
    entry,
    repacked,
    saved,
    spec_file,
)

pytestmark = pytest.mark.usefixtures("exports")


class Touch:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("where", ["weight", "sample", "legacy", "object"])
def test_nothing_in_an_archive_is_unpickled(tmp_path: Path, where: str) -> None:
    """Each of these places runs code under torch.export.load itself."""
    import pickle

    mark = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save(Touch(mark), buffer)

    def change(files: dict[str, bytes]) -> None:
        config = entry(files, "weights_config.json")
        folder = config.rpartition("/")[0]
        value = json.loads(files[config])
        first = next(iter(value["config"].values()))
        if where == "weight":
            first["use_pickle"] = True
            files[f"{folder}/{first['path_name']}"] = buffer.getvalue()
            files[config] = json.dumps(value).encode()
        elif where == "sample":
            files[entry(files, "sample_inputs/model.pt")] = buffer.getvalue()
        elif where == "legacy":
            files[f"{folder}/model.pt"] = buffer.getvalue()
        else:
            constants = entry(files, "constants_config.json")
            opaque = {"path_name": "opaque_obj_0", "use_pickle": True, "is_param": False,
                      "tensor_meta": None}  # fmt: skip
            files[constants] = json.dumps({"config": {"x": opaque}}).encode()
            files[f"{constants.rpartition('/')[0]}/opaque_obj_0"] = pickle.dumps(Touch(mark))

    data = repacked(saved(Own(), tmp_path / "u.pt2"), change)
    if where in ("weight", "object"):
        with pytest.raises(PolicyError, match="would be unpickled"):
            load_program(data, "u.pt2")
    else:  # dropped: the program does without
        load_program(data, "u.pt2")
    assert not mark.exists()


def test_expressions_are_not_evaluated(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=8)

    class Free(nn.Module):
        def forward(self, z: Tensor, t: Tensor, r: Tensor, seen: Tensor) -> Tensor:
            return z * (r - t)[:, None, None] + seen.sum((1, 2))[:, None, None]

    two = tuple(torch.zeros(2, *x.shape[1:]) for x in arguments())
    program = torch.export.export(Free(), two, dynamic_shapes=[{0: batch}] * 4)
    torch.export.save(program, tmp_path / "u.pt2")
    with pytest.raises(PolicyError, match="dynamic shapes.*batch 1"):
        clean_archive((tmp_path / "u.pt2").read_bytes(), "u.pt2")


def test_operations_outside_aten_are_named(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = entry(files, "models/model.json")
        files[name] = files[name].replace(b"torch.ops.aten.linear.default", b"torch.hub.load")

    data = repacked(saved(Own(), tmp_path / "u.pt2"), change)
    with pytest.raises(PolicyError, match=r"'torch\.hub\.load'.*refused"):
        clean_archive(data, "u.pt2")


def test_types_of_inputs_are_not_imported(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = entry(files, "models/model.json")
        assert b"builtins.dict" in files[name]
        files[name] = files[name].replace(b"builtins.dict", b"collections.defaultdict")

    data = repacked(saved(Own(), tmp_path / "u.pt2"), change)
    with pytest.raises(PolicyError, match="'collections.defaultdict' would be imported"):
        clean_archive(data, "u.pt2")


@pytest.mark.parametrize("value", [{}, {"config": {"first.weight": {}}}, []])
def test_a_damaged_list_of_weights_is_one_line(tmp_path: Path, value: Any) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[entry(files, "weights_config.json")] = json.dumps(value).encode()

    data = repacked(saved(Own(), tmp_path / "u.pt2"), change)
    with pytest.raises(PolicyError, match="weights_config.json: not the form"):
        clean_archive(data, "u.pt2")


@pytest.mark.parametrize("keep", [0, 100, 3000])
def test_a_cut_off_program_is_one_line(tmp_path: Path, keep: int) -> None:
    path = saved(Own(), tmp_path / "u.pt2")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PolicyError, match="no torch.export archive"):
        import_program("exported", path, spec_file(tmp_path / "s.json"))


@pytest.mark.parametrize("name", ["Kindx", "inputx", "outputx", "weightx"])
def test_a_graph_with_a_name_that_is_no_text_is_one_line(name: str) -> None:
    helper, kind = onnx.helper, onnx.TensorProto
    ends = [helper.make_tensor_value_info(x, kind.FLOAT, [1]) for x in ("inputx", "outputx")]
    weight = helper.make_tensor("weightx", kind.FLOAT, [1], [1.0])
    node = helper.make_node(
        "Kindx" if name == "Kindx" else "Add", ["inputx", "weightx"], ["outputx"]
    )
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    damaged = model.SerializeToString().replace(name.encode(), name[:-1].encode() + b"\xf4")
    with pytest.raises(PolicyError, match=r"g\.onnx is no valid ONNX graph: a name .* not UTF-8"):
        OnnxModule(damaged, "g.onnx")


def test_no_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "u.onnx").write_bytes(b"\x00\x01nothing of the kind")
    with pytest.raises(PolicyError, match=r"u\.onnx.*ONNX graph"):
        import_program("onnx", tmp_path / "u.onnx", spec_file(tmp_path / "s.json"))


def test_a_program_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "u.pt2").open("wb") as file:
        file.truncate(4 << 30)
    with pytest.raises(PolicyError, match=r"4\.0 GiB, expected a program below 2 GiB"):
        import_program("exported", tmp_path / "u.pt2", spec_file(tmp_path / "s.json"))
