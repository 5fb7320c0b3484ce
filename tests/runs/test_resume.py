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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hadis_lightly.artifacts.checkpoint import read_checkpoint
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
from hadis_lightly.transforms import DIGITS_NORMALIZE
from tests.forked_runs import Runs, forked_runs

PHASES = ("step", "clustering", "checkpoint", "between epochs")


def settings_of(
    folder: Path, pipeline: str = "device", max_steps: int = -1, **trainer: Any
) -> Settings:
    return Settings(
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
        optimizer=OptimizerSettings(learning_rate=0.4, warmup_epochs=1),
        clustering=ClusteringSettings(warmup_epochs=1, whiten=True, n_init=30),
        trainer=TrainerSettings(
            max_epochs=4,
            max_steps=max_steps,
            accelerator="cpu",
            progress_bar=False,
            checkpoint_every_n_minutes=0,
            resume="auto",
            **trainer,
        ),
    )


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with forked_runs() as server:
        yield server


@pytest.fixture(scope="module")
def uninterrupted(
    runs: Runs, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    status, did = runs.wait(runs.start(settings_of(folder)))
    assert status == 0, did
    assert set(PHASES) <= set(did)
    return outcome(folder)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run ends with."""
    checkpoint = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    (clusters,) = (
        state for name, state in checkpoint["callbacks"].items() if "Prototype" in name
    )
    for entry in clusters["history"]:
        del entry["seconds"]
    results = json.loads((folder / "results.json").read_text())
    return {
        "weights": checkpoint["state_dict"],
        "optimizer": checkpoint["optimizer_states"],
        "schedules": checkpoint["lr_schedulers"],
        "progress": checkpoint["loops"]["fit_loop"],
        "clusters": clusters,
        "scores": results["scores"],
        "epochs": results["epochs"],
        "assignments": (folder / "assignments.csv").read_bytes(),
        "metrics": (folder / "metrics.csv").read_bytes(),
        "table": scores_without_times(folder),
    }


def scores_without_times(folder: Path) -> list[dict[str, str]]:
    """Rows of ``scores.csv``; time passes as it likes, but it does not go back."""
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    seconds = [float(row.pop("seconds")) for row in rows]
    assert seconds == sorted(seconds)
    for row in rows:
        del row["clustering_seconds"]
    return rows


def assert_same(ours: Any, expected: Any, name: str = "outcome") -> None:
    """Equal to the last bit."""
    assert type(ours) is type(expected), name
    if isinstance(expected, Tensor):
        assert ours.dtype == expected.dtype and torch.equal(ours, expected), name
    elif isinstance(expected, dict):
        assert ours.keys() == expected.keys(), name
        for key in expected:
            assert_same(ours[key], expected[key], f"{name}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(ours) == len(expected), name
        for number, (a, b) in enumerate(zip(ours, expected, strict=True)):
            assert_same(a, b, f"{name}.{number}")
    else:
        assert ours == expected, name


def interrupt(
    runs: Runs,
    settings: Settings,
    mark: str,
    signum: int,
    times: int = 1,
    delay: float = 0.0,
) -> tuple[int, list[str]]:
    """Sends a signal some time after the run began something for the n-th time."""
    pid = runs.start(settings)
    did = []
    while not (line := runs.next()).startswith("ended"):
        did.append(line)
        times -= line == mark
        if times == 0:
            time.sleep(delay)
            os.kill(pid, signum)
            status, more = runs.wait(pid)
            return status, did + more
    return int(line.split()[1]), did


@pytest.mark.parametrize(
    ("mark", "times"),
    [
        ("step", 4),
        ("checkpoint", 5),
        ("clustering", 3),
        pytest.param("between epochs", 3, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    runs: Runs,
    uninterrupted: dict[str, Any],
    tmp_path: Path,
    mark: str,
    times: int,
) -> None:
    folder = tmp_path / "run"
    settings = settings_of(folder)
    status, _ = interrupt(runs, settings, mark, signal.SIGKILL, times, delay=0.003)
    assert status == -signal.SIGKILL
    assert not (folder / "results.json").exists()
    status, did = runs.wait(runs.start(settings))
    assert status == 0, did
    assert_same(outcome(folder), uninterrupted)
    assert json.loads((folder / "results.json").read_text())["num_resumed"] == 1
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("signum", "mark"),
    [
        (signal.SIGTERM, "step"),
        (signal.SIGINT, "clustering"),
        pytest.param(signal.SIGTERM, "clustering", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "step", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_asked_to_end_saves_first(
    runs: Runs,
    uninterrupted: dict[str, Any],
    tmp_path: Path,
    mark: str,
    signum: int,
) -> None:
    folder = tmp_path / "run"
    # It would save by itself only at the end.
    settings = settings_of(folder)
    settings.trainer.checkpoint_every_n_minutes = None
    status, did = interrupt(runs, settings, mark, signum, times=3)
    assert status == 128 + signum
    assert did[-1].startswith("said interrupted")
    assert did.count("checkpoint") == 1
    assert "trainer.resume=auto" in did[-1]
    steps = did.count("step")
    status, did = runs.wait(runs.start(settings))
    assert status == 0, did
    assert did.count("step") == 4 * 6 - steps  # not one was lost
    assert_same(outcome(folder), uninterrupted)


def test_before_the_first_step_and_in_the_last_one(runs: Runs, tmp_path: Path) -> None:
    """Six steps an epoch: the run ends within its second one."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.wait(runs.start(settings_of(whole, max_steps=8)))
    settings = settings_of(parts, max_steps=8)
    settings.trainer.checkpoint_every_n_minutes = None
    status, did = interrupt(runs, settings, "clustering", signal.SIGTERM)
    assert status == 143 and did.count("step") == 1
    assert did[-1].startswith("said interrupted (SIGTERM); saved")
    # One step is done; the seventh of this process is the last.
    status, did = interrupt(runs, settings, "step", signal.SIGTERM, times=7)
    assert status in (0, 143)
    if status:
        assert runs.wait(runs.start(settings))[0] == 0
    assert_same(outcome(parts), outcome(whole))


def test_a_second_ctrl_c_ends_at_once(runs: Runs, tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "run")
    settings.clustering.n_init = 5000  # takes long
    pid = runs.start(settings)
    while runs.next() != "clustering":
        pass
    for _ in range(2):
        time.sleep(0.3)
        os.kill(pid, signal.SIGINT)
    status, did = runs.wait(pid)
    assert status == 130
    assert did[-1].startswith("said interrupted at once, nothing was saved")
    assert "step" not in did


def test_checkpoints_that_cannot_be_read_are_not_written_over(
    runs: Runs, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "run", max_steps=6)
    interrupt(runs, settings, "step", signal.SIGKILL, times=4)
    checkpoints = list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    assert len(checkpoints) == 2
    for path in checkpoints:
        path.write_bytes(path.read_bytes()[:-100])
    status, did = runs.wait(runs.start(settings))
    assert status == 2
    assert (
        did[-1].startswith("said CheckpointError: checkpoint") and "damaged" in did[-1]
    )
    assert os.listdir(tmp_path) == ["run"]


def test_a_run_killed_while_it_writes_its_results(
    runs: Runs, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = settings_of(folder)
    for times in (1, 2):
        status, _ = interrupt(runs, settings, "results", signal.SIGKILL, times)
        assert status == -signal.SIGKILL
    status, did = runs.wait(runs.start(settings))
    assert status == 0 and "step" not in did
    assert_same(outcome(folder), uninterrupted)


@pytest.mark.parametrize(
    "pipeline", ["workers", pytest.param("lightly", marks=pytest.mark.slow)]
)
def test_engines_with_worker_processes_resume_as_exactly(
    runs: Runs, tmp_path: Path, pipeline: str
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    status, did = runs.wait(runs.start(settings_of(whole, pipeline)))
    assert status == 0, did
    for times in (4, 9):
        status, _ = interrupt(
            runs, settings_of(parts, pipeline), "step", signal.SIGKILL, times
        )
        assert status == -signal.SIGKILL
    status, did = runs.wait(runs.start(settings_of(parts, pipeline)))
    assert status == 0, did
    assert_same(outcome(parts), outcome(whole))


@pytest.mark.slow
def test_a_run_of_so_many_steps(runs: Runs, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.wait(runs.start(settings_of(whole, max_steps=15)))
    for mark, times in (("step", 3), ("between epochs", 3), ("step", 5)):
        interrupt(
            runs, settings_of(parts, max_steps=15), mark, signal.SIGKILL, times, 0.003
        )
    status, did = runs.wait(runs.start(settings_of(parts, max_steps=15)))
    assert status == 0, did
    assert_same(outcome(parts), outcome(whole))


@pytest.mark.slow
def test_twenty_kills_at_random(
    runs: Runs, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """Five runs, killed four times each, whatever they are doing."""
    seed = int(os.environ.get("HADIS_KILL_SEED", "0"))
    draw = random.Random(seed)
    landed: Counter[str] = Counter()
    for number in range(5):
        folder = tmp_path / f"run-{number}"
        settings = settings_of(folder)
        for _ in range(4):
            status, did = interrupt(
                runs,
                settings,
                draw.choice(PHASES),
                signal.SIGKILL,
                times=draw.randint(1, 2),
                delay=draw.uniform(0, 0.05),
            )
            assert status == -signal.SIGKILL
            landed[did[-1]] += 1
        status, did = runs.wait(runs.start(settings))
        assert status == 0, did
        assert_same(outcome(folder), uninterrupted)
    print(f"20 kills (seed {seed}):", dict(landed))
    assert sum(landed.values()) == 20


def test_a_finished_run_is_not_resumed_but_a_new_one_started(
    runs: Runs, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "run", max_steps=2)
    for _ in range(2):
        assert runs.wait(runs.start(settings))[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2"]


def test_a_run_with_other_settings_is_left_alone(runs: Runs, tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "run", max_steps=4)
    interrupt(runs, settings, "step", signal.SIGKILL, times=2)
    other = dataclasses.replace(settings, seed=1)
    assert runs.wait(runs.start(other))[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2"]
    assert not (tmp_path / "run" / "results.json").exists()
