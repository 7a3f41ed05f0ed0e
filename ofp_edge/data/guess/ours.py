"""What an ofp-edge dataset states itself, without a guess."""

from __future__ import annotations

from ofp_edge.data.layouts.replay_buffer import ReplaySource
from ofp_edge.data.mapping import Entry, Mapping
from ofp_edge.data.store import camera_parameters, check_attributes, interface_of
from ofp_edge.errors import DatasetError


def stated(source: ReplaySource) -> Mapping:
    """Return the mapping that an ofp-edge dataset itself states, without a guess. DatasetError."""
    attributes = check_attributes(source.path, source.attributes)
    fields = interface_of(str(source.path), attributes).observations
    observations, actions = [], []
    first = 0
    for field, values in zip(fields, attributes["observations"], strict=True):
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if field.frame_axes == -1:
            raise DatasetError(f"{source.path}: field {field.name!r}: {field.frame_form}.")
        key = field.array(source.keys, ())[0]
        columns = (first, first + field.shape[0]) if field.joined else None
        observations.append(Entry(key, values, columns))
        first = columns[1] if columns else first
    first = 0
    for values in attributes["actions"]:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        actions.append(Entry("action", values, (first, first + values["shape"][0])))
        first += values["shape"][0]
    cameras = camera_parameters(source.path, attributes)
    return Mapping(
        source.path,
        tuple(observations),
        tuple(actions),
        float(attributes["control_hz"]),
        attributes["task"],
        cameras=cameras,
    )
