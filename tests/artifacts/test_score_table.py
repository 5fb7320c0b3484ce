"""``scores.csv``: scores against the clock."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hadis_lightly.artifacts.score_table import ScoreTable
from hadis_lightly.runs import run
from tests.runs.small_run import small_settings


def read(folder: Path) -> list[dict[str, float]]:
    with (folder / "scores.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_every_clustering_has_a_row(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.trainer.max_epochs = 3
    settings.clustering.every_n_epochs = 2
    result = run(settings)
    rows = read(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [0, 2, 3]
    assert {name: rows[-1][name] for name in result.scores} == result.scores
    seconds = [row["seconds"] for row in rows]
    assert seconds[0] > 0 and seconds == sorted(seconds)
    assert seconds[-1] <= result.seconds
    for before, row in itertools.pairwise(rows):
        assert 0 < row["clustering_seconds"] <= row["seconds"] - before["seconds"]


def test_rows_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    history = [{"epoch": 1, "seconds": 0.5, "acc": 0.5}]
    clusters: Any = SimpleNamespace(history_=history)
    table = ScoreTable(clusters, tmp_path, lambda: 9.0)
    before = {"epoch": 0, "seconds": 2.0, "clustering_seconds": 0.5, "acc": 0.25}
    table.load_state_dict({"rows": [before]})
    for _ in range(2):  # the second epoch has no clustering
        table.on_train_epoch_end()
    assert [row["seconds"] for row in read(tmp_path)] == [2.0, 9.0]
    assert table.state_dict()["rows"] == read(tmp_path)


def test_a_clustering_may_lack_a_score(tmp_path: Path) -> None:
    """After a collapse there is nothing to compare with classes."""
    history: list[dict[str, float]] = []
    clusters: Any = SimpleNamespace(history_=history)
    table = ScoreTable(clusters, tmp_path, lambda: 9.0)
    for epoch, scores in enumerate(({"size_max": 9.0}, {"acc": 0.5, "size_max": 5.0})):
        history.append({"epoch": epoch, "seconds": 0.5, **scores})
        table.on_train_epoch_end()
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["acc"] for row in rows] == ["", "0.5"]
    assert [row["size_max"] for row in rows] == ["9.0", "5.0"]
