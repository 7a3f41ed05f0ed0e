"""`inspect`'s table of layers, as a terminal of 80 columns shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app

OLD = Path(__file__).parents[1] / "fixtures" / "version-0.1" / "bundles" / "host"


def test_a_layer_s_name_stands_whole_and_a_reason_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(build_app(), ["inspect", str(OLD)]).stdout
    layers = json.loads(CliRunner().invoke(build_app(), ["inspect", str(OLD), "--json"]).stdout)
    rows = [line.split() for line in said.splitlines()]
    for layer in layers["layers"]:
        assert [layer["function"], layer["name"], layer["precision"]] in rows
    reasons = {x["reason"] for x in layers["layers"] if x["reason"]}
    words = " ".join(said.split())
    assert reasons and all(words.count(" ".join(x.split())) == 1 for x in reasons)
