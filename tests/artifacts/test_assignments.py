"""The table of a run, written and read back."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from hadis_lightly.artifacts.assignments import (
    Assignments,
    read_assignments,
    write_assignments,
)

KEYS = ["a.png", 'b, "c"\n.png', "é/日.png"]


@pytest.mark.parametrize("is_full", [True, False])
def test_what_is_written_is_read_back(tmp_path: Path, is_full: bool) -> None:
    table = Assignments(
        keys=KEYS,
        labels=np.array([1, 0, 1]),
        confidence=np.array([0.5, 0.25, 1.0], np.float32),
        distance=np.array([0.1, 1.5, 2.0], np.float32),
        isolation=np.array([0.25, 0.5, 1.75], np.float32),
        outlier=np.array([False, True, True]) if is_full else None,
        targets=np.array([2, -1, 0]) if is_full else None,
        levels=(np.array([0, 0, 0]), np.array([3, 1, 2])) if is_full else (),
    )
    write_assignments(tmp_path, table)
    back = read_assignments(tmp_path)
    assert back.keys == KEYS
    header = (tmp_path / "assignments.csv").read_text("utf-8").splitlines()[0]
    old = "key,cluster,confidence,distance,isolation"
    assert header == (f"{old},target,outlier,level_1,level_2" if is_full else old)
    for name in [field.name for field in fields(table)][1:]:
        before, after = getattr(table, name), getattr(back, name)
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("text", ["", "key,cluster\nx,y\n"])
def test_another_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "assignments.csv").write_text(text)
    with pytest.raises(ValueError, match="cannot be read as the table of a run"):
        read_assignments(tmp_path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_assignments(tmp_path / "nowhere")
