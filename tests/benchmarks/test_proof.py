"""The proof: stages with limits, a training that fits the time, a page of all of it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hadis_lightly.models import build_backbone, load_backbone_weights
from tests.benchmarks.conftest import BENCHMARKS

# Networks and images for which an epoch is over in a second.
SMALL = [
    "data.limit=300", "loader.batch_size=50", "views.input_size=8", "seed=3",
    "model.backbone=small_pooled_convnet", "model.hidden_dim=16", "model.output_dim=8",
    "clustering.n_init=1", "trainer.logger=none", "trainer.accelerator=cpu",
]  # fmt: skip


def scores_file(folder: Path, seconds: list[float], acc: float = 0.5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["epoch,seconds,clustering_seconds,nmi,acc,ari"]
    lines += [f"{i},{s},0.25,{acc},{acc},{acc}" for i, s in enumerate(seconds)]
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("code", "status"), [("print('well')", "done"), ("raise SystemExit(3)", "failed")]
)
def test_a_stage_reports_how_it_ended(tmp_path: Path, code: str, status: str) -> None:
    from stages import Stage, run_stage

    ended = run_stage(Stage("try", "A try", ["-c", code], 60), tmp_path)

    assert ended == status
    printed = (tmp_path / "logs" / "try.txt").read_text()
    assert printed == ("" if status == "failed" else "well\n")


def test_a_stage_past_its_limit_leaves_no_process(tmp_path: Path) -> None:
    from stages import Stage, run_stage

    child = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )

    times: list[float] = []

    def meanwhile() -> None:
        times.append(time.monotonic())

    ended = run_stage(
        Stage("try", "A try", ["-c", code], 3.0), tmp_path, meanwhile, seconds=1.0
    )

    assert ended == "too long"
    assert len(times) in (2, 3)
    pid = int((tmp_path / "logs" / "try.txt").read_text())
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended and waits to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().split(") ")[1][0] != "Z"


def test_the_record_survives(tmp_path: Path) -> None:
    from stages import Outcome, Record

    record = Record(tmp_path)
    for name, status in (("views", "done"), ("losses", "failed"), ("losses", "done")):
        record.add(Outcome(name, name, "python x.py", status, 10.0))

    again = Record(tmp_path)

    assert again.is_done("views") and not again.is_done("training")
    assert again.outcomes["losses"].seconds == 20.0  # of both attempts
    again.forget("views")
    assert not Record(tmp_path).is_done("views")


def test_the_second_half_of_a_pilot_gives_the_pace(tmp_path: Path) -> None:
    from training import epochs_that_fit, pace_of

    scores_file(tmp_path, [0.5, 40.0, 60.0, 65.0, 69.0])

    pace = pace_of(tmp_path, seconds=90.0)

    assert pace.epoch_seconds == pytest.approx(5.0)  # the slower of two
    assert pace.other_seconds == pytest.approx(70.0)
    assert epochs_that_fit(pace, 59.0) == 0
    assert epochs_that_fit(pace, 70.0 + 5.5 * 100 + 1) == 100
    scores_file(tmp_path, [0.5, 40.0])
    with pytest.raises(ValueError, match="at most one epoch"):
        pace_of(tmp_path, seconds=90.0)


@pytest.mark.parametrize(
    ("recipe", "epochs", "clustering_warmup"),
    [("cifar10_short", 3, 2), ("cifar10_short", 200, 20), ("cifar10_fast", 40, 20)],
)
def test_a_training_has_all_three_phases(
    recipe: str, epochs: int, clustering_warmup: int
) -> None:
    from training import training_stage

    stage = training_stage(
        "pilot", recipe, ["seed=4"], epochs=epochs, folder=Path("x"), limit=1.0
    )
    assert stage.words[0] == f"recipes/{recipe}.py"
    given = dict(word.split("=", 1) for word in stage.words[1:])

    assert int(given["trainer.max_epochs"]) == epochs
    rises = int(given["optimizer.warmup_epochs"])
    assert 1 <= rises < int(given["clustering.warmup_epochs"]) == clustering_warmup
    assert given["seed"] == "4"


@pytest.mark.parametrize(
    ("acc", "minutes", "word"), [(0.851, 9.9, "reached"), (0.95, 10.5, "missed")]
)
def test_the_page_tells_whether_the_goal_was_reached(
    tmp_path: Path, acc: float, minutes: float, word: str
) -> None:
    from page import write_page
    from stages import Outcome

    results = tmp_path / "results"
    scores_file(results / "training", [1.0, 60.0, 60 * minutes], acc)
    environment = {"device": "a GPU", "command": "x", "tiny": False}
    (results / "environment.json").write_text(json.dumps(environment))

    write_page(tmp_path, {"training": Outcome("training", "T", "python y.py", "done")})

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


def command(data: Path, folder: Path, minutes: float, *more: str) -> list[str]:
    return [
        sys.executable, str(BENCHMARKS / "gpu" / "proof.py"), "--tiny", "--share", "0",
        "--data", str(data), "--folder", str(folder), "--minutes", str(minutes),
        *SMALL, *more,
    ]  # fmt: skip


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True)


@pytest.mark.slow  # three minutes, by the clock
def test_the_whole_proof_on_a_cpu(digits_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "proof"
    start = time.monotonic()

    done = run(command(digits_file, folder, 3.0))

    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 180 + 10  # which Python takes to start
    stages = {s["name"]: s for s in json.loads((folder / "stages.json").read_text())}
    trainings = ("pilot", "pilot_accuracy", "training", "training_accuracy")
    for name, stage in stages.items():
        assert stage["status"] == ("done" if name in trainings else "skipped"), name
    results = folder / "results"
    planned = stages["pilot"]["details"]["epochs"]
    content = json.loads((results / "training" / "results.json").read_text())
    assert content["epochs"] == planned > 2
    assert content["settings"]["seed"] == 3
    page = (results / "proof.md").read_text()
    assert page.count("Features: linear") == 2
    assert f"Training of {planned} epochs" in page
    teacher = results / "teacher_backbone.pt"
    load_backbone_weights(build_backbone("small_pooled_convnet", 3), teacher)
    weights = torch.load(teacher, weights_only=True)
    assert {w.dtype for w in weights.values()} <= {torch.float16, torch.int64}

    again = run(command(digits_file, folder, 3.0))

    assert again.returncode == 0, again.stderr
    assert "pilot: already done" in again.stdout


@pytest.mark.slow
def test_after_a_failed_pilot_other_settings_may_be_tried(
    digits_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "proof"

    done = run(command(digits_file, folder, 5, "n_clusters=500"))
    again = run(command(digits_file, folder, 5, "n_clusters=400"))
    other_images = digits_file.rename(digits_file.with_name("others.npz"))
    other = run(command(other_images, folder, 5, "n_clusters=400"))
    other_images.rename(digits_file)

    assert (done.returncode, done.stderr.strip()) == (1, "not done: pilot")
    assert "n_clusters is 500, but there are only 300 images" in done.stdout
    assert "Pilot of 4 epochs: failed" in (folder / "results/proof.md").read_text()
    assert "n_clusters is 400" in again.stdout
    assert "other data" in other.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--share", "1"], "--share"),
        (["model.no_such_setting=1"], "no_such_setting"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_wrong_arguments_end_it_at_once(
    digits_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    reason: str,
) -> None:
    import proof

    words = ["proof.py", "--tiny", "--folder", str(tmp_path / "proof")]
    monkeypatch.setattr(sys, "argv", [*words, "--data", str(digits_file), *options])

    with pytest.raises(SystemExit, match=reason) as ended:
        proof.main()

    assert len(str(ended.value).splitlines()) == 1
    assert not (tmp_path / "proof").exists()


def test_a_proof_from_before_there_was_a_choice_of_recipes(tmp_path: Path) -> None:
    import proof
    from training import checkpoint_of

    options = argparse.Namespace(
        data=tmp_path / "c10.npz", recipe="cifar10_short", settings=["seed=1"],
        folder=tmp_path, commit="abc", minutes=9, tiny=True,
    )  # fmt: skip
    proof.remember(options)
    path = tmp_path / "results" / "environment.json"
    before = json.loads(path.read_text())
    del before["recipe"]
    path.write_text(json.dumps(before))
    checkpoint = checkpoint_of(tmp_path / "pilot")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    proof.remember(options)
    assert json.loads(path.read_text()) == before | {"recipe": "cifar10_short"}
    options.recipe = "cifar10_fast"
    with pytest.raises(SystemExit, match="a proof with other recipe: cifar10_short"):
        proof.remember(options)


@pytest.mark.slow
def test_a_proof_that_is_killed_leaves_a_true_page(
    digits_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "proof"
    words = command(digits_file, folder, 9, "--pilot-epochs", "1000")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    page = folder / "results" / "proof.md"
    deadline = time.monotonic() + 120
    text = ""
    while "| ACC |" not in text and time.monotonic() < deadline:
        time.sleep(0.5)
        text = page.read_text() if page.exists() else ""

    process.kill()
    process.wait()
    stages = json.loads((folder / "stages.json").read_text())
    (stage,) = (s for s in stages if s["name"] == "pilot")
    subprocess.run(["pkill", "-9", "-f", str(folder / "pilot")], check=False)

    text = page.read_text()
    assert stage["status"] == "running" and stage["seconds"] > 0
    assert "**Unfinished: running.**" in text
    assert "curves.png" not in text  # not drawn yet
    kept = (folder / "results" / "pilot" / "scores.csv").read_text().splitlines()
    assert len(kept) >= 2


@pytest.mark.slow
def test_sigterm_ends_the_stage_too(digits_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "proof"
    words = command(digits_file, folder, 9, "--pilot-epochs", "1000")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
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
    other = run(command(digits_file, folder, 9, "seed=4"))
    assert "has a proof with other settings" in other.stderr
