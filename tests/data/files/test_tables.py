"""Images in tables of Parquet and Arrow, and the metadata of image folders."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from hadis_lightly.artifacts.fingerprint import first_difference, sample_contents
from hadis_lightly.data import (
    DataError,
    FolderSource,
    ImageReadError,
    IndexedDataset,
    load_images,
    load_source,
    readable_images,
)
from tests.data.image_files import encode

CLASSES = ("zebra", "ant")


def picture(number: int) -> bytes:
    """An image whose red says its number."""
    return encode(Image.new("RGB", (9, 8), (number, 0, 0)), "PNG")


def reds(source: Any) -> list[int]:
    return [source.read(index).getpixel((0, 0))[0] for index in range(len(source))]


def table_of(images: list[bytes | None], **columns: list[Any]) -> Any:
    """A table as on the Hugging Face hub; odd images have had a name."""
    pa = pytest.importorskip("pyarrow")
    cells = [
        {"bytes": image, "path": f"sub/é {i}.png" if i % 2 else None}
        for i, image in enumerate(images)
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if "label" in columns:
        features["label"] = {"_type": "ClassLabel", "names": list(CLASSES)}
    table = pa.table({"image": pa.array(cells, kind), **columns})
    about = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": about})


def write_parquet(path: Path, table: Any, rows: int = 3) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows)
    return path


def write_arrow(path: Path, table: Any, kind: str = "stream") -> Path:
    """A stream as ``save_to_disk`` of ``datasets`` writes it, or a file as Feather."""
    pa = pytest.importorskip("pyarrow")
    new = {"stream": pa.ipc.new_stream, "file": pa.ipc.new_file}[kind]
    options = pa.ipc.IpcWriteOptions(compression="lz4" if kind == "file" else None)
    with (
        pa.OSFile(str(path), "wb") as file,
        new(file, table.schema, options=options) as writer,
    ):
        writer.write_table(table, max_chunksize=3)
    return path


def test_a_parquet_file_of_the_hub(tmp_path: Path) -> None:
    table = table_of([picture(i) for i in range(7)], label=[0, 1, 1, None, -1, 0, 1])
    path = write_parquet(tmp_path / "train.parquet", table)
    source = load_source("folder", path)
    assert isinstance(source, FolderSource)
    assert source.keys[:2] == ["train.parquet/000000", "train.parquet/000001-é 1.png"]
    assert source.class_names == ("ant", "zebra")
    assert source.targets.tolist() == [1, 0, 0, -1, -1, 1, 0]
    assert source.description == (
        "table train.parquet: 7 images, 2 classes, 2 images without a label"
    )
    assert reds(source) == list(range(7))
    with ThreadPoolExecutor(4) as pool:  # rows of all groups at once
        order = [5, 0, 6, 2, 4, 1, 3] * 5
        images = pool.map(lambda row: source.read(row).getpixel((0, 0))[0], order)
        assert list(images) == order


def test_a_folder_of_tables_is_one_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for split, numbers in (("train", (0, 1)), ("test", (2, 3))):
        table = table_of([picture(i) for i in numbers], label=[0, 1])
        write_parquet(root / "data" / f"{split}-0.parquet", table)
    (root / "README.md").touch()
    source = load_images(root)
    assert source.keys == [
        "data/test-0.parquet/000000", "data/test-0.parquet/000001-é 1.png",
        "data/train-0.parquet/000000", "data/train-0.parquet/000001-é 1.png",
    ]  # fmt: skip
    assert reds(source) == [2, 3, 0, 1] and source.targets.tolist() == [1, 0, 1, 0]
    assert source.description == (
        "folder set: 4 images in 2 tables, 2 classes; 1 other file not read: 1 .md"
    )
    paths = [root / "data" / "train-0.parquet", root / "data" / "test-0.parquet"]
    assert reds(load_images(paths)) == [0, 1, 2, 3]
    again = tmp_path / "a.txt"
    again.write_text("set/data/train-0.parquet\nset\n")
    with pytest.raises(DataError, match=r"line 2: set.*already"):
        load_images(again)


def test_a_set_saved_to_disk(tmp_path: Path) -> None:
    table = table_of([picture(i) for i in range(5)], label=[0, 1, 0, 1, 0])
    write_arrow(tmp_path / "data-00000-of-00001.arrow", table)
    write_arrow(tmp_path / "cache-0.arrow", table)  # its own, of other rows
    (tmp_path / "state.json").touch()
    source = load_images(tmp_path)
    assert reds(source) == [0, 1, 2, 3, 4]
    assert source.class_names == ("ant", "zebra")


@pytest.mark.parametrize("kind", ["stream", "file"])
@pytest.mark.parametrize("is_categorical", [False, True])
def test_both_formats_of_arrow(tmp_path: Path, kind: str, is_categorical: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    labels = pa.array([*"abcabcab"])
    labels = labels.dictionary_encode() if is_categorical else labels
    table = pa.table({"img": [*map(picture, range(8))], "label": labels})
    path = write_arrow(tmp_path / "a.arrow", table, kind)
    source = load_images(path)
    assert source.class_names == ("a", "b", "c")
    assert source.targets.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert reds(source) == list(range(8))  # the table is open before workers start
    red = IndexedDataset(source, lambda image: image.getpixel((0, 0))[0])
    batches = DataLoader(red, batch_size=3, num_workers=2)
    assert np.concatenate([images for images, *_ in batches]).tolist() == [*range(8)]
    maps = Path("/proc/self/maps")  # a file that shrinks while mapped ends the process
    assert not maps.exists() or str(path) not in maps.read_text()
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"cannot read table '.*a\.arrow'"):
        load_images(path)


def test_damaged_columns_are_named(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    ends = pa.py_buffer(np.array([0, 1 << 30, 9], np.int32))
    data = pa.py_buffer(picture(0))
    images = pa.Array.from_buffers(pa.binary(), 2, [None, ends, data])
    path = tmp_path / "a.arrow"
    with pa.OSFile(str(path), "wb") as file:
        batch = pa.record_batch({"image": images})
        with pa.ipc.new_stream(file, batch.schema) as writer:
            writer.write_batch(batch)
    with pytest.raises(DataError, match=r"cannot read table '.*a\.arrow'"):
        load_images(path)


def test_columns_of_bytes_and_of_paths(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    named = {"jpg": [picture(3)], "category": ["cat"], "caption": ["a cat"]}
    source = load_images(write_parquet(tmp_path / "a.parquet", pa.table(named)))
    assert source.keys == ["a.parquet/000000"] and reds(source) == [3]
    assert source.class_names == ("cat",)
    (tmp_path / "b.png").write_bytes(picture(4))
    paths = pa.table({"md5": [b"12"], "file_name": ["b.png"], "label": [7]})
    source = load_images(write_parquet(tmp_path / "c.parquet", paths))
    assert source.keys == ["b.png"] and source.class_names == ("7",)
    table = table_of([picture(5)], thumbnail=[b"small"], file_name=["x.png"])
    table = table.select(["thumbnail", "file_name", "image"])
    assert reds(load_images(write_parquet(tmp_path / "d.parquet", table))) == [5]
    table = pa.table({"md5": [b"12"], "filename": ["x.png"], "image": [picture(6)]})
    assert reds(load_images(write_parquet(tmp_path / "e.parquet", table))) == [6]


def test_whole_numbers_as_floats_are_classes_by_number(tmp_path: Path) -> None:
    """As pandas writes them where some are missing."""
    pa = pytest.importorskip("pyarrow")
    labels = [0.0, -1.0, None, 2.0, float("nan"), 0.5]
    table = pa.table({"img": [*map(picture, range(6))], "label": labels})
    source = load_images(write_parquet(tmp_path / "a.parquet", table))
    assert source.class_names == ("0", "0.5", "2")
    assert source.targets.tolist() == [0, -1, -1, 2, -1, 1]


def test_bad_rows_are_named(tmp_path: Path) -> None:
    images = [picture(0), b"no image", None, b"", picture(4)]
    path = write_parquet(tmp_path / "a.parquet", table_of([*images]))
    with pytest.raises(ImageReadError, match=r"3 of 5 images .*'a\.parquet/000001-é 1"):
        readable_images(load_images(path))
    source = readable_images(load_images(path), on_error="skip")
    assert isinstance(source, FolderSource) and reds(source) == [0, 4]
    assert [tuple(problem) for problem in source.left_out] == [
        ("a.parquet/000001-é 1.png", "not an image, or its header is damaged"),
        ("a.parquet/000002", "the row holds no image"),
        ("a.parquet/000003-é 3.png", "the file is empty"),
    ]


def test_bad_tables_are_named(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    good = write_parquet(tmp_path / "set" / "b.parquet", table_of([picture(1)]))
    bad = tmp_path / "set" / "a.parquet"
    bad.write_bytes(good.read_bytes()[:-9])
    for path in (bad, bad.parent):
        with pytest.raises(DataError, match=r"cannot read table '.*a\.parquet'"):
            load_images(path)
    source = load_images(bad.parent, on_error="skip")
    assert reds(source) == [1] and source.left_out[0].key == "a.parquet"
    assert source.description.endswith("; 1 entry left out")
    write_parquet(bad, pa.table({"text": ["a"]}))
    with pytest.raises(DataError, match=r"neither images nor a column of paths \(file"):
        load_images(bad)


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    for path in (tmp_path, tmp_path / "a.parquet"):
        with pytest.raises(DataError, match="pip install pyarrow"):
            load_images(path)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    (tmp_path / "b.png").write_bytes(picture(1))
    source = load_images(tmp_path)
    assert reds(source) == [1]
    assert "(not used: metadata.parquet: to read Parquet" in source.description


def test_tables_in_a_folder_lead_nowhere_else(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    (tmp_path / "secret.png").write_bytes(picture(9))
    table = pa.table({"file": ["../secret.png"]})
    path = write_parquet(tmp_path / "set" / "list.parquet", table)
    assert reds(load_images(path)) == [9]  # asked for by name
    with pytest.raises(DataError, match=r"no images .* or hold only paths"):
        load_images(path.parent)
    write_parquet(path.parent / "images.parquet", table_of([picture(1)]))
    source = load_images(path.parent)
    assert reds(source) == [1]
    assert "1 images in 1 table, no" in source.description
    assert source.description.endswith("; 1 other file not read: 1 .parquet")


def test_replaced_tables_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, table_of([*map(picture, range(4))]))
    source = load_images(path)
    contents = sample_contents(source)
    assert first_difference(contents, source) == ""
    write_parquet(path, table_of([*map(picture, range(4))], x=[1, 2, 3, 4]))
    assert "'a.parquet' had " in first_difference(contents, source)
    contents = sample_contents(source)
    write_parquet(path, table_of([*map(picture, (0, 1, 7, 3))], x=[1, 2, 3, 4]))
    contents["sizes"][:] = os.stat(path).st_size
    assert first_difference(contents, source) == "'a.parquet/000002' has other contents"
    assert reds(source) == [0, 1, 7, 3]


METADATA = {
    "metadata.csv": "file_name,label,text\na/0.png,cat,x\nb/1.png,dog,y\n",
    "metadata.jsonl": '{"file_name": "a/0.png", "label": "cat"}\n\n'
    '{"label": "dog", "file_name": "b/1.png"}\n',
}


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize("split", ["", "train/"])
def test_metadata_gives_the_classes(tmp_path: Path, name: str, split: str) -> None:
    root = tmp_path / "set"
    for i, file in enumerate(("a/0.png", "b/1.png", "b/2.png")):
        (root / split / file).parent.mkdir(parents=True, exist_ok=True)
        (root / split / file).write_bytes(picture(i))
    (root / split / name).write_text(METADATA[name])
    source = load_images(root)
    assert source.class_names == ("cat", "dog")
    assert source.targets.tolist() == [0, 1, -1]
    assert f"(classes from {split}{name})" in source.description
    assert "not read" not in source.description
    (root / split / name).write_text(METADATA[name].replace("label", "caption"))
    source = load_images(root)
    assert source.class_names == ("a", "b") and "not read: 1" in source.description


def test_a_list_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(5))
    path = tmp_path / "a.jsonl"
    path.write_text('{"path": "a.png"}\n')
    assert reds(load_images(path)) == [5]
    path.write_text('{"path": "a.png"}\n[1, 2]\n')
    with pytest.raises(DataError, match="line 2 is no JSON object"):
        load_images(path)
    path.write_text('{"path": "a.png"}\n{"label": 3}\n')
    with pytest.raises(DataError, match="line 2 names no file"):
        load_images(path)


def cats_and_dogs(root: Path) -> Path:
    for i, file in enumerate(("cat/0.png", "cat/1.png", "dog/2.png")):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(picture(i))
    return root


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("metadata.csv", "photographer,year\nx,1\n", ""),
        ("metadata.csv", "file,label\ncat/0.png,x\n", ""),
        ("metadata.csv", "cat/0.png,x\n", ""),
        ("metadata.csv", "", ""),
        ("metadata.jsonl", '{"title": "x"}\n', ""),
        ("metadata.csv", "file_name,label\ncat/0.png\n", "line 2 has 1 columns"),
        ("metadata.jsonl", "[\n", "line 1 is no JSON object"),
        ("metadata.csv", "file_name,label\n0.png,x\n", "it lists none of the images"),
        ("cat/metadata.csv", "file_name,label\n../dog/2.png,x\n", "lists none of"),
        (
            "metadata.csv",
            "file_name,label\ncat/0.png,x\ncat/0.png,x\ncat/0.png,y\n",
            "line 4: cat/0.png has two classes, 'x' and 'y'",
        ),
        ("metadata.parquet", "no table", "cannot read table"),
    ],
)
def test_metadata_that_gives_no_classes(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    root = cats_and_dogs(tmp_path)
    (root / name).write_text(text)
    source = load_images(root)
    assert source.class_names == ("cat", "dog")
    assert source.targets.tolist() == [0, 0, 1]
    assert "; 1 other file not read: 1 ." in source.description
    assert (f"(not used: {name}: " in source.description) == bool(reason)
    assert reason in source.description


def test_metadata_of_a_subfolder_is_about_that(tmp_path: Path) -> None:
    root = cats_and_dogs(tmp_path)
    (root / "cat" / "metadata.csv").write_text("file_name,label\n1.png,tiger\n")
    source = load_images(root)
    assert source.class_names == ("dog", "tiger")
    assert source.targets.tolist() == [-1, 1, 0]
    assert "(classes from cat/metadata.csv)" in source.description
    lines = "file_name,label\ncat/0.png,-1\ncat/1.png,tiger\ndog/2.png,wolf\n"
    (root / "metadata.csv").write_text(lines)
    source = load_images(root)
    assert source.class_names == ("tiger", "wolf")
    (root / "metadata.csv").write_text(lines.replace("tiger", "lion"))
    source = load_images(root)
    assert source.class_names == ("lion", "wolf")
    assert "has two classes, 'lion' and 'tiger'" in source.description
