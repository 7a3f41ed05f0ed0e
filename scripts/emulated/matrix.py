"""Every golden input on every kind of processor: `make test-cpus`, `make test-cpus-all`.

    python matrix.py WORK [--all] [--whole]

WORK holds `bundles` (make-bundles), `site-aarch64` and `root` (an emulated Debian), all laid by
scripts/test-cpus. Each processor runs all golden inputs of every bundle, engine and precision in
one interpreter, and layers whose sums do not fit 16 bits; the answers are held against torch's
within the bundle's tolerance, and compared with this machine's. Which kernels ran is read off the
instructions. On x86 it also compiles a bundle as a CPU without VNNI, opens it here, and makes
chunks of a recording that replay here. Writes WORK/cpus.json; exits 1 with the first thing that is
not as it should be.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from cpus import CPUS, Cpu
from emulator import Ran, run, stop_all
from saturating import SHAPES, SUFFIX

from ofp_edge.processor import processor

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PROGRAMS = ("traced.py", "compare.py", "cpus.py", "saturating.py")
_BEGAN = time.monotonic()
_TRIES = 3


def say(text: str) -> None:
    """A line on stderr with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGAN:3.0f} s] {text}", file=sys.stderr, flush=True)


def ofp(*arguments: str) -> dict[str, Any]:
    """ofp-edge on this machine; what it printed under --json."""
    command = [sys.executable, "-m", "ofp_edge", *arguments, "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        sys.exit(f"ofp-edge {' '.join(arguments)}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)  # a replay that differs exits 1 with its JSON
    return found


def program(*command: Any) -> str:
    """A Python program on this machine; what it printed. Exits with what it said when it failed."""
    done = subprocess.run([sys.executable, *map(str, command)], cwd=CHECKOUT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{Path(command[0]).name}: {done.stdout}{done.stderr}")
    return done.stdout


class X86:
    """Emulated on this machine's own Python and packages."""

    def __init__(self, work: Path) -> None:
        self.root, self._layers = work / "x86", work / "layers"
        packages = next(x for x in sys.path if x.endswith("site-packages"))
        self.site = [str(CHECKOUT), str(HERE), packages]

    def golden(self, cpu: Cpu, answers: Path, bundles: list[Path]) -> Ran:
        """All golden inputs of the bundles."""
        arguments = [str(HERE / "traced.py"), str(answers), str(self._layers), *map(str, bundles)]
        return run(cpu, self.root / cpu.name, arguments, site=self.site, traced=True)

    def ofp(self, cpu: Cpu, *arguments: str, may_fail: bool = False) -> None:
        """ofp-edge on the emulated processor."""
        whole = ["-m", "ofp_edge", *arguments]
        run(cpu, self.root / cpu.name, whole, site=self.site, may_fail=may_fail)


class Aarch64:
    """Emulated on a Debian of its own, which has no network and sees nothing of this machine."""

    def __init__(self, work: Path, answers: Path, bundles: list[Path]) -> None:
        self.root = (work / "root").resolve()
        laid = self.root / "robot"
        shutil.rmtree(laid, ignore_errors=True)
        shutil.copytree(CHECKOUT / "ofp_edge", laid / "src/ofp_edge")
        shutil.copytree(work / "site-aarch64", laid / "site")
        shutil.copytree(work / "layers", laid / "layers")
        for bundle in bundles:
            shutil.copytree(bundle, laid / bundle.name)
        for program in PROGRAMS:
            shutil.copy(HERE / program, laid)
        shutil.copy(answers, laid / "answers.npz")

    def golden(self, cpu: Cpu, bundles: list[Path]) -> Ran:
        """All golden inputs of the bundles."""
        arguments = ["/robot/traced.py", "/robot/answers.npz", "/robot/layers"]
        arguments += [f"/robot/{bundle.name}" for bundle in bundles]
        return run(cpu, self.root, arguments, site=["/robot/src", "/robot/site"], traced=True)


def judged(cpu: Cpu, ran: Ran, pairs: int) -> dict[str, Any]:
    """What one processor showed; exits where something is missing, wrong, or another kernel ran."""
    kernels = ran.kernels()
    rows = [x for x in ran.rows if "bundle" in x]
    layers = [x for x in ran.rows if "layer" in x]
    if len(rows) != pairs or len(layers) != len(SHAPES) * len(SUFFIX):
        sys.exit(f"{cpu.name}: {len(rows)} of {pairs} comparisons, {len(layers)} layers")
    if wrong := [x for x in layers if not x["largest_difference"] < x["step"] / 2]:
        sys.exit(f"{cpu.name}: sums that do not fit 16 bits are wrong: {wrong[0]}")
    if noise := [line for line in ran.said if "onnxruntime" in line or "warning" in line.lower()]:
        sys.exit(f"{cpu.name}: an engine talks to the terminal: {noise[0]}")
    for engine, got in kernels.items():
        if absent := [x for x in cpu.must[engine] if x not in got]:
            sys.exit(f"{cpu.name}: {engine} ran no {absent[0]}, but {got}")
        if never := [x for x in cpu.never.get(engine, ()) if x in got]:
            sys.exit(f"{cpu.name}: {engine} ran {never[0]}: {got}")
    say(f"{cpu.name}: as it should be; {kernels}")
    return {
        "cpu": cpu.name, "machine": cpu.machine, "boards": cpu.boards, "kind": ran.rows[-1]["kind"],
        "kernels": kernels, "rows": rows, "layers": layers,
    }  # fmt: skip


def other_kind(cpu: Cpu, x86: X86, work: Path, whole: bool) -> dict[str, Any]:
    """A bundle for host compiled on `cpu` and opened here. whole: ExecuTorch's programs too, whose
    lowering takes ten emulated minutes and looks at no CPU."""
    bundle, answers = work / f"compiled-on-{cpu.name}", work / "compiled-there.npz"
    shutil.rmtree(bundle, ignore_errors=True)
    few = () if whole else ("--leave-out", "executorch", "--leave-out", "onnxruntime:fp32")
    x86.ofp(
        cpu,
        "compile",
        str(work / "bundles/small-int8"),
        "--target",
        "host",
        "-o",
        str(bundle),
        *few,
    )
    program(HERE / "compare.py", "write", answers, bundle)
    printed = program(HERE / "compare.py", "compare", answers, bundle)
    rows = [json.loads(line) for line in printed.splitlines()]
    say(f"compiled as {cpu.name}, opened here: as it should be")
    return {"compiled_on": cpu.name, "opened_on": processor().kind, "rows": rows}


def recorded(cpu: Cpu, x86: X86, work: Path) -> dict[str, Any]:
    """Chunks of a recording made on `cpu`, and the same ones made here from the log.

    On a busy machine the emulated one may be too late for its robot, which then is stopped; what it
    had made is in the log all the same.
    """
    bundle, folder = str(work / "bundles/small-host"), work / "recorded"
    log = folder / f"{cpu.name}.mcap"
    for _ in range(_TRIES):
        x86.ofp(
            cpu, "run", bundle, "--rig", str(folder / "rig.toml"), "--duration", "2", "--precision",
            "int8", "--engine", "onnxruntime", "--log", str(log), "--force", may_fail=True,
        )  # fmt: skip
        again = ofp("replay", str(log), "--bundle", bundle)
        if again["chunks"]:
            break
    tolerance = _chunk_tolerance(Path(bundle))
    apart = [x["apart"] for x in again["differences"] if x["what"] == "chunk"]
    if again["chunks"] < 1 or again["missing_rows"] or any(not x <= tolerance for x in apart):
        sys.exit(f"{cpu.name}: the run does not replay here: {again}")
    return {
        "cpu": cpu.name, "chunks": again["chunks"],
        "bit_equal": again["chunks_same"], "largest_difference": max(apart, default=0.0),
        "tolerance": tolerance,
    }  # fmt: skip


def _chunk_tolerance(bundle: Path) -> float:
    artefacts = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["artefacts"]
    (found,) = (
        x["tolerance"]["chunk"] for x in artefacts
        if (x["function"], x["engine"], x["precision"]) == ("act", "onnxruntime", "int8")
    )  # fmt: skip
    return float(min(found))


def main() -> None:
    """See the module."""
    work, everything = Path(sys.argv[1]).resolve(), "--all" in sys.argv[2:]
    bundles = sorted((work / "bundles").glob("*-bundle"))
    host, answers = work / "bundles/small-host", work / "answers.npz"
    x86_here = platform.machine() == "x86_64"
    say("golden inputs on this machine")
    program(HERE / "compare.py", "write", answers, *bundles, host)
    program(HERE / "saturating.py", "make", work / "layers")
    x86, aarch64 = X86(work), Aarch64(work, answers, bundles)
    chosen = [cpu for cpu in CPUS if cpu.in_ci or everything]
    if not x86_here:
        say("x86 processors are emulated on an x86_64 machine alone")
        chosen = [cpu for cpu in chosen if cpu.machine != "x86_64"]

    def golden(cpu: Cpu) -> dict[str, Any]:
        if cpu.machine == "x86_64":
            return judged(cpu, x86.golden(cpu, answers, [*bundles, host]), 4 * len(bundles) + 4)
        return judged(cpu, aarch64.golden(cpu, bundles), 4 * len(bundles))

    haswell, nehalem = (next(x for x in CPUS if x.name == n) for n in ("Haswell", "Nehalem"))
    document: dict[str, Any] = {"measured_on": processor().kind}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # The longest first.
        whole = "--whole" in sys.argv[2:]
        jobs = [pool.submit(other_kind, haswell, x86, work, whole)] if x86_here else []
        jobs += [pool.submit(golden, cpu) for cpu in chosen]
        for job in as_completed(jobs):
            if (cause := job.exception()) is not None:  # the others are not waited for
                pool.shutdown(wait=False, cancel_futures=True)
                stop_all()
                raise cause
        results = [job.result() for job in jobs]
    document["cpus"] = [x for x in results if "cpu" in x]
    document["compiled"] = [x for x in results if "compiled_on" in x]
    if x86_here:
        program(HERE / "recorded_run.py", work / "recorded")
        document["runs"] = [recorded(cpu, x86, work) for cpu in (haswell, nehalem)]
    (work / "cpus.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    say(f"all as it should be: {work / 'cpus.json'}")


if __name__ == "__main__":
    main()
