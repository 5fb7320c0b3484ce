"""A finished run of every method: predicted, reported on, and drawn."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hadis_lightly.artifacts import backbone_state_dict
from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.cli.figures import FiguresSettings, draw_run_figures
from hadis_lightly.cli.predict import ImagesToPredict, PredictSettings, predict_images
from hadis_lightly.cli.report import ReportSettings, report_on_run
from hadis_lightly.cluster import HeadPartition, PrototypePartition
from hadis_lightly.models import build_backbone
from hadis_lightly.prediction import ClusterPredictor
from hadis_lightly.report.run_report import data_of_run
from hadis_lightly.runs import run
from hadis_lightly.settings.papers import METHOD_NAMES
from hadis_lightly.settings.sections import DataSettings, Settings
from tests.methods.test_methods import TITLES, tiny
from tests.photo_runs import NUM_IMAGES
from tests.prediction.test_prediction import agrees, rows_of

_WITH_HEAD = ("cc", "pici")
METHODS = [
    method if method == "pici" else pytest.param(method, marks=pytest.mark.slow)
    for method in METHOD_NAMES
]


def of_photos(method: str, photos: Path, folder: Path) -> Settings:
    """Settings of a run of seconds, images of all sizes, in colour."""
    settings = tiny(method, folder, max_epochs=3)
    settings.n_clusters = 3
    settings.data = DataSettings(source="folder", path=str(photos), on_error="skip")
    settings.views.mean, settings.views.std = [0.3] * 3, [0.4] * 3
    settings.loader.batch_size, settings.loader.num_workers = 16, 0
    settings.pici.pretraining_epochs = 1
    return settings


@pytest.fixture(scope="module", params=METHODS)
def folder(
    request: pytest.FixtureRequest,
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of a run; its name is that of the method."""
    folder: Path = tmp_path_factory.mktemp("runs") / request.param
    run(of_photos(request.param, photos, folder))
    return folder


@pytest.mark.parametrize("batch_size", [7, 256])
def test_files_of_the_run_are_where_the_run_has_put_them(
    folder: Path, photos: Path, tmp_path: Path, batch_size: int
) -> None:
    settings = PredictSettings(
        checkpoint=str(folder),
        out=str(tmp_path / "a.csv"),
        batch_size=batch_size,
        device="cpu",
        quiet=True,
        data=ImagesToPredict(path=str(photos)),
    )
    summary = predict_images(settings)
    assert summary.num_images == NUM_IMAGES == sum(summary.sizes.values())
    agrees(rows_of(tmp_path / "a.csv"), folder)


def test_the_backbone_can_be_taken_out(folder: Path) -> None:
    weights = backbone_state_dict(folder / "checkpoints" / "last.ckpt")
    predictor = ClusterPredictor.from_checkpoint(folder, device="cpu")
    if folder.name == "pici":
        assert "patch_embed.proj.weight" in weights
        return
    backbone = build_backbone("small_convnet")
    backbone.load_state_dict(weights)  # raises if a name is missing
    model: Any = predictor.model
    whose = model.backbone if folder.name == "cc" else model.teacher.module.backbone
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(backbone.eval()(x), whose(x))


def test_a_prediction_is_what_the_head_says(folder: Path, photos: Path) -> None:
    predictor = ClusterPredictor.from_checkpoint(folder, device="cpu")
    has_head = folder.name in _WITH_HEAD
    kind = HeadPartition if has_head else PrototypePartition
    assert type(predictor.partition) is kind
    table = read_assignments(folder)
    images = [Image.open(photos / key) for key in table.keys]
    found = predictor.predict(images)
    saved = np.load(folder / "embeddings.npy")
    np.testing.assert_allclose(found.embeddings, saved, atol=1e-3)
    assert found.labels.tolist() == table.labels.tolist()
    if has_head:
        model = predictor.model
        tensors = torch.stack([predictor.transform(image) for image in images])
        probabilities = model.assign(tensors)  # type: ignore[operator]
        assert torch.equal(probabilities.argmax(dim=1), found.labels)
        torch.testing.assert_close(probabilities.amax(dim=1), found.confidence)
    own = predictor.partition.prototypes[found.labels]
    distance = (found.embeddings - own).norm(dim=1)
    torch.testing.assert_close(distance, found.distance, rtol=0, atol=1e-4)


def test_the_report_of_a_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report_on_run(ReportSettings(str(folder), str(tmp_path / "report")))
    assert str(page) in capsys.readouterr().out
    content = page.read_text(encoding="utf-8")
    title = TITLES[folder.name]
    assert f"<title>{title}, 3 clusters" in content
    assert f'"total":{NUM_IMAGES}' in content
    assert "broken.png" in content


def test_a_report_says_how_many_images_are_gone(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    for key in read_assignments(folder).keys[::2]:
        (tmp_path / "photos" / key).unlink()
    last = tmp_path / "photos" / read_assignments(folder).keys[-1]
    last.write_bytes(last.read_bytes() + b"later")
    settings = ReportSettings(str(folder), str(tmp_path / "report"), max_images=10)
    settings.data.path = str(tmp_path / "photos")
    page = report_on_run(settings).read_text(encoding="utf-8")
    count = f"{NUM_IMAGES // 2} of {NUM_IMAGES} images cannot be read any more"
    replaced = "at least 1 image is not what the run has clustered: '"
    said = capsys.readouterr().out
    assert f"WARNING: {count}" in said and f"WARNING: {replaced}" in said
    assert f'"warnings":["{count}' in page and f'"{replaced}' in page


def test_the_data_of_a_report(folder: Path) -> None:
    finished = load_run(folder)
    data = data_of_run(finished, plane=lambda rows: rows[:, :2])
    # The map of the run is taken, unless another number of images is asked for.
    points = np.load(folder / "map.npy")
    np.testing.assert_array_equal(data_of_run(finished).points, points)
    assert data.tree is not None and data.tree["levels"][-1] == 2 * data.n_clusters
    few = data_of_run(finished, map_images=4).points
    assert np.isfinite(few).all(axis=1).sum() == 4
    table = read_assignments(folder)
    assert data.labels.tolist() == table.labels.tolist()
    assert data.prototypes.shape[0] == 3
    assert ("Method", TITLES[folder.name]) in data.summary
    assert ("Device", finished.result["device"]) in data.summary
    assert data.settings["pipeline, as chosen"] == finished.result["performance"]
    # Shaded in the curves: PICI's first phase, the others' warm-up, of CC nothing.
    assert data.warmup_epochs == {"cc": 0}.get(folder.name, 1)


@pytest.mark.slow
def test_figures_of_a_run(folder: Path, tmp_path: Path) -> None:
    drawn = draw_run_figures(
        FiguresSettings(str(folder), str(tmp_path / "figures"), True)
    )
    # No class is known, so that there is nothing to confuse.
    assert {"scores.png", "moments.png"} <= {path.name for path in drawn}
    for path in drawn:
        with Image.open(path) as image:
            assert min(image.size) > 200


@pytest.mark.slow
def test_methods_side_by_side(tmp_path: Path) -> None:
    """Runs on digits, whose classes are known, in one picture."""
    folders = [
        str(run(tiny(m, tmp_path / m)).output_dir) for m in ("hadis", *_WITH_HEAD)
    ]
    settings = FiguresSettings(folders, str(tmp_path / "figures"), quiet=True)
    names = {path.name for path in draw_run_figures(settings)}
    assert {"scores.png", *(f"confusion_{number}.png" for number in range(3))} <= names


@pytest.mark.slow
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_images_that_were_scaled_on_the_device_are_where_the_run_has_put_them(
    method: str, tmp_path: Path
) -> None:
    folder = run(tiny(method, tmp_path / "run")).output_dir
    data = ImagesToPredict(source="digits")
    out = tmp_path / "a.csv"
    predict_images(PredictSettings(str(folder), str(out), quiet=True, data=data))
    found = rows_of(out)
    agrees({key: found[key] for key in read_assignments(folder).keys}, folder)
