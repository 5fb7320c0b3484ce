"""A run over photos with strange names, and what is exported of it."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from hadis_lightly.artifacts.saved_run import SavedRun, load_run
from hadis_lightly.formats import ClusteredImages, images_of_run
from hadis_lightly.runs import run
from hadis_lightly.settings import DataSettings
from tests.photo_runs import tiny_settings, write_photos

NUM_IMAGES = 41


@pytest.fixture(scope="package")
def saved(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    folder = tmp_path_factory.mktemp("formats")
    write_photos(folder / "photos", NUM_IMAGES - 1)
    Image.new("RGB", (30, 20), "red").save(folder / "photos" / "a #1 50%.tif")
    data = DataSettings(source="folder", path=str(folder / "photos"))
    settings = tiny_settings(data, folder / "run")
    run(settings)
    names = {"0": 'Häns & "Co" <x>', "2": "cluster 1"}  # two of one name
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
    return load_run(folder / "run")


@pytest.fixture(scope="package")
def images(saved: SavedRun) -> ClusteredImages:
    return images_of_run(saved, names=saved.folder.parent / "names.json")
