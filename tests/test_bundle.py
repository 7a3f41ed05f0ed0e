"""A bundle that is not exactly as it was written is refused, before anything in it is parsed."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.bundle import DIGEST, GOLDEN, MANIFEST, open_bundle, write_manifest
from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import BundleError, UnknownName
from ofp_edge.fields import Points, State
from ofp_edge.files import sha256_bytes
from ofp_edge.functions import encode_and_act
from ofp_edge.manifest import (
    Artefact,
    Default,
    FileEntry,
    Manifest,
    TimeRow,
)
from ofp_edge.runtime.infer import load
from ofp_edge.spec import ActionField, PolicySpec

SPEC = PolicySpec(
    (State("state", (3,), "m", "base", (-1.0,) * 3, (1.0,) * 3),),
    (ActionField("move", (2,), "m", "base", "delta", 0.1, (-1.0,) * 2, (1.0,) * 2, 0.0),),
    n_obs_steps=2, horizon=4, n_action_steps=2, control_hz=20.0,
)  # fmt: skip
PAIRS = (("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("executorch", "fp32"))


def write_bundle(folder: Path) -> Manifest:
    """A bundle whose artefacts are no models: nothing here may get as far as loading them."""
    folder.mkdir()
    artefacts = []
    for engine, precision in PAIRS:
        for function in ("encode", "act"):
            name = f"{function}.{precision}.{engine}"
            (folder / name).write_bytes(f"weights of {name}".encode() * 20)
            tolerance = {"feature": [1e-6]} if function == "encode" else {"chunk": [1e-6] * 2}
            entry = FileEntry.of(folder, name)
            artefacts.append(
                Artefact(
                    function, engine, precision, entry.file, entry.size, entry.sha256, tolerance
                )
            )
    buffer = io.BytesIO()
    np.savez(buffer, **{"input/encode/state": np.zeros((4, 3), np.float32)})
    (folder / GOLDEN).write_bytes(buffer.getvalue())
    manifest = Manifest(
        target="arm-cpu", board=None, spec=SPEC, cameras={}, camera_tolerance=CameraTolerance(),
        functions=encode_and_act(SPEC, 3, 2),
        time_rows=(TimeRow("cold", 0.0, 1.0, (0.5, 1.0)), TimeRow("warm", 0.3, 1.0, (0.1, 0.7))),
        artefacts=tuple(artefacts), files=(FileEntry.of(folder, GOLDEN),),
        default=Default("onnxruntime", "int8"), provenance={"policy_sha256": "0" * 64},
    )  # fmt: skip
    write_manifest(folder, manifest)
    return manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    write_bundle(path)
    return path


def forge(folder: Path, text: bytes) -> None:
    """Replace the manifest and make its digest agree: what an attacker without a key can do."""
    (folder / MANIFEST).write_bytes(text)
    (folder / DIGEST).write_text(sha256_bytes(text) + "\n")


def test_manifest_survives_the_round_trip(tmp_path: Path) -> None:
    manifest = write_bundle(tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest == manifest
    assert bundle.sha256 == sha256_bytes((tmp_path / "b" / MANIFEST).read_bytes())
    assert bundle.golden()["input/encode/state"].shape == (4, 3)


def test_every_single_changed_bit_is_found(folder: Path) -> None:
    rng = np.random.default_rng(0)
    files = sorted(p for p in folder.iterdir() if p.name != DIGEST)
    for path in files:
        whole = path.read_bytes()
        for position in (0, len(whole) - 1, int(rng.integers(len(whole)))):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with pytest.raises(BundleError, match=r"edited|damaged"):
                open_bundle(folder)
        path.write_bytes(whole)
    open_bundle(folder)


@pytest.mark.parametrize("name", ["act.int8.onnxruntime", GOLDEN, MANIFEST, DIGEST])
@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"", lambda b: b + b"\0"])
def test_truncated_and_padded_files_are_found(folder: Path, name: str, change: object) -> None:
    if name == DIGEST and change(b"x") == b"x\0":  # type: ignore[operator]
        change = lambda b: b.strip() + b"0"  # noqa: E731
    path = folder / name
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(BundleError):
        open_bundle(folder)


def test_edited_manifest_is_reported_as_edited_and_never_parsed(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b'{"schema_version": 1, this is not JSON')
    with pytest.raises(BundleError, match="was edited: its SHA-256"):
        open_bundle(folder)


def test_no_engine_sees_a_byte_of_a_damaged_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("an artefact was handed to an engine")

    monkeypatch.setattr("ofp_edge.runtime.runners.onnxruntime_runner.OnnxRuntime.runner", never)
    artefact = folder / "act.int8.onnxruntime"
    artefact.write_bytes(artefact.read_bytes().replace(b"w", b"v", 1))
    with pytest.raises(BundleError, match="SHA-256 differs"):
        load.load_inference(open_bundle(folder))


def test_file_changed_after_opening_is_found_when_it_is_read(folder: Path) -> None:
    bundle = open_bundle(folder)
    (folder / "act.int8.onnxruntime").write_bytes(b"something else")
    with pytest.raises(BundleError, match="changed after it was checked"):
        bundle.read("act.int8.onnxruntime")


def test_only_listed_files_can_be_read(folder: Path) -> None:
    with pytest.raises(BundleError, match="not listed"):
        open_bundle(folder).read("../secret")


def test_unlisted_file_is_refused(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "model.onnx.data").write_bytes(b"external data")
    with pytest.raises(BundleError, match=r"does not list: sub/model\.onnx\.data"):
        open_bundle(folder)


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "encode.fp32.executorch").unlink()
    with pytest.raises(BundleError, match=r"encode\.fp32\.executorch is missing"):
        open_bundle(folder)


@pytest.mark.parametrize("inside", [True, False])
def test_symbolic_link_is_refused_even_to_the_right_bytes(
    folder: Path, tmp_path: Path, inside: bool
) -> None:
    path = folder / "act.int8.onnxruntime"
    elsewhere = tmp_path / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere if not inside else Path("../elsewhere"))
    with pytest.raises(BundleError, match="symbolic link"):
        open_bundle(folder)


def test_other_schema_version_is_named_before_the_rest_is_read(folder: Path) -> None:
    forge(folder, json.dumps({"schema_version": 7, "spec": "of the future"}).encode())
    with pytest.raises(BundleError, match="version 7, this ofp-edge reads 1 and 2"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "text", [b"[]", b"{}", b"null", b"not JSON", b"\xff\xfe", b'{"schema_version": 1}']
)
def test_manifest_of_another_form_is_one_line(folder: Path, text: bytes) -> None:
    forge(folder, text)
    with pytest.raises(BundleError):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("artefacts", 3), ("artefacts", [{"file": "x"}]), ("spec", {}),
     ("interface", {}), ("chunking", []),
     ("time_rows", [[1, 2]]), ("functions", []), ("functions", [{"name": "act"}]),
     ("cameras", []), ("default", None), ("files", [{"file": "../../etc/passwd"}])],
)  # fmt: skip
def test_malformed_entry_is_a_bundle_error(folder: Path, key: str, value: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    forge(folder, json.dumps({**manifest, key: value}).encode())
    with pytest.raises(BundleError):
        open_bundle(folder)


def test_path_out_of_the_bundle_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    manifest = open_bundle(folder).manifest
    entry = FileEntry("../outside", 1, sha256_bytes(b"x"))
    write_manifest(folder, replace(manifest, files=(*manifest.files, entry)))
    with pytest.raises(BundleError, match="missing"):
        open_bundle(folder)


def test_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="not a bundle folder"):
        open_bundle(tmp_path / "absent")


def test_choose_fills_in_the_defaults(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.choose(None, None) == ("onnxruntime", "int8")
    assert bundle.choose(None, "fp32") == ("onnxruntime", "fp32")
    assert bundle.choose("executorch", None) == ("executorch", "fp32")
    with pytest.raises(UnknownName, match="executorch/fp32"):
        bundle.choose("executorch", "int8")
    with pytest.raises(UnknownName, match="onnxruntime/int8"):
        bundle.artefact("act", "tensorrt", "fp32")
    with pytest.raises(UnknownName, match="cold"):
        bundle.manifest.time_row("lukewarm")


def test_truncated_golden_archive_of_a_forged_bundle_is_one_line(folder: Path) -> None:
    manifest = open_bundle(folder).manifest
    (folder / GOLDEN).write_bytes((folder / GOLDEN).read_bytes()[:-30])
    write_manifest(folder, replace(manifest, files=(FileEntry.of(folder, GOLDEN),)))
    with pytest.raises(BundleError, match=r"golden\.npz"):
        open_bundle(folder).golden()


def test_a_bundle_without_its_training_camera_is_refused(tmp_path: Path) -> None:
    points = Points("p", (3, 8), "m", "base", (-1.0,) * 3, (1.0,) * 3, "front")
    manifest = write_bundle(tmp_path / "b")
    spec = replace(SPEC, observations=(*SPEC.observations, points))
    write_manifest(tmp_path / "b", replace(manifest, spec=spec))
    with pytest.raises(BundleError, match="no parameters of the training camera 'front'"):
        open_bundle(tmp_path / "b")
