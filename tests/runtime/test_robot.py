"""A rig's robot entry becomes a robot, or one line that says why not."""

import sys
import textwrap

import numpy as np
import pytest

from examples.my_robot import MyRobot
from ofp_edge.errors import RobotError
from ofp_edge.rig.file import RobotEntry
from ofp_edge.runtime.robot import EpisodicRobot, open_robot
from ofp_edge.sim.tasks import find_task
from tests.task_spec import spec_of

SPEC = spec_of(find_task("metaworld/door-open"))
METHODS = "".join(f"    def {name}: ...\n" for name in ("state(self)", "send(self, action)"))
WHOLE = METHODS + "    def stop(self): ...\n    def close(self): ...\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported from the current folder; returns its writer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def error_of(driver, **options):
    with pytest.raises(RobotError) as raised:
        open_robot(RobotEntry(driver, options), SPEC)
    line = str(raised.value)
    assert "\n" not in line
    return line


def test_loads_a_users_class_from_the_current_folder_with_its_options(module):
    module("robot_a", f"class Arm:\n    def __init__(self, spec, port): self.port = port\n{WHOLE}")
    robot = open_robot(RobotEntry("robot_a:Arm", {"port": "/dev/x"}), SPEC)
    assert robot.port == "/dev/x"


def test_names_what_is_wrong_with_the_class_in_one_line(module):
    module("robot_b", f"class Arm:\n    def __init__(self, spec): ...\n{WHOLE}")
    module("robot_c", f"class Arm:\n    def __init__(self, spec): ...\n{METHODS}")
    module("robot_d", "import no_such_sdk")
    module("robot_e", "def f(:")
    assert "package.module:Class" in error_of("robot_b")
    assert "no module 'robot_z'" in error_of("robot_z:Arm")
    assert "no class 'Leg'" in error_of("robot_b:Leg")
    assert "'port'" in error_of("robot_b:Arm", port=3)
    assert "lacks stop(), close()" in error_of("robot_c:Arm")
    assert "'no_such_sdk', which is not installed" in error_of("robot_d:Arm")
    assert "importing robot_e failed" in error_of("robot_e:Arm")


def test_a_type_error_inside_the_users_constructor_keeps_its_trace(module):
    text = f"class Arm:\n    def __init__(self, spec): len(3)\n{WHOLE}"
    module("robot_f", text)
    with pytest.raises(TypeError, match="has no len"):
        open_robot(RobotEntry("robot_f:Arm"), SPEC)


def test_the_example_robot_moves_by_the_policys_scale_and_stops():
    robot = open_robot(
        RobotEntry("examples.my_robot:MyRobot", {"start": [0.1, 0.5, 0.2, 1.0]}), SPEC
    )
    assert isinstance(robot, MyRobot) and not isinstance(robot, EpisodicRobot)
    before = robot.state()
    robot.send(np.array([1.0, -0.5, 0.0, 1.0], np.float32))
    after = robot.state()
    assert after.t_ns >= before.t_ns
    np.testing.assert_allclose(after.values["state"], [0.14, 0.48, 0.2, 0.0], atol=1e-6)
    assert after.values["state"].dtype == np.float32
    assert after.values["state"].shape == SPEC.observations[0].shape
    robot.stop()
    robot.send(np.ones(4, np.float32))
    np.testing.assert_array_equal(robot.state().values["state"], after.values["state"])
    robot.close()


def test_the_example_is_at_most_sixty_lines():
    import examples.my_robot

    assert len(open(examples.my_robot.__file__).readlines()) <= 60


def test_a_device_that_is_not_there_is_one_line(module):
    module(
        "robot_g",
        f"class Arm:\n    def __init__(self, spec): raise OSError('no /dev/ttyUSB0')\n{WHOLE}",
    )
    assert "no /dev/ttyUSB0" in error_of("robot_g:Arm")


@pytest.mark.parametrize("value, written", [(839112060000, "839112060000"), (True, "true")])
def test_an_option_that_wants_quotes_is_asked_for_them(module, value, written):
    name = module("quoted", "class Arm:\n    def __init__(self, spec, port: str): ...\n" + WHOLE)
    said = f'port: expected text, got {written}: quote it in the rig, port = "{written}"'
    assert said in error_of(f"{name}:Arm", port=value)
    open_robot(RobotEntry(f"{name}:Arm", {"port": "x"}), SPEC)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gain": "0.5"}, "gain: expected a number, got '0.5': without quotes, gain = 0.5"),
        ({"gain": True}, "gain: expected a number, got true"),
        ({"gain": 1, "steps": 2.5}, "steps: expected a whole number, got 2.5"),
        ({"gain": 1, "names": "a"}, "names: expected a list, got 'a'"),
    ],
)
def test_an_option_of_another_kind_is_one_line_where_the_robot_is_opened(module, options, said):
    takes = "spec, *, gain: float, steps: int = 3, names: 'list[str] | None' = None"
    name = module("kinds", f"class Arm:\n    def __init__(self, {takes}): ...\n" + WHOLE)
    assert said in error_of(f"{name}:Arm", **options)
    open_robot(RobotEntry(f"{name}:Arm", {"gain": 2, "names": ["a"]}), SPEC)
