"""Trainings side by side, and how good the features of a run are."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hadis_lightly.data import ArraySource
from hadis_lightly.data.image_source import position_keys
from hadis_lightly.settings import DataSettings, Settings
from tests.benchmarks.conftest import BENCHMARKS

SMALL = (
    "data.limit=400 loader.batch_size=100 views.input_size=8 model.hidden_dim=16 "
    "model.output_dim=8 clustering.n_init=1 trainer.logger=none"
)


def compare(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(BENCHMARKS / "quality" / "compare.py")]
    script += ["--epochs", "2", "--seeds", "0", "--folder", str(folder / "runs")]
    script += ["--common", SMALL, "--csv", str(folder / "new" / "table.csv"), *options]
    return subprocess.run(script, capture_output=True, text=True)


@pytest.mark.slow
def test_tries_are_scored_side_by_side_and_run_once(tmp_path: Path) -> None:
    words = "loader.batch_size=50 model.teacher_momentum=0.9"
    tries = ["--features", "--tries", "", words, "method=propos"]

    done = compare(tmp_path, *tries)

    assert done.returncode == 0, done.stderr
    with (tmp_path / "new" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["settings"] for row in rows] == tries[2:]
    for row in rows:
        assert row["epochs"] == "2"
        assert 0 < float(row["acc"]) <= 1
        # Features of an untrained network tell many of ten digits apart.
        assert 0.3 < float(row["linear"]) <= 1
        assert 0.3 < float(row["nearest_neighbours"]) <= 1
    table = done.stdout.splitlines()[-3:]
    names = ("as the recipe", words, "method=propos")
    for line, name in zip(table, names, strict=True):
        assert line.startswith(f"| {name} | 0 |")

    again = compare(tmp_path, *tries)

    assert again.returncode == 0, again.stderr
    assert "results in" not in again.stdout  # nothing trains again
    assert again.stdout.splitlines()[-3:] == table


def test_a_wrong_setting_is_named_before_anything_runs(tmp_path: Path) -> None:
    done = compare(tmp_path, "--tries", "", "model.no_such_thing=1")

    assert done.returncode == 1
    assert "no_such_thing" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    content = load_digits()
    is_test = torch.arange(len(content.target)) % 6 == 0
    features = torch.from_numpy(content.data).float()
    return features, torch.from_numpy(content.target), is_test


@pytest.mark.parametrize("name", ["linear_accuracy", "nearest_neighbour_accuracy"])
def test_pixels_of_digits_are_easy_and_noise_is_not(name: str) -> None:
    import linear_accuracy

    features, targets, is_test = digits()
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))

    score = getattr(linear_accuracy, name)

    assert score(features, targets, is_test) > 0.9
    assert score(noise, targets, is_test) < 0.25


def source_of(n: int, keys: list[str] | None = None) -> ArraySource:
    pixels = np.zeros((n, 8, 8, 3), np.uint8)
    targets = np.zeros(n, int)
    return ArraySource("npz", None, targets, keys or position_keys(n), "", 3, pixels)


def test_images_to_test_with(tmp_path: Path) -> None:
    from linear_accuracy import held_out_rows

    keys = [f"{index:06d}" for index in (3, 5, 9, 12)]  # of a part of the images
    np.savez(tmp_path / "a.npz", is_train=np.arange(20) % 4 != 1)
    npz = Settings(data=DataSettings("npz", str(tmp_path / "a.npz")))
    found = held_out_rows(npz, source_of(4, keys))
    assert found.tolist() == [False, True, True, False]

    keys = ["000007", "049999", "050000", "059999"]
    found = held_out_rows(Settings(), source_of(4, keys))  # CIFAR-10
    assert found.tolist() == [False, False, True, True]

    digits = Settings(data=DataSettings("digits"))
    found = held_out_rows(digits, source_of(600))
    assert found.sum() == 100
    assert (found == held_out_rows(digits, source_of(600))).all()


@pytest.mark.slow
def test_more_clusters_are_merged(tmp_path: Path) -> None:
    pixels, targets = load_digits(return_X_y=True)
    np.savez(tmp_path / "digits.npz", embeddings=pixels, targets=targets)
    script = [sys.executable, str(BENCHMARKS / "quality" / "levels.py")]
    script += [str(tmp_path / "digits.npz"), "--seeds", "0", "--factors", "1", "2"]
    script += [
        "--coarse",
        "0",
        "6",
        "--linkages",
        "--csv",
        str(tmp_path / "levels.csv"),
    ]

    done = subprocess.run(script, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    with (tmp_path / "levels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["found"] for row in rows] == 5 * ["10"] + 5 * ["20"]
    assert len({row["ari"] for row in rows[:5]}) == 1  # nothing to merge
    for row in rows:
        assert 0.3 < float(row["acc"]) <= 1 and 0 <= float(row["smallest"]) <= 1
    assert len(done.stdout.splitlines()) == 2 + len(rows)
