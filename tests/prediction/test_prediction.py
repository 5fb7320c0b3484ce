"""Predictions agree with the run, one by one, in batches and in a stream."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import json
import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.checkpoint import CheckpointError, load_checkpoint
from hadis_lightly.cli.predict import (
    ImagesToPredict,
    PredictSettings,
    check,
    predict_images,
)
from hadis_lightly.cluster import PrototypePartition
from hadis_lightly.cluster.lloyd import arrays
from hadis_lightly.data import (
    ImageProblem,
    StreamedImage,
    load_folder,
    read_image,
    stream_images,
)
from hadis_lightly.inference import network_outputs
from hadis_lightly.models import batch_norms
from hadis_lightly.prediction import ClusterPredictor
from hadis_lightly.prediction import predictor as predictor_module
from hadis_lightly.prediction.outputs import outputs_of
from hadis_lightly.prediction.sorting import SortIntoFolders, folder_names
from hadis_lightly.prediction.table import predict_to_table
from hadis_lightly.settings import SettingsError
from tests.data.files.test_tables import table_of, write_parquet
from tests.data.image_files import encode
from tests.photo_runs import NUM_IMAGES, write_photos

ROUNDED = 1.1e-4  # both have four decimals


def rows_of(table: Path) -> dict[str, dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def agrees(found: dict[str, dict[str, str]], run_folder: Path) -> None:
    """Every image is where the run has put it."""
    table = read_assignments(run_folder)
    assert set(found) == set(table.keys)
    for i, key in enumerate(table.keys):
        row = found[key]
        assert int(row["cluster"]) == table.labels[i], key
        assert float(row["confidence"]) == pytest.approx(
            table.confidence[i], abs=ROUNDED
        )
        assert float(row["distance"]) == pytest.approx(table.distance[i], abs=ROUNDED)
        assert table.outlier is not None
        assert row["outlier"] == str(int(table.outlier[i])), key


def test_files_of_the_run_are_where_the_run_has_put_them(
    run_folder: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = PredictSettings(
        checkpoint=str(run_folder),
        out=str(tmp_path / "a.csv"),
        batch_size=7,
        device="cpu",
        data=ImagesToPredict(path=str(photos)),
    )
    summary = predict_images(settings)
    assert summary.num_images == NUM_IMAGES == sum(summary.sizes.values())
    assert summary.num_left_out == 1
    agrees(rows_of(tmp_path / "a.csv"), run_folder)
    left_out = (tmp_path / "a.left_out.txt").read_text(encoding="utf-8")
    assert left_out.startswith("broken.png: ") and left_out.count("\n") == 1
    see = f"(see {tmp_path / 'a.left_out.txt'})"
    assert f"1 file left out:\n  {left_out}{see}\n" in capsys.readouterr().out


def test_files_of_the_run_get_the_levels_of_the_run(
    run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    table = read_assignments(run_folder)
    tree = json.loads((run_folder / "results.json").read_text("utf-8"))["tree"]
    assert tree["levels"] == [3, 6] and len(tree["merges"]) == len(tree["links"]) == 2
    settings = PredictSettings(
        checkpoint=str(run_folder),
        quiet=True,
        device="cpu",
        data=ImagesToPredict(path=str(photos)),
    )
    for level, expected in enumerate(table.levels, 1):
        settings.level, settings.out = level, str(tmp_path / f"{level}.csv")
        settings.sort_into = str(tmp_path / f"sorted-{level}")
        predict_images(settings)
        found = rows_of(tmp_path / f"{level}.csv")
        assert [int(found[key]["cluster"]) for key in table.keys] == expected.tolist()
        folders = {f"cluster_{label}" for label in expected}
        sorted_into = Path(settings.sort_into).glob("cluster_*")
        assert {path.name for path in sorted_into} == folders
    assert np.array_equal(table.levels[0], table.labels)
    settings.level = 3
    with pytest.raises(ValueError, match=r"1 \(3 clusters\), 2 \(6 clusters\), got 3"):
        predict_images(settings)


def test_a_checkpoint_without_a_tree_predicts_but_has_no_levels(
    run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    content = load_checkpoint(run_folder).content
    del content["callbacks"]["PrototypeKMeans"]["tree"]  # as of an earlier version
    torch.save(content, tmp_path / "old.ckpt")
    settings = PredictSettings(
        str(tmp_path / "old.ckpt"),
        str(tmp_path / "a.csv"),
        quiet=True,
        data=ImagesToPredict(path=str(photos)),
    )
    predict_images(settings)
    agrees(rows_of(tmp_path / "a.csv"), run_folder)
    settings.level = 1
    with pytest.raises(ValueError, match="level is 1, but this checkpoint has no"):
        predict_images(settings)


def test_images_that_were_scaled_on_the_device_are_where_the_run_has_put_them(
    digits_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.csv"
    data = ImagesToPredict(source="digits")
    checkpoint = digits_run / "checkpoints" / "last.ckpt"
    settings = PredictSettings(str(checkpoint), str(out), quiet=True, data=data)
    assert predict_images(settings).num_images == 1797
    table = read_assignments(digits_run)
    found = rows_of(out)
    agrees({key: found[key] for key in table.keys}, digits_run)


def test_new_images_get_the_same_answer_alone_and_together(
    run_folder: Path, tmp_path: Path
) -> None:
    write_photos(tmp_path, 40, start=500)
    images = [Image.open(path) for path in sorted(tmp_path.rglob("*.*"))]
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    together = predictor.predict(images)
    for batch_size in (1, 3):
        alone = predictor.predict(images, batch_size=batch_size)
        assert torch.equal(alone.labels, together.labels)
        for a, b in zip(alone[1:], together[1:], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    tensors = torch.stack([predictor.transform(image) for image in images])
    assert torch.equal(predictor.predict(tensors).labels, together.labels)


def test_prediction_is_what_its_definition_says(run_folder: Path, photos: Path) -> None:
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    images = [Image.open(path) for path in sorted(photos.rglob("*.jpg"))]
    found = predictor.predict(images)
    prototypes = predictor.partition.prototypes
    cosines = found.embeddings @ prototypes.T
    own = torch.arange(len(images)), found.labels
    shares = (cosines / 0.1).softmax(dim=1)[own]
    torch.testing.assert_close(found.confidence, shares, rtol=0, atol=1e-5)
    expected = (2 - 2 * cosines[own]).sqrt()
    torch.testing.assert_close(found.distance, expected, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="images is empty"):
        predictor.predict([])


@pytest.mark.parametrize("by", ["link", "copy"])
def test_files_are_sorted_into_folders(
    run_folder: Path, photos: Path, tmp_path: Path, by: str
) -> None:
    folder = tmp_path / "sorted"
    settings = PredictSettings(
        checkpoint=str(run_folder),
        out=str(tmp_path / "a.csv"),
        sort_into=str(folder),
        sort_by=by,
        quiet=True,
        data=ImagesToPredict(path=str(photos)),
    )
    predict_images(settings)
    for key, row in rows_of(tmp_path / "a.csv").items():
        place = folder / f"cluster_{row['cluster']}" / key
        assert place.is_symlink() == (by == "link")
        assert place.read_bytes() == (photos / key).read_bytes()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="exists already"):
        predict_images(settings)
    assert sorted(tmp_path.rglob("*")) == before


def test_images_in_tables_are_sorted_as_copies(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [encode(Image.new("RGB", (9, 9), (49 * i, 0, 0)), "JPEG") for i in (0, 1)]
    path = write_parquet(tmp_path / "a.parquet", table_of([*images, None]))
    settings = PredictSettings(
        str(run_folder),
        out=str(tmp_path / "a.csv"),
        sort_into=str(tmp_path / "sorted"),
        device="cpu",
        data=ImagesToPredict(path=str(path)),
    )
    predict_images(settings)
    said = capsys.readouterr().out
    assert "(copied, not linked: images in tables)" in said
    assert "WARNING: all pixels lie between 0 and 49 of 255: scale them" in said
    rows = rows_of(tmp_path / "a.csv")
    for row, (key, suffix) in enumerate(
        {"000000": ".jpeg", "000001-é 1.png": ""}.items()
    ):
        cluster = rows[f"a.parquet/{key}"]["cluster"]
        place = (
            tmp_path / "sorted" / f"cluster_{cluster}" / "a.parquet" / (key + suffix)
        )
        assert place.read_bytes() == images[row]
    left_out = (tmp_path / "a.left_out.txt").read_text(encoding="utf-8")
    assert left_out == "a.parquet/000002: the row holds no image\n"


def test_a_table_among_files_is_copied_alone(tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "a.parquet", table_of([b"%!PS-Adobe-3.0 EPSF"]))
    photo = tmp_path / "b.png"
    photo.write_bytes(encode(Image.new("RGB", (9, 9)), "PNG"))
    sort = SortIntoFolders(tmp_path / "sorted", n_clusters=2)
    for path in (f"{table}/000000", str(photo)):
        key = os.path.relpath(path, tmp_path)
        sort(StreamedImage(key, path, torch.zeros(1)), 0)
    assert sort.no_links == "images in tables"
    folder = tmp_path / "sorted" / "cluster_0"
    assert (folder / "b.png").is_symlink()
    names = [path.name for path in (folder / "a.parquet").iterdir()]
    assert names == ["000000.tiff"]  # no other formats than those that are read


@pytest.mark.parametrize("by", ["link", "copy"])
def test_files_of_one_name_are_all_sorted(by: str, tmp_path: Path) -> None:
    """As on a disk where upper case does not count."""
    sort = SortIntoFolders(tmp_path / "sorted", n_clusters=2, by=by)
    for name in "ab":
        path = tmp_path / f"{name}.png"
        path.write_bytes(name.encode())
        sort(StreamedImage("same.png", str(path), torch.zeros(1)), 0)
    assert (sort.by, sort.no_links) == (by, "")
    folder = tmp_path / "sorted" / "cluster_0"
    assert [path.read_text() for path in sorted(folder.iterdir())] == ["b", "a"]
    assert all(path.is_symlink() == (by == "link") for path in folder.iterdir())


def test_labels_get_folders_that_every_system_allows_and_tells_apart() -> None:
    reserved = ["con", "NUL.txt", "Com1", "lpt²", "aux .png"]
    found = folder_names(reserved)
    assert found == {label: f"_{label}" for label in reserved}
    allowed = ["constable", "com", "com10", "my nul"]
    assert folder_names(allowed) == {label: label for label in allowed}
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert folder_names([composed, apart])[apart] == f"{apart}_2"


def test_each_list_of_unreadable_files_is_new(run_folder: Path, tmp_path: Path) -> None:
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    content = predictor.transform(Image.new("RGB", (9, 9)))
    for name in "ab":
        images = [
            StreamedImage(key, "", ImageProblem(key, "damaged")) for key in (name, "c")
        ]
        predict_to_table(
            predictor,
            [*images, StreamedImage("d", "", content)],
            tmp_path / "a.csv",
            left_out=tmp_path / "a.txt",
        )
    assert (tmp_path / "a.txt").read_text() == "b: damaged\nc: damaged\n"


def test_what_is_sorted_is_not_found_again(run_folder: Path, photos: Path) -> None:
    for place in (photos / "sorted", photos / "more" / ".." / "sorted"):
        settings = PredictSettings(str(run_folder), sort_into=str(place))
        settings.data = ImagesToPredict(path=str(photos))
        with pytest.raises(SettingsError, match=r"below data\.path"):
            predict_images(settings)


def test_where_no_image_can_be_read_there_is_no_table(
    run_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.png").write_bytes(b"nothing")
    settings = PredictSettings(str(run_folder), str(tmp_path / "a.csv"), quiet=True)
    settings.data = ImagesToPredict(path=str(tmp_path / "p"))
    with pytest.raises(ValueError, match="none of the 1 files"):
        predict_images(settings)
    assert not (tmp_path / "a.csv").exists()


def test_an_opened_image_is_read_as_its_file_is(
    digits_run: Path, run_folder: Path, tmp_path: Path
) -> None:
    """Turned by EXIF, of 16 bits, transparent: what Image.open leaves to others."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    colours.save(tmp_path / "turned.jpg", exif=exif)
    deep = rng.integers(0, 65536, (20, 30), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    clear = colours.convert("RGBA")
    clear.putalpha(Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)))
    clear.save(tmp_path / "clear.png")
    for folder in (run_folder, digits_run):
        predictor = ClusterPredictor.from_checkpoint(folder, device="cpu")
        for path in sorted(tmp_path.glob("*.*")):
            plain = read_image(path, num_channels=predictor.num_channels)
            with Image.open(path) as image:
                assert torch.equal(
                    predictor.transform(image), predictor.transform(plain)
                )


@pytest.mark.parametrize(
    ("precision", "is_native", "is_kept"),
    [
        ("bf16-mixed", True, True),
        ("bf16-mixed", False, False),
        ("16-mixed", True, False),
    ],
)
def test_a_cpu_keeps_bfloat16_if_it_has_it(
    run_folder: Path,
    precision: str,
    is_native: bool,
    is_kept: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All CPUs can compute so, if slowly.
    monkeypatch.setattr(predictor_module, "has_native_bfloat16", lambda: is_native)
    made = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    parts = (made.settings, made.model, made.partition)
    predictor = ClusterPredictor(*parts, device="cpu", precision=precision)
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    exact, found = made.predict(images), predictor.predict(images)
    assert torch.equal(found.embeddings, exact.embeddings) is not is_kept
    assert (found.embeddings * exact.embeddings).sum(1).min() > 0.999


def test_networks_are_folded_at_the_first_images(run_folder: Path) -> None:
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (exact,) = network_outputs(predictor.model, images)
    before = batch_norms(predictor.model.teacher)
    torch.testing.assert_close(predictor.predict(images).embeddings, exact)
    outputs = outputs_of(predictor.model, images, None, predictor.partition)
    fast = inspect.getclosurevars(outputs).nonlocals["fast"]
    assert len(batch_norms(fast.teacher)) < len(before)


def test_an_earlier_table_is_never_overwritten(
    run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    data = ImagesToPredict(path=str(photos))
    out = tmp_path / "a.csv"
    out.write_text("mine")
    for _ in range(2):
        predict_images(
            PredictSettings(str(run_folder), str(out), quiet=True, data=data)
        )
    assert out.read_text() == "mine"
    numbered = [tmp_path / "a-2.csv", tmp_path / "a-3.csv"]
    assert numbered[0].read_bytes() == numbered[1].read_bytes()


def test_two_predictions_at_once_do_not_mix(run_folder: Path, tmp_path: Path) -> None:
    """Two processes with the same ``out``: each leaves a table of its own images."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    keys, processes = [], []
    for number in range(2):
        folder = tmp_path / f"photos{number}"
        write_photos(folder, 60 + number, start=100 * number)
        (folder / f"broken{number}.png").write_bytes(b"nothing")
        keys.append({key for key in load_folder(folder).keys if "broken" not in key})
        settings = PredictSettings(
            str(run_folder),
            out=str(tmp_path / "out" / "a.csv"),
            sort_into=str(tmp_path / "out" / "sorted"),
            batch_size=4,
            device="cpu",
            quiet=True,
            data=ImagesToPredict(path=str(folder)),
        )
        # Those that sort_into refuses are tried again without it.
        process = context.Process(target=_predict, args=(barrier, settings))
        process.start()
        processes.append(process)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    out = tmp_path / "out"
    tables = [set(rows_of(out / name)) for name in ("a.csv", "a-2.csv")]
    assert tables in (keys, keys[::-1])
    links = [path for path in (out / "sorted").rglob("*") if path.is_symlink()]
    assert len(links) in (60, 61)
    assert (
        len({Path(os.readlink(link)).relative_to(tmp_path).parts[0] for link in links})
        == 1
    )
    for name, table in zip(("a", "a-2"), tables, strict=True):
        listed = (out / f"{name}.left_out.txt").read_text(encoding="utf-8")
        assert listed.startswith(f"broken{keys.index(table)}.png")


def _predict(barrier: Any, settings: PredictSettings) -> None:
    barrier.wait()
    try:
        predict_images(settings)
    except ValueError:
        settings.sort_into = None
        predict_images(settings)


def test_a_killed_prediction_leaves_no_table(
    run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    settings = PredictSettings(
        str(run_folder),
        out=str(tmp_path / "a.csv"),
        embeddings=str(tmp_path / "a.npy"),
        device="cpu",
        quiet=True,
        data=ImagesToPredict(path=str(photos)),
    )
    process = multiprocessing.get_context("fork").Process(
        target=_predict_and_die, args=(settings,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = os.listdir(tmp_path)
    assert left and all(re.match(r"\..*\.unfinished", name) for name in left)


def _predict_and_die(settings: PredictSettings) -> None:
    def die(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    ClusterPredictor.predict = die  # type: ignore[method-assign, assignment]
    predict_images(settings)


def test_where_no_links_can_be_made_files_are_copied(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "p", 8)
    settings = PredictSettings(
        str(run_folder),
        out=str(tmp_path / "a.csv"),
        sort_into=str(tmp_path / "sorted"),
        device="cpu",
        data=ImagesToPredict(path=str(tmp_path / "p")),
    )

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    # As on Windows or exFAT; no disk that is here refuses.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "symlink", refuse)
        predict_images(settings)
    assert "(copied, not linked: Operation not permitted)" in capsys.readouterr().out
    for key, row in rows_of(tmp_path / "a.csv").items():
        place = tmp_path / "sorted" / f"cluster_{row['cluster']}" / key
        assert not place.is_symlink()
        assert place.read_bytes() == (tmp_path / "p" / key).read_bytes()


def test_images_are_read_as_they_are_needed(run_folder: Path, tmp_path: Path) -> None:
    """However many files there are, a few are open or decoded at a time."""
    write_photos(tmp_path / "p", 200)
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    decoded, written = [0], [0]
    ahead = []

    def make(image: Image.Image) -> torch.Tensor:
        decoded[0] += 1
        return predictor.transform(image)

    def progress(done: int) -> None:
        written[0] = done
        ahead.append(decoded[0] - done)

    images = stream_images(load_folder(tmp_path / "p"), make, num_threads=2)
    out = tmp_path / "a.csv"
    predict_to_table(predictor, images, out, batch_size=8, progress=progress)
    assert written[0] == decoded[0] == 200
    assert max(ahead) <= 2 * 4 + 2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"checkpoint": None}, "checkpoint must be text"),
        ({"batch_size": 0}, "batch_size"),
        ({"data": ImagesToPredict()}, "data.path is needed"),
        ({"data": ImagesToPredict("npz", "a"), "sort_into": "b"}, "sort_into"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object], word: str) -> None:
    settings = PredictSettings("runs/a", data=ImagesToPredict(path="photos"))
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(SettingsError, match=word):
        check(settings)


def test_a_path_that_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint and no run"):
        ClusterPredictor.from_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="not the folder of a run"):
        ClusterPredictor.from_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        (tmp_path / "a.ckpt").write_bytes(b"nothing")
        ClusterPredictor.from_checkpoint(tmp_path / "a.ckpt")


def test_a_device_that_is_not_there_is_named(run_folder: Path) -> None:
    with pytest.raises(ValueError, match="device must be"):
        ClusterPredictor.from_checkpoint(run_folder, device="quantum")
    with pytest.raises(ValueError, match="device must be"):
        ClusterPredictor.from_checkpoint(run_folder, device="meta")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="0 CUDA devices"):
            ClusterPredictor.from_checkpoint(run_folder, device="cuda")


def test_embeddings_of_the_run_are_those_of_the_predictor(
    run_folder: Path, photos: Path
) -> None:
    saved = np.load(run_folder / "embeddings.npy")
    table = read_assignments(run_folder)
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    found = predictor.predict([Image.open(photos / key) for key in table.keys[:5]])
    np.testing.assert_allclose(found.embeddings, saved[:5], atol=1e-3)


def test_paths_arrays_and_images_get_the_same_answer(
    run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    paths = [path for path in sorted(photos.rglob("*.*")) if path.name != "broken.png"]
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    expected = predictor.predict([Image.open(path) for path in paths])
    arrays = [np.asarray(read_image(path)) for path in paths]
    mixed = [str(paths[0]), paths[1], Image.open(paths[2]), *arrays[3:]]
    (tmp_path / "a.txt").write_text("\n".join(map(str, paths)), encoding="utf-8")
    for images in (paths, map(str, paths), arrays, mixed, tmp_path / "a.txt"):
        found = predictor.predict(images)
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.embeddings, expected.embeddings)
    folder = photos / "more"
    below = [folder / key for key in load_folder(folder).keys]
    assert torch.equal(predictor.predict(str(folder))[3], predictor.predict(below)[3])
    stacked = np.stack([arrays[0], arrays[0][::-1]])
    assert len(predictor.predict(stacked).labels) == 2
    assert len(predictor.predict(stacked[..., 0]).labels) == 2  # grey
    assert len(predictor.predict(paths[0]).labels) == 1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (5, "got one int"),
        (Image.new("RGB", (4, 4)), "got one Image"),
        (np.zeros((4, 4, 3), np.uint8), "got one ndarray"),
        (np.zeros((2, 4, 4, 3), np.float32), r"got float32 \(4, 4, 3\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "got torch.uint8"),
        ([b"a.jpg"], "got bytes"),
        ([None], "got NoneType"),
    ],
)
def test_what_is_no_image_is_named(
    run_folder: Path, images: object, message: str
) -> None:
    predictor = ClusterPredictor.from_checkpoint(run_folder, device="cpu")
    with pytest.raises(TypeError, match=message):
        predictor.predict(images)  # type: ignore[arg-type]


def test_embeddings_lie_beside_the_table(
    run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    out, embeddings = tmp_path / "a.csv", tmp_path / "a.npy"
    settings = PredictSettings(
        checkpoint=str(run_folder),
        out=str(out),
        embeddings=str(embeddings),
        batch_size=7,
        device="cpu",
        quiet=True,
        data=ImagesToPredict(path=str(photos)),
    )
    predict_images(settings)
    found = np.load(embeddings)
    paths = [photos / key for key in rows_of(out)]
    expected = ClusterPredictor.from_checkpoint(run_folder, "cpu").predict(paths)
    assert found.dtype == np.float16 and found.shape == expected.embeddings.shape
    np.testing.assert_allclose(found, expected.embeddings, atol=1e-3)
    predict_images(settings)
    assert (tmp_path / "a-2.npy").read_bytes() == embeddings.read_bytes()
    settings.data.path = str(photos / "broken.png")
    with pytest.raises(ValueError, match="none of the 1 files"):
        predict_images(settings)
    assert {path.name for path in tmp_path.glob("*.npy")} == {"a.npy", "a-2.npy"}
    settings.embeddings = str(tmp_path / "a.csv")
    with pytest.raises(SettingsError, match=r"embeddings must end in \.npy"):
        check(settings)


def test_a_run_in_float64_on_a_device_without(
    monkeypatch: pytest.MonkeyPatch, digits_run: Path
) -> None:
    """The CPU plays Apple's MPS."""
    checkpoint = load_checkpoint(digits_run)
    predictor = ClusterPredictor.from_checkpoint(checkpoint, "cpu")
    partition = predictor.partition
    assert isinstance(partition, PrototypePartition)
    wide = dataclasses.replace(
        partition,
        centers=partition.centers.double(),
        prototypes=partition.prototypes.double(),
    )
    rest = (predictor.settings, predictor.model, wide, "batched", "cpu", "64-true")
    images = torch.rand(5, 1, 16, 16)
    expected = ClusterPredictor(*rest).predict(images)
    assert expected.confidence.dtype == torch.float64
    for module in (arrays, predictor_module):
        monkeypatch.setattr(module, "accurate_dtype", lambda device: torch.float32)
    found = ClusterPredictor(*rest)
    assert isinstance(found.partition, PrototypePartition)
    assert found.partition.centers.dtype == found.partition.prototypes.dtype
    assert found.partition.centers.dtype == torch.float32
    predicted = found.predict(images)
    assert torch.equal(predicted.labels, expected.labels)
    assert {x.dtype for x in predicted[1:4]} == {torch.float32}
