"""Write what is stated of a policy into its folder, and into the plan beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ofp_edge.errors import PolicyError
from ofp_edge.files import new_folder, write_json
from ofp_edge.policy.amend import RANGE, Change, Statement, amended
from ofp_edge.policy.folder import BEST, CONFIG, MARKER, read_config
from ofp_edge.quantize.plan import policy_sha256, read_plan, write_plan

_RANGES = tuple(f", {entry}" for entry in RANGE)
_TRAINING = "training"


def amend_policy(path: Path, said: Statement, *, dry_run: bool = False) -> list[Change]:
    """State it in the policy folder, all of it or nothing: the folder is copied, changed and
    exchanged; return what changed. A plan beside it goes on to hold; best/ in it is stated alike.

    Raises OfpError as `amended` does, for a policy that is still trained, and for ranges of a
    quantised one: its errors are parts of them.
    """
    config = read_config(path)
    if (path / _TRAINING).exists():
        raise PolicyError(
            f"{path} is still in training (it has {_TRAINING}/): end it with `ofp-edge train "
            "--resume`, which would write its own statement again."
        )
    plan = read_plan(path)
    config, changes = amended(config, said, str(path))
    if plan is not None and (ranges := [x for x in changes if x.what.endswith(_RANGES)]):
        raise PolicyError(
            f"{path}: {ranges[0].what}: the policy is quantised, and its plan's errors are parts "
            "of the range. State it of the float policy and quantise that again."
        )
    best, ahead = path / BEST, []
    if (best / CONFIG).exists():
        best_config, found = amended(read_config(best), said, str(best))
        ahead = [x for x in found if x not in changes]
    if (changes or ahead) and not dry_run:
        with new_folder(path, force=True, marker=MARKER) as folder:
            shutil.copytree(path, folder, dirs_exist_ok=True)
            write_json(folder / CONFIG, config.to_json())
            if (best / CONFIG).exists():
                write_json(folder / BEST / CONFIG, best_config.to_json())
                read_config(folder / BEST)
            read_config(folder)  # what can't be read again is never exchanged
            if plan is not None:
                write_plan(replace(plan, policy_sha256=policy_sha256(folder)), folder)
    return [*changes, *(replace(x, what=f"{BEST}/, {x.what}") for x in ahead)]
