"""CC and PICI: a run that is killed and resumed ends with the same bits.

``python -m tests.training.test_methods_resume`` is the server of
:mod:`tests.forked_runs`, which also says what these two methods do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import torch

from hadis_lightly.artifacts.checkpoint import read_checkpoint
from hadis_lightly.methods.registry import with_method
from hadis_lightly.settings import Settings
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering
from hadis_lightly.training.pici import PICI
from tests.forked_runs import ROOT, Runs, marked, serve
from tests.methods.test_methods import tiny
from tests.runs.test_resume import assert_same, interrupt

EPOCHS, STEPS = 3, 4  # an epoch has four steps; PICI's phases are an epoch each


class MethodRuns(Runs):
    """The server, from outside."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.test_methods_resume"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def runs() -> Iterator[MethodRuns]:
    runs = MethodRuns()
    try:
        yield runs
    finally:
        runs.close()


def settings_of(method: str, folder: Path, **changes: Any) -> Settings:
    settings = tiny(
        method,
        folder,
        max_epochs=EPOCHS,
        checkpoint_every_n_minutes=0,
        resume="auto",
    )
    settings.pici.pretraining_epochs = settings.pici.interaction_epochs = 1
    kept = {"loader.batch_size": 50, "trainer.max_epochs": EPOCHS}
    return with_method(settings, method, kept | changes)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run ends with."""
    checkpoint = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    clusters = checkpoint["callbacks"]["ClusterHeadAssignment"]
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
    }


_outcomes: dict[str, dict[str, Any]] = {}


@pytest.fixture
def undisturbed(
    request: pytest.FixtureRequest,
    runs: MethodRuns,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """How a run of the method ends that nothing happens to, found out once."""
    method = request.getfixturevalue("method")
    if method not in _outcomes:
        folder = tmp_path_factory.mktemp("undisturbed") / "run"
        status, did = runs.wait(runs.start(settings_of(method, folder)))
        assert status == 0, did
        assert did.count("step") == EPOCHS * STEPS
        assert did.count("clustering") == EPOCHS + 1
        _outcomes[method] = outcome(folder)
    return _outcomes[method]


def resumed(runs: MethodRuns, settings: Settings) -> dict[str, Any]:
    """How a run ends that is left alone from now on."""
    status, did = runs.wait(runs.start(settings))
    assert status == 0, did
    folder = Path(str(settings.output_dir))
    assert os.listdir(folder.parent) == [folder.name]
    return outcome(folder)


slow = pytest.mark.slow
#: What is killed: a method, while it does what, for the n-th time.
KILLS = [
    ("cc", "step", 5),
    pytest.param("cc", "clustering", 2, marks=slow),
    pytest.param("cc", "checkpoint", 9, marks=slow),
    pytest.param("pici", "step", 3, marks=slow),  # the first phase
    pytest.param("pici", "step", 7, marks=slow),  # the second
    # The last, with pseudo-labels out of the checkpoint.
    pytest.param("pici", "step", 11, marks=slow),
    pytest.param("pici", "clustering", 3, marks=slow),  # which finds them
    pytest.param("pici", "between epochs", 3, marks=slow),
    pytest.param("pici", "clustering", 4, marks=slow),  # after the last step
]


@pytest.mark.parametrize(("method", "mark", "times"), KILLS)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    runs: MethodRuns,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    method: str,
    mark: str,
    times: int,
) -> None:
    settings = settings_of(method, tmp_path / "run")
    status, _ = interrupt(runs, settings, mark, signal.SIGKILL, times, delay=0.003)
    assert status == -signal.SIGKILL
    assert not (tmp_path / "run" / "results.json").exists()
    assert_same(resumed(runs, settings), undisturbed)


@pytest.mark.parametrize("method", ["pici"])
def test_a_run_that_is_killed_in_every_phase(
    runs: MethodRuns, undisturbed: dict[str, Any], tmp_path: Path, method: str
) -> None:
    """Each time in the middle of an epoch: after 2, 6 and 10 steps at the least."""
    settings = settings_of(method, tmp_path / "run")
    done = 0
    for epoch in range(EPOCHS):
        times = epoch * STEPS + 3 - done
        status, _ = interrupt(runs, settings, "step", signal.SIGKILL, times)
        assert status == -signal.SIGKILL
        checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
        done = checkpoint["global_step"]
        assert epoch * STEPS + 2 <= done < (epoch + 1) * STEPS
        found = checkpoint["callbacks"]["ClusterHeadAssignment"]["pseudo_labels"]
        assert (found is not None) == (epoch == EPOCHS - 1)
    assert_same(resumed(runs, settings), undisturbed)


@pytest.mark.parametrize(
    ("method", "mark", "times"),
    [
        pytest.param("cc", "step", 6, marks=slow),
        pytest.param("pici", "step", 2, marks=slow),
        pytest.param("pici", "step", 6, marks=slow),
        ("pici", "clustering", 3),
        pytest.param("pici", "step", 10, marks=slow),
    ],
)
def test_a_run_that_is_asked_to_end_saves_first(
    runs: MethodRuns,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    method: str,
    mark: str,
    times: int,
) -> None:
    settings = settings_of(method, tmp_path / "run")
    # It would save by itself only at the end.
    settings.trainer.checkpoint_every_n_minutes = None
    status, did = interrupt(runs, settings, mark, signal.SIGTERM, times)
    assert status == 128 + signal.SIGTERM
    assert did[-1].startswith("said interrupted (SIGTERM); saved")
    assert did.count("checkpoint") == 1
    steps = did.count("step")
    status, did = runs.wait(runs.start(settings))
    assert status == 0, did
    assert did.count("step") == EPOCHS * STEPS - steps  # not one was lost
    assert_same(outcome(tmp_path / "run"), undisturbed)


@slow
def test_a_run_is_not_resumed_by_another_method(
    runs: MethodRuns, tmp_path: Path
) -> None:
    settings = settings_of("cc", tmp_path / "run")
    interrupt(runs, settings, "step", signal.SIGKILL, times=3)
    other = settings_of("pici", tmp_path / "run")
    assert runs.wait(runs.start(other))[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2"]
    assert not (tmp_path / "run" / "results.json").exists()
    other = settings_of("byol", tmp_path / "run")
    other.trainer.resume = str(tmp_path / "run")
    status, did = runs.wait(runs.start(other))
    assert status == 2
    assert "CheckpointError" in did[-1] and "method: cc -> byol" in did[-1]


@slow
def test_a_run_of_pici_whose_phases_have_changed_is_left_alone(
    runs: MethodRuns, tmp_path: Path
) -> None:
    settings = settings_of("pici", tmp_path / "run")
    interrupt(runs, settings, "step", signal.SIGKILL, times=3)
    settings.pici.pretraining_epochs = 2
    assert runs.wait(runs.start(settings))[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    for module in (ContrastiveClustering, PICI):
        marked(module, "training_step", "step")
    marked(ClusterHeadAssignment, "cluster", "clustering")
    marked(ClusterHeadAssignment, "on_train_epoch_start", "between epochs")
    serve()
