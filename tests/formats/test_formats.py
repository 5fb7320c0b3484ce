"""Every format, read by its tool or, where that is large, by its published layout."""

from __future__ import annotations

import base64
import csv
import dataclasses
import gc
import io
import json
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.artifacts.names_file import clusters_id
from hadis_lightly.artifacts.saved_run import SavedRun
from hadis_lightly.cli import export
from hadis_lightly.data import ArraySource, DataError, load_folder
from hadis_lightly.data.image_source import position_keys
from hadis_lightly.formats import (
    FORMATS,
    ClusteredImages,
    export_clusters,
    images_of_run,
)
from hadis_lightly.formats.image_files import linked_images
from tests.formats.conftest import NUM_IMAGES


def test_columns(saved: SavedRun, images: ClusteredImages) -> None:
    names = ['Häns & "Co" <x>', "cluster 1", "cluster 1"]
    assert images.labels == [names[label] for label in images.table.labels]
    with (saved.folder / "assignments.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = images.columns()
    assert set(rows[0]) | {"label", "decided_by", "class"} == set(columns)
    assert [row["key"] for row in rows] == columns["key"]
    for name in ("confidence", "distance", "level_1"):
        assert [float(row[name]) for row in rows] == columns[name]
    assert set(columns["decided_by"]) == {"cluster"}


@pytest.fixture
def names(saved: SavedRun) -> dict[str, Any]:
    """Cluster 0 split, 1 named, 2 rejected; one image moved and one excluded."""
    table = saved.assignments

    def decided(row: int, label: str | None) -> dict[str, Any]:
        place = {"cluster": int(table.labels[row]), "confidence": 0.5, "distance": 0.5}
        return {"label": label, **place}

    moved, excluded = np.flatnonzero(table.labels != 2)[:2]
    return {
        "format": "hadis-lightly names 1",
        "run": clusters_id(saved.prototypes),
        "n_clusters": 3,
        "names": {"0": "whole", "0a": "left", "1": "one", "2": "junk"},
        "split": [0],
        "accepted": [],
        "rejected": [2],
        "images": {
            table.keys[moved]: decided(moved, "by hand"),
            table.keys[excluded]: decided(excluded, None),
        },
    }


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_moves_splits_and_rejections_reach_the_labels(
    saved: SavedRun, names: dict[str, Any], tmp_path: Path
) -> None:
    images = images_of_run(saved, names=written(tmp_path / "names.json", names))
    table, halves = saved.assignments, saved.assignments.levels[-1] % 2
    moved, excluded = names["images"]
    expected = {
        key: {0: ("left", "cluster 0b")[half], 1: "one"}[cluster]
        for key, cluster, half in zip(table.keys, table.labels, halves, strict=True)
        if cluster != 2 and key != excluded
    } | {moved: "by hand"}
    assert "cluster 0b" in expected.values() and "left" in expected.values()
    columns = images.columns()
    assert dict(zip(columns["key"], columns["label"], strict=True)) == expected
    assert images.num_excluded == NUM_IMAGES - len(expected)
    by_hand = columns["key"].index(moved)
    assert columns["decided_by"].index("hand") == by_hand
    assert columns["decided_by"].count("hand") == 1
    assert columns["confidence"][by_hand] == 1.0

    # The table that the report saves of the same decisions.
    rows = [("file", "label", "confidence", "decided_by")]
    rows += [(file, label, "0.5", "cluster") for file, label in expected.items()]
    rows = [(*row[:3], "hand") if row[0] == moved else row for row in rows]
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    by_table = images_of_run(saved, names=tmp_path / "labels.csv")
    assert by_table.columns() == columns
    assert by_table.num_excluded == images.num_excluded


def test_a_table_of_ones_own(saved: SavedRun, tmp_path: Path) -> None:
    keys, path = saved.assignments.keys, tmp_path / "mine.csv"
    # As a spreadsheet saves it, in some countries.
    path.write_text(f'file;label\n"{keys[3]}";ünten\n"{keys[5]}";\n', "utf-8-sig")
    images = images_of_run(saved, names=path)
    assert (images.table.keys, images.labels) == ([keys[3]], ["ünten"])
    assert images.columns()["decided_by"] == ["hand"]
    path.write_text("file,label\na.png,cat\n")
    with pytest.raises(ValueError, match="none of its 1 images is one of the run's"):
        images_of_run(saved, names=path)
    path.write_text(f'file,label\n"{keys[3]}",\n')
    with pytest.raises(DataError, match="all of them are excluded"):
        images_of_run(saved, names=path)


def test_clusters_at_a_level(saved: SavedRun, tmp_path: Path) -> None:
    images = images_of_run(saved, level=2)
    level = saved.assignments.levels[1].tolist()
    assert len(set(level)) > 3
    assert images.columns()["cluster"] == level
    assert images.labels == [f"cluster {cluster}" for cluster in level]
    with pytest.raises(ValueError, match="level must be from 1 to 2, got 3"):
        images_of_run(saved, level=3)
    with pytest.raises(ValueError, match="names cannot be combined with level=1"):
        images_of_run(saved, level=1, names=written(tmp_path / "a.json", ["cats"]))


@pytest.mark.parametrize(
    "content, reason",
    [
        ("[", "cannot read names"),
        ('{"7": "cats"}', "names cluster 7, but the run has clusters 0 to 2"),
        ('{"1": 5}', "cluster 1 must have a text, got 5"),
        ('{"cats": 1}', "cannot read names"),
        ('"cats"', "cannot read names"),
    ],
)
def test_names_that_do_not_fit(
    saved: SavedRun, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        images_of_run(saved, names=tmp_path / "names.json")


def test_names_of_another_run(
    saved: SavedRun, names: dict[str, Any], tmp_path: Path
) -> None:
    path = written(tmp_path / "names.json", {**names, "run": "0" * 16})
    with pytest.raises(ValueError, match="names are of another run"):
        images_of_run(saved, names=path)


@pytest.mark.parametrize(
    "content",
    [
        {"1": "cats"},
        [None, "cats", ""],
        {"run": "a", "names": {"1": "cats", "2": None}},
        {"names": [None, "cats", ""]},
    ],
)
def test_names_of_clusters(saved: SavedRun, tmp_path: Path, content: Any) -> None:
    images = images_of_run(saved, names=written(tmp_path / "a.json", content))
    names = ["cluster 0", "cats", "cluster 2"]
    assert images.labels == [names[label] for label in images.table.labels]


def test_an_unknown_format_makes_no_folder(
    images: ClusteredImages, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="to must be one of fiftyone, "):
        export_clusters(images, "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", FORMATS)
def test_nothing_is_overwritten_and_no_photo_changes(
    images: ClusteredImages, tmp_path: Path, to: str
) -> None:
    root = Path(images.source.root)  # type: ignore[attr-defined]
    photos = {path: path.read_bytes() for path in root.rglob("*.*")}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done: list[int] = []
    path = export_clusters(
        images, to, tmp_path / "out", progress=lambda row, n: done.append(row)
    )
    assert path.parent == tmp_path / "out-2" and path.is_file()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert photos == {path: path.read_bytes() for path in root.rglob("*.*")}
    assert done == ([] if to == "parquet" else list(range(1, NUM_IMAGES + 1)))


def test_images_of_one_name_all_stay(tmp_path: Path) -> None:
    """As where upper case does not count, or where a PNG is written for a TIFF."""
    for name, colour in (("a.tif", "red"), ("a.tif.png", "blue")):
        Image.new("RGB", (3, 2), colour).save(tmp_path / name)
    source = load_folder(tmp_path)
    source = source.subset(np.array([0, 1, 0, 1]), "twice")
    (tmp_path / "out").mkdir()
    paths = linked_images(source, tmp_path / "out")
    for row, path in enumerate(paths):
        with Image.open(tmp_path / "out" / path) as image:
            assert image.getpixel((0, 0)) == source.read(row).getpixel((0, 0))
    assert len(set(paths)) == 4
    assert Image.open(tmp_path / "a.tif.png").getpixel((0, 0)) == (0, 0, 255)


def test_images_that_are_gone_are_left_out(
    saved: SavedRun, images: ClusteredImages, tmp_path: Path
) -> None:
    keys = images.table.keys
    for key in keys[3:5]:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(tmp_path / key)
    found = images_of_run(saved, path=str(tmp_path))
    assert found.num_gone == NUM_IMAGES - 2
    assert found.table.keys == keys[3:5]
    assert found.table.labels.tolist() == images.table.labels[3:5].tolist()
    np.testing.assert_array_equal(found.embeddings, images.embeddings[3:5])
    export_clusters(found, "imagefolder", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image of the run is left"):
        images_of_run(saved, path=str(tmp_path / "empty"))


def test_fiftyone_has_the_published_layout(
    images: ClusteredImages, tmp_path: Path
) -> None:
    # What FiftyOneDatasetImporter reads; deserialize_numpy_array reads the vectors.
    path = export_clusters(images, "fiftyone", tmp_path / "out")
    assert path.name == "samples.json"
    samples = json.loads(path.read_text(encoding="ascii"))["samples"]
    dataset = json.loads((path.parent / "metadata.json").read_text(encoding="ascii"))
    fields = {field["name"]: field["ftype"] for field in dataset["sample_fields"]}
    known = {"_id", "_media_type", "_rand"}
    assert all(set(sample) - known <= set(fields) for sample in samples)
    assert [s["label"]["label"] for s in samples] == images.labels
    vectors = [
        np.load(io.BytesIO(zlib.decompress(base64.b64decode(data["base64"]))))
        for data in (s["embedding"]["$binary"] for s in samples)
    ]
    np.testing.assert_array_equal(vectors, images.embeddings)
    assert len({s["_id"]["$oid"] for s in samples}) == NUM_IMAGES
    for sample, key in zip(samples, images.table.keys, strict=True):
        file = Path(sample["filepath"])
        if key.endswith(".tif"):
            assert sample["filepath"] == f"images/{key}.png"
            with Image.open(path.parent / file) as image:
                assert image.size == (30, 20)
        else:
            assert file.is_absolute() and file.as_posix().endswith(key)
            assert ("ground_truth" in sample) == key.startswith("more/")


def test_label_studio_tasks_fit_the_interface(
    images: ClusteredImages, tmp_path: Path
) -> None:
    path = export_clusters(images, "label-studio", tmp_path / "out")
    interface = (path.parent / "interface.xml").read_text(encoding="utf-8")
    tasks = json.loads(path.read_text(encoding="utf-8"))
    choices = [node.get("value") for node in ET.fromstring(interface).iter("Choice")]
    assert choices == ['Häns & "Co" <x>', "cluster 1"]  # each once
    for task, name in zip(tasks, images.labels, strict=True):
        address = urlparse(task["data"]["image"])
        (below_root,) = parse_qs(address.query)["d"]
        assert address.path == "/data/local-files/"
        with Image.open(tmp_path / below_root) as image:
            image.load()
        (prediction,) = task["predictions"]
        assert prediction["result"][0]["value"] == {"choices": [name]}
        assert prediction["score"] == task["data"]["confidence"]
    sdk = pytest.importorskip("label_studio_sdk.label_interface")
    label_interface = sdk.LabelInterface(interface)
    label_interface.validate()
    for task in tasks:
        assert label_interface.validate_task({"data": task["data"]})
        assert label_interface.validate_prediction(task["predictions"][0])


# datasets leaves the table open.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_the_image_folder_lists_every_image(
    images: ClusteredImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name that would make this image, and no other, the split "test".
    keys = [f"test/{images.source.keys[0]}", *images.source.keys[1:]]
    images = dataclasses.replace(
        images, source=dataclasses.replace(images.source, keys=keys)
    )
    path = export_clusters(images, "imagefolder", tmp_path / "out")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == images.labels
    for index, row in enumerate(rows):
        with Image.open(path.parent / row["file_name"]) as image:
            assert image.size == images.source.read(index).size
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        str(path.parent), split="train", cache_dir=str(tmp_path / "cache")
    )
    columns = images.columns()
    labels = dict(zip(columns["key"], columns["label"], strict=True))
    assert dict(zip(loaded["key"], loaded["label"], strict=True)) == labels
    assert loaded[0]["image"].size[0] > 0
    gc.collect()  # while the warning is ignored


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_serves_the_projector(
    images: ClusteredImages, tmp_path: Path
) -> None:
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
    from werkzeug.test import Client

    images = dataclasses.replace(images, title='a "run"\n\\{x}')
    folder = export_clusters(images, "tensorboard", tmp_path / "out").parent

    class NoRuns:
        def list_runs(self, ctx: object, experiment_id: str) -> Sequence[object]:
            return []

    plugin = ProjectorPlugin(TBContext(logdir=str(folder), data_provider=NoRuns()))
    apps = plugin.get_plugin_apps()

    def get(route: str) -> bytes:
        query = {"run": ".", "name": 'a "run"\\n\\{x}'}
        answer = Client(apps[route]).get("/", query_string=query)
        assert answer.status_code == 200, answer.data
        return bytes(answer.data)

    (embedding,) = json.loads(get("/info"))["embeddings"]
    assert embedding["tensorShape"] == list(images.embeddings.shape)
    tensor = np.frombuffer(get("/tensor"), np.float32).reshape(NUM_IMAGES, -1)
    np.testing.assert_allclose(tensor, images.embeddings, atol=1e-5)
    lines = get("/metadata").decode().splitlines()
    assert lines[0].split("\t") == list(images.columns())
    assert [line.split("\t")[2] for line in lines[1:]] == images.labels
    sprite = Image.open(io.BytesIO(get("/sprite_image")))
    width, height = embedding["sprite"]["singleImageDim"]
    assert sprite.size == (7 * width, 7 * height)  # 41 images in 7 x 7
    red = images.table.keys.index("a #1 50%.tif")
    place = (red % 7 * width + 32, red // 7 * height + 32)
    assert sprite.getpixel(place) == (255, 0, 0)


def test_parquet_has_all_columns_and_the_embeddings(
    images: ClusteredImages, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = export_clusters(images, "parquet", tmp_path / "out")
    table = parquet.read_table(path)
    assert table.column_names == [*images.columns(), "file", "embedding"]
    assert table.column("cluster").to_pylist() == images.table.labels.tolist()
    np.testing.assert_array_equal(
        np.stack(table.column("embedding").to_pylist()), images.embeddings
    )
    files = table.column("file").to_pylist()
    assert sum(file is None for file in files) == 1  # the TIFF
    assert all(Path(file).is_file() for file in files if file)


def test_images_without_files_are_written(
    images: ClusteredImages, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(
        0, 256, (NUM_IMAGES, 8, 8, 1), dtype=np.uint8
    )
    source = ArraySource(
        name="digits",
        class_names=None,
        targets=np.full(NUM_IMAGES, -1, np.int64),
        keys=position_keys(NUM_IMAGES),
        description="",
        num_channels=1,
        images=pixels,
    )
    images = dataclasses.replace(images, source=source)
    path = export_clusters(images, "imagefolder", tmp_path / "out")
    with Image.open(path.parent / "images" / "000005.png") as written:
        np.testing.assert_array_equal(written, pixels[5, :, :, 0])


def test_the_command_knows_every_format(
    saved: SavedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuple(FORMATS) == export._FORMATS
    photo = tmp_path / images_of_run(saved).table.keys[0]
    Image.new("L", (9, 9)).save(photo)
    path = export.export_to_file(
        export.ExportSettings(
            checkpoint=str(saved.folder),
            to="imagefolder",
            out=str(tmp_path / "out"),
            names=str(saved.folder.parent / "names.json"),
            data=export.ExportedImages(path=str(tmp_path)),
        )
    )
    assert path == tmp_path / "out" / "metadata.csv"
    said = capsys.readouterr().out
    assert f"WARNING: {NUM_IMAGES - 1} images have no file any more" in said
