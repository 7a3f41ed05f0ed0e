"""A promise that was not kept."""

from __future__ import annotations


class Broken(AssertionError):
    """promise: its short name, by which failures are counted; detail: in numbers."""

    def __init__(self, promise: str, detail: str) -> None:
        super().__init__(f"{promise}: {detail}")
        self.promise, self.detail = promise, detail
