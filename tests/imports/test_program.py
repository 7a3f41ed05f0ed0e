"""Programs and graphs: opened as data, tried on real inputs, compiled and run like ours."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from ofp_edge import functions
from ofp_edge.bundle import open_bundle
from ofp_edge.errors import CheckFailed, OfpError, PolicyError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.fields import State
from ofp_edge.imports.program import import_program
from ofp_edge.imports.record import write_imported
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.imported.archive import clean_archive, load_program
from ofp_edge.policy.imported.onnx_functions import OnnxEncoder
from ofp_edge.policy.imported.onnx_graph import OnnxModule
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.runners.table import ENGINES
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.targets.compile import compile_policy
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

pytestmark = pytest.mark.usefixtures("exports")

H, A, TO, D = 8, 3, 2, 5
SPEC = PolicySpec(
    (State("state", (D,), "m", "base", (-1.0,) * D, (2.0,) * D),),
    (
        ActionField("move", (2,), "m", "base", "delta", 0.1, (-1.0,) * 2, (1.0,) * 2, 0.0),
        ActionField("grip", (1,), "1", "base", "absolute", 1.0, (-2.0,), (1.0,), None, "nearest"),
    ),
    TO, H, 4, 10.0, 1,
)  # fmt: skip


class Own(nn.Module):
    """u(z, t, r, observations), or v(z, t, observations)."""

    def __init__(self, velocity: bool = False, spec: PolicySpec = SPEC) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.chunk = spec.horizon, spec.action_dim
        count = spec.horizon * spec.action_dim
        self.first = nn.Linear(count + (1 if velocity else 2) + TO * D, 32)
        self.last = nn.Linear(32, count)

    def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
        *r, observations = rest
        times = [x[:, None] for x in (t, *r)]
        x = torch.cat([z.flatten(1), *times, observations.flatten(1)], 1)
        return self.last(torch.nn.functional.silu(self.first(x))).view(1, *self.chunk)


def arguments(velocity: bool = False) -> tuple[Tensor, ...]:
    # Not one tensor twice: torch.export would take two inputs for the same.
    times = [torch.zeros(1) for _ in range(1 if velocity else 2)]
    return (torch.zeros(1, H, A), *times, torch.zeros(1, TO, D))


def saved(module: nn.Module, path: Path, *, velocity: bool = False) -> Path:
    if path.suffix == ".onnx":
        program = torch.onnx.export(
            module, arguments(velocity), dynamo=True, opset_version=18, verbose=False
        )
        path.write_bytes(program.model_proto.SerializeToString())
    else:
        torch.export.save(torch.export.export(module, arguments(velocity)), path)
    return path


def spec_file(path: Path, **more: Any) -> Path:
    path.write_text(json.dumps({"spec": SPEC.to_json(), **more}))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """The policy folder of a form, made once."""
    root, known = tmp_path_factory.mktemp("made"), {}

    def make(form: str, velocity: bool = False) -> Path:
        if (form, velocity) not in known:
            name = f"{form}{velocity}"
            suffix = "onnx" if form == "onnx" else "pt2"
            path = saved(Own(velocity), root / f"{name}.{suffix}", velocity=velocity)
            predicts = "velocity" if velocity else "average"
            spec = spec_file(root / f"{name}.json", predicts=predicts)
            write_imported(import_program(form, path, spec), root / name, force=False)
            known[form, velocity] = root / name
        return known[form, velocity]

    return make


def expected_chunk(velocity: bool, seen: Tensor, noise: Tensor, nfe: int) -> Tensor:
    """Euler or one step, written anew; raw units from the observation on."""
    network, z = Own(velocity), noise.view(1, H, A)
    with torch.no_grad():
        for k in range(nfe):
            t, r = torch.tensor([k / nfe]), torch.tensor([(k + 1) / nfe])
            z = z + (r - t) * network(z, t, *(() if velocity else (r,)), seen)
    return (z * torch.tensor([1.0, 1.0, 1.5]) + torch.tensor([0.0, 0.0, -0.5]))[0, 1:]


@pytest.mark.parametrize("velocity", [False, True])
@pytest.mark.parametrize("form", ["exported", "onnx"])
def test_it_is_evaluated_like_ours(made: Any, form: str, velocity: bool) -> None:
    inference = open_contestant(made(form, velocity), Choice(nfe=5 if velocity else 1)).inference
    inference.reseed(3)
    frames = np.random.default_rng(0).uniform(-1, 2, (TO, D)).astype(np.float32)
    for k, frame in enumerate(frames):
        inference.observe(k * SPEC.dt_ns, {"state": frame})
    got = inference.infer((TO - 1) * SPEC.dt_ns).actions
    noise = np.random.Generator(np.random.PCG64(3)).standard_normal((H, A), np.float32)
    seen, nfe = torch.from_numpy(frames)[None], 5 if velocity else 1
    assert got.shape == (H - 1, A)
    assert np.allclose(got, expected_chunk(velocity, seen, torch.from_numpy(noise), nfe), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "velocity"), [("exported", False), ("onnx", False),
                                                ("onnx", True)])  # fmt: skip
def test_it_compiles_and_runs_like_ours(
    made: Any, tmp_path: Path, form: str, velocity: bool
) -> None:
    folder = made(form, velocity)
    compile_policy(folder, "host", tmp_path / "bundle", nfe=4 if velocity else None)
    bundle = open_bundle(tmp_path / "bundle")
    if form == "onnx":
        assert {engine for engine, _ in bundle.engines()} == {"onnxruntime"}
    inference = load_inference(bundle, "onnxruntime", "fp32", seed=3)
    assert inference.scheme.nfe == (4 if velocity else 1)
    frames = np.random.default_rng(0).uniform(-1, 2, (TO, D)).astype(np.float32)
    for k, frame in enumerate(frames):
        inference.observe(k * SPEC.dt_ns, {"state": frame})
    got = inference.infer((TO - 1) * SPEC.dt_ns).actions
    noise = np.random.Generator(np.random.PCG64(3)).standard_normal((H, A), np.float32)
    nfe = 4 if velocity else 1
    wanted = expected_chunk(velocity, torch.from_numpy(frames)[None], torch.from_numpy(noise), nfe)
    assert np.allclose(got, wanted, atol=1e-4)


def test_a_changed_program_is_refused(made: Any, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(made("exported"), tmp_path / "policy"))
    data = bytearray((folder / "program.pt2").read_bytes())
    data[-200] ^= 1
    (folder / "program.pt2").write_bytes(data)
    with pytest.raises(PolicyError, match="hash differs"):
        load_policy(folder)


def test_an_encoder_of_its_own(tmp_path: Path) -> None:
    class Encoder(nn.Module):
        def forward(self, state: Tensor) -> Tensor:
            return torch.cat([state, state.square()], 1)

    class Network(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, rest[0], rest[1][:, :, :D] + rest[1][:, :, D:])

    torch.export.save(torch.export.export(Encoder(), (torch.zeros(1, D),)), tmp_path / "e.pt2")
    wide = (*arguments()[:3], torch.zeros(1, TO, 2 * D))
    torch.export.save(torch.export.export(Network(), wide), tmp_path / "u.pt2")
    spec = spec_file(tmp_path / "s.json", encode="e.pt2")
    write_imported(
        import_program("exported", tmp_path / "u.pt2", spec), tmp_path / "p", force=False
    )
    policy = load_policy(tmp_path / "p")
    assert policy.network.encoder.feature_dim == 2 * D
    seen = torch.rand(4, TO, D)
    got = policy.network.encode([seen]).view(4, TO, 2 * D)
    assert torch.allclose(got[..., D:], seen.square())


def test_an_encoder_graph_may_use_the_fields_names_inside() -> None:
    import onnx
    import onnxruntime
    from onnx import helper

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["state"]), helper.make_node("Exp", ["state"], ["y"])],
        "g", [value("x", 1, D)], [value("y", 1, D)],
    )  # fmt: skip
    opset = helper.make_opsetid("", 18)
    data = helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    encoder = OnnxEncoder(OnnxModule(data, "e.onnx"), D)
    made = encoder.onnx_graph([functions.Tensor("state", (1, D))])
    session = onnxruntime.InferenceSession(made.SerializeToString())
    seen = np.linspace(-1, 1, D, dtype=np.float32)[None]
    (feature,) = session.run(["feature"], {"state": seen})
    assert np.allclose(feature, np.exp(-seen), atol=1e-6)
    assert np.array_equal(encoder(torch.from_numpy(seen)).numpy(), feature)


def test_an_onnx_graph_says_what_can_t_take_it(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, exported = made("onnx"), load_policy(made("exported")).config.network
    with pytest.raises(OfpError, match=r"came as an ONNX graph.* import the network with --exp"):
        quantize_policy(path, "int8", tmp_path / "none.npz", tmp_path / "q")
    with pytest.raises(PolicyError, match=r"^--init .* was imported: it is distilled"):
        make_plan(Request(tmp_path / "none.zarr", tmp_path / "t", init=path))
    with pytest.raises(PolicyError, match=r"came as a program, which has no weights to train"):
        make_plan(Request(tmp_path / "none.zarr", tmp_path / "t", init=path, distill=True))
    monkeypatch.setattr(type(ENGINES["onnxruntime"]), "targets", ())
    with pytest.raises(OfpError, match=r"no engine here for this policy\. ExecuTorch takes torch"):
        compile_policy(path, "host", tmp_path / "b")
    assert not list(tmp_path.iterdir())
    assert set(exported.refusals) == {"train", "distill"}


def refuse(module: nn.Module, tmp_path: Path, **more: Any) -> str:
    path = saved(module, tmp_path / "u.pt2")
    with pytest.raises(OfpError) as caught:
        import_program("exported", path, spec_file(tmp_path / "s.json", **more))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_shapes_are_told_apart(tmp_path: Path) -> None:
    path = saved(Own(), tmp_path / "u.pt2")
    wrong = spec_file(tmp_path / "s.json")
    wrong.write_text(json.dumps({"spec": replace(SPEC, n_obs_steps=3).to_json()}))
    with pytest.raises(PolicyError, match=r"observations: expected shape \(1, 3, 5\).*\(1, 2, 5\)"):
        import_program("exported", path, wrong)


def test_a_division_by_r_minus_t_is_found(tmp_path: Path) -> None:
    class Divides(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, *rest) / (rest[0] - t)[:, None, None]

    assert "NaN or infinity at t = 0, r = 0" in refuse(Divides(), tmp_path)


def test_a_blind_network_is_found(tmp_path: Path) -> None:
    class Blind(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, rest[0], rest[1] * 0)

    assert "whatever it sees" in refuse(Blind(), tmp_path)


def test_a_velocity_in_disguise_is_remarked(tmp_path: Path) -> None:
    class Velocity(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, rest[0] * 0, rest[1])

    path = saved(Velocity(), tmp_path / "u.pt2")
    found = import_program("exported", path, spec_file(tmp_path / "s.json"))
    assert "does not change with r" in found.remarks[0]


@pytest.mark.parametrize("kind", ["noise", "pi0"])
def test_other_predictions_are_refused(tmp_path: Path, kind: str) -> None:
    assert f"got '{kind}'" in refuse(Own(), tmp_path, predicts=kind)


def repacked(path: Path, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The archive with other files in it."""
    with zipfile.ZipFile(path) as archive:
        files = {item.filename: archive.read(item) for item in archive.infolist()}
    change(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def entry(files: dict[str, bytes], end: str) -> str:
    return next(name for name in files if name.endswith(end))


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


def test_a_step_of_length_nothing_stays(made: Any) -> None:
    about = import_about(made)
    assert about["depends_on"] == ["z", "t", "r", "observations"]


def import_about(made: Any) -> dict[str, object]:
    folder = made("exported").parent
    found = import_program("exported", folder / "exportedFalse.pt2", folder / "exportedFalse.json")
    return found.about


def test_noise_inside_a_network_is_found(tmp_path: Path) -> None:
    class Noisy(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, *rest) + torch.randn_like(z)

    path = saved(Noisy(), tmp_path / "u.pt2")
    with pytest.raises(CheckFailed, match="it draws noise"):
        import_program("exported", path, spec_file(tmp_path / "s.json"))
