"""States and actions of a dataset as one npz, for programs that read no Zarr.

episodes_npz.py DATASET OUTPUT [ROBOT]    ROBOT: numbers of the state that are the robot's (4)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ofp_edge.data.open import open_dataset  # noqa: E402


def main(source: Path, output: Path, robot: int) -> None:
    """Only the episodes that training may see; the held-out ones stay away from the teacher too."""
    dataset = open_dataset(source)
    train = dataset.split().train
    rows = dataset.frames(train)
    lengths = [dataset.episode(e).stop - dataset.episode(e).start for e in train]
    state = np.concatenate(
        [dataset.fields[f.name] for f in dataset.interface.observations if f.kind == "state"], 1
    )
    np.savez(
        output, state=state[rows], action=dataset.action[rows], episode_ends=np.cumsum(lengths),
        control_hz=dataset.control_hz, robot=robot,
    )  # fmt: skip


if __name__ == "__main__":
    robot = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    main(Path(sys.argv[1]), Path(sys.argv[2]), robot)
