"""Runs that start from names given by hand, and what later commands know of them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.checkpoint import CheckpointError
from hadis_lightly.artifacts.names_file import read_names
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.cli.predict import ImagesToPredict, PredictSettings, predict_images
from hadis_lightly.formats import images_of_run
from hadis_lightly.methods import with_method
from hadis_lightly.report.run_report import data_of_run
from hadis_lightly.runs import run
from hadis_lightly.settings import DataSettings, Settings, SettingsError
from tests.photo_runs import tiny_settings, write_names
from tests.runs.heads_run import heads_settings, write_weights

# Their files are photo, 000 é.png and so on; each fifth lies in more/of them.
LABELS = {
    1: "one", 2: "two", 3: "two", 4: "one", 6: "one", 7: "two", 8: None, 9: None
}  # fmt: skip


def file_of(number: int) -> str:
    mode = ("L", "RGB", "RGBA", "P")[number % 4]
    suffix = "png" if mode in ("RGBA", "P") else ("jpg", "PNG", "JPEG")[number % 3]
    place = "" if number % 5 else "more/of them/"
    return f"{place}photo, {number:03} é.{suffix}"


@pytest.fixture
def names(tmp_path: Path) -> Path:
    labels = {file_of(number): label for number, label in LABELS.items()}
    del labels[file_of(9)]
    return write_names(
        tmp_path / "names.json",
        labels | {"gone.png": "three"},
        rejected=[1],
        rejected_images=[file_of(9)],
    )


@pytest.fixture
def settings(photos: Path, tmp_path: Path, names: Path) -> Settings:
    data = DataSettings(source="folder", path=str(photos), on_error="skip", cache="off")
    made = heads_settings(tmp_path, data, write_weights(tmp_path))
    made.names = str(names)
    return made


def test_images_of_a_name_end_in_its_cluster_and_all_commands_know_it(
    settings: Settings, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(settings)
    said = capsys.readouterr().out
    assert "names: one, two; examples: 6 images; excluded: 2" in said
    assert (
        "WARNING: 1 of the 9 images decided by hand are not here ('gone.png')" in said
    )
    assert "WARNING: without an example, and so unknown to this run: lost" in said
    table = read_assignments(result.output_dir)
    rows = {key: row for row, key in enumerate(table.keys)}
    numbers = {"one": 0, "two": 1}
    for number, label in LABELS.items():
        if label is not None:
            assert table.labels[rows[file_of(number)]] == numbers[label]
    assert len(set(table.labels)) == 3  # one cluster is left without a name

    found = read_names(result.output_dir / "names.json")
    assert found.names == {"0": "one", "1": "two"}
    assert {file: image.label for file, image in found.images.items()} == {
        file_of(number): label for number, label in LABELS.items()
    }

    predict = PredictSettings(
        checkpoint=str(result.output_dir / "checkpoints" / "last.ckpt"),
        out=str(tmp_path / "a.csv"),
        sort_into=str(tmp_path / "sorted"),
        device="cpu",
        quiet=True,
        data=ImagesToPredict(path=str(photos)),
    )
    predict_images(predict)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["file"]: row for row in csv.DictReader(file)}
    for key, row in rows.items():
        assert int(labels[key]["cluster"]) == table.labels[row]
        expected = ["one", "two", "cluster 2"][table.labels[row]]
        if key in (file_of(8), file_of(9)):
            expected = ""
        assert labels[key]["label"] == expected
        assert (tmp_path / "sorted" / expected / key).exists() == (expected != "")
    # The names beside a copy are those of another run.
    predict.checkpoint = str(tmp_path / "copy.ckpt")
    shutil.copy(result.output_dir / "checkpoints" / "last.ckpt", predict.checkpoint)
    predict.out, predict.sort_into = str(tmp_path / "b.csv"), None
    predict_images(predict)
    header = (tmp_path / "b.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "file,cluster,confidence,distance,outlier"
    saved = load_run(result.output_dir)
    exported = images_of_run(saved)
    assert dict(zip(exported.source.keys, exported.labels, strict=True)) == {
        key: row["label"] for key, row in labels.items() if row["label"]
    }
    assert exported.num_excluded == 2
    given = data_of_run(saved, plane=lambda rows: rows[:, :2]).names
    assert given is not None and given["names"] == found.names
    assert given["images"][file_of(1)]["example"] is True
    assert given["images"][file_of(8)]["example"] is False


def test_a_table_of_labels_starts_the_same_run(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_names = read_assignments(run(settings).output_dir)
    rows = [("file", "label", "confidence", "decided_by")]
    rows += [(file_of(n), label or "", "1", "hand") for n, label in LABELS.items()]
    rows += [(file_of(n), "lost", "0.5", "cluster") for n in (11, 12)]
    rows += [(file_of(13), "cluster 2", "0.5", "cluster")]
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    settings.names = str(tmp_path / "labels.csv")
    capsys.readouterr()
    result = run(settings)
    said = capsys.readouterr().out
    assert "names: one, two; examples: 6 images; excluded: 2" in said
    assert "unknown to this run: lost\n" in said
    by_table = read_assignments(result.output_dir)
    assert by_table.labels.tolist() == by_names.labels.tolist()

    (tmp_path / "labels.csv").write_text("file,other\na.png,x\n")
    with pytest.raises(SettingsError, match=r"labels\.csv' has no column label"):
        run(settings)


@pytest.mark.parametrize("train", ["nothing", "all"])
def test_features_as_they_are_and_pixels(
    train: str, settings: Settings, photos: Path, tmp_path: Path
) -> None:
    if train == "all":
        names, data = settings.names, settings.data
        settings = tiny_settings(data, tmp_path / "pixels")
        settings.names = names
    settings.model.train = train
    table = read_assignments(run(settings).output_dir)
    rows = {key: row for row, key in enumerate(table.keys)}
    found = [table.labels[rows[file_of(n)]] for n, label in LABELS.items() if label]
    assert found == [0, 1, 1, 0, 0, 1]


def test_a_number_of_clusters_is_chosen_from_the_number_of_names_on(
    settings: Settings, tmp_path: Path
) -> None:
    labels = {file_of(n): f"name {n}" for n in LABELS}
    settings.names = str(write_names(tmp_path / "more.json", labels))
    settings.n_clusters = "2-8"
    result = run(settings)
    assert result.n_clusters >= 8
    assert (result.output_dir / "names.json").exists()


def test_copies_that_are_folded_are_examples_of_the_first(
    settings: Settings, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copies"
    shutil.copytree(photos, folder)
    (folder / "zz.png").write_bytes((photos / file_of(2)).read_bytes())
    settings.names = str(
        write_names(tmp_path / "copies.json", {"zz.png": "two", file_of(1): "one"})
    )
    settings.data.path, settings.data.duplicates = str(folder), "fold"
    table = read_assignments(run(settings).output_dir)
    rows = {key: row for row, key in enumerate(table.keys)}
    assert table.labels[rows["zz.png"]] == table.labels[rows[file_of(2)]] == 1


@pytest.mark.parametrize(
    "labels, message",
    [
        ({file_of(1): None}, "has no image with a label given by hand: mark some in"),
        (
            {"a/b.png": "x"},
            "none of its 1 images is here, such as 'a/b.png'",
        ),
        (
            {file_of(n): f"name {n}" for n in LABELS},
            "n_clusters is 3, but names has 8 names",
        ),
        (
            {file_of(n): "one" for n in range(1, 60)},
            "n_clusters is 3, but names leaves too few images without a label (1) for "
            "clusters without a name: give at most 2",
        ),
    ],
)
def test_names_that_do_not_fit(
    labels: dict[str, str | None], message: str, settings: Settings, tmp_path: Path
) -> None:
    settings.names = str(write_names(tmp_path / "other.json", labels))
    with pytest.raises(SettingsError) as error:
        run(settings)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_cluster_head_takes_no_examples(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="method=cc has a cluster head"):
        run(with_method(settings, "cc", {"loader.batch_size": 32}))


def test_a_range_ends_where_each_cluster_still_has_an_image_of_its_own(
    settings: Settings, tmp_path: Path
) -> None:
    labels = {file_of(n): "one" if n % 2 else "two" for n in range(56)}
    settings.names = str(write_names(tmp_path / "most.json", labels))
    settings.n_clusters = "2-20"
    assert run(settings).n_clusters <= 2 + 60 - 56


@pytest.mark.parametrize("train", ["heads", "all"])
def test_a_run_is_resumed_with_the_examples_that_it_began_with(
    train: str, settings: Settings, names: Path, tmp_path: Path
) -> None:
    if train == "all":
        given, data = settings.names, settings.data
        settings = tiny_settings(data, tmp_path / "pixels")
        settings.names = given
    settings.optimizer.warmup_epochs, settings.clustering.warmup_epochs = 0, 1
    result = run(settings)
    settings.trainer.resume, settings.trainer.max_epochs = str(result.output_dir), 4
    labels = {file_of(number): label for number, label in LABELS.items()}
    write_names(names, labels | {file_of(9): "two"})
    with pytest.raises(CheckpointError, match=r"names '.*' has other examples now"):
        run(settings)
    renamed = {"one": "a", "two": "b", None: None}
    write_names(names, {file: renamed[label] for file, label in labels.items()})
    folder = run(settings).output_dir
    assert read_names(folder / "names.json").names == {"0": "a", "1": "b"}
