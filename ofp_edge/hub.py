"""A name that is one of the hub's and no file here: how its files are fetched."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def fetching(path: Path, *, dataset: bool) -> str:
    """Return a sentence, with a blank before it, where `path` is not there and could be the name of
    a repository of Hugging Face's hub (owner/name); else nothing."""
    if path.exists() or path.parent.is_dir() or not _NAME.fullmatch(str(path)):
        return ""
    kind = " --repo-type dataset" if dataset else ""
    return (
        f" If it is a repository of the hub, fetch it first: hf download {path}{kind} --local-dir "
        f"{path.name}"
    )
