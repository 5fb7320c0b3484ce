"""Three steps of a method in float64, alone or as one of N processes."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from hadis_lightly.data import EpochSampler, IndexedDataset, ReproducibleDataset
from hadis_lightly.loss import CCLoss, HaDisLoss, PICILoss
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    PICIModel,
    build_masked_vit,
    small_convnet,
)
from hadis_lightly.training import (
    PICI,
    ClusterHeadAssignment,
    ContrastiveClustering,
    HaDis,
    PrototypeKMeans,
)
from hadis_lightly.training.clustering_module import ClusteringModule
from tests.training.plain_trainer import plain_trainer

NUM_IMAGES, NUM_CLUSTERS, STEPS, BATCH = 53, 3, 3, 5


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
        assert isinstance(pl_module, ClusteringModule)
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
        assert isinstance(pl_module, ClusteringModule)
        for name, value in pl_module.model.state_dict().items():
            self.keep(f"{trainer.global_step} after {name}", value)
        callback: Any = pl_module.callback
        if getattr(callback, "pseudo_label_epochs", 0):
            self.keep("pseudo-labels", callback.pseudo_labels(torch.arange(NUM_IMAGES)))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        callback: Any = pl_module.callback
        self.keep("labels", callback.labels_)
        self.keep("targets", callback.targets_)
        self.keep("embeddings", callback.embeddings_)
        self.keep("prototypes", callback.prototypes_)

    def keep(self, name: str, value: Tensor) -> None:
        self.seen[name] = value.detach().clone()


def make_module(method: str, gather: bool, plain: DataLoader[Any]) -> ClusteringModule:
    """HaDis; CC, whose images are not all in the cluster loss; PICI's last phase.

    There is no chance in them: PICI masks patches in its other phases.
    """
    options: dict[str, Any] = {
        "n_init": 5,
        "random_state": 0,
        "follow_limits": False,
    }
    backbone: nn.Module = small_convnet(num_channels=1, widths=(4, 8))
    if method == "hadis":
        heads = HaDisProjectionHead(8 * 16, 16, 8), HaDisPredictionHead(8, 16, 8)
        model = HaDisModel(backbone, *heads, latent_std=0.0).double()
        drop_batchnorm(model)
        return HaDis(
            model,
            HaDisLoss(NUM_CLUSTERS, gather_distributed=gather),
            PrototypeKMeans(NUM_CLUSTERS, plain, warmup_epochs=0, **options),
            warmup_epochs=0,
            learning_rate=0.1,
        )
    callback = ClusterHeadAssignment(
        NUM_CLUSTERS, plain, pseudo_label_epochs=int(method == "pici"), **options
    )
    options = {
        "learning_rate": 0.01,
        "training_only": torch.arange(NUM_IMAGES) % 4 == 0,
    }
    if method == "cc":
        cc_heads = CCInstanceHead(128, 16, output_dim=8), CCClusterHead(128, 3, 16)
        cc_model = CCModel(backbone, *cc_heads).double()
        drop_batchnorm(cc_model)
        cc_loss = CCLoss(NUM_CLUSTERS, gather_distributed=gather)
        return ContrastiveClustering(cc_model, cc_loss, callback, **options)
    pici_model = PICIModel(
        build_masked_vit(1, 8, 4, 16, 1, 2, 16, 1, 2),
        CCInstanceHead(16, output_dim=8),
        CCClusterHead(16, NUM_CLUSTERS),
    ).double()
    pici_loss = PICILoss(NUM_CLUSTERS, gather_distributed=gather)
    return PICI(pici_model, pici_loss, callback, pretraining_epochs=0, **options)


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
    module = make_module(method, gather, clean)
    several = "ddp_find_unused_parameters_true" if method == "pici" else "ddp"
    recorder = Recorder()
    trainer = plain_trainer(
        recorder,
        limit_train_batches=STEPS,
        devices=world_size,
        strategy=several if world_size > 1 else "auto",
        precision="64-true",
        use_distributed_sampler=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        trainer.fit(module, loader)
    return recorder.seen


def train_process(
    rank: int, folder: Path, method: str, gather: bool, world_size: int, port: int
) -> None:
    """Trains as torchrun's processes do, and writes what was seen to a file."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "GROUP_RANK": "0",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    torch.save(train(method, BATCH, gather, world_size), folder / f"{rank}.pt")
