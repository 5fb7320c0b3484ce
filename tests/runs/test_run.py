"""Whole runs on small real data."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from hadis_lightly.artifacts import RunResult, load_checkpoint
from hadis_lightly.artifacts.results import EXTERNAL_SCORES, split_scores
from hadis_lightly.cluster import clustering_scores
from hadis_lightly.loss import HaDisLoss
from hadis_lightly.methods.registry import build_model
from hadis_lightly.runs import run
from hadis_lightly.runs.performance import can_compile
from hadis_lightly.training import HaDis, PrototypeKMeans
from tests.runs.small_run import small_settings


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    settings = small_settings(tmp_path_factory.mktemp("run") / "digits")
    settings.trainer.log_every_n_steps = 2
    settings.clustering.warmup_epochs = 1
    return run(settings)


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_everything_in_its_folder(result: RunResult) -> None:
    folder = result.output_dir
    content = json.loads((folder / "results.json").read_text())
    assert content["scores"] == result.scores
    assert set(EXTERNAL_SCORES) <= set(result.scores)
    assert content["seed"] == 0 and content["epochs"] == 2
    assert content["schedule"] == {
        "optimizer.warmup_epochs": 0,  # a quarter of two
        "clustering.warmup_epochs": 1,
    }
    assert content["settings"]["model"]["hidden_dim"] == 32
    assert content["versions"]["torch"] == torch.__version__
    assert "digits" in content["description"] and "200" in content["description"]
    assert content["performance"].startswith("pipeline device (")
    assert 0 < content["pixel_scores"]["acc"] < 1
    names = {"clusters.png", "confusion.png", "curves.png", "map.png"}
    assert {path.name for path in result.figures} == names
    for path in result.figures:
        with Image.open(path) as image:
            assert image.width > 300 and image.height > 200
    assert (folder / "settings.yaml").exists()
    assert list((folder / "tensorboard").glob("events*"))


def test_assignments_are_the_clusters_that_were_scored(result: RunResult) -> None:
    rows = rows_of(result.output_dir, "assignments.csv")
    old = ["key", "cluster", "confidence", "distance", "isolation", "target"]
    columns = [*old, "outlier", "level_1", "level_2", "level_3", "level_4"]
    assert len(rows) == 200 and list(rows[0]) == columns
    digits = load_digits().target
    for row in rows:
        assert int(row["target"]) == digits[int(row["key"])]
        assert 0 < float(row["confidence"]) <= 1
    targets, labels = ([int(row[c]) for row in rows] for c in ("target", "cluster"))
    external, _ = split_scores(result.scores)
    assert clustering_scores(targets, labels) == external


def test_scores_and_losses_are_logged(result: RunResult) -> None:
    rows = rows_of(result.output_dir, "metrics.csv")
    # Before the first epoch, and beside the losses of each.
    assert [int(row["epoch"]) for row in rows if row["cluster/acc"]] == [0, 0, 1]
    first, second = (row["train/loss_pcl"] for row in rows if row["train/loss"])
    assert float(first) == 0 < float(second)
    of_steps = [int(row["step"]) for row in rows if row["train/loss_step"]]
    assert of_steps == [1, 3, 5]  # of six, which Lightning counts from 0


def test_the_checkpoint_is_plain_and_has_the_settings(result: RunResult) -> None:
    path = result.output_dir / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    settings = checkpoint["hadis_lightly"]["settings"]
    assert settings["model"]["backbone"] == "small_convnet"
    assert checkpoint["global_step"] == 6
    assert any(key.startswith("model.teacher.") for key in checkpoint["state_dict"])


def test_the_checkpoint_is_loaded_as_a_module(result: RunResult) -> None:
    path = result.output_dir / "checkpoints" / "last.ckpt"
    with pytest.raises(TypeError, match=r"ClusterPredictor.from_checkpoint\(path\)"):
        HaDis.load_from_checkpoint(path)
    settings = load_checkpoint(path).settings
    prototypes = PrototypeKMeans(settings.n_clusters, [])
    loaded = HaDis.load_from_checkpoint(
        path,
        model=build_model(settings, 1),
        criterion=HaDisLoss(settings.n_clusters),
        prototypes=prototypes,
    )
    assert loaded.teacher_momentum == settings.model.teacher_momentum
    rows = rows_of(result.output_dir, "assignments.csv")
    assert prototypes.labels_.tolist() == [int(row["cluster"]) for row in rows]


def test_the_same_seed_gives_the_same_run_in_a_folder_of_its_own(
    result: RunResult, tmp_path: Path
) -> None:
    folder = result.output_dir
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    settings = small_settings(folder)
    settings.clustering.warmup_epochs = 1
    settings.trainer.resume = "auto"  # a finished run is not resumed
    again = run(settings)
    assert again.scores == result.scores and again.num_resumed == 0
    assert again.output_dir == Path(f"{folder}-2")
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before
    table = (folder / "assignments.csv").read_bytes()
    assert (again.output_dir / "assignments.csv").read_bytes() == table
    other = run(replace(small_settings(tmp_path / "other"), seed=1))
    assert (other.output_dir / "assignments.csv").read_bytes() != table


def test_images_of_one_size_without_labels(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(load_digits().images[:60]):
        array = np.repeat((image * 15).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(array).save(folder / f"photo {i}.png")
    settings = small_settings(
        tmp_path / "run", source="folder", path=str(folder), limit=None
    )
    settings.views.mean, settings.views.std = [0.3] * 3, [0.4] * 3
    settings.loader.batch_size = 20
    result = run(settings)
    assert "silhouette" in result.scores and "acc" not in result.scores
    assert result.pixel_scores is None
    assert "confusion.png" not in {path.name for path in result.figures}
    row = rows_of(result.output_dir, "assignments.csv")[0]
    assert row["key"] == "photo 0.png" and "target" not in row


def test_images_of_many_sizes(tmp_path: Path) -> None:
    """Also where the pixels are clustered: they have to come to one size."""
    folder = tmp_path / "photos"
    for kind, color in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        (folder / kind).mkdir(parents=True)
        for i in range(10):
            size = (8 + i, 9 + 2 * i)
            Image.new("RGB", size, color).save(folder / kind / f"{i}.png")
    settings = small_settings(
        tmp_path / "run", source="folder", path=str(folder), limit=None
    )
    settings.n_clusters = 2
    settings.views.mean, settings.views.std = [0.3] * 3, [0.4] * 3
    settings.loader.batch_size = 10
    result = run(settings)
    assert result.pixel_scores == {"nmi": 1.0, "acc": 1.0, "ari": 1.0}
    assert result.performance.startswith("pipeline workers (the images differ in size;")


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        (None, "n_clusters", 201, "n_clusters is 201, but there are only 200 images."),
        (
            "loader",
            "batch_size",
            256,
            "loader.batch_size is 256, but there are only 200 images: no batch would "
            "be full. Set loader.batch_size=100.",
        ),
        ("model", "backbone", "resnet19", "backbone 'resnet19' is neither one of"),
        ("views", "mean", [0.1] * 3, "views.mean and views.std must have one value"),
    ],
)
def test_settings_that_do_not_fit_leave_nothing_behind(
    section: str | None, name: str, value: object, message: str, tmp_path: Path
) -> None:
    settings = small_settings(tmp_path / "run")
    setattr(getattr(settings, section) if section else settings, name, value)
    with pytest.raises(ValueError, match=re.escape(message)):
        run(settings)
    assert list(tmp_path.iterdir()) == []


def test_views_of_colour_do_not_fit_grey_images(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.views.mean, settings.views.std = [0.1] * 3, [0.2] * 3
    with pytest.raises(
        ValueError, match=r"views\.mean has 3 values, but the images have 1"
    ):
        run(settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pipeline", "precision"),
    [
        ("lightly", "bf16-mixed"),
        pytest.param("workers", "64-true", marks=pytest.mark.slow),
    ],
)
def test_other_pipelines_and_precisions(
    pipeline: str, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = small_settings(tmp_path / "run", pipeline=pipeline)
    settings.trainer.precision = precision
    result = run(settings)
    assert result.performance.startswith(f"pipeline {pipeline} (as asked for)")
    assert f"), {precision}, " in result.performance
    assert result.performance in capsys.readouterr().out
    assert {"nmi", "acc", "ari"} <= set(result.scores)


@pytest.mark.slow  # compiles for two minutes
# PyTorch's compiler looks at it, and hides the warning where warnings are no errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_run_has_the_losses_of_one_that_is_not(tmp_path: Path) -> None:
    if not can_compile(torch.device("cpu")):
        pytest.skip("needs a compiler")
    losses = []
    for mode in ("off", "default"):
        settings = small_settings(tmp_path / mode)
        settings.trainer.compile = mode
        rows = rows_of(run(settings).output_dir, "metrics.csv")
        losses.append([float(row["train/loss"]) for row in rows if row["train/loss"]])
    # The noise of the projections is drawn differently when compiled.
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_training_that_diverges_says_so(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.optimizer.learning_rate = 1e12
    with pytest.raises(ValueError, match=r"training diverged in epoch \d, batch \d"):
        run(settings)
