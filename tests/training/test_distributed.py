"""N processes do what one does: losses, gradients, teacher, clusters, whole runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import distributed as torch_dist

from tests.runs.test_resume import assert_same, outcome
from tests.training.distributed_steps import NUM_IMAGES, STEPS, train

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)


def torchrun(
    num_processes: int, *arguments: str, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, f"--nproc-per-node={num_processes}", *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def processes(
    folder: Path, num_processes: int, batch_size: int, gather: bool
) -> list[dict[str, Tensor]]:
    """What each of N real processes saw in its three steps."""
    torchrun(
        num_processes,
        *("-m", "tests.training.distributed_steps"),
        *(str(folder), str(batch_size), str(gather)),
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(num_processes)]


def largest_deviation(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert ours.keys() == expected.keys()
    return max(
        float((ours[name].double() - value.double()).abs().max())
        for name, value in expected.items()
    )


@pytest.mark.parametrize("num_processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_n_processes_are_one_with_a_batch_n_times_as_large(
    num_processes: int, tmp_path: Path
) -> None:
    expected = train(num_processes * 5, gather=True, world_size=1)
    found = processes(tmp_path, num_processes, batch_size=5, gather=True)
    for name in ("loss", "loss_dsa", "loss_hsd", "loss_pcl"):
        assert all(f"{step} {name}" in expected for step in range(STEPS))
    assert any(name.startswith("0 gradient student") for name in expected)
    assert any(name.startswith("3 after teacher") for name in expected)
    assert float(expected["2 loss_pcl"]) > 0
    for rank, ours in enumerate(found):
        deviation = largest_deviation(ours, expected)
        print(f"{num_processes} processes, rank {rank}: {deviation:.1e}")
        assert deviation < 1e-9
        assert torch.equal(ours["labels"], expected["labels"])
        assert len(ours["labels"]) == len(ours["embeddings"]) == NUM_IMAGES
        # Among each other they do not differ at all in what they cluster.
        for name in ("labels", "embeddings", "prototypes", "targets"):
            assert torch.equal(ours[name], found[0][name])


def test_without_gathering_each_process_mines_in_its_own_batch(tmp_path: Path) -> None:
    expected = train(10, gather=True, world_size=1)
    ours, theirs = processes(tmp_path, 2, batch_size=5, gather=False)
    assert float(ours["0 loss_hsd"]) != float(theirs["0 loss_hsd"])
    assert float(ours["0 loss_hsd"]) != float(expected["0 loss_hsd"])
    # DSA has no pairs: its mean over the processes is that of the whole batch.
    mean = (ours["0 loss_dsa"] + theirs["0 loss_dsa"]) / 2
    assert abs(float(mean - expected["0 loss_dsa"])) < 1e-9
    for name in ours:
        if "after" in name or name == "labels":
            assert torch.equal(ours[name], theirs[name]), name


DIGITS = (
    "trainer.max_epochs=2",
    "data.limit=301",
    "loader.batch_size=30",
    "trainer.devices=2",
    "trainer.strategy=ddp",
    "trainer.progress_bar=false",
    "clustering.pixel_baseline=false",
    "trainer.gather_distributed=true",
)


@pytest.mark.parametrize(
    "launcher", ["lightning", pytest.param("torchrun", marks=pytest.mark.slow)]
)
def test_a_recipe_with_two_processes(launcher: str, tmp_path: Path) -> None:
    recipe = str(ROOT / "recipes" / "digits.py")
    if launcher == "torchrun":
        done = torchrun(2, recipe, *DIGITS, cwd=tmp_path)
    else:
        done = subprocess.run(
            [sys.executable, recipe, *DIGITS],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("on 2 x cpu") == 1
    assert "HaDis" in done.stdout.splitlines()[-1]
    (folder,) = (tmp_path / "runs" / "digits").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert results["scores"]["acc"] > 0.3
    lines = (folder / "assignments.csv").read_text().splitlines()
    assert len(lines) == 302 and len(set(lines)) == 302
    losses = (folder / "metrics.csv").read_text()
    assert "train/loss_hsd" in losses


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_two_processes_resume_as_exactly_as_one(signum: int, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "recipes" / "digits.py"), *DIGITS[1:]]
    command += ["trainer.max_epochs=6", "trainer.checkpoint_every_n_epochs=1"]
    options = {"cwd": tmp_path, "env": ENVIRONMENT, "stderr": subprocess.PIPE}
    subprocess.run([*command, "output_dir=whole"], check=True, timeout=300, **options)
    command += ["output_dir=parts", "trainer.resume=auto"]
    first = subprocess.Popen(command, start_new_session=True, text=True, **options)
    checkpoint = tmp_path / "parts" / "checkpoints" / "previous.ckpt"
    while not checkpoint.exists():  # the second one has been written
        assert first.poll() is None
        time.sleep(0.01)
    os.killpg(first.pid, signum)  # as schedulers and Ctrl-C do
    _, said = first.communicate(timeout=60)
    assert not (tmp_path / "parts" / "results.json").exists()
    if signum != signal.SIGKILL:
        assert first.returncode == 128 + signum
        assert said.count("saved in parts/checkpoints/last.ckpt") == 2, said
    subprocess.run(command, check=True, timeout=300, **options)
    assert_same(outcome(tmp_path / "parts"), outcome(tmp_path / "whole"))
