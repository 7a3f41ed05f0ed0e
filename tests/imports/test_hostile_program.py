"""An exported program becomes Python source that torch runs: nothing of a file may stand in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.imports import program as importing
from ofp_edge.imports.program import import_program
from ofp_edge.policy.imported.archive import clean_archive, load_program
from ofp_edge.policy.imported.operations import is_allowed
from tests.imports.program_parts import Own, arguments, entry, repacked, saved, spec_file


class Small(nn.Module):
    """Names of every kind: a parameter, a buffer, a constant, a scalar, a mask, a text, a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("kept", torch.ones(4))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        made = self.layer(x) + self.kept + torch.tensor(2.0)
        low, high = made.chunk(2, 1)
        mask = torch.where(y > 0, y, -torch.inf)
        gelu = nn.functional.gelu(torch.einsum("ab,ab->ab", low, high), approximate="tanh")
        return gelu[:, 1:], mask.clamp(min=0.0).to(torch.float64).float()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "u.pt2"
    torch.export.save(torch.export.export(Small(), (torch.ones(1, 4), torch.ones(1, 4))), path)
    return path


def test_a_network_of_usual_parts_is_read(small: Path) -> None:
    loaded = load_program(small.read_bytes(), "u.pt2").module(check_guards=False)
    inputs = torch.rand(1, 4), torch.rand(1, 4)
    torch.manual_seed(0)
    for got, wanted in zip(
        loaded(*inputs), torch.export.load(small).module()(*inputs), strict=True
    ):
        assert torch.equal(got, wanted)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every text of a JSON value, names of entries too; trees of inputs are texts of JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*at, key, ...)
            yield from places(item, (*at, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*at, number))
    elif isinstance(value, str):
        yield at
        if value.startswith("["):
            for inner in places(json.loads(value)):
                yield (*at, json, *inner)


def put(value: Any, at: tuple[Any, ...], new: str) -> Any:
    first, *rest = at
    if first is json:
        return json.dumps(put(json.loads(value), tuple(rest), new))
    if rest == [...]:
        value[new] = value.pop(first)
    else:
        value[first] = put(value[first], tuple(rest), new) if rest else new
    return value


@pytest.mark.parametrize("file", ["models/model.json", "weights_config.json",
                                  "constants_config.json"])  # fmt: skip
def test_no_text_of_a_program_becomes_code(file: str, small: Path, tmp_path: Path) -> None:
    """Each text in turn becomes Python that leaves a mark, in three forms of source."""
    mark = tmp_path / "ran"
    call = f"__import__('pathlib').Path('{mark}').touch()"
    forms = (f"x={call}", f'x"+str({call})+"', f"x\n    {call}\n")
    files: dict[str, bytes] = {}
    repacked(small, files.update)
    # One place of a kind: of all nodes' inputs the first one's name.
    kinds = {
        tuple(x for x in at if not isinstance(x, int)): at
        for at in places(json.loads(files[entry(files, file)]))
    }
    assert len(kinds) > 10
    for at in kinds.values():
        for text in forms:

            def change(files: dict[str, bytes], at: Any = at, text: str = text) -> None:
                name = entry(files, file)
                files[name] = json.dumps(put(json.loads(files[name]), at, text)).encode()

            try:
                made = load_program(repacked(small, change), "u.pt2").module(check_guards=False)
                made(torch.ones(1, 4), torch.ones(1, 4))
            except (PolicyError, RuntimeError, TypeError) as cause:
                assert not isinstance(cause, PolicyError) or "\n" not in str(cause)
            assert not mark.exists(), f"{at} is run"


def edited(path: Path, change: Callable[[Any], Any], file: str = "models/model.json") -> bytes:
    def apply(files: dict[str, bytes]) -> None:
        name = entry(files, file)
        value = json.loads(files[name])
        change(value)
        files[name] = json.dumps(value).encode()

    return repacked(path, apply)


def node(program: Any, operation: str) -> Any:
    nodes = program["graph_module"]["graph"]["nodes"]
    return next(x for x in nodes if operation in x["target"])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"as_ints": [1 << 40]}, "no network needs it"),
        ({"as_ints": [1 << 20, 1 << 20]}, "no network needs it"),
        ({"as_int": -(1 << 62)}, "no network needs it"),
        ({"as_int": "7"}, "no network needs it"),
        ({"as_string": "f(x)"}, r"text 'f\(x\)' is refused"),
        ({"as_graph": {"name": "g", "graph": {}}}, "'as_graph' is refused"),
        ({"as_operator": "torch.ops.aten.add.Tensor"}, "'as_operator' is refused"),
        ({"as_custom_obj": {"name": "x", "class_fqn": "x"}}, "'as_custom_obj' is refused"),
        ({"as_device": {"type": "cuda", "index": 0}}, "expected the CPU"),
        ({"as_int": 1, "as_none": True}, "not the form"),
        ([], "not the form"),
    ],
)
def test_an_argument_that_no_network_has_is_refused(small: Path, argument: Any, said: str) -> None:
    def change(program: Any) -> None:
        node(program, "linear")["inputs"][1]["arg"] = argument

    with pytest.raises(PolicyError, match=said):
        clean_archive(edited(small, change), "u.pt2")


def test_operations_that_trust_their_arguments_are_not_on_the_list(tmp_path: Path) -> None:
    class Unsafe(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            lengths = torch.tensor([3, 5])
            return torch.segment_reduce(z[0, :, 0], "sum", lengths=lengths, unsafe=True)

    path = tmp_path / "u.pt2"
    torch.export.save(torch.export.export(Unsafe(), arguments()), path)
    with pytest.raises(PolicyError, match=r"segment_reduce.*is not on the list"):
        import_program("exported", path, spec_file(tmp_path / "s.json"))
    for name in ("set_.source_Storage", "from_file.default", "as_strided.default", "save.default",
                 "_unsafe_index.Tensor", "resize_.default", "add.out", "cat.names_out",
                 "quantized_lstm.input", "sub"):  # fmt: skip
        assert not is_allowed(f"torch.ops.aten.{name}")
    assert not is_allowed("torch.ops.prims.add.default") and is_allowed(
        "torch.ops.aten.add_.Tensor"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": [{"as_int": 4}, {"as_int": 5}], "strides": [{"as_int": 5}, {"as_int": 1}]},
        {"storage_offset": {"as_int": 1}},
        {"strides": [{"as_int": 1 << 30}, {"as_int": 1}]},
        {"strides": [{"as_int": -4}, {"as_int": 1}]},
        {"sizes": [{"as_int": 1 << 20}] * 2, "strides": [{"as_int": 0}] * 2},
        {"dtype": 8},
        {"dtype": 99},
        {"device": {"type": "cuda", "index": 0}},
        {"sizes": [{"as_expr": {"expr_str": "4"}}, {"as_int": 4}]},
    ],
)
def test_a_weight_that_reaches_past_its_bytes_is_refused(small: Path, changes: Any) -> None:
    def change(config: Any) -> None:
        config["config"]["layer.weight"]["tensor_meta"].update(changes)

    with pytest.raises(PolicyError):
        clean_archive(edited(small, change, "weights_config.json"), "u.pt2")


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 3000, "NaN"])
@pytest.mark.parametrize("file", ["models/model.json", "weights_config.json"])
def test_deep_json_in_an_archive_is_one_line(text: str, file: str, small: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[entry(files, file)] = text.encode()

    with pytest.raises(PolicyError, match="nested deeper|not valid JSON"):
        load_program(repacked(small, change), "u.pt2")


@pytest.mark.parametrize("form", ["exported", "onnx"])
def test_a_program_that_ends_its_process_is_tried_in_another_one(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(Own(), tmp_path / ("u.onnx" if form == "onnx" else "u.pt2"))
    here, tried = os.getpid(), importing.try_out

    def crashes(*arguments: Any) -> Any:
        if os.getpid() == here:
            pytest.fail("it was run here first")
        os.abort()

    monkeypatch.setattr(importing, "try_out", crashes)
    with pytest.raises(PolicyError, match=r"u\..* ends the process that opens it \(SIGABRT\)"):
        import_program(form, path, spec_file(tmp_path / "s.json"))
    monkeypatch.setattr(importing, "try_out", tried)
    import_program(form, path, spec_file(tmp_path / "s.json"))
