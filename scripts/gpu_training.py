"""Training on an NVIDIA GPU against the same run on this machine's CPU. Writes one JSON document.

    python scripts/gpu_training.py DATASET [--presets small unet] [--steps N] -o result.json

For each preset, with one seed: the curve of validation losses on the CPU, on the GPU, on the GPU
once more, and on the GPU stopped half-way and resumed; the steps a second of each. The last run's
policies stay beside the result, as `trained-PRESET`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TRAIN = ["-m", "ofp_edge", "train"]
# What `accelerate launch` runs for one process. Without a launcher ofp-edge trains on the CPU.
LAUNCH = ["-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1",
          "--mixed_precision", "no", "--dynamo_backend", "no"]  # fmt: skip


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--presets", nargs="+", default=["small", "unet"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds of one run")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch sees no NVIDIA GPU here, or was built without CUDA.")
    found: dict[str, Any] = {"dataset": given.dataset.name, "steps": given.steps, "presets": {}}
    for preset in given.presets:
        rows = found["presets"][preset] = {}
        with tempfile.TemporaryDirectory() as folder:
            for name in ("cpu", "gpu", "gpu again", "gpu resumed"):
                try:
                    rows[name] = run(given, preset, name, Path(folder))
                except (subprocess.SubprocessError, RuntimeError) as cause:
                    rows[name] = {"failure": str(cause)[-2000:]}
                given.output.write_text(json.dumps(found, indent=1) + "\n")
                print(preset, name, json.dumps(rows[name])[:1500], flush=True)


def run(given: argparse.Namespace, preset: str, name: str, folder: Path) -> dict[str, Any]:
    """One run to its end; the resumed one is stopped after its first checkpoint."""
    output = folder / name.replace(" ", "-")
    if name == "gpu resumed":
        output = given.output.with_name(f"trained-{preset}")
    command = [sys.executable, *(TRAIN if name == "cpu" else [*LAUNCH, *TRAIN])]
    every = max(1, given.steps // 10)
    command += [str(given.dataset), "-o", str(output), "--preset", preset, "--steps",
                str(given.steps), "--seed", "0", "--validate-every", str(every),
                "--checkpoint-every", str(max(1, given.steps // 4)), "--json"]  # fmt: skip
    environment = dict(os.environ)
    if name == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    stopped_at = None
    if name == "gpu resumed":
        stopped_at = stopped(command, environment, output, given.timeout)
        command.append("--resume")
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=given.timeout
    )
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout)
    steps = told["steps"] - (told["resumed_from"] or 0)
    seconds = told["seconds"]
    return {
        "validation": json.loads((output / "validation.json").read_text()),
        "seconds": seconds, "steps_per_s": None if stopped_at else steps / seconds,
        "stopped_at": stopped_at, "resumed_from": told["resumed_from"], "loss": told["loss"],
        "parameters": told["parameters"],
    }  # fmt: skip


def stopped(command: list[str], environment: dict[str, str], output: Path, timeout_s: float) -> int:
    """Start, stop as Ctrl-C does once there is a checkpoint; the step it stands at."""
    state = output / "training/state.json"
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        until = time.monotonic() + timeout_s
        while process.poll() is None and not state.exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # the launcher's, too, hears it
        said, _ = process.communicate(timeout=timeout_s)
    if not state.exists():
        raise RuntimeError(f"ended with exit code {process.returncode}, unfinished in vain: {said}")
    return int(json.loads(state.read_text())["step"])


if __name__ == "__main__":
    main()
