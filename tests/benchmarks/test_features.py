"""Heads beside other methods on the same features."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hadis_lightly.cluster import clustering_scores

SMALL = (
    "features.n_views=2 features.min_steps=2 features.n_components=8 "
    "model.hidden_dim=16 model.output_dim=16 clustering.n_init=1 "
    "optimizer.warmup_epochs=1 clustering.warmup_epochs=1 trainer.max_epochs=2 "
    "trainer.logger=none quiet=true"
)


@pytest.fixture
def compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command; returns what it prints."""
    from features import main

    def run(*options: str) -> str:
        words = ["--data", "digits", "--images", "200", "--backbone", "pixels"]
        words += ["--common", SMALL, "--folder", str(tmp_path / "rows"), *options]
        monkeypatch.setattr("sys.argv", ["features.py", *words])
        monkeypatch.setenv("HADIS_LIGHTLY_CACHE", str(tmp_path / "cache"))
        main()
        return capsys.readouterr().out

    return run


def test_heads_and_others_share_features_and_run_once(
    tmp_path: Path, compare: Callable[..., str]
) -> None:
    table = tmp_path / "table.md"
    options = ["--methods", "k-means", "spectral", "heads", "--tries", ""]
    options += ["--seeds", "0", "--input-size", "8"]
    options += ["--csv", str(tmp_path / "rows.csv"), "--markdown", str(table)]

    compare(*options)

    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["k-means", "spectral", "HaDis heads"]
    for row in rows:
        assert row["px"] == "8"
        assert 0.3 < float(row["acc"]) <= 1
        assert 0.3 < float(row["knn"]) <= 1
        assert float(row["in all"]) >= float(row["seconds"]) >= 0
    (bank,) = (tmp_path / "cache" / "features").glob("*.features")
    assert "| 8 | HaDis heads | 0 |" in table.read_text()

    bank.unlink()

    assert compare(*options).endswith(table.read_text())
    assert not bank.exists()  # nothing is computed again


def test_rare_classes(tmp_path: Path) -> None:
    from tries import long_tailed, recall_of_rare

    path = tmp_path / "all.npz"
    labels = np.arange(300) % 3
    np.savez(path, images=np.zeros((300, 2, 2), np.uint8), labels=labels)
    with np.load(long_tailed(path, 25, 0, tmp_path / "rows")) as content:
        sizes = sorted(np.bincount(content["labels"]))
        assert len(content["images"]) == sum(sizes)
    assert sizes == [4, 20, 100]
    targets = np.repeat([0, 1, 2], [6, 2, 4])
    clusters = np.array([5, 5, 5, 5, 1, 1, 5, 3, 1, 1, 1, 1])
    # Of class 1 one image of two has its cluster, 3, and of class 2 all have theirs.
    assert recall_of_rare(targets, clusters, 2) == pytest.approx(0.75)


def test_a_wrong_setting_is_named_before_anything_is_computed(
    tmp_path: Path, compare: Callable[..., str]
) -> None:
    with pytest.raises(SystemExit, match="no_such_thing"):
        compare("--tries", "", "model.no_such_thing=1")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["k-means", "spectral", "TEMI-like head"])
def test_baselines_find_kinds_that_lie_apart(name: str) -> None:
    from feature_methods import BASELINES, Features, TemiHeads, neighbour_accuracy

    rng = torch.Generator().manual_seed(0)
    kinds = torch.arange(3).repeat(40)
    noise = 0.1 * torch.randn(120, 3, 8, generator=rng)
    images = torch.eye(8)[kinds].unsqueeze(1) + noise
    features = Features(images[:, 0], images[:, 1:])

    method = BASELINES[name]
    if name == "TEMI-like head":
        method = TemiHeads(n_steps=200, batch_size=64).fit
    labels, space = method(features, 3, 0)

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
