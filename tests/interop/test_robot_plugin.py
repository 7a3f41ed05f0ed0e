"""A LeRobot plug-in, as its template makes one, in the robot's process; run by `make
test-interop`."""

import os
import time

import numpy as np
import pytest

pytest.importorskip("lerobot", reason="LeRobot has an environment of its own: make test-interop")

from ofp_edge.camera_parameters import CameraParameters  # noqa: E402
from ofp_edge.errors import CameraError, OfpError, RobotError  # noqa: E402
from ofp_edge.fields import State  # noqa: E402
from ofp_edge.rig.file import CameraEntry  # noqa: E402
from ofp_edge.runtime.cameras.open import open_camera  # noqa: E402
from ofp_edge.runtime.drivers import lerobot_plugins  # noqa: E402
from ofp_edge.runtime.robots.remote import RemoteRobot  # noqa: E402
from ofp_edge.spec import ActionField, PolicySpec  # noqa: E402

ROBOT = {
    "__init__.py": "from .config_small_arm import *\nfrom .small_arm import SmallArm\n",
    "config_small_arm.py": """
from dataclasses import dataclass
from lerobot.robots import RobotConfig

@RobotConfig.register_subclass("small_arm")
@dataclass
class SmallArmConfig(RobotConfig):
    port: str = ""
""",
    "small_arm.py": """
from lerobot.robots import Robot
from .config_small_arm import SmallArmConfig

class SmallArm(Robot):
    config_class = SmallArmConfig
    name = "small_arm"

    def __init__(self, config):
        super().__init__(config)
        self.config, self._on, self._now = config, False, dict.fromkeys(("a.pos", "b.pos"), 0.5)

    observation_features = action_features = {"a.pos": float, "b.pos": float}
    is_calibrated = True

    @property
    def is_connected(self):
        return self._on

    def connect(self, calibrate=True):
        if self.config.port == "gone":
            raise ConnectionError("no arm at 'gone'")
        self._on = True

    def disconnect(self):
        self._on = False

    def calibrate(self): ...
    def configure(self): ...
    def get_observation(self):
        return dict(self._now)

    def send_action(self, action):
        self._now = dict(action)
        return action
""",
}
CAMERA = {
    "__init__.py": "from .config_small_eye import *\nfrom .small_eye import SmallEye\n",
    "config_small_eye.py": """
from dataclasses import dataclass
from lerobot.cameras import CameraConfig

@CameraConfig.register_subclass("small_eye")
@dataclass
class SmallEyeConfig(CameraConfig):
    fails_after: int = 1000000
""",
    "small_eye.py": """
import time
import numpy as np
from lerobot.cameras import Camera

class SmallEye(Camera):
    def __init__(self, config):
        super().__init__(config)
        self.config, self._on, self._count = config, False, 0

    @property
    def is_connected(self):
        return self._on

    @staticmethod
    def find_cameras():
        return []

    def connect(self, warmup=True):
        self._on = True

    def read(self):
        return self.async_read()

    def async_read(self, timeout_ms=200):
        time.sleep(0.01)
        self._count += 1
        if self._count > self.config.fails_after:
            raise TimeoutError("no frame")
        return np.full((self.height, self.width, 3), self._count % 256, np.uint8)

    def read_latest(self, max_age_ms=1000):
        return self.async_read()

    def disconnect(self):
        self._on = False
""",
}
POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """Both packages as pip leaves them: a folder and its metadata, on the path of every process."""
    site = tmp_path_factory.mktemp("site")
    for name, files in (("lerobot_robot_small", ROBOT), ("lerobot_camera_small", CAMERA)):
        about = site / f"{name}-0.1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        (site / name).mkdir()
        for file, text in files.items():
            (site / name / file).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
        patch.syspath_prepend(str(site))
        yield


def spec():
    low, high = (-1.0,) * 2, (1.0,) * 2
    state = State("state", (2,), "rad", "base", low, high)
    action = ActionField("joints", (2,), "rad", "base", "absolute", 1.0, low, high)
    return PolicySpec((state,), (action,), 1, 8, 4, 20.0)


def remote(**options):
    return RemoteRobot(spec(), robot="ofp_edge.runtime.robots.lerobot:LeRobot", options=options,
                       max_age_ms=5000, start_s=300.0)  # fmt: skip


def test_a_plug_in_is_found_by_its_type_and_runs_in_the_robots_process():
    assert lerobot_plugins("robot") == ["lerobot_robot_small"]
    robot = remote(robot="small_arm", config={"port": "x"})
    np.testing.assert_allclose(robot.state().values["state"], [0.5, 0.5])
    robot.send(np.array([0.25, -0.25], np.float32))
    deadline = time.monotonic() + 60
    while robot.state().values["state"][0] != 0.25 and time.monotonic() < deadline:
        time.sleep(0.01)
    np.testing.assert_allclose(robot.state().values["state"], [0.25, -0.25])
    robot.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"robot": "smal_arm"}, "Did you mean 'small_arm'"),
        ({"robot": "small_arm", "config": {"prt": "x"}}, "Check config in the rig"),
        ({"robot": "small_arm", "config": {"port": "gone"}}, "no arm at 'gone'"),
    ],
)
def test_what_does_not_fit_a_plug_in_is_one_line(options, said):
    with pytest.raises(RobotError, match=said):
        remote(**options)


def entry(camera, parameters=None, **config):
    options = {"camera": camera, "config": {"width": 64, "height": 48, "fps": 30, **config}}
    lens = {"fx": 60.0, "fy": 60.0, "cx": 32.0, "cy": 24.0, "T_base_camera": POSE}
    return CameraEntry("front", "ofp_edge.runtime.cameras.lerobot:LeRobotCamera", options=options,
                       parameters=lens if parameters is None else parameters)  # fmt: skip


def test_a_camera_plug_in_is_a_camera_of_a_rig():
    camera = open_camera(entry("small_eye"))
    camera.start()
    assert isinstance(camera.parameters, CameraParameters) and camera.parameters.width == 64
    began = time.monotonic_ns()
    frames = [camera.read(60_000) for _ in range(3)]
    numbers = [frame.sequence for frame in frames]
    assert numbers == sorted(set(numbers)) and frames[0].color.shape == (48, 64, 3)
    assert frames[-1].color[0, 0, 0] > frames[0].color[0, 0, 0]
    assert began - 10**9 < frames[-1].t_capture_ns <= time.monotonic_ns()
    camera.close()
    camera.close()


def remote_entry(**config):
    inside = entry("small_eye", **config)
    options = {"camera": inside.driver, "options": inside.options, "start_s": 300.0}
    return CameraEntry("front", "ofp_edge.runtime.cameras.remote:RemoteCamera", options=options,
                       parameters=inside.parameters)  # fmt: skip


def test_a_camera_plug_in_runs_in_a_process_of_its_own():
    camera = open_camera(remote_entry())
    camera.start()
    frames = [camera.read(60_000) for _ in range(3)]
    numbers = [frame.color[0, 0, 0] for frame in frames]
    assert numbers == sorted(set(numbers)) and camera.parameters.width == 64
    assert frames[0].color.shape == (48, 64, 3) and not frames[0].depth.any()
    camera.close()
    camera = open_camera(remote_entry(fails_after=3))
    with pytest.raises(CameraError, match="camera 'front': TimeoutError: no frame"):  # noqa: PT012
        camera.start()
        for _ in range(10):
            camera.read(60_000)
    camera.close()
    with pytest.raises(CameraError, match="Check config in the rig"):
        open_camera(remote_entry(color="red")).start()


def test_a_camera_that_fails_is_an_error_of_one_line():
    camera = open_camera(entry("small_eye", fails_after=3))
    camera.start()
    with pytest.raises(CameraError, match="TimeoutError: no frame"):
        for _ in range(10):
            camera.read(60_000)
    camera.close()
    with pytest.raises(OfpError, match="Did you mean 'small_eye'.*opencv"):
        open_camera(entry("smal_eye"))
    with pytest.raises(CameraError, match="lacks fx"):
        open_camera(entry("small_eye", parameters={"fy": 60.0}))
    with pytest.raises(CameraError, match="Check config in the rig"):
        open_camera(entry("small_eye", color="red"))
