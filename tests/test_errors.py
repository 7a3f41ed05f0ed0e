"""Errors of a user's: one tree, one line each, and they say what to do."""

from __future__ import annotations

import inspect
import json.decoder
import re
from pathlib import Path

import pytest

from ofp_edge import errors
from ofp_edge.errors import MissingExtra, OfpError, OutputExists, SpecMismatch, UnknownName
from ofp_edge.extras import require
from ofp_edge.origin import install_line


def test_every_error_is_in_the_tree_that_the_file_draws() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    for error in [c for c in classes if c.__module__ == errors.__name__]:
        assert issubclass(error, OfpError)
        assert error.__name__ in (errors.__doc__ or "")


def test_an_unknown_name_lists_what_exists_and_the_nearest() -> None:
    line = str(UnknownName("task", "door-opne", ["window-open", "door-open"]))
    assert line == (
        "unknown task 'door-opne'. Did you mean 'door-open'? Known: door-open, window-open"
    )


def test_the_nearest_is_found_whatever_the_case() -> None:
    said = str(UnknownName("instruction", "OPEN THE DOOR", ["close it", "open the door"]))
    assert "'OPEN THE DOOR'. Did you mean 'open the door'?" in said
    assert "Did you mean 'Open'" in str(UnknownName("name", "open", ["Open", "shut"]))


def test_a_far_off_name_gets_no_guess() -> None:
    assert "Did you mean" not in str(UnknownName("task", "xyz", ["door-open"]))


def test_a_mismatch_says_expected_and_got() -> None:
    error = SpecMismatch("horizon", 16, 8, "Train again.")
    assert str(error) == "horizon: expected 16, got 8. Train again."
    assert (error.what, error.expected, error.got) == ("horizon", 16, 8)


def test_an_existing_output_names_force() -> None:
    assert str(OutputExists("a/b")) == "a/b exists. Give --force to replace it, or another name."


def test_a_missing_module_names_the_pip_line() -> None:
    with pytest.raises(MissingExtra, match=re.escape(f"Run: {install_line('sim')}")):
        require("no_such_module_here.sub", "sim")


def test_what_no_extra_brings_to_this_python_names_no_pip_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(errors.sys, "version_info", (3, 10, 13))
    line = "zarr is not installed. It needs Python 3.11 or newer: make the environment with one."
    assert str(MissingExtra("zarr", "sim")) == line
    assert "Run: " in str(MissingExtra("mujoco", "sim"))


def test_an_import_error_inside_an_installed_module_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_sdk.py").write_text("import no_such_dependency_here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency_here"):
        require("broken_sdk", "sim")


def test_require_returns_the_module() -> None:
    assert require("json.decoder", "sim") is json.decoder
