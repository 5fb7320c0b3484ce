"""Names given in a report label new images; what was moved by hand stays moved."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hadis_lightly.artifacts.names_file import clusters_id, read_names
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.cli.predict import ImagesToPredict, PredictSettings, predict_images
from hadis_lightly.settings import SettingsError


@pytest.fixture(scope="module")
def names(run_folder: Path) -> dict[str, Any]:
    """Cluster 0 split, 1 and 2 of one name; one image moved, one excluded."""
    run = load_run(run_folder)
    table = run.assignments

    def moved(row: int, label: str | None) -> dict[str, Any]:
        measures = float(table.confidence[row]), float(table.distance[row])
        place = dict(zip(("confidence", "distance"), measures, strict=True))
        return {"label": label, "cluster": int(table.labels[row]), **place}

    other = {**moved(2, "by hand"), "distance": float(table.distance[2]) + 0.5}
    return {
        "format": "hadis-lightly names 1",
        "run": clusters_id(run.prototypes),
        "n_clusters": 3,
        "names": {"0a": "left", "1": "same, \"kind\"", "2": "same, \"kind\""},
        "split": [0],
        "accepted": [1],
        "rejected": [],
        "images": {
            table.keys[0]: moved(0, "by hand"),
            table.keys[1]: moved(1, None),
            table.keys[2]: other,
        },
    }  # fmt: skip


def labels(names: dict[str, Any], run: Path, path: Path, folder: Path) -> list[Any]:
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
    out = folder / "a.csv"
    data = ImagesToPredict(path=str(path))
    predict_images(
        PredictSettings(
            checkpoint=str(run), out=str(out), names=str(folder / "names.json"),
            device="cpu", data=data,
        )
    )  # fmt: skip
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_images_get_the_names_of_their_clusters(
    names: dict[str, Any],
    run_folder: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = labels(names, run_folder, photos, tmp_path)
    columns = ["file", "cluster", "label", "confidence", "distance", "outlier"]
    assert list(rows[0]) == columns
    table = load_run(run_folder).assignments
    found = {row["file"]: row["label"] for row in rows}
    halves = table.levels[-1] % 2
    by_cluster = [
        ("left", "cluster 0b")[halves[row]] if label == 0 else 'same, "kind"'
        for row, label in enumerate(table.labels)
    ]
    expected = ["by hand", "", *by_cluster[2:]]
    assert [found[key] for key in table.keys] == expected
    assert len(np.unique(halves[table.labels == 0])) == 2
    printed = capsys.readouterr().out
    assert "images with a label given by hand: 2" in printed
    assert "excluded images, without a label: 1\n" in printed
    assert "1 with the file name of an image moved by hand look different" in printed


def test_another_image_of_the_same_name_is_not_taken_for_it(
    names: dict[str, Any], run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    table = load_run(run_folder).assignments
    first, other = table.keys[0], table.keys[int(np.argmax(table.distance))]
    (tmp_path / "new" / first).parent.mkdir(parents=True)
    shutil.copy(photos / other, tmp_path / "new" / first)
    rejected = {**names, "rejected": [0, 1, 2]}
    (row,) = labels(rejected, run_folder, tmp_path / "new", tmp_path)
    assert row["label"] == ""


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"run": "0" * 16}, "names are of another run: download names.json from"),
        ({"n_clusters": 4}, "names are of a run with 4 clusters, but this one has 3"),
        ({"format": "x"}, "is no names.json of a report"),
        ({"names": {"7": "x"}}, "is damaged: the name of cluster '7' is 'x'"),
        ({"split": [3]}, "is damaged: split has cluster 3, of 3 clusters"),
        ({"n_clusters": float("inf")}, "is damaged: cannot convert float infinity"),
        ({"images": {"a": {}}}, "is damaged: 'label' is missing"),
    ],
)
def test_names_that_do_not_fit(
    changes: dict[str, Any],
    message: str,
    names: dict[str, Any],
    run_folder: Path,
    photos: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError) as error:
        labels({**names, **changes}, run_folder, photos, tmp_path)
    assert message in str(error.value)
    assert not (tmp_path / "a.csv").exists()


def test_what_is_no_file_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json' cannot be read: Expecting"):
        read_names(tmp_path / "a.json")
    settings = PredictSettings(checkpoint=str(tmp_path), names="a.json", level=1)
    settings.data.path = str(tmp_path)
    with pytest.raises(SettingsError, match="names cannot be combined with level=1"):
        predict_images(settings)
