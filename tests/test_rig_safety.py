"""Every entry of [safety] that could not be enforced is refused, in one line, before a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import RigError
from ofp_edge.fields import Points, State
from ofp_edge.rig.file import read_rig
from ofp_edge.rig.safety import FieldLimits, SafetyEntry, Workspace
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.spec import ActionField, PolicySpec
from tests.rig_text import GOOD

Q = State("q", (4,), "m", "base", (-9.0,) * 4, (9.0,) * 4)
POINTS = Points("p", (3, 8), "m", "base", (-1.0,) * 3, (1.0,) * 3, "front")
JOINT = ActionField("joint", (2,), "rad", "base", "absolute", 0.5, (-1.0,) * 2, (1.0,) * 2)
SLIDE = ActionField("slide", (2,), "rad/s", "base", "velocity", 1.0, (-1.0,) * 2, (1.0,) * 2, 0.0)
TURN = ActionField("turn", (4,), "1", "base", "absolute", 1.0, (-1.0,) * 4, (1.0,) * 4, None,
                   "linear", "quaternion")  # fmt: skip
DEAD = ActionField("dead", (1,), "rad", "base", "absolute", 0.0, (-1.0,), (1.0,))
SPEC = PolicySpec((Q, POINTS), (JOINT, SLIDE, TURN, DEAD), 1, 16, 8, 20.0)
INSIDE = {"position_low": (-0.1, -0.1), "position_high": (0.1, 0.1)}


@pytest.mark.parametrize(
    ("box", "what"),
    [
        (
            Workspace("qq", (0.0,), (1.0,)),
            r"workspace\] measured: expected one of \['hand_pose', 'q'",
        ),
        (Workspace("p", (0.0,), (1.0,)), "measured: expected one of"),
        (Workspace("q", (0.0,) * 5, (1.0,) * 5), "'q' has 4 values, expected 5 or more"),
        (Workspace("hand_pose", (0.0,) * 8, (1.0,) * 8), "'hand_pose' has 7 values"),
        (Workspace("q", (), ()), "low < high"),
        (Workspace("q", (0.0,), (1.0, 2.0)), "as many numbers each"),
        (Workspace("q", (math.nan,), (1.0,)), "finite low < high"),
        (Workspace("q", (0.0,), (math.inf,)), "finite low < high"),
        (Workspace("q", (0.0,), (1.0,), -1.0), "physical_speed: expected a positive number"),
    ],
)
def test_a_workspace_that_could_not_be_checked_is_refused(box: Workspace, what: str) -> None:
    with pytest.raises(RigError, match=what) as caught:
        SafetyEntry(workspace=box).require_fits(SPEC, "rig.toml")
    assert str(caught.value).startswith("rig.toml: [safety.workspace]")


def test_a_workspace_of_the_policys_state_or_of_the_hands_pose_fits() -> None:
    for name, size in (("q", 4), ("hand_pose", 3)):
        SafetyEntry(workspace=Workspace(name, (0.0,) * size, (1.0,) * size)).require_fits(SPEC, "x")
    limits = FieldLimits("hand_pose", measured_offset=5, max_lead=1.0)
    SafetyEntry(limits={"joint": limits}).require_fits(SPEC, "x")


@pytest.mark.parametrize(
    ("name", "limits", "what"),
    [
        ("joint", FieldLimits(physical_speed=1.0), "physical_speed: expected `measured`"),
        ("joint", FieldLimits("q", physical_speed=0.5, max_velocity=1.0), "max_velocity = 1 or"),
        ("joint", FieldLimits("q", measured_offset=-1), "measured"),
        ("joint", FieldLimits(max_velocity=-1.0), "max_velocity: expected a positive number"),
        ("joint", FieldLimits(max_velocity=math.nan), "max_velocity: expected a positive number"),
        ("joint", FieldLimits(max_jerk=math.inf), "max_jerk: expected a positive number"),
        ("joint", FieldLimits(position_low=(math.nan, 0.0), position_high=(1.0, 1.0)), "finite"),
        ("joint", FieldLimits(position_low=(-math.inf, 0.0), position_high=(1.0, 1.0)), "finite"),
        ("joint", FieldLimits(position_low=(0.6, 0.0), position_high=(1.0, 1.0)),
         r"0.6..1 holds no place of the action's range -0.5..0.5"),
        ("slide", FieldLimits("q", max_lead=1.0), "max_lead: a velocity has no target"),
        ("slide", FieldLimits(**INSIDE), "position_low: expected `measured`"),
        ("turn", FieldLimits(position_low=(-0.1,) * 4, position_high=(0.1,) * 4), "one by one"),
        ("dead", FieldLimits(max_velocity=1.0), "scale is 0"),
    ],
)  # fmt: skip
def test_a_limit_that_could_not_be_enforced_is_refused(
    name: str, limits: FieldLimits, what: str
) -> None:
    with pytest.raises(RigError, match=what) as caught:
        SafetyEntry(limits={name: limits}).require_fits(SPEC, "rig.toml")
    assert str(caught.value).startswith(f"rig.toml: [safety.limits.{name}]")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("numbers", [{"max_state_age_ms": math.nan}, {"max_state_age_ms": math.inf},
                                     {"stop_silence_ms": -1.0}])  # fmt: skip
def test_a_safety_entry_made_by_a_program_is_checked_like_one_from_a_file(numbers: Any) -> None:
    with pytest.raises(RigError, match=f"{next(iter(numbers))}: expected a positive number"):
        SafetyEntry(**numbers).require_fits(SPEC, "rig.toml")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[safety.workspace]\n", r"\[safety.workspace\] low: missing"),
        ('[safety.workspace]\nlow = [0]\nhigh = [1]\n', "measured: missing"),
        ('[safety.workspace]\nmeasured = "q"\nlow = [0]\nhigh = [1]\nspeed = 1\n', "unknown entry"),
        ('[safety]\nstop_socket = ""\n', "stop_socket: expected a name"),
        ('[safety.limits.joint]\nmeasured = " "\n', "measured: expected a name"),
        ("[safety.limits.joint]\nphysical_speed = 0\n", "physical_speed: expected a positive"),
        ("[safety]\nmax_bridged_ticks = -1\n", "max_bridged_ticks: expected 0 or more"),
        ("[safety]\nmax_bridged_ticks = 1.5\n", "max_bridged_ticks: expected int"),
        ("[safety.limits]\njoint = 3\n", "joint: expected dict"),
    ],
)  # fmt: skip
def test_a_wrong_entry_of_the_file_is_one_line(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "rig.toml").write_text(GOOD + text)
    with pytest.raises(RigError, match=what):
        read_rig(tmp_path / "rig.toml")


def test_bridging_and_physical_speeds_are_read(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(
        GOOD
        + """
[safety]
max_bridged_ticks = 0
[safety.limits.joint]
measured = "q"
physical_speed = 3
[safety.workspace]
measured = "q"
physical_speed = 2.5
low = [0]
high = [1]
"""
    )
    safety = read_rig(tmp_path / "rig.toml").safety
    assert safety.max_bridged_ticks == 0 and SafetyEntry().max_bridged_ticks == 2
    assert safety.limits["joint"].physical_speed == 3.0
    assert safety.workspace == Workspace("q", (0.0,), (1.0,), 2.5)


@pytest.mark.parametrize(
    ("text", "count"), [("", None), ("frozen_after = 0", 0), ("frozen_after = 9", 9)]
)
def test_a_camera_may_say_how_many_equal_pictures_are_too_many(
    tmp_path: Path, text: str, count: int | None
) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(GOOD.replace('driver = "realsense"\n', f'driver = "realsense"\n{text}\n'))
    assert read_rig(path).cameras["front"].frozen_after == count
    path.write_text(GOOD.replace('driver = "realsense"\n', 'driver = "x"\nfrozen_after = 1\n'))
    with pytest.raises(RigError, match=r"\[cameras.front\] frozen_after: expected 0 .never. or 2"):
        read_rig(path)


@pytest.mark.parametrize("name", ["rig-so101.toml", "rig-so101-webcams.toml"])
def test_the_arms_example_limits_its_first_step_and_its_readings(name: str) -> None:
    rig = read_rig(Path(__file__).parents[1] / "examples" / name)
    joints = ((-100.0,) * 6, (100.0,) * 6)
    state = State("state", (6,), "deg", "base", *joints)
    action = ActionField("action", (6,), "deg", "base", "absolute", 1.0, *joints)
    spec = PolicySpec((state, POINTS), (action,), 1, 16, 8, 30.0)
    rig.safety.require_fits(spec, name)
    limits = rig.safety.limits["action"]
    assert limits.measured == "state" and limits.physical_speed is not None
    layer = SafetyLayer(spec, rig.safety)
    layer.measured(RobotState(0, {"state": np.zeros(6, np.float32)}))
    far = layer.check(np.array([0, 53, 0, 0, 0, 0], np.float32), holding=False)
    assert "max_first_step = 15" in far.fault
