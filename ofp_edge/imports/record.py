"""The configuration that all imported policies share: nothing is known of their training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.fields.measured import Measured
from ofp_edge.files import new_folder
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.config import COLD, REFINE, WARM, PolicyConfig, TrainingConfig, TrainingRecord
from ofp_edge.policy.folder import MARKER, Policy, save_policy
from ofp_edge.policy.kind import Network
from ofp_edge.policy.presets import IMPORTED
from ofp_edge.spec import PolicySpec

_TIMES = ((COLD, 0.0, 1.0), (WARM, 0.3, 1.0), (REFINE, 0.5, 1.0))


@dataclass(frozen=True)
class Unread:
    """Tensors of a checkpoint that have no part in a chunk: their names, how many, and why."""

    tensors: str
    count: int
    why: str


@dataclass
class Imported:
    """A policy that is not written yet. files: programs by name; about: for the command's answer;
    predicts: the network's output, average, velocity, noise or chunk; remarks: what the user is to
    know; unread: what of the weights is left out."""

    policy: Policy
    source: str
    files: dict[str, bytes]
    about: dict[str, object]
    predicts: str = "noise"
    remarks: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


def config_of(
    network: Network,
    spec: PolicySpec,
    cameras: dict[str, CameraParameters],
    method: str,
    task: str | None,
    source: str,
    sha256: str,
) -> PolicyConfig:
    """Make a configuration whose training record only says where the network came from. method: the
    name of its sampling where it is deterministic, which has no options and no times."""
    settings = TrainingConfig(
        steps=0,
        batch_size=0,
        learning_rate=0.0,
        weight_decay=0.0,
        warmup_steps=0,
        gradient_clip=0.0,
        ema_decay=0.0,
        jitter_m=0.0,
        shift_m=0.0,
        train_points=0,
    )
    record = TrainingRecord(
        settings, 0, 0, f"{IMPORTED} from {source}", "", "trained elsewhere: unknown", (), sha256
    )
    return PolicyConfig(
        method=method,
        method_options={},
        preset=IMPORTED,
        network=network,
        spec=spec,
        task=task,
        cameras=cameras,
        camera_tolerance=CameraTolerance(),
        time_rows=_TIMES if network.draws else (),
        training=record,
    )


def field_statistics(spec: PolicySpec) -> dict[str, FieldStatistics]:
    """Return the ranges that a spec states, to be used where there are no others."""
    seen = {
        f.name: FieldStatistics.of_range(f.low, f.high)
        for f in spec.observations
        if isinstance(f, Measured)
    }
    return {**seen, **{f.name: FieldStatistics.of_range(f.low, f.high) for f in spec.actions}}


def write_imported(found: Imported, output: Path, *, force: bool) -> None:
    """Make the policy folder, whole or not at all."""
    with new_folder(output, force=force, marker=MARKER) as folder:
        for name, data in found.files.items():
            (folder / name).write_bytes(data)
        save_policy(found.policy, folder)
