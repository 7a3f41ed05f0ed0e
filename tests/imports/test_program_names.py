"""A program's inputs go where their names say; what neither names nor shapes decide is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_bytes
from ofp_edge.imports.program import import_program
from ofp_edge.imports.spec_file import read_spec_file
from ofp_edge.policy.imported.binding import Names, Signature, bind
from ofp_edge.policy.imported.onnx_functions import encode_graph
from ofp_edge.policy.imported.program import as_module
from ofp_edge.policy.imported.program_config import ProgramFile
from tests.imports.program_parts import Own, saved, spec_file

ONE = (1,)
NETWORK = Signature({"z": (1, 8, 3), "t": ONE, "r": ONE, "observations": (1, 2, 5)}, "u", (1, 8, 3))
SIDES = Signature({"left": (1, 2), "right": (1, 2)}, "feature", None, "encode_inputs")
NOTHING = Names()


def bound(signature: Signature, inputs: Mapping[str, Any], said: Names = NOTHING) -> Any:
    return bind("u.pt2", signature, list(inputs.items()), [("out", (1, 4))], said).inputs


def refused(signature: Signature, inputs: Mapping[str, Any], said: Names = NOTHING) -> str:
    with pytest.raises(PolicyError) as caught:
        bound(signature, inputs, said)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_decide_before_places() -> None:
    given = {"r": ONE, "observations": (1, 2, 5), "t": ONE, "z": (1, 8, 3)}
    assert bound(NETWORK, given) == {x: x for x in NETWORK.inputs}
    folders = {"net/r": ONE, "cond.observations": (1, 2, 5), "net/t": ONE, "x": (1, 8, 3)}
    assert bound(NETWORK, folders) == {
        "z": "x", "t": "net/t", "r": "net/r", "observations": "cond.observations"
    }  # fmt: skip


def test_the_last_of_a_shape_needs_no_name() -> None:
    given = {"noise": (1, 8, 3), "t": ONE, "end": ONE, "seen": (1, 2, 5)}
    assert bound(NETWORK, given)["r"] == "end"


def test_two_of_a_shape_without_names_are_refused_with_the_line_to_write(tmp_path: Path) -> None:
    given = {"x": (1, 8, 3), "time": ONE, "until": ONE, "seen": (1, 2, 5)}
    says = refused(NETWORK, given)
    assert "time, until are all of shape (1,)" in says
    assert says.endswith('"inputs": {"t": "time", "r": "until"}')
    assert '"encode_inputs": {"left": "a", "right": "b"}' in refused(
        SIDES, {"a": (1, 2), "b": (1, 2)}
    )
    spec = spec_file(tmp_path / "s.json", inputs={"t": "until", "r": "time"}, output="out")
    said = read_spec_file(spec).names["inputs"]
    assert said.output == "out"
    assert list(bound(NETWORK, given, said).values()) == ["x", "until", "time", "seen"]


def test_chunk_and_observations_of_one_shape_are_told_apart_by_name() -> None:
    alike = Signature({"z": (1, 4, 4), "t": ONE, "observations": (1, 4, 4)}, "v", (1, 4, 4))
    assert bound(alike, {"obs": (1, 4, 4), "t": ONE, "z": (1, 4, 4)})["observations"] == "obs"
    assert "which is z, which is observations" in refused(
        alike, {"a": (1, 4, 4), "t": ONE, "b": (1, 4, 4)}
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"z": (1, 8, 3), "t": ONE, "r": ONE}, r"takes 3 inputs (z (1, 8, 3), t (1,), r (1,)), ex"),
        ({"z": (1, 2, 5), "t": ONE, "r": ONE, "observations": (1, 8, 3)},
         "input z: expected shape (1, 8, 3), got (1, 2, 5)"),
        ({"x": (1, 8, 3), "t": ONE, "r": ONE, "y": (1, 3, 5)},
         "input observations: expected shape (1, 2, 5), got y (1, 3, 5)"),
        ({"x": (1, 8, 3), "t": ONE, "r": ("n",), "y": (1, 2, 5)},
         "input r: expected shape (1,), got (n,). Export it with fixed shapes"),
    ],
)  # fmt: skip
def test_other_shapes_are_named(given: dict[str, Any], says: str) -> None:
    assert says in refused(NETWORK, given)


@pytest.mark.parametrize(
    ("stated", "says"),
    [({"q": "a"}, "encode_inputs: expected left, right, got 'q'"),
     ({"left": "c"}, "encode_inputs.left: expected one of a, b, each once, got 'c'"),
     ({"left": "a", "right": "a"}, "encode_inputs.right: expected one of")],
)  # fmt: skip
def test_a_stated_name_must_be_there(stated: dict[str, str], says: str) -> None:
    assert says in refused(SIDES, {"a": (1, 2), "b": (1, 2)}, Names(stated))


@pytest.mark.parametrize("entry", [{"inputs": []}, {"encode_inputs": {"a": 1}}, {"output": 3}])
def test_names_in_a_spec_file_are_texts(entry: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=next(iter(entry))):
        read_spec_file(spec_file(tmp_path / "s.json", **entry))


def test_of_several_outputs_the_answer_is_named_or_alone_of_its_shape() -> None:
    inputs = list(NETWORK.inputs.items())

    def answer(outputs: dict[str, Any], said: str | None = None) -> str | None:
        return bind("u", NETWORK, inputs, list(outputs.items()), Names(output=said)).output

    assert answer({"loss": (1, 8, 3), "u": (1, 8, 3)}) == "u"
    assert answer({"loss": (1,), "move": (1, 8, 3)}) == "move"
    assert answer({"a": (1, 8, 3), "b": (1, 8, 3)}, "b") == "b"
    with pytest.raises(PolicyError, match=r'gives 2 outputs \(a .*"output": "a"'):
        answer({"a": (1, 8, 3), "b": (1, 8, 3)})
    with pytest.raises(PolicyError, match="output: expected one of a, got 'c'"):
        answer({"a": (1, 8, 3)}, "c")


class Sides(nn.Module):
    def forward(self, right: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([left, right], 1), left


class Keywords(nn.Module):
    def forward(self, *, right: Tensor, left: Tensor) -> dict[str, Tensor]:
        return {"more": left, "feature": torch.cat([left, right], 1)}


class Fields(nn.Module):
    def forward(self, fields: dict[str, Tensor]) -> Tensor:
        return torch.cat([fields["left"], fields["right"]], 1)


def encoder(form: str, path: Path) -> bytes:
    a, b = torch.zeros(1, 2), torch.zeros(1, 2)
    if form == "onnx":
        return sides_graph()
    made = {
        "places": lambda: torch.export.export(Sides(), (a, b)),
        "keywords": lambda: torch.export.export(Keywords(), (), {"right": a, "left": b}),
        "dictionary": lambda: torch.export.export(Fields(), ({"right": a, "left": b},)),
    }[form]()
    torch.export.save(made, path)
    return path.read_bytes()


def sides_graph() -> bytes:
    """Takes right before left, and a weight among its inputs, as older exporters listed them."""

    def value(name: str, width: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, width))

    graph = helper.make_graph(
        [helper.make_node("Concat", ["left", "right"], ["both"], axis=1),
         helper.make_node("Add", ["both", "w"], ["feature"]),
         helper.make_node("Neg", ["left"], ["more"])],
        "g", [value("right", 2), value("left", 2), value("w", 4)],
        [value("more", 2), value("feature", 4)],
        [helper.make_tensor("w", TensorProto.FLOAT, (1, 4), [0.0] * 4)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("form", ["places", "keywords", "dictionary", "onnx"])
def test_a_program_is_called_in_our_order_whatever_its_own(form: str, tmp_path: Path) -> None:
    data = encoder(form, tmp_path / "e.pt2")
    kind: Any = "onnx" if form == "onnx" else "exported"
    said = Names(output="cat") if form == "places" else NOTHING
    module, names = as_module(kind, data, "e", SIDES, said)
    left, right = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    assert module(left, right).tolist() == [[1, 2, 3, 4]]
    assert list(names.inputs) == ["left", "right"]

    (tmp_path / "e").write_bytes(data)
    kept = ProgramFile("e", sha256_bytes(data), tuple(names.inputs.values()), names.output)
    assert torch.equal(kept.open(kind, tmp_path, SIDES)(left, right), module(left, right))


def test_an_import_says_that_a_program_has_another_order(tmp_path: Path) -> None:
    class Turned(Own):
        def forward(self, z: Tensor, r: Tensor, t: Tensor, observations: Tensor) -> Tensor:
            return super().forward(z, t, r, observations)

    for name, module in (("own", Own()), ("turned", Turned())):
        saved(module, tmp_path / f"{name}.pt2")
    spec = spec_file(tmp_path / "s.json")
    own, turned = (
        import_program("exported", tmp_path / f"{x}.pt2", spec) for x in ("own", "turned")
    )
    assert own.remarks == ()
    assert "another order and go by name: z is z, t is t, r is r" in turned.remarks[0]
    z, features, time = torch.rand(1, 24), torch.rand(1, 10), torch.tensor([[0.2, 0.9]])
    said = [x.policy.network.trunk(z, features, time) for x in (own, turned)]
    assert torch.equal(*said)
    assert turned.about["inputs"] == {x: x for x in NETWORK.inputs}


def test_a_folder_of_before_is_bound_by_place(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Fields(), ({"right": torch.zeros(1, 2),
                                                      "left": torch.zeros(1, 2)},)),
                      tmp_path / "e")  # fmt: skip
    entry = ProgramFile("e", sha256_bytes((tmp_path / "e").read_bytes()))
    module = entry.open("exported", tmp_path, SIDES)
    left, right = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    assert module(left, right).tolist() == [[3, 4, 1, 2]]


def test_what_is_compiled_of_a_graph_has_our_order_and_one_output() -> None:
    module: Any = as_module("onnx", sides_graph(), "e", SIDES, NOTHING)[0]
    made = encode_graph(module, ["left", "right"])
    assert [x.name for x in made.graph.input] == ["left", "right"]
    assert [x.name for x in made.graph.output] == ["feature"]
    session = onnxruntime.InferenceSession(made.SerializeToString())
    left, right = torch.tensor([[1.0, 2.0]]).numpy(), torch.tensor([[3.0, 4.0]]).numpy()
    assert session.run(None, {"left": left, "right": right})[0].tolist() == [[1, 2, 3, 4]]
