"""What an action means: statement, names and values decide, and where they disagree it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ofp_edge.data.guess import guess, look
from ofp_edge.data.guess.evidence import see
from ofp_edge.data.layouts import open_source
from ofp_edge.data.layouts.controllers import controls
from ofp_edge.data.looked_at import LOOKED_AT
from ofp_edge.data.mapping import mapping_text, read_mapping
from ofp_edge.data.open import open_dataset
from ofp_edge.data.reading import read_by
from ofp_edge.errors import DatasetError, OfpError
from tests.data.foreign import one_line
from tests.data.made import Arrays, joined, noise, path, switch

STATE = path(3, seed=7)
OSC = {"type": "OSC_POSE", "control_delta": True}


def robomimic(action: Any, controllers: Any = OSC, state: Any = STATE, **more: Any) -> Arrays:
    """As robomimic's layout gives it: env_args state the controllers."""
    stated = controls({"controller_configs": controllers, **more})
    kinds = {x.kind for x in stated}
    delta = None if len(kinds) != 1 else kinds == {"delta"}
    return Arrays({"actions": action, "obs/eef_pos": state}, controls=stated, delta=delta)


def fields(source: Arrays) -> list[tuple[Any, ...]]:
    return [
        (x.name, x.columns, x.values["kind"], x.values.get("hold"), x.values.get("interpolation"))
        for x in guess(source).actions
    ]


MOVE = ("move", (0, 6), "delta", 0.0, None)
GRIPPER = ("gripper", (6, 7), "absolute", None, "nearest")


def test_a_delta_pose_and_its_gripper() -> None:
    assert fields(robomimic(joined(noise(6), switch(-1, 1)))) == [MOVE, GRIPPER]


def test_a_gripper_of_many_values_stands_where_the_controller_ends() -> None:
    assert fields(robomimic(noise(7))) == [MOVE, GRIPPER]


def test_a_position_controller_has_its_gripper_in_the_fourth_column() -> None:
    osc = {"type": "OSC_POSITION", "control_delta": True}
    move, gripper = fields(robomimic(joined(noise(3), switch(-1, 1)), osc))
    assert move[1:4] == ((0, 3), "delta", 0.0) and gripper[1:] == ((3, 4), "absolute", None,
                                                                     "nearest")  # fmt: skip


def test_each_part_of_a_mobile_robot_has_its_own_kind() -> None:
    parts = {
        "right": {"type": "OSC_POSE", "input_type": "delta", "gripper": {"type": "GRIP"}},
        "torso": {"type": "JOINT_POSITION", "input_type": "absolute"},
    }
    composite = {"type": "BASIC", "body_parts": parts}
    lift = path(1, seed=3)
    found = fields(robomimic(joined(noise(6), switch(-1, 1), lift), composite))
    assert found == [MOVE, GRIPPER, ("torso", (7, 8), "absolute", None, None)]
    parts["base"] = {"type": "JOINT_VELOCITY"}
    parts["torso"]["input_type"] = "delta"
    mobile = joined(noise(6), switch(-1, 1), noise(1, 1), noise(3, 2), switch(-1, 1, seed=4))
    found = fields(robomimic(mobile, composite))
    assert found[2:] == [
        ("torso", (7, 8), "delta", 0.0, None),
        ("base", (8, 11), "velocity", 0.0, None),
        ("mode", (11, 12), "absolute", None, "nearest"),
    ]


def test_seven_joints_have_no_gripper() -> None:
    velocity = {"type": "JOINT_VELOCITY", "control_delta": True}
    assert fields(robomimic(noise(7), velocity)) == [("action", None, "velocity", 0.0, None)]
    steps = {"type": "JOINT_POSITION", "input_type": "delta"}
    assert fields(robomimic(noise(7), steps)) == [("action", None, "delta", 0.0, None)]


def test_fourteen_columns_are_two_arms_only_with_two_grippers() -> None:
    arms = joined(noise(6), switch(-1, 1), noise(6, 1), switch(-1, 1, seed=2))
    bare = {"control_delta": True}
    assert [x[:3] for x in fields(robomimic(arms, bare))] == [
        ("move_0", (0, 6), "delta"), ("gripper_0", (6, 7), "absolute"),
        ("move_1", (7, 13), "delta"), ("gripper_1", (13, 14), "absolute"),
    ]  # fmt: skip
    assert fields(robomimic(noise(14), bare)) == [("action", None, "delta", 0.0, None)]
    two = fields(robomimic(noise(14), OSC, robots=["Panda", "Panda"]))
    assert [x[:2] for x in two] == [
        ("move_0", (0, 6)), ("gripper_0", (6, 7)), ("move_1", (7, 13)), ("gripper_1", (13, 14))
    ]  # fmt: skip


@pytest.mark.parametrize("sides", [("right", "left"), ("left", "right")])
def test_arms_come_in_the_order_in_which_they_are_written(sides: tuple[str, str]) -> None:
    arm = {"type": "OSC_POSITION", "input_type": "delta"}
    composite = {"type": "BASIC", "body_parts": {"arms": dict.fromkeys(sides, arm)}}
    both = joined(noise(3), switch(-1, 1), noise(3, 1), switch(-1, 1, seed=2))
    assert [x[0] for x in fields(robomimic(both, composite))] == [
        f"{what}_{side}" for side in sides for what in ("move", "gripper")
    ]


def test_a_base_that_is_written_first_has_the_first_columns() -> None:
    arm, base = {"type": "OSC_POSE", "input_type": "delta"}, {"type": "JOINT_VELOCITY"}
    values = joined(noise(3, 3), noise(6), switch(-1, 1))
    first = {"type": "BASIC", "body_parts": {"base": base, "right": arm}}
    assert [x[:3] for x in fields(robomimic(values, first))] == [
        ("base", (0, 3), "velocity"), ("move", (3, 9), "delta"), ("gripper", (9, 10), "absolute"),
    ]  # fmt: skip
    last = {"type": "BASIC", "body_parts": {"right": arm, "base": base}}
    values = joined(noise(6), switch(-1, 1), noise(3, 3))
    assert [x[:3] for x in fields(robomimic(values, last))] == [
        ("move", (0, 6), "delta"), ("gripper", (6, 7), "absolute"), ("base", (7, 10), "velocity"),
    ]  # fmt: skip


def test_absolute_arms_keep_their_grippers_nearest() -> None:
    absolute = {"type": "OSC_POSE", "control_delta": False}
    found = fields(robomimic(joined(path(6, away=2), switch(-1, 1)), absolute))
    assert found == [("action", (0, 6), "absolute", None, None), GRIPPER]


@pytest.mark.parametrize(
    ("arm", "state", "words"),
    [
        (path(6, away=1.5), STATE, ("values leave ±1",)),
        (0.1 * path(6, away=0.0) + 0.7, STATE, ("never come near 0",)),
        (joined(0.9 * STATE, noise(3)), 0.9 * STATE, ("its values are those of obs/eef_pos",)),
    ],
)
def test_a_file_that_says_delta_of_places_is_asked_about(
    arm: Any, state: Any, words: tuple[str, ...]
) -> None:
    with pytest.raises(DatasetError) as caught:
        guess(robomimic(joined(arm, switch(-1, 1)), OSC, state))
    one_line(caught, "columns 0 to 5", "the file says delta (control_delta true)", *words)
    one_line(caught, 'action = [{name = "action", key = "actions", columns = [0, 6], kind = "abs')


def test_noise_beyond_one_in_a_few_frames_is_still_a_delta() -> None:
    values = joined(noise(6), switch(-1, 1))
    values[1, 5, 2] = 1.4
    assert fields(robomimic(values)) == [MOVE, GRIPPER]


def test_a_file_that_says_absolute_of_steps_is_asked_about() -> None:
    steps = np.diff(path(3, seed=7), axis=1, append=path(3, seed=7)[:, -1:])
    with pytest.raises(DatasetError) as caught:
        guess(robomimic(steps, {"type": "OSC_POSITION", "control_delta": False}))
    one_line(caught, "the file says absolute", "the steps of obs/eef_pos", 'kind = "delta"')


def test_a_torque_is_asked_about() -> None:
    with pytest.raises(DatasetError) as caught:
        guess(robomimic(noise(7), {"type": "JOINT_TORQUE"}))
    one_line(caught, "JOINT_TORQUE", "none of absolute, delta and velocity")


def named(action: Any, *names: str, **more: Any) -> Arrays:
    return Arrays({"action": action, "state": STATE}, names={"action": names}, **more)


def test_names_of_dimensions_say_their_kind() -> None:
    base = joined(path(2, away=30), noise(3, 2, 0.2))
    names = ("arm_pan.pos", "arm_lift.pos", "x.vel", "y.vel", "theta.vel")
    assert fields(named(base, *names)) == [
        ("action", (0, 2), "absolute", None, None), ("velocity", (2, 5), "velocity", 0.0, None)
    ]  # fmt: skip
    hand = joined(noise(3), switch(0, 1, 2))
    assert fields(named(hand, "delta_x", "delta_y", "delta_z", "gripper")) == [
        ("move", (0, 3), "delta", 0.0, None), ("gripper", (3, 4), "absolute", None, "nearest")
    ]  # fmt: skip


def test_named_joints_with_a_gripper_of_many_values_are_one_field() -> None:
    names = ("pan.pos", "lift.pos", "gripper.pos")
    assert fields(named(joined(path(2), path(1, 5)), *names)) == [
        ("action", None, "absolute", None, None)
    ]


def test_names_that_say_nothing_leave_it_to_the_values() -> None:
    hand = joined(path(3, away=3), switch(-1, 1))
    found = fields(named(hand, "motor_0", "motor_1", "motor_2", "motor_3"))
    assert [x[:2] for x in found] == [("action", (0, 3)), ("gripper", (3, 4))]


def test_sides_name_the_fields_of_two_arms() -> None:
    arms = joined(noise(2), switch(0, 1), noise(2, 1), switch(0, 1, seed=3))
    names = [f"{side}_{x}" for side in ("left", "right") for x in ("dx", "dy", "gripper")]
    assert [x[0] for x in fields(named(arms, *names))] == [
        "move_left", "gripper_left", "move_right", "gripper_right"
    ]  # fmt: skip


def test_names_against_values_are_asked_about() -> None:
    with pytest.raises(DatasetError) as caught:
        guess(named(STATE, "delta_x", "delta_y", "delta_z"))
    one_line(caught, "its name says delta", "its values are those of state")
    with pytest.raises(DatasetError) as caught:
        guess(named(noise(3), "abs_x", "abs_y", "abs_z", delta=True))
    one_line(caught, "the file says delta", "its names say absolute")


def test_the_name_of_a_key_speaks_for_its_dimensions() -> None:
    source = Arrays({"action_delta": noise(3), "state": STATE})
    assert fields(source) == [("action", None, "delta", 0.0, None)]


def test_values_alone_decide_where_nothing_is_said() -> None:
    steps = np.diff(STATE, axis=1, append=STATE[:, -1:])
    for action, kind, why in (
        (STATE, "absolute", "follow state"),
        (noise(3), "absolute", "nothing speaks against"),
        (steps, "delta", "the steps of state"),
        (10 * steps, "velocity", "the steps of state"),  # at 10 Hz
    ):
        found = look(Arrays({"action": action, "state": STATE}))
        assert found.mapping is not None
        assert [x.values["kind"] for x in found.mapping.actions] == [kind]
        assert any(why in row.why for row in found.taken if row.key == "action")


def rotation() -> Any:
    """(E, T, 6): two columns of a turn about z and then x."""
    a, b = path(1, 3), path(1, 4)
    zero = 0 * a
    first = joined(np.cos(a), np.sin(a), zero)
    return joined(first, -np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b))


def test_six_columns_of_a_rotation_are_one() -> None:
    pose = joined(STATE, rotation(), switch(-1, 1))
    entries = guess(Arrays({"action": pose, "state": STATE})).actions
    assert [(x.name, x.columns) for x in entries] == [
        ("action", (0, 3)), ("rotation", (3, 9)), ("gripper", (9, 10))
    ]  # fmt: skip
    assert entries[1].values["rotation"] == "rot6d" and entries[1].values["kind"] == "absolute"
    read_by(source := Arrays({"action": pose, "state": STATE}), guess(source))


def test_a_rotation_inside_a_delta_is_asked_about() -> None:
    with pytest.raises(DatasetError) as caught:
        guess(robomimic(joined(noise(3), rotation(), switch(-1, 1)), {"control_delta": True}))
    one_line(caught, "columns 3 to 8", "six numbers, which is absolute")


def test_a_joint_that_hardly_moves_is_no_gripper() -> None:
    action = joined(path(2, away=3), switch(0.1, 0.12), path(2, 5))
    source = Arrays({"action": action, "state": STATE})
    assert fields(source) == [("action", None, "absolute", None, None)]


def test_steps_of_a_keyboard_are_no_grippers() -> None:
    keys = joined(*(switch(0.0, 0.5, seed=s) for s in range(4)))
    assert fields(robomimic(keys, {"control_delta": True})) == [
        ("action", None, "delta", 0.0, None)
    ]

    some = joined(*(switch(-1, 0, 1, seed=s) for s in range(3)), switch(0, 1, seed=9))
    assert fields(robomimic(some, {"control_delta": True})) == [
        ("action", None, "delta", 0.0, None)
    ]


def test_a_mode_between_steps_keeps_its_value() -> None:
    action = joined(noise(3), switch(0, 1), noise(3, 1))
    assert [x[1:] for x in fields(robomimic(action, {"control_delta": True}))] == [
        ((0, 3), "delta", 0.0, None),
        ((3, 4), "absolute", None, "nearest"),
        ((4, 7), "delta", 0.0, None),
    ]


def test_a_gripper_of_three_values_stands_last() -> None:
    source = Arrays({"action": joined(STATE, switch(-1, 0, 1)), "state": STATE})
    assert fields(source)[1] == ("gripper", (3, 4), "absolute", None, "nearest")


def test_smooth_steps_with_pauses_are_believed_to_be_a_delta() -> None:
    rng = np.random.default_rng(2)
    for width in range(1, 13):
        steps = np.cumsum(rng.normal(size=(4, 60 + width, 6)), axis=1)
        steps[:, width:] -= steps[:, :-width]
        steps = steps[:, width:] * (rng.random((4, 60, 1)) > 0.2)
        steps /= np.abs(steps).max() / rng.uniform(0.2, 1.0)
        grip = np.sign(np.sin(np.linspace(0.1, 5, 60)))[None, :, None].repeat(4, 0)
        where = 0.02 * np.cumsum(steps[..., :3], axis=1) + rng.uniform(-0.3, 0.9, 3)
        assert fields(robomimic(joined(steps, grip), OSC, where)) == [MOVE, GRIPPER], width


def test_only_eight_episodes_are_looked_at() -> None:
    many = Arrays(
        {"action": np.repeat(noise(2), 10, axis=0), "state": np.repeat(STATE, 10, axis=0)}
    )
    assert len(see(many, "action", ["state"]).parts) == LOOKED_AT == 8


def file_of(folder: Path, action: Any) -> Path:
    """A robomimic file that says delta of these actions."""
    file = folder / "set.hdf5"
    with h5py.File(file, "w") as made:
        group = made.create_group("data")
        group.attrs["env_args"] = '{"env_kwargs": {"control_freq": 20, "controller_configs": ' + (
            '{"type": "OSC_POSE", "control_delta": true}}}'
        )
        for episode, values in enumerate(action):
            group[f"demo_{episode}/actions"] = values
            group[f"demo_{episode}/obs/eef_pos"] = STATE[episode]
    return file


def test_the_lines_of_the_error_are_a_mapping_s(tmp_path: Path) -> None:
    file = file_of(tmp_path, joined(path(6, away=1.5), switch(-1, 1)))
    with pytest.raises(DatasetError) as caught:
        open_dataset(file)
    mapping = tmp_path / "m.toml"
    line = "action = [" + str(caught.value).split("action = [", 1)[1]
    state = '[[observation]]\nname = "s"\nkey = "obs/eef_pos"\nkind = "state"\nunit = "m"\n'
    mapping.write_text(f'source = "{file.name}"\n{line}\n{state}frame = "base"\n')
    assert [x.kind for x in open_dataset(mapping).interface.actions] == ["absolute", "absolute"]


def test_a_written_guess_waits_for_the_answer(tmp_path: Path) -> None:
    file = file_of(tmp_path, joined(path(6, away=1.5), switch(-1, 1)))
    found, mapping = look(open_source(file)), tmp_path / "m.toml"
    assert found.mapping is not None and found.refused is not None
    mapping.write_text(mapping_text(found.mapping, mapping))
    with pytest.raises(OfpError, match="absolute, delta, velocity, got"):
        open_dataset(mapping)
    mapping.write_text(mapping.read_text().replace('kind = "?"', 'kind = "absolute"'))
    assert len(open_dataset(mapping).interface.actions) == 2


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (joined(path(6, away=1.5), switch(-1, 1)), ("values leave ±1", "is it absolute?")),
        (joined(0.1 * path(6) + 0.7, switch(-1, 1)), ("never come near 0", "is it absolute?")),
        (joined(noise(6), switch(-1, 1)), ("column 6 takes only -1, 1", "gripper")),
    ],
)
def test_what_a_mapping_says_against_the_values_is_odd_and_not_refused(
    action: Any, words: tuple[str, ...], tmp_path: Path
) -> None:
    file = file_of(tmp_path, action)
    text = f'source = "{file.name}"\n[[observation]]\nname = "s"\nkey = "obs/eef_pos"\n'
    text += 'kind = "state"\nunit = "m"\nframe = "base"\n[[action]]\nname = "a"\n'
    text += 'key = "actions"\nkind = "delta"\nhold = 0.0\nunit = "m"\nframe = "base"\n'
    (tmp_path / "m.toml").write_text(text)
    (line,) = open_dataset(tmp_path / "m.toml").odd
    assert all(word in line for word in ("the mapping says delta", *words))
    assert read_mapping(tmp_path / "m.toml").guessed == ()
