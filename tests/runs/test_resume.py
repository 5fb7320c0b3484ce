"""A run that is killed and resumed ends with the same bits as one that is not."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from hadis_lightly.artifacts import load_checkpoint
from hadis_lightly.methods.registry import with_method
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    TrainerSettings,
    ViewSettings,
)
from hadis_lightly.settings.sections import PICISettings
from hadis_lightly.transforms import DIGITS_NORMALIZE
from tests.forked_runs import ForkedRun

PHASES = ("step", "clustering", "checkpoint", "between epochs")
# Steps per epoch. The warm-ups are an epoch; PICI's phases an epoch, one, and two.
EPOCHS, STEPS = 4, 6
slow = pytest.mark.slow


def settings_of(
    folder: Path, pipeline: str = "device", max_steps: int = -1, method: str = "hadis"
) -> Settings:
    settings = Settings(
        n_clusters=10,
        output_dir=str(folder),
        data=DataSettings(source="digits", limit=200, pipeline=pipeline),
        loader=LoaderSettings(batch_size=32, num_workers=int(pipeline != "device")),
        views=ViewSettings(
            input_size=12,
            cj_sat=0.0,
            cj_hue=0.0,
            random_gray_scale=0.0,
            mean=DIGITS_NORMALIZE["mean"],
            std=DIGITS_NORMALIZE["std"],
        ),
        model=ModelSettings(backbone="small_convnet", hidden_dim=64, output_dim=32),
        pici=PICISettings(
            patch_size=4,
            width=16,
            depth=1,
            num_heads=2,
            decoder_width=16,
            decoder_depth=1,
            decoder_num_heads=2,
        ),
        optimizer=OptimizerSettings(learning_rate=0.4),
        clustering=ClusteringSettings(whiten=True, n_init=30),
        trainer=TrainerSettings(
            max_epochs=EPOCHS,
            max_steps=max_steps,
            accelerator="cpu",
            progress_bar=False,
            checkpoint_every_n_minutes=0,
            resume="auto",
        ),
    )
    if method == "hadis":
        return settings
    own = {"loader.batch_size": 32, "trainer.max_epochs": EPOCHS}
    if method == "pici":
        own |= {"pici.pretraining_epochs": 1, "pici.interaction_epochs": 1}
    return with_method(settings, method, own)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run ends with, but for the time it took."""
    checkpoint = load_checkpoint(folder)
    clusters, content = checkpoint.clusters, checkpoint.content
    for entry in clusters["history"]:
        del entry["seconds"]
    results = json.loads((folder / "results.json").read_text())
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    seconds = [float(row.pop("seconds")) for row in rows]
    assert seconds == sorted(seconds)
    for row in rows:
        del row["clustering_seconds"]
    return {
        "weights": content["state_dict"],
        "optimizer": content["optimizer_states"],
        "schedules": content["lr_schedulers"],
        "progress": content["loops"]["fit_loop"],
        "clusters": clusters,
        "scores": results["scores"],
        "epochs": results["epochs"],
        "assignments": (folder / "assignments.csv").read_bytes(),
        "metrics": (folder / "metrics.csv").read_bytes(),
        "table": rows,
    }


def assert_same(ours: Any, expected: Any, name: str = "outcome") -> None:
    """Equal to the last bit."""
    assert type(ours) is type(expected), name
    if isinstance(expected, Tensor):
        assert ours.dtype == expected.dtype and ours.equal(expected), name
    elif isinstance(expected, dict):
        assert ours.keys() == expected.keys(), name
        for key in expected:
            assert_same(ours[key], expected[key], f"{name}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(ours) == len(expected), name
        for number, (a, b) in enumerate(zip(ours, expected, strict=True)):
            assert_same(a, b, f"{name}.{number}")
    else:
        both_nan = ours != ours and expected != expected
        assert ours == expected or both_nan, name


def finish(settings: Settings) -> list[str]:
    """Runs to the end; returns what was done."""
    status, did = ForkedRun(settings).wait()
    assert status == 0, did
    return did


def interrupt(
    settings: Settings, mark: str, signum: int, times: int = 1, delay: float = 0.0
) -> tuple[int, list[str]]:
    """Sends a signal some time after the run began something for the n-th time."""
    run, did = ForkedRun(settings), []
    while times > 0:
        line = run.next()
        if line is None:
            break
        did.append(line)
        times -= line == mark
    else:
        time.sleep(delay)
        os.kill(run.process.pid, signum)
    status, more = run.wait()
    return status, did + more


def kill(settings: Settings, mark: str, times: int, delay: float = 0.003) -> list[str]:
    status, did = interrupt(settings, mark, signal.SIGKILL, times, delay)
    assert status == -signal.SIGKILL
    return did


_outcomes: dict[str, dict[str, Any]] = {}


@pytest.fixture
def expected(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """How a run of the method ends that nothing happens to, found out once."""
    method = getattr(request.node, "callspec", None)
    name = method.params.get("method", "hadis") if method else "hadis"
    if name not in _outcomes:
        folder = tmp_path_factory.mktemp(name) / "run"
        did = finish(settings_of(folder, method=name))
        assert did.count("step") == EPOCHS * STEPS
        assert did.count("clustering") == EPOCHS + 1
        assert set(PHASES) <= set(did)
        _outcomes[name] = outcome(folder)
    return _outcomes[name]


@pytest.mark.parametrize(
    ("method", "mark", "times"),
    [
        ("hadis", "step", 4),
        ("hadis", "checkpoint", 5),
        pytest.param("hadis", "clustering", 3, marks=slow),
        pytest.param("hadis", "between epochs", 3, marks=slow),
        pytest.param("cc", "step", 8, marks=slow),
        pytest.param("cc", "checkpoint", 9, marks=slow),
        pytest.param("cc", "clustering", 2, marks=slow),
        pytest.param("pici", "step", 3, marks=slow),  # the first phase
        pytest.param("pici", "step", 9, marks=slow),  # the second
        ("pici", "step", 15),  # the last, with pseudo-labels from the checkpoint
        pytest.param("pici", "clustering", 3, marks=slow),  # which finds them
        pytest.param("pici", "between epochs", 3, marks=slow),
    ],
)
def test_a_killed_run_continues_as_if_nothing_had_happened(
    expected: dict[str, Any], tmp_path: Path, method: str, mark: str, times: int
) -> None:
    folder = tmp_path / "run"
    settings = settings_of(folder, method=method)
    kill(settings, mark, times)
    assert not (folder / "results.json").exists()
    finish(settings)
    assert_same(outcome(folder), expected)
    assert json.loads((folder / "results.json").read_text())["num_resumed"] == 1
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("method", "mark", "signum"),
    [
        ("hadis", "clustering", signal.SIGINT),
        ("cc", "step", signal.SIGTERM),
        pytest.param("hadis", "step", signal.SIGTERM, marks=slow),
        pytest.param("hadis", "clustering", signal.SIGTERM, marks=slow),
        pytest.param("hadis", "step", signal.SIGINT, marks=slow),
        pytest.param("pici", "step", signal.SIGTERM, marks=slow),
        pytest.param("pici", "clustering", signal.SIGTERM, marks=slow),
    ],
)
def test_a_run_that_is_asked_to_stop_saves_first(
    expected: dict[str, Any], tmp_path: Path, method: str, mark: str, signum: int
) -> None:
    folder = tmp_path / "run"
    settings = settings_of(folder, method=method)
    settings.trainer.checkpoint_every_n_minutes = None  # saves only at the end
    status, did = interrupt(settings, mark, signum, times=3)
    assert status == 128 + signum
    name = signal.Signals(signum).name
    assert did[-1].startswith(f"said interrupted ({name}); saved")
    assert "trainer.resume=auto" in did[-1]
    assert did.count("checkpoint") == 1
    again = finish(settings)
    assert did.count("step") + again.count("step") == EPOCHS * STEPS  # none was lost
    assert_same(outcome(folder), expected)


@slow
def test_before_the_first_step_and_in_the_last_one(tmp_path: Path) -> None:
    """The run ends within its second epoch."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(settings_of(whole, max_steps=8))
    settings = settings_of(parts, max_steps=8)
    settings.trainer.checkpoint_every_n_minutes = None
    status, did = interrupt(settings, "clustering", signal.SIGTERM)
    assert status == 143 and did.count("step") == 1
    # One step is done; the seventh of this process is the last.
    status, did = interrupt(settings, "step", signal.SIGTERM, times=7)
    assert status in (0, 143)
    if status:
        finish(settings)
    assert_same(outcome(parts), outcome(whole))


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "run")
    settings.clustering.n_init = 5000  # takes long
    settings.clustering.warmup_epochs = 0
    run = ForkedRun(settings)
    while run.next() != "clustering":
        pass
    for _ in range(2):
        time.sleep(0.3)
        os.kill(run.process.pid, signal.SIGINT)
    status, did = run.wait()
    assert status == 130
    assert did[-1].startswith("said interrupted at once, nothing was saved")
    assert "step" not in did


def test_damaged_checkpoints_are_not_overwritten(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "run", max_steps=6)
    kill(settings, "step", times=4)
    checkpoints = list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    assert len(checkpoints) == 2
    for path in checkpoints:
        path.write_bytes(path.read_bytes()[:-100])
    status, did = ForkedRun(settings).wait()
    assert status == 2
    assert did[-1].startswith("said CheckpointError: checkpoint")
    assert "damaged" in did[-1]
    assert os.listdir(tmp_path) == ["run"]


def test_a_run_killed_while_it_writes_its_results(
    expected: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = settings_of(folder)
    kill(settings, "results", times=2)
    assert "step" not in finish(settings)
    assert_same(outcome(folder), expected)


def test_precision_auto_keeps_that_of_the_run(tmp_path: Path) -> None:
    """So it is on a machine that would choose another: here it would be float32."""
    whole, parts, rest = (tmp_path / name for name in ("whole", "parts", "rest"))
    for folder in (whole, parts):
        settings = settings_of(folder, max_steps=3)
        settings.trainer.precision = "bf16-mixed"
        if folder == whole:
            finish(settings)
        else:
            kill(settings, "step", times=3)
    settings = settings_of(rest, max_steps=3)
    settings.trainer.resume = str(parts)
    finish(settings)
    assert_same(outcome(rest), outcome(whole))
    results = json.loads((rest / "results.json").read_text())
    assert "bf16-mixed" in results["performance"]


@slow
@pytest.mark.parametrize("pipeline", ["workers", "lightly"])
def test_pipelines_with_workers_resume_as_exactly(
    tmp_path: Path, pipeline: str
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(settings_of(whole, pipeline, max_steps=9))
    settings = settings_of(parts, pipeline, max_steps=9)
    kill(settings, "step", times=4)
    finish(settings)
    assert_same(outcome(parts), outcome(whole))


@slow
def test_twenty_kills_at_random(expected: dict[str, Any], tmp_path: Path) -> None:
    """Five runs, killed four times each, whatever they are doing."""
    seed = int(os.environ.get("HADIS_KILL_SEED", "0"))
    draw = random.Random(seed)
    landed: Counter[str] = Counter()
    for number in range(5):
        settings = settings_of(tmp_path / f"run-{number}")
        for _ in range(4):
            mark, times = draw.choice(PHASES), draw.randint(1, 2)
            did = kill(settings, mark, times, delay=draw.uniform(0, 0.05))
            landed[did[-1]] += 1
        finish(settings)
        assert_same(outcome(tmp_path / f"run-{number}"), expected)
    print(f"20 kills (seed {seed}):", dict(landed))
    assert landed.total() == 20


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, pytest.param({"method": "byol"}, marks=slow)],
)
def test_a_run_with_other_settings_is_left_alone(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = settings_of(tmp_path / "run", max_steps=3)
    kill(settings, "step", times=2)
    other = dataclasses.replace(settings, **changes)
    if "method" in changes:
        other = with_method(settings, changes["method"])
    finish(other)
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2"]
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_run_that_ended_as_it_wrote_its_settings(tmp_path: Path) -> None:
    """An empty file is not another run: no second folder."""
    settings = settings_of(tmp_path / "run", max_steps=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.yaml").touch()
    finish(settings)
    assert os.listdir(tmp_path) == ["run"]
