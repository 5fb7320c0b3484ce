"""Runs read back: names that are no UTF-8, keys from strangers, copies."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from hadis_lightly.artifacts.checkpoint import CheckpointError
from hadis_lightly.artifacts.saved_run import SavedRun, load_run
from hadis_lightly.data import DataError
from hadis_lightly.report.run_report import small_reader
from hadis_lightly.runs import run
from hadis_lightly.settings import DataSettings
from hadis_lightly.settings.changes import different_settings
from tests.photo_runs import tiny_settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ends after three steps, over files with strange names."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(32):
        pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        name = (
            os.fsdecode(b"%d \xff.png" % i) if sys.platform == "linux" else f"{i}.png"
        )
        Image.fromarray(pixels).save(folder / "photos" / name)
    data = DataSettings(source="folder", path=str(folder / "photos"))
    settings = tiny_settings(data, folder / "run")
    settings.trainer.max_epochs, settings.trainer.max_steps = 50, 3
    run(settings)
    return folder


def test_every_image_is_read_back(folder: Path) -> None:
    saved = load_run(folder / "run")
    read = saved.source().read
    assert len(saved.assignments) == 32
    assert all(read(row).size == (12, 12) for row in range(32))
    assert saved.embeddings.shape == (32, 8)
    np.testing.assert_allclose(np.linalg.norm(saved.embeddings, axis=1), 1, atol=1e-5)


def test_large_photos_are_read_reduced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    key = load_run(folder / "run").assignments.keys[0]
    path = tmp_path / "photos" / key  # an escaped name, which is looked for first
    photo, exif = Image.new("RGB", (400, 300), "teal"), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo.save(path, "JPEG", exif=exif)
    read = small_reader(load_run(folder / "run").source(str(tmp_path / "photos")))
    assert read is not None
    image, own = read(0, 60)
    assert (image.size, own) == ((60, 80), (300, 400))


@pytest.mark.parametrize("content", [b"", b"no array"])
def test_a_broken_map_is_drawn_anew(folder: Path, content: bytes) -> None:
    path = folder / "run" / "map.npy"
    before = path.read_bytes()
    try:
        assert load_run(folder / "run").map_points() is not None
        path.write_bytes(content)
        assert load_run(folder / "run").map_points() is None
    finally:
        path.write_bytes(before)


def test_moments_are_spread_over_the_epochs_that_there_are(folder: Path) -> None:
    epochs = [moment.epoch for moment in load_run(folder / "run").snapshots()]
    assert epochs[0] == 0 and len(epochs) >= 2
    assert epochs[-1] == load_run(folder / "run").history[-1]["epoch"]


@pytest.mark.parametrize("key", ["../secret.png", "/etc/secret.png", "a/../../b.png"])
def test_nothing_outside_the_folder_is_read(folder: Path, key: str) -> None:
    saved = load_run(folder / "run")
    saved.assignments.keys[3] = key
    with pytest.raises(DataError, match="not a path below"):
        saved.source()


def test_a_copy_of_a_checkpoint_is_no_run(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "run" / "checkpoints" / "last.ckpt", tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="outside the folder"):
        load_run(tmp_path / "x.ckpt")


def test_a_run_that_has_not_finished_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    with pytest.raises(CheckpointError, match="has not finished"):
        load_run(tmp_path / "run")


def test_images_that_are_gone_are_named(folder: Path) -> None:
    saved: SavedRun = load_run(folder / "run")
    with pytest.raises(DataError, match="no longer in"):
        saved.source(str(folder / "nowhere"))


def test_the_working_folder_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other photos of the same names, in the folder that the report is made from."""
    for folder, level in (("a", 200), ("b", 0)):
        (tmp_path / folder / "photos").mkdir(parents=True)
        for i in range(16):
            image = Image.new("L", (12, 12), level + i)
            image.save(tmp_path / folder / "photos" / f"{i:02}.png")
    monkeypatch.chdir(tmp_path / "a")
    settings = tiny_settings(DataSettings("folder", "photos"), Path("run"))
    run(settings)
    monkeypatch.chdir(tmp_path / "b")
    saved = load_run("../a/run")
    assert saved.source().read(3).getpixel((0, 0)) == (203, 203, 203)
    monkeypatch.chdir(tmp_path / "a")
    # The same line still means the same run, also where an earlier version made it.
    assert different_settings(asdict(settings), saved.settings, exactly=True) == []
