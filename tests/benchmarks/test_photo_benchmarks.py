"""The benchmarks of planted oddities and of predictions run and print their tables."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hadis_lightly.runs import run
from hadis_lightly.settings import DataSettings
from tests.photo_runs import tiny_settings, write_photos

ROOT = Path(__file__).parents[2]


def lines_of(name: str, *argv: str) -> list[str]:
    script = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *argv]
    done = subprocess.run(script, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_oddities(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "cifar10.npz", images=images)
    file = tmp_path / "oddities.csv"
    options = ("--seeds", "3", "--epochs", "1", "--csv", str(file))
    lines_of("oddities", *options, "--cifar10", str(tmp_path / "cifar10.npz"))
    with file.open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 4 * 4
    assert all(0 < float(row["area"]) <= 1 for row in rows)


@pytest.mark.slow
def test_predict_memory(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 20)
    data = DataSettings(source="folder", path=str(tmp_path / "photos"))
    run(tiny_settings(data, tmp_path / "run"))
    options = ("--run", str(tmp_path / "run"), "--images", str(tmp_path / "photos"))
    lines = lines_of("predict_memory", *options, "--counts", "30", "60")
    assert [line.split()[0] for line in lines[-2:]] == ["30", "60"]
