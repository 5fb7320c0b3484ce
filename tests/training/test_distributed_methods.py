"""CC and PICI with N processes: as one with a batch N times as large; whole runs.

``torchrun --nproc-per-node N -m tests.training.test_distributed_methods`` with a
folder, a method, the size of batches and whether to gather writes what each process
saw in three steps, in float64, to ``FOLDER/RANK.pt``.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch import distributed as torch_dist
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from hadis_lightly.data import EpochSampler, IndexedDataset, ReproducibleDataset
from hadis_lightly.loss import CCLoss, PICILoss
from hadis_lightly.methods.registry import method_of
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    PICIModel,
    build_masked_vit,
    small_convnet,
)
from hadis_lightly.runs.trainer import build_trainer
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import ClusterHeadModule
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering
from hadis_lightly.training.pici import PICI
from tests.methods.test_methods import tiny
from tests.training.distributed_steps import (
    NUM_CLUSTERS,
    NUM_IMAGES,
    STEPS,
    Clean,
    Views,
    drop_batchnorm,
)
from tests.training.test_distributed import (
    ENVIRONMENT,
    ROOT,
    largest_deviation,
    torchrun,
)

BATCH = 5

pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)


class Recorder(pl.Callback):
    """Keeps all that a step computes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        assert isinstance(pl_module, ClusterHeadModule)
        step = trainer.global_step
        terms = zip(pl_module.loss_names, pl_module.last_losses, strict=True)
        for name, value in terms:
            self.keep(f"{step} {name}", value)
        for name, parameter in pl_module.model.named_parameters():
            if parameter.grad is not None:
                self.keep(f"{step} gradient {name}", parameter.grad)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        assert isinstance(pl_module, ClusterHeadModule)
        for name, value in pl_module.model.state_dict().items():
            self.keep(f"{trainer.global_step} after {name}", value)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        clusters = pl_module.clusters
        assert isinstance(clusters, ClusterHeadAssignment)
        self.keep("labels", clusters.labels_)
        self.keep("targets", clusters.targets_)
        self.keep("embeddings", clusters.embeddings_)
        self.keep("prototypes", clusters.prototypes_)
        self.keep("confidence", clusters.confidence_)
        pseudo_labels = clusters.pseudo_labels(torch.arange(NUM_IMAGES))
        if pseudo_labels is not None:
            self.keep("pseudo-labels", pseudo_labels)

    def keep(self, name: str, value: Tensor) -> None:
        self.seen[name] = value.detach().clone()


def make_module(method: str, gather: bool, clean: DataLoader[Any]) -> ClusterHeadModule:
    """CC, whose images are not all in the cluster loss, or PICI in its last phase.

    There is no chance in them: PICI masks patches in its other phases.
    """
    clusters = ClusterHeadAssignment(
        NUM_CLUSTERS,
        clean,
        pseudo_label_epochs=int(method == "pici"),
        n_init=5,
        random_state=0,
    )
    training_only = torch.arange(NUM_IMAGES) % 4 == 0
    options: dict[str, Any] = {"learning_rate": 0.01, "training_only": training_only}
    if method == "pici":
        vit = build_masked_vit(1, 8, 4, 16, 1, 2, 16, 1, 2)
        heads = CCInstanceHead(16, output_dim=8), CCClusterHead(16, NUM_CLUSTERS)
        criterion = PICILoss(NUM_CLUSTERS, gather_distributed=gather)
        model = PICIModel(vit, *heads).double()
        return PICI(model, criterion, clusters, pretraining_epochs=0, **options)
    backbone = small_convnet(num_channels=1, widths=(4, 8))
    heads = (
        CCInstanceHead(8 * 16, 16, output_dim=8),
        CCClusterHead(8 * 16, NUM_CLUSTERS, 16),
    )
    cc_model = CCModel(backbone, *heads).double()
    drop_batchnorm(cc_model)
    cc_criterion = CCLoss(NUM_CLUSTERS, gather_distributed=gather)
    return ContrastiveClustering(cc_model, cc_criterion, clusters, **options)


def train(
    method: str, batch_size: int, gather: bool, world_size: int
) -> dict[str, Tensor]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sampler = EpochSampler(NUM_IMAGES, shuffle=True, seed=1)
    loader = DataLoader(
        ReproducibleDataset(IndexedDataset(Views()), seed=0),
        batch_size,
        sampler=sampler,
        drop_last=True,
    )
    # 53 images: no number of processes here divides it.
    share = EpochSampler(NUM_IMAGES, shuffle=False, seed=0, even=False)
    clean = DataLoader(
        ReproducibleDataset(IndexedDataset(Clean()), seed=0), 8, sampler=share
    )
    recorder = Recorder()
    several = "ddp_find_unused_parameters_true" if method == "pici" else "ddp"
    trainer = pl.Trainer(
        max_epochs=1,
        limit_train_batches=STEPS,
        accelerator="cpu",
        devices=world_size,
        strategy=several if world_size > 1 else "auto",
        precision="64-true",
        use_distributed_sampler=False,
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        trainer.fit(make_module(method, gather, clean), loader)
    return recorder.seen


def processes(
    folder: Path, method: str, num_processes: int, gather: bool
) -> list[dict[str, Tensor]]:
    """What each of N real processes saw in its three steps."""
    torchrun(
        num_processes,
        *("-m", "tests.training.test_distributed_methods"),
        *(str(folder), method, str(BATCH), str(gather)),
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(num_processes)]


IN_FLOAT32 = ("embeddings", "prototypes", "confidence")
TERMS = {
    "cc": {"loss", "loss_instance", "loss_cluster"},
    "pici": {"loss", "loss_instance", "loss_cluster", "loss_interaction"},
}


@pytest.mark.parametrize(
    ("method", "num_processes"),
    [
        ("cc", 2),
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
    for part in ("instance_head", "cluster_head"):
        assert any(name.startswith(f"0 gradient {part}") for name in expected)
        assert any(name.startswith(f"{STEPS} after {part}") for name in expected)
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
            assert torch.equal(ours[name], found[0][name])


@pytest.mark.slow
def test_without_gathering_each_process_contrasts_its_own_batch(tmp_path: Path) -> None:
    expected = train("cc", 2 * BATCH, gather=True, world_size=1)
    ours, theirs = processes(tmp_path, "cc", 2, gather=False)
    for name in ("0 loss_instance", "0 loss_cluster"):
        assert len({float(seen[name]) for seen in (ours, theirs, expected)}) == 3
    for name in ours:
        if "after" in name or name == "labels":
            assert torch.equal(ours[name], theirs[name]), name


TINY = (
    "data.limit=201", "loader.batch_size=25", "trainer.devices=2",
    "trainer.accelerator=cpu", "trainer.progress_bar=false", "trainer.logger=none",
    "clustering.pixel_baseline=false", "clustering.n_init=2", "output_dir=run",
    "trainer.gather_distributed=true",
)  # fmt: skip
SMALL_VIT = (
    "pici.patch_size=4", "pici.width=16", "pici.depth=1", "pici.num_heads=2",
    "pici.decoder_width=16", "pici.decoder_depth=1", "pici.decoder_num_heads=2",
    "pici.pretraining_epochs=1", "pici.interaction_epochs=1", "trainer.max_epochs=3",
)  # fmt: skip


# What is no complaint. In PICI's second phase all weights are trained, and PyTorch,
# which was told that some may not be, notes that "this may be a false positive".
NO_COMPLAINTS = ("Initializing distributed", "did not find any unused parameters")


def digits(folder: Path, *argv: str) -> str:
    """What the recipe says; it complains of nothing."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes" / "digits.py"), *TINY, *argv],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("on 2 x cpu") == 1
    lines = (folder / "run" / "assignments.csv").read_text().splitlines()
    assert len(lines) == 202 and len(set(lines)) == 202
    complaints = [
        line
        for line in done.stderr.splitlines()
        if line.strip() and not any(words in line for words in NO_COMPLAINTS)
    ]
    assert complaints == []
    return done.stdout


@pytest.mark.parametrize("method", ["cc", "pici"])
@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_processes_are_told_of_weights_that_a_step_may_leave_out(
    method: str, strategy: str, tmp_path: Path
) -> None:
    settings = tiny(method, devices="2", strategy=strategy, precision="32-true")
    has_unused = method_of(settings).has_unused_parameters
    trainer = build_trainer(settings, tmp_path, (), has_unused)
    assert trainer.world_size == 2 and isinstance(trainer.strategy, DDPStrategy)
    expected = {"find_unused_parameters": True} if method == "pici" else {}
    assert trainer.strategy._ddp_kwargs == expected
    single = build_trainer(tiny(method, precision="32-true"), tmp_path, (), has_unused)
    assert not isinstance(single.strategy, DDPStrategy)


def test_synchronized_batchnorm_needs_gpus(tmp_path: Path) -> None:
    options = {"accelerator": "cpu", "strategy": "ddp", "precision": "32-true"}
    settings = tiny("cc", devices="2", sync_batchnorm=True, **options)
    with pytest.raises(SettingsError, match=r"trainer\.sync_batchnorm needs GPUs"):
        build_trainer(settings, tmp_path)
    alone = tiny("cc", devices="1", sync_batchnorm=True, precision="32-true")
    assert build_trainer(alone, tmp_path).world_size == 1


@pytest.mark.slow
def test_two_processes_go_through_all_phases_of_pici(tmp_path: Path) -> None:
    """The heads have no gradient in the first, the decoder none in the last."""
    argv = ("method=pici", *SMALL_VIT)
    assert digits(tmp_path, *argv).splitlines()[-1].startswith("PICI")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    phases = {
        "reconstruction": [True, True, False],
        "instance": [False, True, True],
        "cluster": [False, True, True],
        "interaction": [False, False, True],
    }
    for term, expected in phases.items():
        found = [float(row[f"train/loss_{term}"]) != 0 for row in rows]
        assert found == expected, term


@pytest.mark.slow
def test_two_processes_train_cc(tmp_path: Path) -> None:
    argv = ("method=cc", "trainer.max_epochs=2")
    assert digits(tmp_path, *argv).splitlines()[-1].startswith("CC")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["method"] == "CC" and results["epochs"] == 2


if __name__ == "__main__":
    folder, method, size, gather = sys.argv[1:]
    world_size = int(os.environ["WORLD_SIZE"])
    seen = train(method, int(size), gather == "True", world_size)
    torch.save(seen, Path(folder) / f"{os.environ['RANK']}.pt")
