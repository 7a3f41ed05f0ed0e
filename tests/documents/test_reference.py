"""docs/reference is what the code says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ofp_edge.data.mapping import read_mapping
from ofp_edge.errors import OfpError
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


def test_a_mapping_may_have_what_its_page_says(tmp_path: Path) -> None:
    """Each key of the top, and each table, is one that the reader knows: it never says unknown."""
    page = PAGES["mapping.md"]
    top = re.findall(r"(?m)^\| `(\w+)` \|", page.split("## ")[1])
    heads = "".join(re.findall(r"(?m)^## .*", page))
    tables = re.findall(r"\[\[?(\w+)[\].]", heads)
    assert {"source", "filter", "tasks"} <= set(top)
    assert {"observation", "action", "camera"} == set(tables)
    for name in top:
        file = tmp_path / f"{name}.toml"
        file.write_text(f'{name} = "x"\n' + ("" if name == "source" else 'source = "."\n'))
        with pytest.raises(OfpError) as raised:
            read_mapping(file)
        assert "unknown" not in str(raised.value), name
