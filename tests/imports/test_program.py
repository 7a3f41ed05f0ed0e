"""Programs and graphs: opened as data, tried on real inputs, compiled and run like ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from ofp_edge import functions
from ofp_edge.bundle import open_bundle
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.imports.program import import_program
from ofp_edge.imports.record import write_imported
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.imported.onnx_functions import OnnxEncoder
from ofp_edge.policy.imported.onnx_graph import OnnxModule
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.runners.table import ENGINES
from ofp_edge.targets.compile import compile_policy
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.imports.program_parts import (
    SPEC,
    TO,
    A,
    D,
    H,
    Own,
    arguments,
    saved,
    spec_file,
)

pytestmark = pytest.mark.usefixtures("exports")


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


def test_a_step_of_length_nothing_stays(made: Any) -> None:
    about = import_about(made)
    assert about["depends_on"] == ["z", "t", "r", "observations"]


def import_about(made: Any) -> dict[str, object]:
    folder = made("exported").parent
    found = import_program("exported", folder / "exportedFalse.pt2", folder / "exportedFalse.json")
    return found.about
