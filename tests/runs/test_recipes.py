"""The recipes of the paper's five sets: their settings, and whole runs on stand-ins."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hadis_lightly.artifacts.results import split_scores
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.cluster import clustering_scores
from hadis_lightly.data import IMAGENET_SUBSETS
from hadis_lightly.methods.backbone import resolve_views
from hadis_lightly.settings import Settings
from tests.data.public_stand_ins import (
    patches,
    write_imagenet,
    write_stl10,
)
from tests.forked_lines import Ended, Lines, script

TINY = (
    "data.download=false", "loader.batch_size=16", "loader.num_workers=0",
    "views.input_size=16", "model.backbone=small_convnet", "model.hidden_dim=16",
    "model.output_dim=8", "optimizer.warmup_epochs=1", "clustering.warmup_epochs=1",
    "clustering.n_init=1", "trainer.max_epochs=2", "trainer.accelerator=cpu",
    "trainer.logger=none", "trainer.progress_bar=false",
)  # fmt: skip
CIFAR10 = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
CIFAR100 = [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Clusters, batch, side, weight of PCL, mean and deviation.
PAPER = {
    "cifar10": (10, 256, 32, 0.1, *CIFAR10),
    "cifar20": (20, 256, 32, 0.05, *CIFAR100),
    "stl10": (10, 128, 96, 0.1, *IMAGENET),
    "imagenet10": (10, 128, 96, 0.05, *IMAGENET),
    "imagenet_dogs": (15, 128, 96, 0.1, *IMAGENET),
}
NUMBER = r"-?[\d.]+"


@pytest.mark.parametrize("name", PAPER)
def test_settings_are_the_papers(name: str) -> None:
    recipe = runpy.run_path(str(script(name)))
    settings: Settings = recipe["SETTINGS"]
    resolve_views(settings)
    views, model = settings.views, settings.model
    found = settings.n_clusters, settings.loader.batch_size, views.input_size
    assert (*found, model.pcl_weight, views.mean, views.std) == PAPER[name]
    is_cifar20 = name == "cifar20"
    assert model.final_teacher_momentum == (1.0 if is_cifar20 else None)
    assert settings.loader.even_clusters == is_cifar20
    assert settings.data.source == name and not settings.data.unlabelled
    # What they have in common: the paper's, and BigResNet-18 at 96 pixels as well.
    others = settings.optimizer, settings.clustering, settings.trainer
    assert others == (Settings().optimizer, Settings().clustering, Settings().trainer)
    assert model.backbone == "small_resnet18" and views.gaussian_blur == 0
    header = recipe["__doc__"]
    assert f"python recipes/{name}.py" in header
    assert re.search(r"Expected  NMI [\d.]+  ACC [\d.]+  ARI [\d.]+ \(paper", header)
    assert "run it to the end yet" in " ".join(header.split())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of each set, in a folder of its name."""
    root = tmp_path_factory.mktemp("data")
    classes = np.arange(60) % 10
    np.savez(root / "cifar10.npz", images=patches(classes, 32), labels=classes)
    np.savez(root / "cifar20.npz", images=patches(classes * 2, 32), labels=classes * 2)
    write_stl10(root / "stl10")
    for name, subset in IMAGENET_SUBSETS.items():
        write_imagenet(root / name / "train", subset.classes, count=4)
    return root


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    folder = tmp_path_factory.mktemp("lines")
    server = Lines(folder, folder)
    yield server
    server.close()


def check(done: Ended, folder: Path, description: str) -> list[dict[str, str]]:
    """Checks what a run says and leaves; returns its table of images."""
    assert done.status == 0, done.errors
    assert description in done.output
    scores = rf"HaDis +NMI {NUMBER}  ACC {NUMBER}  ARI {NUMBER}(  of the 80 .*)?"
    assert any(re.fullmatch(scores, line) for line in done.output.splitlines()[-3:])
    assert "Traceback" not in done.errors and "Warning" not in done.errors
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert content["description"] == description
    assert content["epochs"] == 2
    with (folder / "assignments.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    targets, labels = ([int(row[c]) for row in rows] for c in ("target", "cluster"))
    external, _ = split_scores(content["scores"])
    assert external == clustering_scores(targets, labels)
    read = load_run(folder).source().read  # as a report does
    assert {read(row).mode for row in (0, len(rows) - 1)} == {"RGB"}
    return rows


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("cifar10", "cifar10.npz: 60 images, 32 x 32, 10 classes"),
        ("cifar20", "cifar20.npz: 60 images, 32 x 32, 10 classes"),
        pytest.param(
            "stl10",
            "STL-10: train + test merged, 80 images, 96 x 96, 10 classes",
            marks=pytest.mark.slow,
        ),
        ("imagenet10", "ImageNet-10: train, 40 images of various sizes, 10 classes"),
        pytest.param(
            "imagenet_dogs",
            "ImageNet-Dogs: train, 60 images of various sizes, 15 classes",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_recipe_runs(
    name: str, description: str, data: Path, lines: Lines, tmp_path: Path
) -> None:
    # CIFAR's own files are compared with their checksums: copies of another kind.
    source = ["data=npz", f"data.path={data}/{name}.npz"]
    if not name.startswith("cifar"):
        source = [f"data.path={data / name}"]
    folder = tmp_path / "run"
    done = lines.run(name, [*source, *TINY, f"output_dir={folder}"])
    rows = check(done, folder, description)
    assert all(int(row["target"]) >= 0 for row in rows)
    if name.startswith("imagenet"):
        assert rows[0]["key"].startswith("train/n02")


def test_unlabelled_images_are_not_scored(
    data: Path, lines: Lines, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    options = ("data.unlabelled=true", f"data.path={data}/stl10")
    done = lines.run("stl10", [*options, *TINY, f"output_dir={folder}"])
    description = (
        "STL-10: train + test merged, 80 images, 96 x 96, 10 classes, and 20 "
        "unlabelled ones for training alone, never scored"
    )
    rows = check(done, folder, description)
    targets = [int(row["target"]) for row in rows]
    assert targets[80:] == [-1] * 20
    assert targets[:80] == [i % 10 for i in (*range(30), *range(50))]


def test_missing_classes_end_a_run_in_one_line(
    data: Path, lines: Lines, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    options = (f"data.path={data}/imagenet10", f"output_dir={folder}")
    done = lines.run("imagenet_dogs", [*options, *TINY])
    assert done.status == 2 and done.errors.count("\n") == 1
    assert "lacks 14 of the 15 class folders" in done.errors
    assert "n02112137 (chow)" in done.errors and not folder.exists()


DIGITS = (
    "data.limit=150", "loader.batch_size=64", "trainer.max_epochs=1",
    "clustering.warmup_epochs=null",
)  # fmt: skip


@pytest.mark.slow
def test_the_digits_recipe_as_it_is_called(tmp_path: Path) -> None:
    """A process of its own, as the README says, with its bar and its warnings."""
    command = [sys.executable, str(script("digits")), *DIGITS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    scores = rf"NMI {NUMBER}  ACC {NUMBER}  ARI {NUMBER}"
    for title in ("HaDis", "k-means on pixels"):
        assert re.search(rf"^{title} +{scores}$", done.stdout, re.MULTILINE)
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    (folder,) = (tmp_path / "runs" / "digits").iterdir()
    assert (folder / "results.json").exists()


def test_multirun_makes_a_folder_for_each_run(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path
    done = lines.run("digits", ["--multirun", "seed=0,1", *DIGITS])
    assert done.status == 0, done.errors
    assert len(list(tmp_path.glob("runs/digits/multirun_*/*/results.json"))) == 2
