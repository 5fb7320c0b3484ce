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
    read_names,
)
from hadis_lightly.formats.image_files import linked_images
from tests.formats.conftest import NUM_IMAGES


def names_of(images: ClusteredImages) -> list[str]:
    return [images.cluster_names[label] for label in images.table.labels]


def test_names_and_columns(saved: SavedRun, images: ClusteredImages) -> None:
    assert images.cluster_names == ['Häns & "Co" <x>', "cluster 1", "cluster 1"]
    with (saved.folder / "assignments.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = images.columns()
    assert set(rows[0]) | {"cluster_name", "class"} == set(columns)
    assert [row["key"] for row in rows] == columns["key"]
    for name in ("confidence", "distance", "level_1"):
        assert [float(row[name]) for row in rows] == columns[name]


@pytest.mark.parametrize(
    "content, reason",
    [
        ("[", "cannot read names"),
        ('{"7": "cats"}', "names cluster 7, but the run has clusters 0 to 2"),
        ('{"1": 5}', "must give cluster 1 a text, got 5"),
        ('{"cats": 1}', "cannot read names"),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_names(tmp_path / "names.json", 3)


def test_names_of_a_report(tmp_path: Path) -> None:
    content = {"format": "hadis-lightly names 1", "names": {"0": "cats", "1a": "dogs"}}
    (tmp_path / "names.json").write_text(json.dumps(content))
    assert read_names(tmp_path / "names.json", 3) == {0: "cats"}


def test_names_of_another_run_are_refused(saved: SavedRun, tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    content = {"format": "hadis-lightly names 1", "names": {"0": "cats"}}
    path.write_text(json.dumps(content | {"run": "0" * 16}))
    with pytest.raises(ValueError, match="are of another run: download"):
        images_of_run(saved, names=path)
    path.write_text(json.dumps(content | {"run": clusters_id(saved.prototypes)}))
    assert images_of_run(saved, names=path).cluster_names[0] == "cats"


def test_names_among_other_things(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('{"run": "a", "names": {"1": "cats", "2": null}}')
    assert read_names(path, 3) == {1: "cats"}
    path.write_text('{"names": [null, "cats", ""]}')
    assert read_names(path, 3) == {1: "cats"}
    path.write_text('[null, "cats", ""]')
    assert read_names(path, 3) == {1: "cats"}


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
    assert [s["cluster"]["label"] for s in samples] == names_of(images)
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
    assert choices == list(dict.fromkeys(images.cluster_names))  # each once
    for task, name in zip(tasks, names_of(images), strict=True):
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
    assert [row["cluster_name"] for row in rows] == names_of(images)
    for index, row in enumerate(rows):
        with Image.open(path.parent / row["file_name"]) as image:
            assert image.size == images.source.read(index).size
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        str(path.parent), split="train", cache_dir=str(tmp_path / "cache")
    )
    columns = images.columns()
    names = dict(zip(columns["key"], columns["cluster_name"], strict=True))
    assert dict(zip(loaded["key"], loaded["cluster_name"], strict=True)) == names
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
    assert [line.split("\t")[2] for line in lines[1:]] == names_of(images)
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
