"""Whole runs of every method."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hadis_lightly.artifacts import RunResult
from hadis_lightly.artifacts.checkpoint import load_checkpoint
from hadis_lightly.artifacts.results import split_scores
from hadis_lightly.cluster import clustering_scores
from hadis_lightly.methods.registry import with_method
from hadis_lightly.runs import run
from hadis_lightly.settings import SettingsError
from hadis_lightly.settings.changes import flat_settings
from tests.methods.test_methods import TITLES, N, tiny

_SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("hadis", "propos", "byol", "pici")
]


@pytest.fixture(scope="module", params=["cc", *_SLOW])
def result(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RunResult:
    folder = tmp_path_factory.mktemp("runs") / request.param
    return run(tiny(request.param, folder))


def test_every_method_runs_from_end_to_end(result: RunResult) -> None:
    folder = result.output_dir
    content = json.loads((folder / "results.json").read_text())
    method = content["settings"]["method"]
    assert content["method"] == result.method == TITLES[method]
    assert content["scores"] == result.scores and result.epochs == 2
    expected = flat_settings(asdict(tiny(method, folder)))
    assert flat_settings(content["settings"]) == expected
    pictures = {"clusters.png", "confusion.png", "curves.png", "map.png"}
    assert {path.name for path in result.figures} == pictures
    assert all(path.is_file() for path in result.figures)
    assert f"method: {method}" in (folder / "settings.yaml").read_text()


def test_assignments_are_the_clusters_that_were_scored(result: RunResult) -> None:
    with (result.output_dir / "assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N
    digits = load_digits().target
    for row in rows:
        assert int(row["target"]) == digits[int(row["key"])]
        assert 0 < float(row["confidence"]) <= 1
        assert 0 <= float(row["distance"]) <= 2
    labels = [int(row["cluster"]) for row in rows]
    targets = [int(row["target"]) for row in rows]
    external, _ = split_scores(result.scores)
    assert clustering_scores(targets, labels) == external
    embeddings = np.load(result.output_dir / "embeddings.npy")
    lengths = np.linalg.norm(embeddings.astype(np.float32), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


def test_losses_are_logged_under_the_names_of_the_method(result: RunResult) -> None:
    with (result.output_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {name[6:] for name in rows[0] if name.startswith("train/loss")}
    terms = {
        "CC": {"instance", "cluster"},
        "PICI": {"reconstruction", "instance", "cluster", "interaction"},
    }.get(result.method, {"dsa", "hsd", "pcl"})
    assert names == {"loss"} | {f"loss_{term}" for term in terms}
    losses = [row for row in rows if row["train/loss"]]
    assert len(losses) == 2
    if result.method == "PICI":
        found = [float(row["train/loss_reconstruction"]) > 0 for row in losses]
        assert found == [True, False]
        found = [float(row["train/loss_interaction"]) > 0 for row in losses]
        assert found == [False, True]


def test_the_checkpoint_is_plain_and_knows_its_method(result: RunResult) -> None:
    path = result.output_dir / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    method = checkpoint["hadis_lightly"]["settings"]["method"]
    assert TITLES[method] == result.method
    assert load_checkpoint(path).settings.method == method
    names = {"ClusterHeadAssignment", "PrototypeKMeans"} & set(checkpoint["callbacks"])
    has_head = method in ("cc", "pici")
    assert names == {"ClusterHeadAssignment" if has_head else "PrototypeKMeans"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cc", "pici"])
def test_the_same_seed_gives_the_same_run(method: str, tmp_path: Path) -> None:
    made = [
        run(replace(tiny(method, tmp_path / str(number)), seed=seed))
        for number, seed in enumerate((0, 0, 1))
    ]
    tables = [(r.output_dir / "assignments.csv").read_bytes() for r in made]
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cc", "pici"])
@pytest.mark.parametrize(
    "changes",
    [
        {"data.pipeline": "workers", "loader.num_workers": 1},
        {"data.pipeline": "lightly", "loader.num_workers": 1},
        {"trainer.precision": "bf16-mixed"},
        {"trainer.precision": "64-true"},
        {"loader.even_clusters": True},
        {"trainer.log_every_n_steps": 1},
    ],
    ids=lambda changes: str(next(iter(changes.items()))),
)
def test_pipelines_precisions_and_even_clusters(
    method: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    settings = with_method(tiny(method), method, changes)
    settings.loader.batch_size, settings.trainer.max_epochs = 50, 2
    settings.output_dir = str(tmp_path / "run")
    result = run(settings)
    assert {"nmi", "acc", "ari"} <= set(result.scores)
    assert result.method == TITLES[method]


@pytest.mark.parametrize(
    ("method", "name"), [("hadis", "loss_pcl"), ("pici", "loss_interaction")]
)
def test_a_run_that_max_steps_ends_has_all_its_terms(
    method: str, name: str, tmp_path: Path
) -> None:
    """Three epochs of four steps, the last of them cut short, in place of 50."""
    settings = tiny(method, tmp_path / "run", max_epochs=50, max_steps=10)
    settings.optimizer.warmup_epochs = settings.clustering.warmup_epochs = None
    settings.pici.pretraining_epochs = settings.pici.interaction_epochs = None
    result = run(settings)
    assert result.epochs == 3 and max(result.schedule.values()) <= 1
    made_with = load_checkpoint(tmp_path / "run").stamp
    assert made_with["schedule"] == result.schedule
    assert made_with["settings"]["optimizer"]["warmup_epochs"] is None  # as given
    with (tmp_path / "run" / "metrics.csv").open() as file:
        losses = [row for row in csv.DictReader(file) if row["train/loss"]]
    assert float(losses[-1][f"train/{name}"]) > 0


def test_a_warm_up_that_max_steps_makes_too_long_is_refused(tmp_path: Path) -> None:
    settings = tiny("hadis", tmp_path / "run", max_epochs=50, max_steps=10)
    settings.clustering.warmup_epochs = 3
    with pytest.raises(SettingsError, match="is 3, but the run has only 3 epochs"):
        run(settings)
    assert not (tmp_path / "run").exists()
