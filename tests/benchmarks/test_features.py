"""Heads beside other methods on the same features."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hadis_lightly.cluster import clustering_scores
from tests.benchmarks.conftest import BENCHMARKS

SMALL = (
    "features.n_views=2 features.min_steps=2 features.n_components=8 "
    "model.hidden_dim=16 model.output_dim=16 clustering.n_init=1 "
    "optimizer.warmup_epochs=1 clustering.warmup_epochs=1 trainer.max_epochs=2 "
    "trainer.logger=none quiet=true"
)


def compare_features(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(BENCHMARKS / "quality" / "features.py")]
    script += ["--data", "digits", "--images", "200", "--backbone", "pixels"]
    script += ["--common", SMALL, "--folder", str(folder / "rows"), *options]
    cache = {"HADIS_LIGHTLY_CACHE": str(folder / "cache")}
    return subprocess.run(
        script, capture_output=True, text=True, env=os.environ | cache
    )


def test_heads_and_others_share_features_and_run_once(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    options = ["--methods", "k-means", "spectral", "heads", "--tries", ""]
    options += ["--seeds", "0", "--input-size", "8"]
    options += ["--csv", str(tmp_path / "rows.csv"), "--markdown", str(table)]

    done = compare_features(tmp_path, *options)

    assert done.returncode == 0, done.stderr
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["k-means", "spectral", "HaDis heads"]
    for row in rows:
        assert row["px"] == "8"
        assert 0.3 < float(row["acc"]) <= 1
        assert 0.3 < float(row["knn"]) <= 1
        assert float(row["in all"]) >= float(row["seconds"]) >= 0
    banks = list((tmp_path / "cache" / "features").glob("*.features"))
    assert len(banks) == 1
    assert "| 8 | HaDis heads | 0 |" in table.read_text()

    banks[0].unlink()
    again = compare_features(tmp_path, *options)

    assert again.returncode == 0, again.stderr
    assert not banks[0].exists()  # nothing is computed again
    assert again.stdout.endswith(table.read_text())


def test_a_wrong_setting_is_named_before_anything_is_computed(tmp_path: Path) -> None:
    done = compare_features(tmp_path, "--tries", "", "model.no_such_thing=1")

    assert done.returncode == 1
    assert "no_such_thing" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["k-means", "spectral", "TEMI-like head"])
def test_baselines_find_kinds_that_lie_apart(name: str) -> None:
    from feature_methods import BASELINES, Features, neighbour_accuracy

    rng = torch.Generator().manual_seed(0)
    kinds = torch.arange(3).repeat(40)
    noise = 0.1 * torch.randn(120, 3, 8, generator=rng)
    images = torch.eye(8)[kinds].unsqueeze(1) + noise
    features = Features(images[:, 0], images[:, 1:])

    labels, space = BASELINES[name](features, 3, 0)

    assert clustering_scores(kinds, labels)["acc"] > 0.95
    if space is not None:
        assert neighbour_accuracy(space, kinds) > 0.95


def test_neighbour_accuracy_is_of_the_other_images() -> None:
    from feature_methods import neighbour_accuracy

    content = load_digits()
    pixels = torch.from_numpy(content.data[:300]).float()
    targets = torch.from_numpy(content.target[:300])
    unit = torch.nn.functional.normalize(pixels).numpy()
    cosines = unit @ unit.T - 2 * np.eye(300)
    nearest = targets.numpy()[np.argsort(-cosines, axis=1)[:, :5]]
    votes = [np.bincount(row).argmax() for row in nearest]
    expected = np.mean(np.array(votes) == targets.numpy())

    assert math.isclose(neighbour_accuracy(pixels, targets, 5), expected, rel_tol=1e-6)


def test_packaged_sets_become_files(tmp_path: Path) -> None:
    from packaged_sets import PACKAGED, packaged_set, views_of_set

    path = packaged_set("digits", tmp_path)
    with np.load(path) as content:
        assert content["images"].shape == (1797, 8, 8, 1)
        assert content["labels"].tolist() == load_digits().target.tolist()
    for name in PACKAGED:
        views = views_of_set(name)
        assert views is not None
        views.check()
    assert views_of_set("my_photos") is None
