"""docs/reference is what the code says."""

from __future__ import annotations

import sys

import pytest

from tests.documents.lines import ROOT

sys.path.insert(0, str(ROOT / "scripts/site"))

from reference import pages  # noqa: E402

PAGES = pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_the_codes(name: str) -> None:
    have = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
    assert have == PAGES[name], "run: python scripts/site/reference.py"


def test_a_new_option_or_key_would_show() -> None:
    assert "`--policy-server`" in PAGES["options.md"] and "## rig check" in PAGES["options.md"]
    assert "`actuation_delay_ms`" in PAGES["rig.md"] and "`max_jerk`" in PAGES["rig.md"]
    assert "`drop_frames`" in PAGES["mapping.md"] and "`artefacts`" in PAGES["manifest.md"]
