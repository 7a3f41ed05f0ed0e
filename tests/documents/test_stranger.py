"""The journey from one's own data to a dry run works as it is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.documents.lines import ROOT
from tests.documents.stranger import play, steps

pytestmark = pytest.mark.stranger


def test_my_data_reaches_a_dry_run_without_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the installation, which `make stranger` plays too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "ofp-edge"
    folder.mkdir()
    said = play(folder, Path(sys.executable).parent)
    assert len(said) == len(steps(installs=False)) > 8
    assert (folder / "run.mcap").stat().st_size > 10_000
    assert json.loads((folder / "bundles/so101/manifest.json").read_text())["target"] == "host"
