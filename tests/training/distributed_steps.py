"""Three steps of HaDis in float64, as one of N processes that torchrun has started.

``torchrun --nproc-per-node N -m tests.training.distributed_steps`` with a folder, the
size of batches and whether to gather writes what each process saw to
``FOLDER/RANK.pt``.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from hadis_lightly.data import EpochSampler, IndexedDataset, ReproducibleDataset
from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    small_convnet,
)
from hadis_lightly.training import HaDis, PrototypeKMeans

NUM_IMAGES, NUM_CLUSTERS, STEPS = 53, 3, 3


class Views(Dataset[tuple[list[Tensor], int]]):
    """Two views of blobs of three kinds, by themselves the same for everybody."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        kinds = torch.randn(NUM_CLUSTERS, 1, 8, 8, generator=generator)
        self.targets = torch.randint(NUM_CLUSTERS, (NUM_IMAGES,), generator=generator)
        noise = torch.randn(3, NUM_IMAGES, 1, 8, 8, generator=generator)
        self.images = (kinds[self.targets] + 0.5 * noise).double()

    def __len__(self) -> int:
        return NUM_IMAGES

    def __getitem__(self, index: int) -> tuple[list[Tensor], int]:
        x0, x1, _ = self.images[:, index]
        return [x0, x1], int(self.targets[index])


class Clean(Views):
    """The images themselves."""

    def __getitem__(self, index: int) -> Any:
        return self.images[2, index], int(self.targets[index])


def drop_batchnorm(network: nn.Module) -> None:
    """Leaves BatchNorm out: over several processes PyTorch's needs GPUs."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
                setattr(module, name, nn.Identity())


class Recorder(pl.Callback):
    """Keeps all that a step computes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        assert isinstance(pl_module, HaDis)
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
        assert isinstance(pl_module, HaDis)
        for name, value in pl_module.model.state_dict().items():
            self.keep(f"{trainer.global_step} after {name}", value)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        prototypes = pl_module.prototypes
        assert isinstance(prototypes, PrototypeKMeans)
        self.keep("labels", prototypes.labels_)
        self.keep("embeddings", prototypes.embeddings_)
        self.keep("prototypes", prototypes.prototypes_)
        self.keep("targets", prototypes.targets_)

    def keep(self, name: str, value: Tensor) -> None:
        self.seen[name] = value.detach().clone()


def train(batch_size: int, gather: bool, world_size: int) -> dict[str, Tensor]:
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
    prototypes = PrototypeKMeans(
        NUM_CLUSTERS, clean, warmup_epochs=0, n_init=5, random_state=0
    )
    backbone: nn.Module = small_convnet(num_channels=1, widths=(4, 8))
    heads = HaDisProjectionHead(8 * 16, 16, 8), HaDisPredictionHead(8, 16, 8)
    model = HaDisModel(backbone, *heads, latent_std=0.0).double()
    drop_batchnorm(model)
    criterion = HaDisLoss(NUM_CLUSTERS, gather_distributed=gather)
    module = HaDis(model, criterion, prototypes, warmup_epochs=0, learning_rate=0.1)
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=1,
        limit_train_batches=STEPS,
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
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
        trainer.fit(module, loader)
    return recorder.seen


if __name__ == "__main__":
    import os

    folder, size, gather = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
    seen = train(size, gather, int(os.environ["WORLD_SIZE"]))
    torch.save(seen, folder / f"{os.environ['RANK']}.pt")
