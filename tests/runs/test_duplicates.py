"""A run that trains on one image of each group of copies."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.report.run_report import data_of_run
from hadis_lightly.runs import run
from hadis_lightly.runs.source import build_source, list_duplicates
from hadis_lightly.settings import DataSettings
from tests.data.loading.test_duplicate_search import write_crops
from tests.photo_runs import tiny_settings


def write_copies(folder: Path) -> None:
    """48 images in one class, and copies of two of them in another."""
    folder.mkdir()
    write_crops(folder / "a")
    (folder / "b").mkdir()
    shutil.copy(folder / "a" / "07.png", folder / "b" / "0.png")
    Image.open(folder / "a" / "30.png").save(folder / "b" / "1.jpg")


def test_copies_are_folded_and_unfolded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_copies(tmp_path / "photos")
    data = DataSettings(
        source="folder", path=str(tmp_path / "photos"), duplicates="fold"
    )
    settings = tiny_settings(data, tmp_path / "run")
    settings.quiet = False
    settings.trainer.progress_bar = False
    folder = run(settings).output_dir
    said = "2 copies (1 with the same bytes, 1 nearly the same), left out of training"
    assert said in capsys.readouterr().out
    table = read_assignments(folder)
    rows = {key: row for row, key in enumerate(table.keys)}
    assert len(rows) == 50
    assert table.targets is not None and table.targets[rows["b/0.png"]] == 1
    embeddings = np.load(folder / "embeddings.npy")
    points = np.load(folder / "map.npy")
    for copy, first in (("b/0.png", "a/07.png"), ("b/1.jpg", "a/30.png")):
        for values in (table.labels, table.distance, embeddings, points):
            np.testing.assert_array_equal(values[rows[copy]], values[rows[first]])
    with (folder / "duplicates.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["group", "key", "kind"],
            ["0", "a/07.png", "first"],
            ["0", "b/0.png", "file"],
            ["1", "a/30.png", "first"],
            ["1", "b/1.jpg", "near"],
        ]
    saved = load_run(folder)
    assert saved.result["num_images"] == 48
    report = data_of_run(saved)
    assert report.n_images == 50
    assert report.replaced == ""
    settings.trainer.resume, settings.trainer.max_epochs = "auto", 3
    settings.quiet = True
    assert len(read_assignments(run(settings).output_dir)) == 50


def test_copies_are_listed_alone(tmp_path: Path) -> None:
    write_copies(tmp_path / "photos")
    data = DataSettings(
        source="folder", path=str(tmp_path / "photos"), duplicates="list"
    )
    source = build_source(tiny_settings(data, tmp_path / "run"))
    assert (len(source), source.folded) == (50, None)
    assert list_duplicates(source, tmp_path).startswith("2 copies (1 with the same")
    assert len((tmp_path / "duplicates.csv").read_text().splitlines()) == 5
