"""Write a bundle's files, and look at them as a robot would."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ofp_edge.bundle import GOLDEN, open_bundle
from ofp_edge.files import write_json
from ofp_edge.manifest import Artefact, FileEntry
from ofp_edge.policy.deployed import Deployed
from ofp_edge.prompt import FILE as PROMPT
from ofp_edge.quantize.plan import FILE as PLAN_FILE
from ofp_edge.quantize.plan import Plan
from ofp_edge.runtime.runners.table import ENGINES
from ofp_edge.targets.built import Built
from ofp_edge.targets.golden import Golden
from ofp_edge.targets.leave_out import Pair
from ofp_edge.targets.registry import checked_on
from ofp_edge.targets.target import Target
from ofp_edge.task_rows import FILE as TASK_ROWS
from ofp_edge.task_rows import TENSOR as TASK_TENSOR
from ofp_edge.time_rows import FILE as ROWS
from ofp_edge.time_rows import LARGEST_INSIDE, TENSOR


def write_files(
    folder: Path, policy_folder: Path, built: Sequence[Built], golden: Golden, deployed: Deployed,
    plan: Plan | None,
) -> tuple[FileEntry, ...]:  # fmt: skip
    """Write everything but the manifest; return what it lists beside the artefacts."""
    for item in built:
        (folder / item.file).write_bytes(item.exported.model)
    (folder / GOLDEN).write_bytes(golden.to_bytes())
    found = [FileEntry.of(folder, GOLDEN, "golden")]
    data = sorted({name for item in built for name in item.data})
    found += [FileEntry.of(folder, name, "data") for name in data]
    rows = [x.row for x in deployed.time_rows]
    if rows and len(rows[0]) > LARGEST_INSIDE:
        (folder / ROWS).write_bytes(save({TENSOR: np.asarray(rows, np.float32)}))
        found.append(FileEntry.of(folder, ROWS, "time_rows"))
    if deployed.task_rows is not None:
        (folder / TASK_ROWS).write_bytes(save({TASK_TENSOR: deployed.task_rows}))
        found.append(FileEntry.of(folder, TASK_ROWS, "tasks"))
    if deployed.prompt is not None:
        for role, name in deployed.prompt.files.items():
            if name == PROMPT:  # it may be shorter than the policy's
                write_json(folder / name, deployed.prompt.prompt.to_json())
            else:
                shutil.copyfile(policy_folder / name, folder / name)
            found.append(FileEntry.of(folder, name, role))
    if plan is not None:
        shutil.copyfile(policy_folder / PLAN_FILE, folder / PLAN_FILE)
        found.append(FileEntry.of(folder, PLAN_FILE, "plan"))
    return tuple(found)


def artefacts_of(
    chosen: Target,
    built: Sequence[Built],
    folder: Path,
    tolerances: Mapping[tuple[str, str], dict[str, list[float]]],
    dropped: set[Pair],
) -> tuple[Artefact, ...]:
    """What was built, and the same files once more for each engine that is built on the device."""
    found = []
    for engine in chosen.engines:
        of = checked_on(engine)
        entries = {b.file: FileEntry.of(folder, b.file) for b in built}
        found += [
            Artefact(
                b.function,
                engine,
                b.precision,
                b.file,
                entries[b.file].size,
                entries[b.file].sha256,
                tolerances[b.precision, b.function],
                requires={engine: ENGINES[engine].oldest},
                data=b.data,
            )
            for b in built
            if b.engine == of and (engine, b.precision) not in dropped
        ]
    return tuple(found)


def check_written(folder: Path) -> tuple[str, dict[str, dict[str, float]]]:
    """Open the bundle as a robot would, load every engine from it, and compare."""
    bundle = open_bundle(folder)
    parity = {}
    for engine, precision in bundle.engines():
        if ENGINES[engine].on_device:
            continue
        runners, found = ENGINES[engine].load_checked(bundle, precision)
        for function, worst in found.items():
            parity[bundle.artefact(function, engine, precision).file] = worst
        for runner in runners.values():
            runner.close()
    return bundle.sha256, parity
