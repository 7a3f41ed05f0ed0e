"""How far hand-eye calibration is off, and how far it says it is, under noise. Prints JSON.

    python scripts/hand_eye_noise.py > docs/results/hand-eye-noise.json

Views are computed, not rendered: 20 of the tests' board, normal errors on its corners and on what
the robot says of its hand. A view whose board is not found is left out; every second seed has the
camera on the hand. RMS over the seeds that were not refused.
"""

from __future__ import annotations

import json

import numpy as np

from ofp_edge.calibration.board import Found
from ofp_edge.errors import CheckFailed
from ofp_edge.pose import distance
from tests.calibration.rendered import LENS
from tests.calibration.test_hand_eye import TRUTH, noisy_views, solve

SEEDS, VIEWS = 30, 20
NOISES = ((0.06, 0.05, 0.01), (0.1, 0.1, 0.02), (0.2, 0.3, 0.05))  # pixels, mm, degrees


def main() -> None:
    """See the module."""
    rows = []
    for noise in NOISES:
        made, told = [], []
        for seed in range(SEEDS):
            mount = list(TRUTH)[seed % 2]
            views = noisy_views(seed, VIEWS, *noise, mount)
            found = [(T, x.T_camera_board) for T, x in views if isinstance(x, Found)]
            try:
                got = solve([T for T, _ in found], [T for _, T in found], mount)
            except CheckFailed:
                continue
            made.append(distance(got.X, TRUTH[mount][0]))
            told.append((got.error_mm, got.error_deg))
        off, said = (np.sqrt(np.mean(np.square(x), axis=0)).round(4).tolist() for x in (made, told))
        rows.append({
            "corner_noise_px": noise[0], "hand_noise_mm": noise[1], "hand_noise_deg": noise[2],
            "error_mm": off[0], "error_deg": off[1], "told_mm": said[0], "told_deg": said[1],
            "refused": SEEDS - len(made),
        })  # fmt: skip
    print(json.dumps({"views": VIEWS, "seeds": SEEDS, "image": [LENS.width, LENS.height],
                      "rows": rows}, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
