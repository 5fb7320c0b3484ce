"""The commands as processes: from photos to a report, wrong lines, help."""

from __future__ import annotations

import csv
import json
import re
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.forked_lines import Ended, Lines
from tests.photo_runs import NUM_IMAGES, write_photos

TINY = (
    "n_clusters=3", "trainer.max_epochs=2", "views.input_size=32", "seed=1",
    "loader.batch_size=16", "loader.num_workers=0", "model.hidden_dim=16",
    "model.output_dim=8", "clustering.warmup_epochs=1", "clustering.n_init=2",
    "trainer.accelerator=cpu", "trainer.logger=none",
)  # fmt: skip
FROM_PIXELS = (
    "model.train=all", "model.weights=null", "model.backbone=small_convnet",
)  # fmt: skip
COMMANDS = ("train", "predict", "report", "figures", "export")


class Commands:
    """Runs ``hadis-lightly-NAME`` in a folder."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    def __call__(self, name: str, *argv: str) -> Ended:
        return self.lines.run(f"hadis_lightly/cli/{name}", list(argv))


@pytest.fixture
def commands(lines: Lines) -> Commands:
    return Commands(lines)


def test_from_a_folder_of_photos_to_a_report(
    commands: Commands, tmp_path: Path
) -> None:
    cwd = commands.lines.cwd = tmp_path
    write_photos(cwd / "photos", NUM_IMAGES)
    (cwd / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    train = ("data=folder", "data.path=photos", "data.on_error=skip", *TINY)
    done = commands("train", *train, *FROM_PIXELS, "output_dir=run")
    assert done.status == 0, done.errors
    assert "1 file left out" in done.output
    assert {"results.json", "assignments.csv", "embeddings.npy"} <= {
        path.name for path in (cwd / "run").iterdir()
    }

    done = commands("report", "checkpoint=run", "out=report/")
    assert done.status == 0, done.errors
    page = (cwd / "report" / "index.html").read_text(encoding="utf-8")
    assert f"{NUM_IMAGES} images" in page or f'"total":{NUM_IMAGES}' in page
    assert "broken.jpg" in page

    (cwd / "moved").mkdir()
    write_photos(cwd / "moved", 7, start=800)
    line = ("checkpoint=run/checkpoints/last.ckpt", "data=folder", "data.path=moved")
    done = commands("predict", *line, "out=new.csv", "sort_into=sorted")
    assert done.status == 0, done.errors
    with (cwd / "new.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 7
    assert "7 images in" in done.output and "new.csv" in done.output
    assert sum(path.is_symlink() for path in (cwd / "sorted").rglob("*")) == 7

    done = commands("figures", "run=run", "out=pictures")
    assert done.status == 0, done.errors
    for name in ("scores.png", "moments.png"):
        with Image.open(cwd / "pictures" / name) as image:
            assert min(image.size) > 200
    assert sorted(path.name for path in cwd.iterdir()) == [
        "moved", "new.csv", "photos", "pictures", "report", "run", "sorted",
    ]  # fmt: skip

    (cwd / "photos").rename(cwd / "elsewhere")
    done = commands("report", "checkpoint=run")
    assert done.status == 2 and f"no longer in '{cwd}/photos'" in done.errors
    done = commands("report", "checkpoint=run", "data.path=elsewhere", "quiet=true")
    assert (done.status, done.output, done.errors) == (0, "", "")
    assert (cwd / "report-2" / "index.html").is_file()


def test_several_folders_and_a_list_with_classes(
    commands: Commands, tmp_path: Path
) -> None:
    cwd = commands.lines.cwd = tmp_path
    write_photos(cwd / "old", 20)
    write_photos(cwd / "new photos", 20, start=100)
    names = [path.name for path in sorted((cwd / "old").glob("*.*"))]
    rows = [f'"../old/{name}",{"ab"[i % 2]}' for i, name in enumerate(names)]
    (cwd / "lists").mkdir()
    text = "\n".join(["file,label", *rows, "../new photos,c"])
    (cwd / "lists" / "a.csv").write_text(text, encoding="utf-8")
    line = ("data.path=lists/a.csv", *TINY, *FROM_PIXELS)
    done = commands("train", *line, "output_dir=run")
    assert done.status == 0, done.errors
    assert f"list a.csv: {len(names) + 20} images, 3 classes" in done.output

    # Neither the list nor the working folder is needed any more.
    (cwd / "lists" / "a.csv").unlink()
    (cwd / "other").mkdir()
    commands.lines.cwd = cwd / "other"
    done = commands("report", "checkpoint=../run", "out=page", "quiet=true")
    assert (done.status, done.errors) == (0, "")

    commands.lines.cwd = cwd
    line = ("checkpoint=run", "data.path=[old,new photos]", "embeddings=new.npy")
    done = commands("predict", *line, "out=new.csv", "sort_into=sorted")
    assert done.status == 0, done.errors
    with (cwd / "new.csv").open(encoding="utf-8", newline="") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert len(files) == len(np.load(cwd / "new.npy")) == 40
    found = [path for path in (cwd / "sorted").rglob("*") if path.is_symlink()]
    assert len(found) == 40
    assert {name.split("/")[0] for name in files} == {"old", "new photos"}
    assert "new.npy" in done.output

    line = ("checkpoint=run", "data.path=sorted", "data.follow_links=true")
    done = commands("predict", *line, "out=again.csv")
    assert done.status == 0 and "40 images in" in done.output, done.errors

    line = ("checkpoint=run", "data.path=[old,new photos]")
    done = commands("predict", "checkpoint=run", "data.path=[old,none]")
    assert done.status == 2 and "'none' does not exist" in done.errors
    done = commands("predict", *line, "sort_into=new photos/sorted")
    assert done.status == 2 and "lies below data.path" in done.errors


@pytest.mark.slow
def test_a_frozen_backbone_is_clustered_and_nothing_is_trained(
    commands: Commands, tmp_path: Path
) -> None:
    cwd = commands.lines.cwd = tmp_path
    write_photos(cwd / "photos", 40)
    torch.manual_seed(3)
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), cwd / "resnet18.pth")
    frozen = (
        *("data.path=photos", "model.backbone=resnet18", "model.weights=resnet18.pth"),
        *("model.train=nothing", *TINY, "output_dir=run"),
    )
    done = commands("train", *frozen)
    assert done.status == 0, done.errors
    assert "k-means on resnet18" in done.output and "nothing is trained" in done.output
    results = json.loads((cwd / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["epochs"] == 0
    done = commands("predict", "checkpoint=run", "data.path=photos", "out=a.csv")
    assert done.status == 0, done.errors
    with (cwd / "a.csv").open(encoding="utf-8", newline="") as file:
        predicted = {row["file"]: row["cluster"] for row in csv.DictReader(file)}
    with (cwd / "run" / "assignments.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert predicted == {row["key"]: row["cluster"] for row in rows}
    done = commands("report", "checkpoint=run", "quiet=true")
    assert done.status == 0, done.errors
    done = commands("train", *(x for x in frozen if not x.startswith("model.weights")))
    assert done.status == 2 and "model.weights" in done.errors


def test_results_among_the_images_in_a_working_folder_that_is_read_only(
    commands: Commands, tmp_path: Path
) -> None:
    """Nobody can write to /proc, not even root."""
    commands.lines.cwd = Path("/proc" if Path("/proc").is_dir() else tmp_path)
    photos = tmp_path / "photos"
    write_photos(photos, NUM_IMAGES)
    train = (f"data.path={photos}", *TINY[:-1], *FROM_PIXELS)
    run = f"checkpoint={photos}/run"
    lines = (
        ("train", *train, f"output_dir={photos}/run"),
        ("report", run, f"out={photos}/report"),
        ("figures", f"run={photos}/run", f"out={photos}/figures"),
        (
            *("predict", run, f"data.path={photos}/more", f"out={tmp_path}/a.csv"),
            *(f"sort_into={photos}/sorted", "sort_by=copy"),
        ),
        ("train", "--multirun", *train, f"output_dir={photos}/run"),
    )
    for line in lines:
        done = commands(*line)
        assert done.status == 0, done.errors
    for name in ("run", "report", "figures", "sorted"):
        assert f"  {name}: folder of results of hadis-lightly\n" in done.output
    tables = [photos / name / "assignments.csv" for name in ("run", "run-2")]
    for table in tables:
        assert len(table.read_text(encoding="utf-8").splitlines()) == NUM_IMAGES + 1
    done = commands("train", f"data.path={photos}/run", *TINY)
    assert done.status == 2 and "is the folder of a run" in done.errors
    done = commands("train", *train, f"output_dir={photos}/more")
    assert done.status == 2 and "output_dir is" in done.errors


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_full_disk_is_named_and_nothing_is_damaged(
    commands: Commands, tmp_path: Path
) -> None:
    """A limit on the size of files stands in for the end of the disk."""
    cwd = commands.lines.cwd = tmp_path
    write_photos(cwd / "photos", NUM_IMAGES)
    train = (
        *("data.path=photos", *TINY, *FROM_PIXELS, "output_dir=run"),
        *("trainer.checkpoint_every_n_epochs=1", "trainer.resume=auto"),
    )

    def on_full_disk(room: int, *line: str) -> str:
        server = commands.lines.process.pid
        limits = resource.prlimit(server, resource.RLIMIT_FSIZE)
        resource.prlimit(server, resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            done = commands(*line)
        finally:
            resource.prlimit(server, resource.RLIMIT_FSIZE, limits)
        assert done.status == 2 and done.errors.count("\n") == 1, done.errors
        assert not list(cwd.rglob("*.unfinished"))
        return done.errors

    said = on_full_disk(50_000, "train", *train)
    assert said.startswith("error: disk full writing '") and "run/checkpoints/" in said
    done = commands("train", *train)
    assert done.status == 0, done.errors
    assert not (cwd / "run-2").exists()

    before = sorted(cwd.rglob("*"))
    predict = ("checkpoint=run", "data.path=photos", "quiet=true")
    said = on_full_disk(1000, "predict", *predict)
    assert said.startswith("error: disk full writing 'clusters.csv' (File too large)")
    assert sorted(cwd.rglob("*")) == before


def test_pictures_of_a_sweep(commands: Commands, tmp_path: Path) -> None:
    commands.lines.cwd = tmp_path
    done = commands.lines.run(
        "digits",
        [
            "--multirun", "model.pcl_weight=0.05,0.2", "data.limit=60",
            "hydra.sweep.dir=sweep", "quiet=true", "clustering.pixel_baseline=false",
            "optimizer.warmup_epochs=1", *TINY[:2], *TINY[3:],
        ],
    )  # fmt: skip
    assert (done.status, done.output, done.errors) == (0, "", "")
    assert not (tmp_path / "runs").exists()
    done = commands("figures", "run=sweep")
    assert done.status == 0, done.errors
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"sensitivity.png", "scores.png", "confusion_1.png"} <= drawn


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_setting(
    commands: Commands, tmp_path: Path, name: str
) -> None:
    commands.lines.cwd = tmp_path
    done = commands(name, "--help")
    assert done.status == 0, done.errors
    assert f"hadis-lightly-{name}" in done.output
    assert max(len(line) for line in done.output.splitlines()) <= 88
    settings = re.findall(r"^  ([\w.]+)=\S+(.*)$", done.output, flags=re.MULTILINE)
    assert len(settings) >= 3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "argv", "word"),
    [
        ("predict", ["data.path=."], "checkpoint is needed"),
        ("report", [], "checkpoint is needed"),
        ("predict", ["checkpoint=nowhere", "data.path=."], "nowhere"),
        ("predict", ["checkpoint=a", "data.pth=."], "did you mean data.path?"),
        ("predict", ["checkpoint=a", "data.path=.", "--multirun"], "--multirun"),
        ("predict", ["checkpoint=a", "data.path=.", "device=meta"], "device"),
        ("report", ["checkpoint=a", "max_images=0"], "max_images must be >= 1"),
        ("figures", [], "run must be"),
        ("export", ["checkpoint=.", "out=model.pb"], "out must end in .onnx or .pt2"),
        ("export", ["checkpoint=.", "to=coco"], "to must be one of fiftyone"),
        ("export", ["checkpoint=.", "data.path=."], "data.path needs to="),
        ("train", ["data.path=."], "n_clusters is needed, there is no default"),
        ("train", ["n_clusters=3"], "data.path"),
    ],
)
def test_wrong_lines_end_in_one_line(
    commands: Commands, tmp_path: Path, name: str, argv: list[str], word: str
) -> None:
    commands.lines.cwd = tmp_path
    done = commands(name, *argv)
    assert done.status == 2, done.output + done.errors
    assert done.errors.startswith("error: ") and done.errors.count("\n") == 1
    assert word in done.errors and not done.output
    assert not list(tmp_path.iterdir())
