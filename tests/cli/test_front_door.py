"""What a user meets first: names meant otherwise, tables at 80 columns, what is default."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.table import Table
from torch import nn
from typer.testing import CliRunner

from ofp_edge.boards.orin import orin_boards
from ofp_edge.cli.estimate import delegated_in
from ofp_edge.cli.eval_given import own_task
from ofp_edge.cli.inspect import _unit
from ofp_edge.cli.main import build_app
from ofp_edge.cli.output import Output
from ofp_edge.cli.quantize import _show_sensitivity
from ofp_edge.counted import counted
from ofp_edge.errors import DatasetError, OfpError, PolicyError
from ofp_edge.hub import fetching
from ofp_edge.quantize import checks
from ofp_edge.quantize.plan import ActionError
from ofp_edge.quantize.sensitivity import LayerCost
from ofp_edge.report.bars import Bar, bar_chart
from ofp_edge.targets.limits import _answered
from ofp_edge.targets.registry import target
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.synthetic import action_fields, write_synthetic_dataset


def ran(*words: object) -> Any:
    return CliRunner().invoke(build_app(), [str(x) for x in words])


def test_a_table_is_folded_and_nothing_of_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = Table("a", "b", "c")
    long = "observation.images.left_wrist_camera_of_the_second_arm"
    table.add_row(long, "x" * 30, "+0.123 … +0.456" * 3)
    Output(False).console.print(table)
    said = capsys.readouterr().out
    assert "…" not in said.replace(" … ", "") and max(map(len, said.splitlines())) <= 80
    cells = ["".join(x.split("│")[1].strip() for x in said.splitlines() if x.startswith("│"))]
    assert cells[0] == long


@pytest.mark.parametrize("name", ["lerobot/pusht", "someone/so101_pick.v2"])
def test_a_name_of_the_hub_is_answered_with_how_to_fetch_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = f"hf download {name} --repo-type dataset --local-dir {name.split('/')[1]}"
    got = ran("data", "info", name)
    assert got.exit_code == 1 and line in got.output.replace("\n", " ")
    policy = ran("import", "--lerobot", name, "-o", "policy", "--control-hz", 10)
    assert f"hf download {name} --local-dir" in policy.output.replace("\n", " ")


def test_a_path_is_no_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for path in ("data/door.zarr", "/tmp/nothing", "a/b/c", "door.zarr", "../x"):
        assert fetching(Path(path), dataset=True) == ""


def test_a_board_given_as_a_target_is_said_to_be_one() -> None:
    with pytest.raises(OfpError, match="--target arm-cpu --board raspberry-pi-5"):
        target("raspberry-pi-5")
    with pytest.raises(OfpError, match="--target jetson-orin --board"):
        target(next(iter(orin_boards())))


def test_counts_and_units_read_as_they_are_said() -> None:
    assert (counted(1, "piece"), counted(3, "piece")) == ("1 piece", "3 pieces")
    assert (delegated_in(1.0, 1), delegated_in(0.98, 3), delegated_in(None, 0)) == (
        "100%", "98% in 3", "",
    )  # fmt: skip
    (grip,) = (x for x in action_fields() if x.name == "grip")
    assert _unit(grip) == "without a unit"
    assert _unit(replace(grip, unit="deg")) == "in deg"
    assert _unit(replace(grip, scale=0.5)) == "1 = 0.5"
    assert _unit(replace(grip, unit="m", scale=0.05)) == "1 = 0.05 m"


def test_who_answered_for_an_engine_of_the_device_is_named() -> None:
    assert _answered("onnxruntime") == "onnxruntime"
    assert _answered("tensorrt") == "tensorrt (answered here by onnxruntime)"


def test_eval_takes_the_policys_own_task_where_it_is_simulated() -> None:
    assert own_task("planar/obstacle") == "planar/obstacle"
    for known in (None, "tidy the desk"):
        with pytest.raises(OfpError, match="expected one of --task"):
            own_task(known)


@pytest.mark.parametrize(
    ("obs", "wanted"), [("state", "small"), ("points", "small"), ("rgb", "rgb")]
)
def test_train_takes_the_preset_that_sees_what_the_data_show(
    obs: str, wanted: str, tmp_path: Path
) -> None:
    data = write_synthetic_dataset(tmp_path / "data.zarr", obs=obs)
    plan = make_plan(Request(data, tmp_path / "policy"))
    assert plan.policy.config.preset == wanted


def test_the_shell_can_complete() -> None:
    assert "--install-completion" in ran("--help").output


class Held(nn.Module):
    """A layer whose quantised weights are all 0."""


@pytest.mark.parametrize(("largest", "said"), [
    (3e-8, "near their initial zeros .at most 3e-08.*Train longer"), (0.3, "127 steps from"),
])  # fmt: skip
def test_weights_that_never_left_zero_are_not_called_steps_off(
    largest: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = nn.Linear(4, 3)
    layer.weight.data = torch.full((3, 4), largest)
    monkeypatch.setattr(checks, "export_graph", lambda module, example: None)
    found = [type("L", (), {"name": "last"})()]
    monkeypatch.setattr(checks, "find_layers", lambda graph: found)
    zeros = [("last", torch.zeros(3, 4), torch.ones(3, 1))]
    monkeypatch.setattr(checks, "_held", lambda graph, names: zeros)
    floats = {"act": nn.ModuleDict({"last": layer})}
    check = checks.check_weights(floats, {"act": Held()}, {"act": ()})
    assert not check.passed
    assert re.search(said, check.says), check.says


def test_a_bar_has_room_for_its_name_and_its_value() -> None:
    name = "act.trunk.blocks.0.attention.projection.o"
    drawn = bar_chart([Bar(name, 1.0, "431 · 88.1 % of all")], "x")
    assert f">{name}<title" in drawn
    assert f">{name}<title" not in bar_chart([Bar(name, 1.0, "1")], "x", label_width=80)


def test_a_difference_of_a_replay_is_a_line_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ofp_edge.cli import replay as command
    from ofp_edge.runtime import replay as runtime

    report = runtime.ReplayReport(1, 0, 1, 0, differences=[
        runtime.Difference("command", 5, 0.25, "hand: " + "0.123456, " * 140)])  # fmt: skip
    monkeypatch.setattr(runtime, "replay", lambda reader, inference: report)
    from tests.runtime.small_bundle import write_small_bundle
    from tests.runtime.standins import make_spec
    from tests.runtime.still import RIG
    from tests.synthetic import CAMERA

    bundle = write_small_bundle(
        tmp_path / "b", make_spec(points=True, horizon=100, n_action_steps=2), {"front": CAMERA}
    )
    (tmp_path / "rig.toml").write_text(RIG)
    log = tmp_path / "run.mcap"
    made = ran("run", bundle, "--rig", tmp_path / "rig.toml", "--duration", 0.5, "--log", log)
    assert made.exit_code == 0, made.output
    said = ran("replay", log, "--bundle", bundle).output
    line = next(x for x in said.splitlines() if "command of 5 ns" in x)
    assert len(line) < 220 and line.endswith("…") and command._LONGEST_DETAIL == 160
    document = json.loads(ran("replay", log, "--bundle", bundle, "--json").stdout)
    assert len(document["differences"][0]["detail"]) > 1000


def test_hub_names_are_errors_of_their_own_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ofp_edge.data.layouts import open_source
    from ofp_edge.imports.fields import Wanted
    from ofp_edge.imports.lerobot import import_lerobot

    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="lerobot/pusht does not exist. If it is"):
        open_source(Path("lerobot/pusht"))
    with pytest.raises(PolicyError, match="hf download lerobot/act --local-dir act"):
        import_lerobot(Path("lerobot/act"), Wanted())


def test_rows_of_one_method_have_a_colour_each_and_methods_have_theirs() -> None:
    from ofp_edge.bench.plots import colour

    def suite(*methods: str) -> dict[str, Any]:
        rows = [{"name": f"row {i}", "method": method} for i, method in enumerate(methods)]
        return {"suite": {"rows": rows}}

    alike, mixed = suite("ofp-plus", "ofp-plus", "ofp-plus"), suite("flow", "ofp", "flow")
    assert len({colour(alike, f"row {i}") for i in range(3)}) == 3
    assert colour(mixed, "row 0") == colour(mixed, "row 2") != colour(mixed, "row 1")


def test_keys_that_must_be_typed_stay_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    fixtures = Path(__file__).parents[1] / "fixtures/datasets"
    said = ran("data", "info", fixtures / "lerobot-v3.0").output.split("taken as")[1]
    for key in ("observation.images.front", "observation.images.wrist", "observation.state"):
        assert f"{key} " in said


def test_the_cost_of_layers_is_whole_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    worst = ActionError("joints[13]", "deg", max=0.1234, mean=1.2345, budget=2.0)
    name = "encoders.0.backbone.layer4.conv"
    costs = [
        LayerCost("encode", name, "conv", 10, (worst,), 0.3, kept)
        for kept in (None, "error budget: it costs most")
    ]
    output = Output(as_json=False)
    output.console.width = 80
    _show_sensitivity(output, costs)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [x.split() for x in lines if "joints[13]" in x]
    assert [(x[1:4], x[-1]) for x in rows] == [
        (["joints[13]", "1.23", "deg"], "int8"),
        (["joints[13]", "1.23", "deg"], "float"),
    ]
    first = next(i for i, x in enumerate(lines) if "joints[13]" in x)
    folded = [x[:30].split()[0] for x in lines[first:] if x.strip()]
    assert "".join(folded) == 2 * f"encode.{name}"
