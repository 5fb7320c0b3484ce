"""Files are decoded once, before training, wherever there is room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.data import FolderSource, ImageReadError, read_image
from hadis_lightly.prediction import ClusterPredictor
from hadis_lightly.runs import run
from hadis_lightly.runs.decoding import describe_decoding
from hadis_lightly.runs.source import build_source
from hadis_lightly.settings import DataSettings, Settings, SettingsError
from tests.photo_runs import tiny_settings, write_photos


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoding") / "photos"
    write_photos(folder, 40)
    pixels = np.random.default_rng(0).integers(0, 255, (150, 200, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "large.jpg")
    return folder


def settings_of(images: Path, folder: Path, **data: object) -> Settings:
    options = {"source": "folder", "path": str(images), **data}
    settings = tiny_settings(DataSettings(**options), folder)  # type: ignore[arg-type]
    settings.trainer.max_epochs, settings.clustering.warmup_epochs = 1, 0
    return settings


def test_results_do_not_depend_on_where_pixels_are(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "auto": "in memory",
        "off": "in every epoch",
        str(tmp_path / "c"): "c/pix",
    }
    found = []
    for number, (cache, said) in enumerate(places.items()):
        settings = settings_of(images, tmp_path / str(number), cache=cache)
        settings.quiet = False
        run(settings)
        assert said in capsys.readouterr().out
        found.append(np.load(tmp_path / str(number) / "embeddings.npy"))
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    predictor = ClusterPredictor.from_checkpoint(tmp_path / "0")
    assert predictor.decode_size == 32
    large = images / "large.jpg"
    assert np.allclose(
        predictor.predict([large]).embeddings,
        predictor.predict([read_image(large, min_side=32)]).embeddings,
    )


def test_for_several_processes_there_is_a_file(images: Path, tmp_path: Path) -> None:
    settings = settings_of(images, tmp_path)
    settings.trainer.devices = "2"
    source = build_source(settings)
    assert isinstance(source, FolderSource)
    assert source.decoded is not None
    assert source.decoded.path is not None
    assert str(source.decoded.path) in describe_decoding(source)


@pytest.mark.parametrize(
    "data", [{}, {"cache": "off", "check": "full"}, {"cache": "off"}]
)
def test_damaged_pixels_are_found(
    images: Path, tmp_path: Path, data: dict[str, str]
) -> None:
    photos = tmp_path / "photos"
    write_photos(photos, 40)
    whole = (images / "large.jpg").read_bytes()
    (photos / "the cut.jpg").write_bytes(whole[: len(whole) // 2])
    settings = settings_of(photos, tmp_path / "run", **data)
    with pytest.raises(ImageReadError, match=r"the cut\.jpg"):
        run(settings)
    # Without a look at the pixels before training it ends there.
    assert (tmp_path / "run").exists() == (data == {"cache": "off"})


def test_a_cache_that_cannot_be_written(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = settings_of(images, tmp_path / "run", cache=str(tmp_path / "file"))
    with pytest.raises(SettingsError, match=r"data\.cache is '.*file': "):
        build_source(settings)
