"""Record what a bundle was made from, for its manifest."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import ofp_edge
from ofp_edge.files import sha256_file
from ofp_edge.policy.deployed import Deployed
from ofp_edge.policy.folder import Policy
from ofp_edge.quantize.plan import FILE as PLAN_FILE
from ofp_edge.quantize.plan import Plan, policy_sha256
from ofp_edge.targets.cost import costs
from ofp_edge.targets.export import Exported


def provenance(
    folder: Path, policy: Policy, plan: Plan | None, deployed: Deployed,
    exported: Mapping[str, Exported],
) -> dict[str, Any]:  # fmt: skip
    """Return what the bundle was made from. No dates and no paths: equal input gives equal bundles.

    exported: by artefact file.
    """
    tools = ("torch", "torchao", "executorch", "onnx", "onnxscript", "onnxruntime", "numpy")
    return {
        "policy_sha256": policy_sha256(folder),
        "task": policy.config.task,
        "method": policy.config.method,
        "preset": policy.config.preset,
        "training_steps": policy.config.training.step,
        "dataset_sha256": policy.config.training.dataset_sha256,
        "held_out": list(policy.config.training.held_out),
        "mixture": [
            {"sha256": part.dataset_sha256, "held_out": list(part.held_out)}
            for part in policy.config.training.mixture
        ],
        "recipe": plan.recipe if plan else None,
        "ranges": plan.method if plan else None,
        "plan_sha256": sha256_file(folder / PLAN_FILE) if plan else None,
        "calibration_sha256": plan.calibration_sha256 if plan else None,
        "costs": costs(deployed),
        "graphs": {
            file: {
                "operations": item.operations,
                "delegates": item.delegates,
                "delegated_share": item.delegated_share,
                "left_out": list(item.left_out),
            }
            for file, item in exported.items()
        },
        "versions": {"ofp-edge": ofp_edge.__version__, **{n: metadata.version(n) for n in tools}},
        "machine": platform.machine(),
    }
