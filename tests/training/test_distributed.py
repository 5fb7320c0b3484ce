"""N processes do what one does: losses, gradients, teacher, clusters, whole runs."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.methods.registry import method_of
from hadis_lightly.models import build_backbone
from hadis_lightly.runs.trainer import build_trainer
from tests.methods.test_methods import tiny
from tests.runs.test_resume import assert_same, outcome
from tests.training.distributed_steps import (
    BATCH,
    NUM_IMAGES,
    STEPS,
    train,
    train_process,
)
from tests.training.forked_processes import run_forked

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)


def processes(
    folder: Path, method: str, num_processes: int, gather: bool
) -> list[dict[str, Tensor]]:
    """What each of N real processes saw in its three steps."""
    arguments = folder, method, gather, num_processes, find_free_network_port()
    run_forked(train_process, num_processes, *arguments)
    return [torch.load(folder / f"{rank}.pt") for rank in range(num_processes)]


def largest_deviation(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert ours.keys() == expected.keys()
    return max(
        float((ours[name].double() - value.double()).abs().max())
        for name, value in expected.items()
    )


IN_FLOAT32 = ("embeddings", "prototypes")
TERMS = {
    "hadis": {"loss", "loss_dsa", "loss_hsd", "loss_pcl"},
    "cc": {"loss", "loss_instance", "loss_cluster"},
    "pici": {"loss", "loss_instance", "loss_cluster", "loss_interaction"},
}


@pytest.mark.parametrize(
    ("method", "num_processes"),
    [
        ("hadis", 2),
        pytest.param("hadis", 3, marks=pytest.mark.slow),
        pytest.param("cc", 2, marks=pytest.mark.slow),
        pytest.param("cc", 3, marks=pytest.mark.slow),
        pytest.param("pici", 2, marks=pytest.mark.slow),
    ],
)
def test_n_processes_are_one_with_a_batch_n_times_as_large(
    method: str, num_processes: int, tmp_path: Path
) -> None:
    expected = train(method, num_processes * BATCH, gather=True, world_size=1)
    found = processes(tmp_path, method, num_processes, gather=True)
    for step in range(STEPS):
        terms = {n for n in TERMS[method] if float(expected[f"{step} {n}"]) != 0}
        assert terms == TERMS[method]
    assert any(name.startswith("0 gradient") for name in expected)
    assert any(name.startswith(f"{STEPS} after") for name in expected)
    assert ("pseudo-labels" in expected) == (method == "pici")
    for rank, ours in enumerate(found):
        exact = {k: v for k, v in ours.items() if k not in IN_FLOAT32}
        theirs = {k: v for k, v in expected.items() if k not in IN_FLOAT32}
        deviation = largest_deviation(exact, theirs)
        print(f"{method}, {num_processes} processes, rank {rank}: {deviation:.1e}")
        assert deviation < 1e-9
        assert torch.equal(ours["labels"], expected["labels"])
        assert len(ours["labels"]) == len(ours["embeddings"]) == NUM_IMAGES
        for name in IN_FLOAT32:
            torch.testing.assert_close(ours[name], expected[name])
        # Among each other they do not differ at all in what they cluster.
        for name in ("labels", "targets", *IN_FLOAT32):
            assert torch.equal(ours[name], found[0][name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "in_own_batch"),
    [("hadis", ["loss_hsd"]), ("cc", ["loss_instance", "loss_cluster"])],
)
def test_without_gathering_each_process_has_the_pairs_of_its_own_batch(
    method: str, in_own_batch: list[str], tmp_path: Path
) -> None:
    expected = train(method, 2 * BATCH, gather=True, world_size=1)
    ours, theirs = processes(tmp_path, method, 2, gather=False)
    for name in in_own_batch:
        values = {float(seen[f"0 {name}"]) for seen in (ours, theirs, expected)}
        assert len(values) == 3
    for name in ours:
        if "after" in name or name == "labels":
            assert torch.equal(ours[name], theirs[name]), name


SMALL_VIT = (
    "pici.patch_size=4", "pici.width=16", "pici.depth=1", "pici.num_heads=2",
    "pici.decoder_width=16", "pici.decoder_depth=1", "pici.decoder_num_heads=2",
    "pici.pretraining_epochs=1", "pici.interaction_epochs=1", "trainer.max_epochs=3",
)  # fmt: skip
DIGITS = (
    "trainer.max_epochs=2",
    "clustering.warmup_epochs=null",
    "data.limit=301",
    "loader.batch_size=30",
    "trainer.devices=2",
    "trainer.strategy=ddp",
    "trainer.progress_bar=false",
    "clustering.pixel_baseline=false",
    "trainer.gather_distributed=true",
)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hadis", "cc", "pici"])
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_a_recipe_with_two_processes(
    launcher: str, method: str, tmp_path: Path
) -> None:
    recipe = str(ROOT / "recipes" / "digits.py")
    options = [*DIGITS, f"method={method}"]
    if method == "pici":
        options = [*DIGITS[1:], f"method={method}", *SMALL_VIT]
    command = [sys.executable]
    if launcher == "torchrun":
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, recipe, *options],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("on 2 x cpu") == 1
    titles = {"hadis": "HaDis", "cc": "CC", "pici": "PICI"}
    # Two lines, or one if all images are in one cluster; then where to view them.
    scores = done.stdout.splitlines()[-3:]
    assert any(line.startswith(titles[method]) for line in scores)
    (folder,) = (tmp_path / "runs" / "digits").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert results["epochs"] == (3 if method == "pici" else 2)
    lines = (folder / "assignments.csv").read_text().splitlines()
    assert len(lines) == 302 and len(set(lines)) == 302
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    if method == "pici":  # the heads have no gradient in the first phase
        found = [float(row["train/loss_cluster"]) != 0 for row in rows]
        assert found == [False, True, True]
        found = [float(row["train/loss_reconstruction"]) != 0 for row in rows]
        assert found == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["auto", "off"])
def test_two_processes_train_heads_on_one_bank(cache: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(build_backbone("small_convnet", num_channels=1).state_dict(), weights)
    command = [sys.executable, str(ROOT / "recipes" / "digits.py"), *DIGITS]
    command += ["model.train=heads", f"model.weights={weights}", f"data.cache={cache}"]
    command += ["model.backbone=small_convnet", "output_dir=run"]
    environment = {**ENVIRONMENT, "HADIS_LIGHTLY_CACHE": str(tmp_path / "cache")}
    subprocess.run(command, check=True, timeout=300, cwd=tmp_path, env=environment)
    num_banks = len(list(tmp_path.glob("cache/features/*.features")))
    assert num_banks == (cache == "auto")
    lines = (tmp_path / "run" / "assignments.csv").read_text().splitlines()
    assert len(set(lines)) == 302


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


@pytest.mark.parametrize("method", ["cc", "pici"])
@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_processes_are_told_of_weights_that_a_step_may_leave_out(
    method: str, strategy: str, tmp_path: Path
) -> None:
    settings = tiny(method, devices="2", strategy=strategy, precision="32-true")
    has_unused = method_of(settings).has_unused_parameters
    trainer = build_trainer(settings, tmp_path, has_unused)
    assert trainer.world_size == 2 and isinstance(trainer.strategy, DDPStrategy)
    expected = {"find_unused_parameters": True} if method == "pici" else {}
    assert trainer.strategy._ddp_kwargs == expected
    single = build_trainer(tiny(method, precision="32-true"), tmp_path, has_unused)
    assert not isinstance(single.strategy, DDPStrategy)
