"""SmolVLA and pi0.5, tiny, compiled for this machine: what the robot computes is the network's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.cli.main import build_app
from ofp_edge.errors import BundleError, OfpError, ParityError, UnknownName
from ofp_edge.files import sha256_bytes
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.prompt import Prompt
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.run_files import Request, read_run
from ofp_edge.runtime.session import open_session
from ofp_edge.targets.compile import compile_policy
from ofp_edge.targets.tensorrt_graph import check_graph
from tests.imports.vla_checkpoint import ACTION, STATE, TASKS
from tests.sealed import seal
from tests.targets.vla_made import MS, NFE, Made, frame
from tests.targets.vla_robot import RIG


@pytest.fixture(scope="module", params=["smolvla", "pi05"])
def made(request: pytest.FixtureRequest, vla_made: Callable[[str], Made]) -> Made:
    return vla_made(request.param)


@pytest.fixture(scope="module")
def policy(made: Made) -> Policy:
    return load_policy(made.policy)


@pytest.fixture(scope="module")
def bundle(made: Made) -> Bundle:
    return open_bundle(made.bundle)


@pytest.fixture(scope="module")
def inference(bundle: Bundle) -> Inference:
    return load_inference(bundle, "onnxruntime", "fp32", seed=3)


def torch_plan(policy: Policy, seen: dict[str, Any], z: np.ndarray) -> torch.Tensor:
    fields = []
    for item in policy.config.spec.observations:
        values = torch.from_numpy(np.asarray(seen[item.name]))[None, None]
        picture = values.dtype == torch.uint8
        fields.append(values * torch.tensor(1 / 255, dtype=torch.float32) if picture else values)
    with torch.no_grad():
        features = policy.network.encode(fields)
        return policy.sampling.sample(policy.network, features, torch.from_numpy(z), NFE)


def test_a_plan_is_the_networks_for_each_instruction(policy: Policy, inference: Inference) -> None:
    prompts = set()
    for number in range(4):
        inference.reseed(number)
        inference.observe(number * MS, seen := frame(number))
        prompts.add(inference.prompt_id)
        plan = inference.infer(number * MS)
        z = np.random.Generator(np.random.PCG64(number)).standard_normal(
            plan.normalised.size, dtype=np.float32
        )
        expected = torch_plan(policy, seen, z[None]).reshape(plan.normalised.shape).numpy()
        np.testing.assert_allclose(plan.normalised, expected, atol=1e-4)
        assert plan.actions.shape == (6, ACTION) and plan.normalised.shape[1] > ACTION
    assert len(prompts) >= len(TASKS) and None not in prompts


def test_the_words_are_the_rows_that_torch_looks_up(policy: Policy, inference: Inference) -> None:
    inference.observe(10**9 * MS, seen := frame(7))
    encode = inference.runners["encode"].inputs
    of = {k: torch.from_numpy(np.asarray(x))[None] for k, x in seen.items()}
    told = policy.network.encoder.prompted(of)
    first, count = policy.network.encoder.cameras, encode["words"].shape[1]
    beyond = slice(first + count, first + policy.network.encoder.words)  # which no prompt reaches
    whole = told["valid"].numpy()
    assert count < policy.network.encoder.words and not whole[0, beyond].any()
    valid = np.delete(whole, beyond, 1)
    np.testing.assert_array_equal(encode["valid"], valid)
    np.testing.assert_array_equal(inference.runners["act"].inputs["valid"], valid)
    kept = valid[0, first : first + count] > 0
    words = told["words"].numpy()[0, :count]
    np.testing.assert_array_equal(encode["words"][0, kept], words[kept])


def test_the_cache_is_one_buffer_of_both_functions(inference: Inference) -> None:
    encode, act = (inference.runners[x] for x in ("encode", "act"))
    assert act.inputs["kv"] is encode.outputs["kv"]


def test_golden_outputs_are_acts_on_what_encode_makes(bundle: Bundle) -> None:
    golden = bundle.golden()
    assert not any("kv" in name for name in golden)
    assert {x.split("/")[1] for x in golden if x.startswith("output/")} == {"act"}
    rows = {len(x) for x in golden.values()}
    assert rows == {16}
    assert bundle.artefact("encode", "onnxruntime", "fp32").tolerance == {}
    assert set(bundle.artefact("act", "onnxruntime", "fp32").tolerance) == {
        "chunk", "chunk_normalised"
    }  # fmt: skip


def test_every_operation_is_in_tensorrts_table(bundle: Bundle) -> None:
    for item in bundle.manifest.artefacts:
        assert check_graph(bundle.read(item.file), "fp32", item.file) == []


def test_the_engines_that_take_it_are_onnx_runtime_alone(made: Made, bundle: Bundle) -> None:
    assert bundle.engines() == [("onnxruntime", "fp32")]
    assert "ExecuTorch takes no vision-language-action" in made.report.unfit["executorch"]


def test_a_boards_cpu_is_refused_in_a_line(made: Made, tmp_path: Path) -> None:
    with pytest.raises(OfpError, match="too slow on a board's CPU") as caught:
        compile_policy(made.policy, "arm-cpu", tmp_path / "bundle")
    assert "\n" not in str(caught.value) and not (tmp_path / "bundle").exists()


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.bundle, tmp_path / "bundle"))


def test_other_words_are_refused(copied: Path) -> None:
    data = bytearray((copied / "words.safetensors").read_bytes())
    data[-1] ^= 1
    (copied / "words.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"words\.safetensors is damaged or was edited"):
        open_bundle(copied)


def test_words_that_change_after_the_check_are_refused(copied: Path) -> None:
    bundle = open_bundle(copied)
    data = bytearray((copied / "words.safetensors").read_bytes())
    data[-1] ^= 1
    (copied / "words.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"words\.safetensors changed after it was checked"):
        load_inference(bundle)


def test_another_prefix_fails_the_parity_gate(copied: Path) -> None:
    path = copied / "golden.npz"
    with np.load(path) as found:
        golden = dict(found)
    golden["input/encode/words"] = golden["input/encode/words"][::-1].copy()
    np.savez(path, **golden)
    seal(copied, lambda value: None)
    with pytest.raises(ParityError, match="act: chunk"):
        load_inference(open_bundle(copied))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.pop("prompt"), "observations"),
        (lambda x: x["prompt"].update(first=1000), r"prompt\.first: expected 0\.\."),
        (lambda x: x["prompt"].update(first=-1), r"prompt\.first: expected 0\.\."),
        (lambda x: x.update(files=[f for f in x["files"] if f["role"] != "words"]),
         r"expected words\.safetensors, and no other, of role 'words'"),
        (lambda x: x["functions"][0]["inputs"][0].update(name="rgb_other"), "rgb_other"),
        (lambda x: x["functions"][0]["inputs"].pop(0), "no function takes 'rgb_"),
        (lambda x: x["functions"][1]["inputs"][1].update(shape=[1, 3]), "of role 'valid', of one"),
    ],
)  # fmt: skip
def test_a_manifest_that_contradicts_itself_is_one_line(
    copied: Path, change: Any, says: str
) -> None:
    value = json.loads((copied / "manifest.json").read_text())
    names = [x["name"] for x in value["functions"][1]["inputs"]]
    assert names[:2] == ["kv", "valid"]
    seal(copied, change)
    with pytest.raises(BundleError, match=says) as caught:
        open_bundle(copied)
    assert "\n" not in str(caught.value)


def test_a_run_is_replayed_bit_for_bit(made: Made, tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(RIG.format(bundle=made.bundle))
    log = tmp_path / "run.mcap"
    request = Request(made.bundle, tmp_path / "rig.toml", log=log)
    with open_session(read_run(request)) as session:
        session.loop.run(Limits(duration_s=1.5))
    plans = [row for _, row in LogReader(log).rows("/plan")]
    assert {row["instruction_id"] for row in plans} == {1}
    ids = Prompt.from_json(json.loads((made.bundle / "prompt.json").read_text()), "").ids(
        1, np.full(STATE, 0.1, np.float32)
    )
    assert {row["prompt_id"] for row in plans} == {sha256_bytes(ids.astype("<i8").tobytes())}
    words = ["replay", str(log), "--bundle", str(made.bundle), "--json"]
    document = json.loads(CliRunner().invoke(build_app(), words).stdout)
    assert document["same"] and document["chunks"] == len(plans) > 0


def test_another_instruction_than_those_of_the_policy_is_one_line(
    made: Made, tmp_path: Path
) -> None:
    (tmp_path / "rig.toml").write_text(RIG.format(bundle=made.bundle))
    request = Request(made.bundle, tmp_path / "rig.toml", instruction="dance")
    with pytest.raises(UnknownName, match="dance") as caught:
        read_run(request)
    assert "\n" not in str(caught.value)
