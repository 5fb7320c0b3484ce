"""The proof: stages with limits, a training that fits the time, a page of all of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hadis_lightly.models import build_backbone, load_backbone_weights
from tests.benchmarks.conftest import BENCHMARKS

ENVIRONMENT = {"device": "a GPU", "command": "x", "tiny": False}
# Networks and images for which an epoch is over in a second.
SMALL = [
    "data.limit=300", "loader.batch_size=50", "views.input_size=8", "seed=3",
    "model.backbone=small_pooled_convnet", "model.hidden_dim=16", "model.output_dim=8",
    "clustering.n_init=1", "trainer.logger=none", "trainer.accelerator=cpu",
]  # fmt: skip


@pytest.fixture
def stages() -> ModuleType:
    import stages

    return stages


@pytest.fixture
def training() -> ModuleType:
    import training

    return training


def scores_file(folder: Path, seconds: list[float], acc: float = 0.5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["epoch,seconds,clustering_seconds,nmi,acc,ari"]
    lines += [f"{i},{s},0.25,{acc},{acc},{acc}" for i, s in enumerate(seconds)]
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("code", "limit", "status"),
    [
        ("print('well')", 60, "done"),
        ("raise SystemExit(3)", 60, "failed"),
        ("print('well', flush=True); import time; time.sleep(600)", 1.5, "too long"),
    ],
)
def test_a_stage_says_how_it_ended(
    stages: ModuleType, tmp_path: Path, code: str, limit: float, status: str
) -> None:
    stage = stages.Stage("try", "A try", ["-c", code], limit)

    outcome = stages.run_stage(stage, tmp_path)

    assert outcome.status == status
    printed = (tmp_path / "logs" / "try.txt").read_text()
    assert printed == ("" if status == "failed" else "well\n")


def test_a_stage_past_its_limit_leaves_no_process(
    stages: ModuleType, tmp_path: Path
) -> None:
    child = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    stage = stages.Stage("try", "A try", ["-c", code], 3.0)

    stages.run_stage(stage, tmp_path)

    pid = int((tmp_path / "logs" / "try.txt").read_text())
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is more than an entry in a table."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().split(") ")[1][0] != "Z"


def test_what_is_done_stays_done(stages: ModuleType, tmp_path: Path) -> None:
    record = stages.Record(tmp_path)
    for name, status in (("views", "done"), ("losses", "failed")):
        record.add(stages.Outcome(name, name, "python x.py", status))

    again = stages.Record(tmp_path)

    assert again.is_done("views")
    assert not again.is_done("losses")
    assert not again.is_done("training")
    again.forget("views")
    assert not stages.Record(tmp_path).is_done("views")


def test_the_seconds_of_all_tries_count(stages: ModuleType, tmp_path: Path) -> None:
    record = stages.Record(tmp_path)
    for status, seconds in (("too long", 60.0), ("done", 15.0)):
        record.add(stages.Outcome("pilot", "", "", status, seconds))

    assert stages.Record(tmp_path).outcomes["pilot"].seconds == 75.0


@pytest.mark.parametrize("seconds", [0.0, 59.0, 1500.0])
def test_the_training_fits_into_the_time(training: ModuleType, seconds: float) -> None:
    pace = training.Pace(epoch_seconds=6.1, other_seconds=60.0)

    epochs = training.epochs_that_fit(pace, seconds)

    assert epochs >= 0
    needed = pace.other_seconds + epochs * pace.epoch_seconds
    assert needed <= max(seconds, pace.other_seconds)
    if seconds > 100:  # and little of the time is left over
        assert needed > 0.9 * seconds - pace.epoch_seconds


def test_the_second_half_of_a_pilot_gives_the_pace(
    training: ModuleType, tmp_path: Path
) -> None:
    scores_file(tmp_path, [0.5, 40.0, 60.0, 65.0, 69.0])

    pace = training.pace_of(tmp_path, seconds=90.0)

    assert pace.epoch_seconds == pytest.approx(5.0)  # the slower of two
    assert pace.other_seconds == pytest.approx(70.0)


def test_a_pilot_of_one_epoch_gives_no_pace(
    training: ModuleType, tmp_path: Path
) -> None:
    scores_file(tmp_path, [0.5, 40.0])

    with pytest.raises(ValueError, match="at most one epoch"):
        training.pace_of(tmp_path, seconds=90.0)


@pytest.mark.parametrize("epochs", [2, 200])
def test_a_training_has_all_three_phases(training: ModuleType, epochs: int) -> None:
    stage = training.training_stage(
        "pilot", ["seed=4"], epochs=epochs, folder=Path("x"), limit=1.0
    )
    given = dict(word.split("=", 1) for word in stage.words[1:])

    assert int(given["trainer.max_epochs"]) == epochs
    rises = int(given["optimizer.warmup_epochs"])
    assert 1 <= rises < int(given["clustering.warmup_epochs"]) <= max(2, epochs // 5)
    assert given["seed"] == "4"


@pytest.mark.parametrize(
    ("acc", "minutes", "word"),
    [(0.931, 29.0, "reached"), (0.929, 29.0, "missed"), (0.95, 31.0, "missed")],
)
def test_the_page_says_whether_the_goal_was_reached(
    stages: ModuleType, tmp_path: Path, acc: float, minutes: float, word: str
) -> None:
    from page import write_page

    results = tmp_path / "results"
    scores_file(results / "training", [1.0, 60.0, 60 * minutes], acc)
    (results / "environment.json").write_text(json.dumps(ENVIRONMENT))
    outcome = stages.Outcome("training", "A training", "python y.py", "done")

    write_page(tmp_path, {"training": outcome})

    page = (results / "proof.md").read_text()
    assert f"**{word}**: ACC {100 * acc:.1f} in {minutes:.1f} minutes" in page
    assert "| HaDis, the paper | 86.9 | 93.0 | 86.2 |" in page


@pytest.fixture(scope="module")
def digits_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    digits = load_digits()
    images = np.repeat((digits.images * 15).astype(np.uint8)[..., None], 3, axis=3)
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, images=images, labels=digits.target)
    return path


def run_proof(data: Path, folder: Path, minutes: float, *settings: str) -> Any:
    command = [
        sys.executable, str(BENCHMARKS / "gpu" / "proof.py"), "--tiny", "--share", "0",
        "--data", str(data), "--folder", str(folder), "--minutes", str(minutes),
        *SMALL, *settings,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow  # two minutes, by the clock
def test_the_whole_proof_on_a_cpu(digits_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "proof"
    start = time.monotonic()

    done = run_proof(digits_file, folder, 2.0)

    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 120 + 5  # which Python takes to start
    stages = {s["name"]: s for s in json.loads((folder / "stages.json").read_text())}
    ended = {name: stage["status"] for name, stage in stages.items()}
    benchmarks = ("tests", "throughput", "profile_step", "views", "kmeans", "losses")
    trainings = ("pilot", "pilot_accuracy", "training", "training_accuracy")
    assert ended == dict.fromkeys(benchmarks, "skipped") | dict.fromkeys(
        trainings, "done"
    ), done.stdout
    results = folder / "results"
    planned = stages["pilot"]["details"]["epochs"]
    settings = json.loads((results / "training" / "results.json").read_text())
    assert settings["epochs"] == planned > 2
    assert settings["settings"]["seed"] == 3
    page = (results / "proof.md").read_text()
    assert page.count("Features: linear") == 2
    assert f"Training of {planned} epochs" in page
    load_backbone_weights(
        build_backbone("small_pooled_convnet", 3), results / "teacher_backbone.pt"
    )
    weights = torch.load(results / "teacher_backbone.pt", weights_only=True)
    assert {w.dtype for w in weights.values()} <= {torch.float16, torch.int64}

    again = run_proof(digits_file, folder, 2.0)

    assert again.returncode == 0, again.stderr
    for name in ("pilot", "training_accuracy"):
        assert f"{name}: already done" in again.stdout


@pytest.mark.slow
def test_a_pilot_that_fails_says_why(digits_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "proof"

    done = run_proof(digits_file, folder, 5, "n_clusters=500")  # of 300 images

    reason = "n_clusters is 500, but there are only 300 images"
    assert done.returncode == 1
    assert reason in done.stdout
    assert done.stderr.strip() == "not done: pilot"
    page = (folder / "results" / "proof.md").read_text()
    assert "Pilot of 4 epochs: failed" in page
    assert reason in page


@pytest.mark.slow  # half a minute
def test_after_a_pilot_that_failed_other_settings_may_be_tried(
    digits_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "proof"
    run_proof(digits_file, folder, 5, "n_clusters=500")

    again = run_proof(digits_file, folder, 5, "n_clusters=400")
    other_images = tmp_path / "others.npz"
    shutil.copy(digits_file, other_images)
    other = run_proof(other_images, folder, 5, "n_clusters=400")

    assert "n_clusters is 400" in again.stdout
    assert other.stderr.strip().endswith("Choose another --folder.")
    assert "other data" in other.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--minutes", "0"], "--minutes"),
        (["--share", "1"], "--share"),
        (["model.no_such_setting=1"], "no_such_setting"),
        (["model.latent_std=-1"], "model.latent_std"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    digits_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    reason: str,
) -> None:
    import proof

    command = ["proof.py", "--tiny", "--folder", str(tmp_path / "proof")]
    monkeypatch.setattr(sys, "argv", [*command, "--data", str(digits_file), *options])

    with pytest.raises(SystemExit, match=reason) as ended:
        proof.main()

    assert len(str(ended.value).splitlines()) == 1
    assert not (tmp_path / "proof").exists()


@pytest.mark.slow  # half a minute
def test_a_proof_that_is_ended_takes_its_stage_along(
    digits_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "proof"
    command = [
        sys.executable, str(BENCHMARKS / "gpu" / "proof.py"), "--tiny", "--share", "0",
        "--data", str(digits_file), "--folder", str(folder), "--minutes", "9", *SMALL,
        "--pilot-epochs", "1000",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    scores = folder / "pilot" / "scores.csv"
    deadline = time.monotonic() + 90
    while not scores.exists() and time.monotonic() < deadline:
        time.sleep(0.1)

    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=90)

    assert process.returncode == 128 + signal.SIGTERM
    assert "everything is in" in printed
    stages = {s["name"]: s for s in json.loads((folder / "stages.json").read_text())}
    assert stages["pilot"]["status"] == "interrupted"
    size = scores.stat().st_size
    time.sleep(1.5)
    assert scores.stat().st_size == size  # nothing trains any more

    other = run_proof(digits_file, folder, 9, "seed=4")

    assert other.returncode == 1
    assert "has a proof with other settings" in other.stderr
