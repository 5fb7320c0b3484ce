"""Short trainings side by side, and how good the features of a run are."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hadis_lightly.data import ArraySource
from hadis_lightly.data.image_source import position_keys
from hadis_lightly.settings import DataSettings, Settings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = (
    "data.limit=400 loader.batch_size=100 views.input_size=8 model.hidden_dim=16 "
    "model.output_dim=8 clustering.n_init=1 trainer.logger=none"
)


@pytest.fixture(scope="module")
def accuracy() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import linear_accuracy

        yield linear_accuracy


def short_runs(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(BENCHMARKS / "short_runs.py"), "--recipe", "digits"]
    script += ["--epochs", "2", "--folder", str(folder / "runs"), "--common", SMALL]
    script += ["--csv", str(folder / "new" / "short.csv"), *options]
    return subprocess.run(script, capture_output=True, text=True)


def test_tries_are_scored_side_by_side_and_run_once(tmp_path: Path) -> None:
    words = "loader.batch_size=50 model.teacher_momentum=0.9"
    tries = ["--tries", "", words]

    done = short_runs(tmp_path, *tries)

    assert done.returncode == 0, done.stderr
    with (tmp_path / "new" / "short.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["settings"] for row in rows] == tries[1:]
    for row in rows:
        assert row["epochs"] == "2"
        assert 0 < float(row["acc"]) <= 1
        # Ten digits, and features of an untrained network tell many of them apart.
        assert 0.3 < float(row["linear"]) <= 1
        assert 0.3 < float(row["nearest_neighbours"]) <= 1
    table = done.stdout.splitlines()[-2:]
    assert table[0].startswith("| as the recipe | 0 |")
    assert table[1].startswith(f"| {words} | 0 |")

    again = short_runs(tmp_path, *tries)

    assert again.returncode == 0, again.stderr
    assert "results in" not in again.stdout  # nothing is trained any more
    assert again.stdout.splitlines()[-2:] == table


def test_a_wrong_setting_is_named_before_anything_runs(tmp_path: Path) -> None:
    done = short_runs(tmp_path, "--tries", "", "model.no_such_thing=1")

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
def test_pixels_of_digits_are_easy_and_noise_is_not(
    accuracy: ModuleType, name: str
) -> None:
    features, targets, is_test = digits()
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))

    score = getattr(accuracy, name)

    assert score(features, targets, is_test) > 0.9
    assert score(noise, targets, is_test) < 0.25


def test_a_class_that_is_only_tested_counts_as_wrong(accuracy: ModuleType) -> None:
    features, targets, _ = digits()
    is_test = targets == 9

    assert accuracy.linear_accuracy(features, targets, is_test) == 0
    assert accuracy.nearest_neighbour_accuracy(features, targets, is_test) == 0


def source_of(n: int, keys: list[str] | None = None) -> ArraySource:
    pixels = np.zeros((n, 8, 8, 3), np.uint8)
    targets = np.zeros(n, int)
    return ArraySource("npz", None, targets, keys or position_keys(n), "", 3, pixels)


def test_a_file_says_itself_which_images_are_for_training(
    accuracy: ModuleType, tmp_path: Path
) -> None:
    is_train = np.arange(20) % 4 != 1
    np.savez(tmp_path / "a.npz", is_train=is_train)
    settings = Settings(data=DataSettings("npz", str(tmp_path / "a.npz")))
    keys = [f"{index:06d}" for index in (3, 5, 9, 12)]  # of a part of the images

    is_test = accuracy.test_rows(settings, source_of(4, keys))

    assert is_test.tolist() == [False, True, True, False]


def test_of_cifar10_the_last_images_are_tested(accuracy: ModuleType) -> None:
    keys = ["000007", "049999", "050000", "059999"]

    is_test = accuracy.test_rows(Settings(), source_of(4, keys))

    assert is_test.tolist() == [False, False, True, True]


def test_of_other_sets_a_sixth_is_tested(accuracy: ModuleType) -> None:
    settings = Settings(data=DataSettings("digits"))

    is_test = accuracy.test_rows(settings, source_of(600))

    assert is_test.sum() == 100
    assert (is_test == accuracy.test_rows(settings, source_of(600))).all()
