"""Demonstrations of every layout: looked through as `data info` does, opened as training does."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import command
from tests.fuzz.damage import (
    COUNTS,
    Rng,
    damage_file,
    damage_folder,
    damage_one_of,
    damaged_json,
    dump_json,
    odd_value,
    usable_files,
)

_FIXTURES = Path(__file__).parents[1] / "fixtures" / "datasets"
_DATA = "data"
_LAYOUTS = {
    "ours": ("points.zarr", "rgb.zarr"),
    "zarr": ("diffusion-policy.zarr", "diffusion-policy-jpeg2k.zarr", "dp3.zarr"),
    "lerobot": ("lerobot-v2.1", "lerobot-v3.0"),
    "hdf5": ("robomimic.hdf5", "robotwin-native", "robotwin-raw"),
}


class Datasets:
    """Refused in one line, or read. layout: one of "ours", "zarr", "lerobot", "hdf5"."""

    def __init__(self, layout: str) -> None:
        self.name, self._layout = f"dataset-{layout}", layout
        own = {"lerobot": (_parquet, _parquet), "hdf5": (_hdf5, _hdf5, _hdf5)}.get(layout, ())
        self.operations = (_json, _json, _json, _any_file, _any_file, _folder, *own)
        self.counts = COUNTS
        self.may = ("subprocess.Popen",) if layout == "lerobot" else ()  # its videos' decoder

    def warm(self) -> None:
        import h5py  # noqa: F401
        import imagecodecs  # noqa: F401
        import zarr  # noqa: F401

        import ofp_edge.data.dataset
        import ofp_edge.data.imported
        import ofp_edge.data.layouts.lerobot
        import ofp_edge.data.layouts.replay_buffer
        import ofp_edge.data.layouts.robomimic
        import ofp_edge.data.layouts.robotwin
        import ofp_edge.data.survey  # noqa: F401

        platform.processor()  # starts a program, once
        command.warm()

    def prepare(self, good: Path) -> None:
        for name in _LAYOUTS[self._layout]:
            if self._layout == "ours":
                from tests.synthetic import write_synthetic_dataset

                write_synthetic_dataset(good / name, obs=name.split(".")[0], episodes=3, length=8)
            elif (_FIXTURES / name).is_dir():
                shutil.copytree(_FIXTURES / name, good / name)
            else:
                shutil.copy(_FIXTURES / name, good / name)

    def place(self, rng: Rng, good: Path, home: Path) -> str:
        name = str(rng.choice(_LAYOUTS[self._layout]))
        (home / _DATA).mkdir()
        source = good / name
        copy: Any = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, home / _DATA / name)
        return name

    def seal(self, rng: Rng, home: Path) -> None:
        """A dataset has no hashes."""

    def read(self, home: Path) -> None:
        from ofp_edge.data.open import open_dataset

        there = sorted(p for p in (home / _DATA).iterdir() if not p.name.startswith(("more-", ".")))
        path = there[0] if there else home / _DATA / "gone"
        if sum(p.lstat().st_size for p in (home / _DATA).rglob("*")) % 2:  # of either, about half
            command.command("data", "info", str(path))
        dataset = open_dataset(path)
        for values in (*dataset.fields.values(), dataset.action):
            assert values.dtype.kind != "f" or np.isfinite(values).all(), "NaN was let in"
        dataset.statistics(range(dataset.episodes))


def _files(home: Path, *suffixes: str) -> list[Path]:
    return [p for p in usable_files(home / _DATA) if not suffixes or p.name.endswith(suffixes)]


def _pick(rng: Rng, files: list[Path]) -> Path | None:
    return files[int(rng.integers(len(files)))] if files else None


def _any_file(rng: Rng, home: Path) -> str:
    return damage_one_of(rng, _files(home))


def _folder(rng: Rng, home: Path) -> str:
    alone = not any(p.is_dir() for p in (home / _DATA).iterdir())
    how = damage_folder(rng, home / _DATA, links_out=not alone)
    for path in list((home / _DATA).iterdir()):
        if path.is_symlink() and path.is_dir():  # what its user names may well be a link
            there = path.resolve()
            path.unlink()
            there.rename(path)
            how = "nothing"
    return how


def _json(rng: Rng, home: Path) -> str:
    """An entry of a JSON file or of one line of JSON."""
    path = _pick(
        rng, _files(home, ".json", ".jsonl", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
    )
    if path is None:
        return _any_file(rng, home)
    lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
    number = int(rng.integers(len(lines))) if lines else 0
    try:
        value = json.loads(lines[number])
    except (ValueError, IndexError, RecursionError):
        return damage_file(rng, path)
    damaged, how = damaged_json(rng, value)
    lines[number] = dump_json(damaged)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return f"{path.parent.name}/{path.name}: {how}"


def _parquet(rng: Rng, home: Path) -> str:
    """Another table: columns of another type, with holes, of absurd numbers, gone, twice."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _pick(rng, _files(home, ".parquet"))
    if path is None:
        return _any_file(rng, home)
    try:
        table = pq.read_table(path)
    except Exception:
        return damage_file(rng, path)
    if not table.num_columns:
        return damage_file(rng, path)
    column = int(rng.integers(table.num_columns))
    name, values = table.column_names[column], table.column(column).to_pylist()
    choice = int(rng.integers(7))
    if choice == 0:
        table = table.remove_column(column)
    elif choice == 1:
        table = table.append_column(name, table.column(column))
    elif choice == 2:
        table = table.slice(0, int(rng.integers(table.num_rows + 1)))
    elif choice == 3:
        values[int(rng.integers(max(1, len(values)))) :] = [None] * len(values)
    elif choice == 4:
        values = values[::-1]
    elif choice == 5:
        values = [str(x) for x in values]
    else:
        odd = odd_value(rng, values[0] if values else 0)
        values = [odd] * len(values)
    whole = pa.BufferOutputStream()
    try:
        if choice >= 3:
            table = table.set_column(column, name, pa.array(values[: table.num_rows]))
        pq.write_table(table, whole)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
        return damage_file(rng, path)  # no table can hold it: a struct without entries, say
    path.write_bytes(whole.getvalue())
    return f"{path.name}: column {name} ({choice})"


def _hdf5(rng: Rng, home: Path) -> str:
    """What HDF5 can say: links out of the file, virtual sets, objects, absurd sizes, loops."""
    import h5py

    path = _pick(rng, _files(home, ".hdf5"))
    if path is None:
        return _any_file(rng, home)
    out = home / "outside"
    try:
        with h5py.File(path, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            sets = [name for name in names if isinstance(file.get(name), h5py.Dataset)]
            if not sets:
                return damage_file(rng, path)
            name = sets[int(rng.integers(len(sets)))]
            how = _hdf5_change(rng, file, name, out)
    except Exception:
        return damage_file(rng, path)
    return f"{path.name}: {name} {how}"


def _hdf5_change(rng: Rng, file: Any, name: str, out: Path) -> str:
    import h5py

    values, attributes = file[name][()], dict(file[name].attrs)
    choice = int(rng.integers(13))
    if choice == 12:
        key = str(rng.choice(sorted(attributes) or ["x"]))
        new = odd_value(rng, None)
        file[name].attrs[key] = new if isinstance(new, (int, float, str, bool)) else "odd"
        return f"attribute {key}"
    del file[name]
    if choice == 0:
        with h5py.File(out / "a.hdf5", "w") as other:
            other["x"] = values
        file[name] = h5py.ExternalLink(f"../outside/{'a.hdf5'}", "/x")
    elif choice == 1:
        with h5py.File(out / "a.hdf5", "w") as other:
            other["x"] = values
        layout = h5py.VirtualLayout(shape=np.shape(values), dtype=values.dtype)
        layout[...] = h5py.VirtualSource(str(out / "a.hdf5"), "x", shape=np.shape(values))
        file.create_virtual_dataset(name, layout)
    elif choice == 2:
        (out / "raw").write_bytes(np.ascontiguousarray(values).tobytes())
        file.create_dataset(
            name,
            np.shape(values),
            values.dtype,
            external=[(str(out / "raw"), 0, h5py.h5f.UNLIMITED)],
        )
    elif choice == 3:
        file[name] = h5py.SoftLink(f"/{name}")
    elif choice == 4:
        file[name] = h5py.SoftLink("/")
    elif choice == 5:
        shape = (np.shape(values) or (1,))[0], 10**6, 10**6
        file.create_dataset(name, shape, "f4", chunks=(1, 1, 64))
    elif choice == 6:
        file.create_dataset(name, (2**40,), "f4", chunks=(1024,))
    elif choice == 7:
        file.create_dataset(name, (3,), h5py.string_dtype(), data=["a", "b", "c"])
    elif choice == 8:
        file[name] = np.full(np.shape(values), np.nan, np.float32)
    elif choice == 9:
        file[name] = values[: len(values) // 2] if np.ndim(values) else values
    elif choice == 10:
        file.create_group(f"{name}/inside")
    else:
        file.create_dataset(name, data=np.zeros((50, 4 << 20), "u1"), compression="gzip")
    return f"({choice})"
