"""What is given for a program and is none says what it is, and what to give instead."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ofp_edge.errors import PolicyError
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.lerobot import import_lerobot
from ofp_edge.imports.unpickle import read_checkpoint
from ofp_edge.policy.imported.archive import clean_archive
from ofp_edge.policy.imported.onnx_graph import read_graph
from tests.imports.program_parts import entry, repacked
from tests.imports.test_hostile_program import Small


def one_line(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(PolicyError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def graph(opset: int = 18, ir: int = 10, weight: Any = None) -> Any:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])
    made = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [weight or numpy_helper.from_array(torch.ones(1, 2).numpy(), "w")],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def torchscript() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("u/code/__torch__/u.py", "u/constants.pkl", "u/data.pkl", "u/version"):
            archive.writestr(name, b"\x80\x02}q\x00.")
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, buffer)
    return buffer.getvalue()


def older() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("version", "3")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", pickled())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "is_it", "advice"),
    [
        (torchscript, "a TorchScript program", "torch.export.save(torch.export.export("),
        (pickled, "a pickle (torch.save)", "torch.export.save(torch.export.export("),
        (lambda: pickle.dumps({"a": 1}), "a pickle", "torch.export.save("),
        (older, "a torch.export program of an older torch", "load it with the torch that wrote it"),
        (lambda: graph().SerializeToString(), "an ONNX graph", "give it as --onnx"),
        (lambda: b"<html>401", "a web page", "torch.export.save("),
    ],
)
def test_another_file_than_an_exported_program_says_what_it_is(
    data: Callable[[], bytes], is_it: str, advice: str
) -> None:
    says = one_line(clean_archive, data(), "u.pt2")
    assert says.startswith("u.pt2 is no torch.export archive: it is ")
    assert is_it in says and advice in says


@pytest.mark.parametrize("version", [{"major": 5, "minor": 1}, {"major": 99, "minor": 0}, None])
def test_a_program_of_another_schema_says_which(version: Any, tmp_path: Path) -> None:
    torch.export.save(
        torch.export.export(Small(), (torch.ones(1, 4), torch.ones(1, 4))), tmp_path / "u.pt2"
    )

    def change(files: dict[str, bytes]) -> None:
        name = entry(files, "models/model.json")
        value = {**json.loads(files[name]), "schema_version": version}
        files[name] = json.dumps({**value, "graph_module": {}}).encode()  # of another form too

    says = one_line(clean_archive, repacked(tmp_path / "u.pt2", change), "u.pt2")
    got = None if version is None else version["major"]
    assert f"exported by another torch: schema {got}, torch {torch.__version__} reads" in says
    assert "export the network again with torch" in says


def test_another_file_than_a_graph_says_what_it_is(tmp_path: Path) -> None:
    torch.export.save(
        torch.export.export(Small(), (torch.ones(1, 4), torch.ones(1, 4))), tmp_path / "u.pt2"
    )
    says = one_line(read_graph, (tmp_path / "u.pt2").read_bytes(), "u.onnx")
    assert "it is a torch.export program (.pt2); give it as --exported" in says
    assert "a TorchScript program" in one_line(read_graph, torchscript(), "u.onnx")
    assert "empty" in one_line(read_graph, b"", "u.onnx")


def test_a_graph_of_the_future_says_with_what_to_save_it() -> None:
    read_graph(graph().SerializeToString(), "u.onnx")
    newer = one_line(read_graph, graph(opset=99).SerializeToString(), "u.onnx")
    assert "opset 99, expected 13 to 20: export it again with" in newer
    assert "opset_version=20" in newer
    assert "opset 9, expected" in one_line(read_graph, graph(opset=9).SerializeToString(), "u")
    future = graph(ir=onnx.IR_VERSION + 1).SerializeToString()
    says = one_line(read_graph, future, "u.onnx")
    assert f"IR version {onnx.IR_VERSION + 1}, expected at most {onnx.IR_VERSION}" in says
    assert "model.ir_version = 10" in says


def test_weights_in_another_file_are_named_with_the_line_that_takes_them_in() -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 2])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="u.onnx.data")
    says = one_line(read_graph, graph(weight=weight).SerializeToString(), "/far/u.onnx")
    assert "keeps weights in 'u.onnx.data'" in says
    assert "onnx.save(onnx.load('u.onnx'), 'one.onnx')" in says


@pytest.mark.parametrize("data", [b"\x30\0\0\0\0\0\0\0{}", b"plain"])
def test_a_file_is_no_folder_of_lerobot(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    says = one_line(import_lerobot, path, Wanted(control_hz=10.0))
    assert "expected LeRobot's pretrained_model folder, with config.json" in says


@pytest.mark.parametrize(
    ("data", "is_it"),
    [(torchscript(), "a TorchScript program"), (pickle.dumps({"a": 1}), "a pickle"),
     (b"\x30\0\0\0\0\0\0\0{}", "a safetensors file")],
)  # fmt: skip
def test_another_file_than_a_checkpoint_says_what_it_is(
    data: bytes, is_it: str, tmp_path: Path
) -> None:
    (tmp_path / "x.ckpt").write_bytes(data)
    says = one_line(read_checkpoint, tmp_path / "x.ckpt")
    assert "is no checkpoint of torch.save" in says and is_it in says
