"""Photos, runs that have clustered them, and a server of command lines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.forked_lines import Lines
from tests.photo_runs import digits_run, photos, run_folder

__all__ = ["digits_run", "photos", "run_folder"]


@pytest.fixture(scope="package")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    """Runs commands; a test sets the folder they run in."""
    folder = tmp_path_factory.mktemp("lines")
    lines = Lines(folder, folder)
    yield lines
    lines.close()
