"""Lets tests import the files of a room of benchmarks, which are scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session", autouse=True)
def importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for room in ("speed", "quality", "paper", "gpu"):
            patch.syspath_prepend(BENCHMARKS / room)
        yield
