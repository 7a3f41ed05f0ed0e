"""A policy's start travels into its bundle, and both start alike."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ofp_edge.bundle import open_bundle
from ofp_edge.cli.main import build_app
from ofp_edge.errors import BundleError, OfpError, PolicyError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.manifest import Manifest
from ofp_edge.manifest_checks import check_manifest
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy, save_policy
from ofp_edge.policy.methods.method import Act
from ofp_edge.policy.presets import rows_with
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.start import FROM_COLD, JUMP, MEAN, Start
from ofp_edge.targets.compile import compile_policy
from tests.synthetic import tiny_policy

START = Start(cold_nfe=3, noise_cold=0.5, noise_warm=0.25)
CHOICES = (
    Choice(),
    Choice(cold_nfe=1),
    Choice(noise_cold=0.0, noise_warm=1.0),
    Choice(noise_warm=0.0, cold=True),
)


def chunks(inference: Inference) -> np.ndarray:
    """A cold and a warm one."""
    inference.reseed(3)
    seen = {"state": np.linspace(-1, 1, 7, dtype=np.float32)}
    dt_ns = inference.spec.dt_ns
    inference.observe(0, seen)
    first = inference.infer(0)
    inference.observe(dt_ns, seen)
    return np.stack([first.actions, inference.infer(dt_ns, first).actions])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The policy, and its bundle."""
    root = tmp_path_factory.mktemp("starts")
    policy = load_policy(tiny_policy(root / "policy", "state"))
    policy.config = replace(policy.config, start=START)
    save_policy(policy, root / "policy")
    compile_policy(root / "policy", "host", root / "bundle", leave_out=["executorch"])
    return root / "policy", root / "bundle"


def test_the_manifest_has_the_start_and_the_rows_of_its_ladder(made: tuple[Path, Path]) -> None:
    manifest = open_bundle(made[1]).manifest
    assert manifest.start == START
    walked = [(row.t, row.r) for row in manifest.time_rows if row.name == FROM_COLD]
    np.testing.assert_allclose(walked, [(0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1)])


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_policy_and_bundle_start_alike(made: tuple[Path, Path], choice: Choice) -> None:
    policy, bundle = (open_contestant(path, choice) for path in made)
    assert policy.start == bundle.start == choice.start(START)
    assert policy.nfe == bundle.nfe and policy.t_w == bundle.t_w
    np.testing.assert_allclose(chunks(policy.inference), chunks(bundle.inference), atol=1e-4)
    for part in ("cold", "warm"):
        steps = [getattr(x.inference.scheme, part) or () for x in (policy, bundle)]
        assert [s.noise for s in steps[0]] == [s.noise for s in steps[1]]
        assert len(steps[0]) == len(steps[1])


def test_each_number_changes_the_chunks_it_should(made: tuple[Path, Path]) -> None:
    own = chunks(open_contestant(made[1], Choice()).inference)
    louder = chunks(open_contestant(made[1], Choice(noise_warm=1.0)).inference)
    np.testing.assert_array_equal(own[0], louder[0])
    assert np.abs(own[1] - louder[1]).max() > 1e-3
    for choice in (Choice(noise_cold=1.0), Choice(cold_nfe=1)):
        assert np.abs(own[0] - chunks(open_contestant(made[1], choice).inference)[0]).max() > 1e-4


def test_what_a_bundle_was_not_compiled_for_is_refused(made: tuple[Path, Path]) -> None:
    with pytest.raises(OfpError, match="--cold-nfe 2: expected 1 or 3"):
        open_contestant(made[1], Choice(cold_nfe=2))
    assert open_contestant(made[0], Choice(cold_nfe=2, cold=True)).nfe == 2  # torch walks any


@pytest.mark.parametrize("nfe, cold", [(1, 3), (2, 3), (4, 4), (12, 12), (12, 16)])
def test_a_cold_start_takes_the_larger_number_however_many_steps_there_are(
    made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, nfe: int, cold: int
) -> None:
    calls: list[int] = []
    forward = Act.forward

    def counted(self: Act, *inputs: Any) -> Any:
        calls.append(1)
        return forward(self, *inputs)

    contestant = open_contestant(
        made[0], Choice(nfe=nfe, cold_nfe=16 if cold == 16 else None), alone=True
    )
    assert contestant.nfe == nfe
    monkeypatch.setattr(Act, "forward", counted)
    chunks(contestant.inference)
    assert len(calls) == cold + nfe


@pytest.fixture(scope="module")
def to_the_mean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A policy with codes whose warm start goes to the mean, and its bundle for every engine."""
    root = tmp_path_factory.mktemp("mean")
    policy = load_policy(tiny_policy(root / "policy", "state", codes=6))
    rows = rows_with(0.5, 0.5, MEAN)
    policy.config = replace(policy.config, start=Start(4, 1.0, 0.0), time_rows=rows)
    torch.nn.init.normal_(policy.network.codes.embedding.weight)
    save_policy(policy, root / "policy")
    compile_policy(root / "policy", "host", root / "bundle")
    return root / "policy", root / "bundle"


@pytest.mark.parametrize("engine", ["onnxruntime", "executorch"])
def test_a_bundle_goes_to_the_mean_as_its_policy_does(
    to_the_mean: tuple[Path, Path], engine: str
) -> None:
    policy = open_contestant(to_the_mean[0], Choice(nfe=1))
    bundle = open_contestant(to_the_mean[1], Choice(engine=engine))
    assert policy.warm_step == bundle.warm_step == MEAN
    np.testing.assert_allclose(chunks(policy.inference), chunks(bundle.inference), atol=1e-4)
    jumped = open_contestant(to_the_mean[0], Choice(nfe=1, warm_step=JUMP))
    apart = np.abs(chunks(jumped.inference) - chunks(policy.inference))
    assert apart[0].max() == 0 and apart[1].max() > 1e-2, "a cold start jumps in both"


def test_a_bundle_s_way_is_fixed_when_it_is_compiled(
    to_the_mean: tuple[Path, Path], made: tuple[Path, Path]
) -> None:
    assert open_contestant(to_the_mean[1], Choice(warm_step=MEAN)).warm_step == MEAN
    assert open_contestant(to_the_mean[1], Choice(cold=True)).warm_step is None
    with pytest.raises(OfpError, match="--warm-step jump: this bundle was compiled with mean"):
        open_contestant(to_the_mean[1], Choice(warm_step=JUMP))
    with pytest.raises(OfpError, match="--warm-step mean: this bundle was compiled with jump"):
        open_contestant(made[1], Choice(warm_step=MEAN))
    with pytest.raises(OfpError, match="--warm-step mean: it takes one evaluation, and --nfe 4"):
        open_contestant(to_the_mean[0], Choice(nfe=4, warm_step=MEAN))
    said = CliRunner().invoke(build_app(), ["inspect", str(to_the_mean[1])]).stdout
    assert "warm 0.5→mean" in said


def test_the_command_gives_a_bundle_another_start(made: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = [
        "compile", str(made[0]), "--target", "host", "-o", str(tmp_path / "b"), "--leave-out",
        "executorch", "--cold-nfe", "2", "--noise-warm", "0",
    ]  # fmt: skip
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    assert open_bundle(tmp_path / "b").manifest.start == Start(2, 0.5, 0.0)
    shown = CliRunner().invoke(build_app(), ["inspect", str(tmp_path / "b"), "--json"])
    assert json.loads(shown.stdout)["start"] == {
        "cold_nfe": 2, "noise_cold": 0.5, "noise_warm": 0.0,
    }  # fmt: skip
    said = CliRunner().invoke(build_app(), ["inspect", str(tmp_path / "b")]).stdout
    assert "noise 0.5 cold, 0 warm; 2 evaluations cold" in said


def test_a_policy_that_takes_all_its_steps_has_no_cold_ladder(tmp_path: Path) -> None:
    policy = load_policy(tiny_policy(tmp_path / "policy", "state"))
    policy.config = replace(policy.config, method="flow", start=Start(cold_nfe=4))
    with pytest.raises(PolicyError, match="--cold-nfe: method flow"):
        deploy(policy)
    policy.config = replace(policy.config, start=Start(noise_cold=0.5))
    assert {row.name for row in deploy(policy).time_rows} == {"ladder"}


@pytest.mark.parametrize(
    "start, words",
    [
        ({"cold_nfe": 2}, "start.cold_nfe: 2 evaluations, but 3 time rows"),
        ({"cold_nfe": None}, "start.cold_nfe: None evaluations, but 3 time rows"),
        ({"noise_cold": 9.0}, "start.noise_cold: expected 0 to 2, got 9"),
        ({"cold_nfe": 17}, "start.cold_nfe: expected 1 to 16"),
    ],
)
def test_a_manifest_whose_start_is_not_its_rows_is_refused(
    made: tuple[Path, Path], start: dict[str, float], words: str
) -> None:
    manifest: Manifest = open_bundle(made[1]).manifest
    with pytest.raises(BundleError, match=words):
        check_manifest(replace(manifest, start=replace(manifest.start, **start)))  # type: ignore[arg-type]


def test_a_policy_folder_with_an_impossible_start_is_refused(tmp_path: Path) -> None:
    path = tiny_policy(tmp_path / "policy", "state")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "start": {"noise_warm": 3.0}}))
    with pytest.raises(PolicyError, match="config.start.noise_warm: expected 0 to 2, got 3"):
        load_policy(path)
    del config["start"]  # as folders of before it were written
    (path / "config.json").write_text(json.dumps(config))
    assert load_policy(path).config.start == Start()
