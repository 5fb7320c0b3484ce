"""A folder of real images, some of them odd, and runs that have clustered such."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hadis_lightly.runs import run
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    Settings,
    TrainerSettings,
    ViewSettings,
)

NUM_IMAGES = 60


def write_photos(folder: Path, n: int, start: int = 0) -> None:
    """Digits as files of many kinds: sizes, suffixes, modes, names, sub-folders."""
    rng = np.random.default_rng(start)
    images = load_digits().images[start : start + n]
    (folder / "more" / "of them").mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(images):
        image = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
        width, height = rng.integers(8, 40, size=2)
        image = image.resize((int(width), int(height)))
        mode = ("L", "RGB", "RGBA", "P")[i % 4]
        suffix = "png" if mode in ("RGBA", "P") else ("jpg", "PNG", "JPEG")[i % 3]
        place = folder if i % 5 else folder / "more" / "of them"
        image.convert(mode).save(place / f"photo, {i:03} é.{suffix}")


def tiny_settings(data: DataSettings, output_dir: Path) -> Settings:
    """Settings of a run of seconds."""
    return Settings(
        n_clusters=3,
        output_dir=str(output_dir),
        quiet=True,
        data=data,
        loader=LoaderSettings(batch_size=16, num_workers=0),
        views=ViewSettings(input_size=16),
        model=ModelSettings(backbone="small_convnet", hidden_dim=16, output_dim=8),
        clustering=ClusteringSettings(n_init=2, warmup_epochs=1),
        trainer=TrainerSettings(max_epochs=2, accelerator="cpu", logger="none"),
    )


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_photos(folder, NUM_IMAGES)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


@pytest.fixture(scope="session")
def run_folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "photos"
    data = DataSettings(source="folder", path=str(photos), on_error="skip")
    run(tiny_settings(data, folder))
    return folder


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose images are scaled on the device, with classes, in grey."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    settings = tiny_settings(DataSettings(source="digits", limit=200), folder)
    settings.views.mean, settings.views.std = [0.3], [0.4]
    run(settings)
    return folder


def write_names(path: Path, labels: Mapping[str, str | None], **changes: Any) -> Path:
    """A ``names.json`` of a report of three clusters, the last of which has a name."""
    place = {"cluster": 0, "confidence": 0.5, "distance": 0.5}
    content = {
        "format": "hadis-lightly names 1", "run": "0" * 16, "n_clusters": 3,
        "names": {"2": "lost"}, "split": [], "accepted": [], "rejected": [],
        "images": {file: {"label": label, **place} for file, label in labels.items()},
    }  # fmt: skip
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path
