"""Whole runs on small real data, and the command line of the recipes."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from hadis_lightly.artifacts import RunResult
from hadis_lightly.runs import run
from hadis_lightly.runs.performance import can_compile
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    SettingsError,
    TrainerSettings,
    ViewSettings,
)
from tests.forked_lines import Lines

RECIPES = Path(__file__).parents[2] / "recipes"


def small_settings(folder: Path, **data: object) -> Settings:
    """Two epochs on digits, with a network of a few thousand weights."""
    return Settings(
        output_dir=str(folder),
        data=DataSettings(**{"source": "digits", "limit": 200, **data}),  # type: ignore[arg-type]
        loader=LoaderSettings(batch_size=64, num_workers=0),
        views=ViewSettings(
            input_size=8,
            min_scale=0.6,
            cj_sat=0,
            cj_hue=0,
            random_gray_scale=0,
            mean=[0.3],
            std=[0.38],
        ),
        model=ModelSettings(backbone="small_convnet", hidden_dim=32, output_dim=16),
        optimizer=OptimizerSettings(warmup_epochs=1),
        clustering=ClusteringSettings(
            warmup_epochs=1, whiten=True, pixel_baseline=True
        ),
        trainer=TrainerSettings(max_epochs=2, accelerator="cpu", progress_bar=False),
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(small_settings(tmp_path_factory.mktemp("run") / "digits"))


def test_a_run_leaves_everything_in_its_folder(result: RunResult) -> None:
    folder = result.output_dir
    content = json.loads((folder / "results.json").read_text())
    assert content["scores"] == result.scores
    assert set(result.scores) == {"nmi", "acc", "ari"}
    assert content["seed"] == 0 and content["epochs"] == 2
    assert content["settings"]["model"]["hidden_dim"] == 32
    assert content["versions"]["torch"] == torch.__version__
    assert "digits" in content["description"] and "200" in content["description"]
    assert 0 < content["pixel_scores"]["acc"] < 1
    names = {"clusters.png", "confusion.png", "curves.png", "map.png"}
    assert {path.name for path in result.figures} == names
    for path in result.figures:
        with Image.open(path) as image:
            assert image.width > 300 and image.height > 200
    assert (folder / "settings.yaml").exists()
    assert list((folder / "tensorboard").glob("events*"))


def test_assignments_are_the_clusters_that_were_scored(result: RunResult) -> None:
    with (result.output_dir / "assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 200
    columns = ["key", "cluster", "confidence", "distance", "isolation"]
    columns += ["target"]
    assert list(rows[0]) == columns
    digits = load_digits().target
    for row in rows:
        assert int(row["target"]) == digits[int(row["key"])]
        assert 0 < float(row["confidence"]) <= 1
    from hadis_lightly.cluster import clustering_scores

    labels = [int(row["cluster"]) for row in rows]
    targets = [int(row["target"]) for row in rows]
    assert clustering_scores(targets, labels) == result.scores


def test_scores_and_losses_are_logged(result: RunResult) -> None:
    with (result.output_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    scored = [int(row["epoch"]) for row in rows if row["cluster/acc"]]
    assert scored == [0, 1, 2]
    losses = [row for row in rows if row["train/loss"]]
    assert len(losses) == 2
    assert float(losses[0]["train/loss_pcl"]) == 0 < float(losses[1]["train/loss_pcl"])


def test_the_checkpoint_is_plain_and_has_the_settings(result: RunResult) -> None:
    path = result.output_dir / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["hyper_parameters"]["model"]["backbone"] == "small_convnet"
    assert checkpoint["global_step"] == 6
    assert any(key.startswith("model.teacher.") for key in checkpoint["state_dict"])


def test_the_same_seed_gives_the_same_run(result: RunResult, tmp_path: Path) -> None:
    again = run(small_settings(tmp_path / "again"))
    assert again.scores == result.scores
    one, two = (r.output_dir / "assignments.csv" for r in (result, again))
    assert one.read_bytes() == two.read_bytes()
    other = run(replace(small_settings(tmp_path / "other"), seed=1))
    assert (other.output_dir / "assignments.csv").read_bytes() != one.read_bytes()


def test_an_earlier_run_is_not_overwritten(result: RunResult) -> None:
    before = (result.output_dir / "results.json").read_bytes()
    again = run(small_settings(result.output_dir))
    assert again.output_dir == Path(f"{result.output_dir}-2")
    assert (result.output_dir / "results.json").read_bytes() == before


def test_images_without_labels(tmp_path: Path) -> None:
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
    with (result.output_dir / "assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["key"] == "photo 0.png" and "target" not in rows[0]


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        (None, "n_clusters", 1, "n_clusters must be >= 2, got 1."),
        (None, "n_clusters", 201, "n_clusters is 201, but there are only 200 images."),
        ("loader", "batch_size", 1, "loader.batch_size must be >= 2 (BatchNorm"),
        ("loader", "batch_size", 256, "loader.batch_size is 256, but there are only"),
        ("model", "hsd_temperature", 0.0, "model.hsd_temperature must be > 0, got 0.0"),
        ("model", "pcl_weight", -0.1, "model.pcl_weight must be >= 0, got -0.1."),
        ("model", "backbone", "resnet19", "backbone 'resnet19' is neither one of"),
        ("views", "mean", [0.1] * 3, "views.mean and views.std must have"),
        (
            "data",
            "source",
            "mnist",
            "data.source must be one of digits, cifar10",
        ),
        ("data", "path", "x", "data=digits takes no path"),
        ("trainer", "max_steps", 0, "trainer.max_steps must be -1 or at least 1"),
        ("optimizer", "learning_rate", 0.0, "optimizer.learning_rate must be > 0"),
        ("trainer", "devices", "0", "trainer.devices must be auto or >= 1, got '0'"),
        ("trainer", "accelerator", "abacus", "trainer.accelerator must be one of auto"),
        ("trainer", "precision", "8", "trainer.precision must be one of auto, 32-true"),
    ],
)
def test_bad_settings(
    section: str | None, name: str, value: object, message: str, tmp_path: Path
) -> None:
    settings = small_settings(tmp_path / "run")
    setattr(getattr(settings, section) if section else settings, name, value)
    with pytest.raises(ValueError, match=re.escape(message)):
        run(settings)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precision(precision: str, tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.trainer.precision = precision
    assert set(run(settings).scores) == {"nmi", "acc", "ari"}


@pytest.mark.parametrize("pipeline", ["device", "workers", "lightly"])
def test_every_engine(
    pipeline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(small_settings(tmp_path / "run", pipeline=pipeline))
    assert result.switches.startswith(f"pipeline {pipeline} (")
    assert result.switches in capsys.readouterr().out
    assert (
        json.loads((tmp_path / "run" / "results.json").read_text())["switches"]
        == result.switches
    )


def test_images_that_do_not_fit_leave_a_run_to_workers(tmp_path: Path) -> None:
    result = run(small_settings(tmp_path / "run", max_resident_gib=1e-6))
    assert "pipeline workers (the images take 12.5 KiB" in result.switches


def test_losses_of_some_steps_are_logged_beside_those_of_epochs(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.trainer.log_every_n_steps = 2
    result = run(settings)
    with (result.output_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    of_steps = {int(r["step"]): r for r in rows if r["train/loss_step"]}
    of_epochs = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert list(of_steps) == [2, 4, 6]  # three steps in each of two epochs
    assert len(of_epochs) == 2
    steps = [float(row["train/loss_step"]) for row in of_steps.values()]
    assert np.mean(steps) == pytest.approx(np.mean(of_epochs))


def test_an_unknown_backbone_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.model.backbone = "resnet19"
    with pytest.raises(ValueError, match="backbone 'resnet19'"):
        run(settings)
    assert list(tmp_path.iterdir()) == []


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
        result = run(settings)
        with (result.output_dir / "metrics.csv").open() as file:
            rows = [row["train/loss"] for row in csv.DictReader(file)]
        losses.append([float(row) for row in rows if row])
    # The diffusion draws other noise when compiled.
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_training_that_diverges_says_so(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.optimizer.learning_rate = 1e12
    with pytest.raises(ValueError, match=r"training diverged in epoch \d, batch \d"):
        run(settings)


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_when_cuda_is_asked_for(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.trainer.accelerator = "gpu"
    with pytest.raises(SettingsError, match="finds no CUDA device"):
        run(settings)


def recipe(name: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RECIPES / f"{name}.py"), *overrides],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    """Runs command lines without importing everything for each of them."""
    folder = tmp_path_factory.mktemp("lines")
    server = Lines(folder, folder)
    yield server
    server.close()


TINY = (
    "data.limit=150", "loader.batch_size=64", "loader.num_workers=0",
    "model.backbone=small_convnet", "model.hidden_dim=32", "model.output_dim=16",
    "trainer.max_epochs=2", "trainer.accelerator=cpu", "optimizer.warmup_epochs=1",
    "clustering.warmup_epochs=1",
)  # fmt: skip


def test_the_digits_recipe(tmp_path: Path) -> None:
    done = recipe("digits", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    number = r"[-\d.]+"
    scores = rf"NMI {number}  ACC {number}  ARI {number}"
    assert re.fullmatch(rf"HaDis +{scores}", lines[-1])
    assert re.fullmatch(rf"k-means on pixels +{scores}", lines[-2])
    assert "clusters.png" in done.stdout
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    (folder,) = (tmp_path / "runs" / "digits").iterdir()
    assert (folder / "results.json").exists()


def test_the_cifar10_recipe_on_a_local_copy(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (150, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", images=images, labels=np.arange(150) % 10)
    done = recipe("cifar10", "data=npz", "data.path=c.npz", *TINY[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"NMI [\d.]+  ACC [\d.]+  ARI -?[\d.]+$", done.stdout.strip())


def test_multirun_makes_a_folder_for_each_run(tmp_path: Path) -> None:
    done = recipe("digits", "--multirun", "seed=0,1", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/digits/multirun_*/*/results.json"))) == 2


@pytest.mark.parametrize(
    ("overrides", "status", "words"),
    [
        (["--help"], 0, ["trainer.max_epochs=20", "model.pcl_weight=0.1"]),
        (["--cfg", "job"], 0, ["input_size: 16", "whiten: true"]),
        (["trainer.max_epoch=3"], 2, ["max_epoch", "did you mean trainer.max_epochs?"]),
        (["trainer.max_epochs=many"], 2, ["'many'", "trainer.max_epochs"]),
        (["data=mnist"], 2, ["data/mnist", "cifar10"]),
        (["model.pcl_weight=-1"], 2, ["model.pcl_weight must be >= 0, got -1"]),
        (["data=npz", "data.path=nowhere.npz"], 2, ["nowhere.npz"]),
        (["data=folder", "data.path=nowhere"], 2, ["nowhere"]),
    ],
)
def test_command_line(
    overrides: list[str], status: int, words: list[str], lines: Lines, tmp_path: Path
) -> None:
    lines.cwd = tmp_path
    done = lines.run("digits", overrides)
    output = done.output if status == 0 else done.errors
    assert done.status == status, output
    for word in words:
        assert word in output
    assert "Traceback" not in output
    if status:
        assert len(output.strip().splitlines()) == 1
        assert not (tmp_path / "runs").exists()


def test_an_unreadable_image_is_named(lines: Lines, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(8):
        Image.new("RGB", (16, 16), (30 * i, 0, 0)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"not an image")
    lines.cwd = tmp_path
    overrides = ["data=folder", f"data.path={folder}", "n_clusters=2", *TINY[3:]]
    done = lines.run("cifar10", [*overrides, "loader.batch_size=4"])
    assert done.status == 2
    assert "broken.png" in done.errors.strip().splitlines()[-1]
    assert "Traceback" not in done.errors
