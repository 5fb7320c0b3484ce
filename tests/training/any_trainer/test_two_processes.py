"""A plain loader in Lightning's Trainer with two processes."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch import Tensor
from torch import distributed as torch_dist

from tests.training.any_trainer.parts import (
    NUM_IMAGES,
    Net,
    fit,
    k_means,
    lightnings_advice_left_out,
    loader,
)
from tests.training.forked_processes import run_forked
from tests.training.plain_trainer import plain_trainer

pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)
WORLD_SIZE = 2


class Counting(Net):
    """Counts the images that are embedded."""

    num_embedded = 0

    def embed(self, x: Tensor) -> Tensor:
        self.num_embedded += len(x)
        return super().embed(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.net(batch[0][0]).square().mean()


def become(rank: int, port: int) -> None:
    """As a process that torchrun has started."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(WORLD_SIZE),
        "LOCAL_WORLD_SIZE": str(WORLD_SIZE),
        "GROUP_RANK": "0",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    torch.set_num_threads(1)


def train(rank: int, folder: Path, port: int, splits: bool) -> None:
    become(rank, port)
    prototypes = k_means(plain=loader(shuffle=True), every_n_epochs=99)
    module = Counting()
    options = {"devices": WORLD_SIZE, "use_distributed_sampler": splits}
    strategy = "ddp_find_unused_parameters_true"
    fit(prototypes, module, strategy=strategy, max_epochs=1, **options)
    num = module.num_embedded // len(prototypes.history_)
    found = {"images": num, "targets": prototypes.targets_}
    torch.save(found | {"labels": prototypes.labels_}, folder / f"{rank}.pt")


@pytest.mark.parametrize("splits", [True, False])
def test_a_plain_loader_is_split_as_lightning_splits_loaders(
    splits: bool, tmp_path: Path
) -> None:
    run_forked(train, WORLD_SIZE, tmp_path, find_free_network_port(), splits)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD_SIZE))
    expected = NUM_IMAGES // WORLD_SIZE if splits else NUM_IMAGES
    assert first["images"] == second["images"] == expected
    assert torch.equal(first["labels"], second["labels"])
    assert len(first["labels"]) == NUM_IMAGES
    assert torch.equal(first["targets"], second["targets"])


def train_limited(rank: int, folder: Path, port: int) -> None:
    become(rank, port)
    prototypes, seen = k_means(), []

    class Noting(Counting):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            labels = prototypes.labels(batch[2])
            seen.append(labels is not None)
            return super().training_step(batch, batch_idx)

    strategy = "ddp_find_unused_parameters_true"
    limit: Any = {"limit_train_batches": 0.9, "devices": WORLD_SIZE}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*images only")
        train_loader = loader(batch_size=6, views=True)
        trainer = plain_trainer(prototypes, strategy=strategy, max_epochs=2, **limit)
        with lightnings_advice_left_out():
            trainer.fit(Noting(), train_loader)
    torch.save(seen, folder / f"{rank}.pt")


def test_all_processes_have_labels_or_none_has(tmp_path: Path) -> None:
    """Else a loss that gathers the labels would wait for ever."""
    run_forked(train_limited, WORLD_SIZE, tmp_path, find_free_network_port())
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD_SIZE))
    assert first == second and len(first) > 4
