"""One field carried through all that a field goes through: JSON, dataset, training, robot, log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.fields import ObservationField
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.log.rows import ObservationRow, inputs_of, row_of
from ofp_edge.runtime.log.telemetry import McapLog
from ofp_edge.runtime.observer import Observation, Observer
from ofp_edge.runtime.robot import RobotState
from ofp_edge.spec import Chunking, Interface, PolicySpec
from tests.synthetic import CONTROL_HZ, action_fields, attributes, state_field, write_raw

ENDS = np.array([6, 11, 20], np.int64)


def spec_with(field: ObservationField) -> PolicySpec:
    interface = Interface((state_field(4), field), action_fields())
    again = PolicySpec.of(interface, Chunking(2, 4, 2, CONTROL_HZ))
    assert PolicySpec.from_json(json.loads(json.dumps(again.to_json()))) == again
    return again


def write_dataset(
    path: Path,
    field: ObservationField,
    arrays: dict[str, NDArray[Any]] | None = None,
    **attrs: Any,
) -> Path:
    """Twenty frames in three episodes; what the field itself stores is given."""
    rng = np.random.default_rng(0)
    every = {
        "state": state_field(4).synthetic(rng, (20,)),
        "action": rng.uniform(-1, 1, (20, 4)).astype(np.float32),
        **(arrays or {}),
    }
    write_raw(path, {**attributes([state_field(4), field], 3), **attrs}, every, ENDS)
    return path


def observe(spec: PolicySpec, values: dict[str, NDArray[Any]], told: str | None) -> Observation:
    observer = Observer(spec, {}, {}, CameraTolerance(), {}, instruction=told)
    assert observer.poll(lambda: 5)
    return observer.prepare(RobotState(5, {"state": np.zeros(4, np.float32), **values}))


def logged(path: Path, spec: PolicySpec, seen: Observation) -> dict[str, NDArray[Any]]:
    """The observation as it comes back from a run's log."""
    log = McapLog(path, {})
    log.write("/observation", 5, t_obs_ns=5, state_ns=5, inputs=seen.arrays, observe_ns=1,
              encode_ns=1)  # fmt: skip
    log.close()
    ((_, row),) = LogReader(path).rows("/observation")
    return dict(inputs_of(row_of(ObservationRow, row, "log"), spec, "log"))
