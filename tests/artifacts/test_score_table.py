"""Scores against the clock."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from hadis_lightly.artifacts.score_table import ScoreTable
from hadis_lightly.runs import run
from tests.runs.test_run import small_settings


def read(folder: Path) -> list[dict[str, float]]:
    with (folder / "scores.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_every_clustering_has_a_row(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.trainer = replace(settings.trainer, max_epochs=5)
    settings.clustering = replace(settings.clustering, every_n_epochs=2)

    result = run(settings)

    rows = read(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [0, 2, 4, 5]
    assert {name: rows[-1][name] for name in result.scores} == result.scores
    seconds = [row["seconds"] for row in rows]
    assert seconds[0] > 0 and seconds == sorted(seconds)
    assert seconds[-1] <= result.seconds
    for before, row in itertools.pairwise(rows):
        assert 0 < row["clustering_seconds"] <= row["seconds"] - before["seconds"]


def test_scores_without_labels_have_columns_of_their_own(tmp_path: Path) -> None:
    class Clusters:
        history_ = [  # noqa: RUF012
            {"epoch": 0, "seconds": 0.5, "silhouette": 0.25},
        ]

    table = ScoreTable(Clusters(), tmp_path, lambda: 2.0)  # type: ignore[arg-type]
    table.on_train_start(None, None)  # type: ignore[arg-type]

    assert (tmp_path / "scores.csv").read_text() == (
        "epoch,seconds,clustering_seconds,silhouette\n0,2.0,0.5,0.25\n"
    )


def test_an_epoch_without_a_clustering_has_no_row(tmp_path: Path) -> None:
    class Clusters:
        history_ = [{"epoch": 0, "seconds": 0.5, "acc": 0.25}]  # noqa: RUF012

    table = ScoreTable(Clusters(), tmp_path, lambda: 2.0)  # type: ignore[arg-type]
    table.on_train_start(None, None)  # type: ignore[arg-type]
    table.on_train_epoch_end(None, None)  # type: ignore[arg-type]

    assert len(read(tmp_path)) == 1


def test_rows_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    class Clusters:
        history_ = [  # noqa: RUF012
            {"epoch": 0, "seconds": 0.5, "acc": 0.25},
            {"epoch": 1, "seconds": 0.5, "acc": 0.5},
        ]

    table = ScoreTable(Clusters(), tmp_path, lambda: 9.0)  # type: ignore[arg-type]
    before = {"epoch": 0, "seconds": 2.0, "clustering_seconds": 0.5, "acc": 0.25}
    table.load_state_dict({"rows": [before]})
    table.on_train_epoch_end(None, None)  # type: ignore[arg-type]

    assert [row["seconds"] for row in read(tmp_path)] == [2.0, 9.0]
    assert table.state_dict()["rows"][1]["acc"] == pytest.approx(0.5)


def test_a_checkpoint_from_before_there_was_a_table_does_no_harm(
    tmp_path: Path,
) -> None:
    class Clusters:
        history_ = [  # noqa: RUF012
            {"epoch": 0, "seconds": 0.5, "acc": 0.25},
            {"epoch": 1, "seconds": 0.5, "acc": 0.5},
        ]

    table = ScoreTable(Clusters(), tmp_path, lambda: 9.0)  # type: ignore[arg-type]
    for _ in range(3):  # epochs without a clustering
        table.on_train_epoch_end(None, None)  # type: ignore[arg-type]

    assert [row["epoch"] for row in read(tmp_path)] == [1]
