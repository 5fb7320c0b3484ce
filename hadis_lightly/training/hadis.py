"""HaDis as a LightningModule."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from lightly.utils.scheduler import CosineWarmupScheduler, cosine_schedule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import SGD, Optimizer

from hadis_lightly.loss import HaDisLoss, HaDisLossTerms
from hadis_lightly.models import HaDisModel
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans


class HaDis(pl.LightningModule):
    r"""Trains a :class:`~hadis_lightly.models.HaDisModel` as in HaDis [0].

    One step: both views through the student and the teacher, the loss in both
    directions, averaged; the teacher moves towards the student; the optimiser steps.
    SGD with momentum; the learning rate rises linearly over the warm-up, then falls
    to 0 along a cosine, step by step.

    Batches are ``((x0, x1), targets, keys)``, as lightly's data sets and
    :class:`~hadis_lightly.data.IndexedDataset` give them. Targets are never looked at.

    Args:
        model: Student, predictor and teacher.
        criterion: The loss; ``hsd_weight=0`` trains ProPos, ``pcl_weight=0`` as well
            BYOL.
        prototypes: Where the pseudo-labels come from; None leaves PCL out. The
            trainer need not be given the callback, the module brings it along.
        learning_rate: Learning rate of the student at its highest. Paper: 0.05 times
            the (global) batch size over 256.
        momentum: Momentum of SGD. Paper: 0.9.
        weight_decay: Weight decay on all parameters. Paper: 5e-4.
        prediction_head_lr_scale: Learning rate of the predictor relative to that of
            the student. Paper: 10.
        warmup_epochs: Epochs in which the learning rate rises, and in which the
            projections are not diffused. Paper: 50.
        teacher_momentum: Share of the teacher that stays at each step. Paper: 0.996.
        final_teacher_momentum: If given, the teacher's momentum moves there along a
            cosine. Paper: 1 for CIFAR-20, else constant.
        concatenate_views: Whether both views pass the networks as one batch, sharing
            their BatchNorm statistics. Paper: False.

    Raises:
        ValueError: If a number is out of range.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        model: HaDisModel,
        criterion: HaDisLoss,
        prototypes: PrototypeKMeans | None = None,
        *,
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        prediction_head_lr_scale: float = 10.0,
        warmup_epochs: int = 50,
        teacher_momentum: float = 0.996,
        final_teacher_momentum: float | None = None,
        concatenate_views: bool = False,
    ) -> None:
        super().__init__()
        if not learning_rate > 0:
            raise ValueError(f"learning_rate must be > 0, got {learning_rate}.")
        if warmup_epochs < 0:
            raise ValueError(f"warmup_epochs must be >= 0, got {warmup_epochs}.")
        for name, value in (
            ("teacher_momentum", teacher_momentum),
            ("final_teacher_momentum", final_teacher_momentum),
        ):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}.")
        self.model = model
        self.criterion = criterion
        self.prototypes = prototypes
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.prediction_head_lr_scale = prediction_head_lr_scale
        self.warmup_epochs = warmup_epochs
        self.teacher_momentum = teacher_momentum
        self.final_teacher_momentum = final_teacher_momentum
        self.concatenate_views = concatenate_views

    def forward(self, x: Tensor) -> Tensor:
        """Embeds clean images, as :meth:`embed`."""
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Embeds clean images ``(n, c, h, w)``: normalised, ``(n, d)``."""
        return self.model.embed(x)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Brings the prototypes along, unless the trainer has them already."""
        prototypes = self.prototypes
        attached = self.trainer.callbacks  # type: ignore[attr-defined]
        if prototypes is None or prototypes in attached:
            return []
        return [prototypes]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1), targets, keys)``."""
        (x0, x1), _, keys = batch
        if self.prototypes is None or self.criterion.pcl_weight == 0:
            labels = None
        else:
            labels = self.prototypes.labels(keys)
        terms = self.symmetric_loss(x0, x1, labels)
        # Means over the epoch, kept on the device: no step waits for its loss.
        self.log_dict(
            {
                "train/loss": terms.loss,
                "train/loss_dsa": terms.dsa,
                "train/loss_hsd": terms.hsd,
                "train/loss_pcl": terms.pcl,
            },
            on_step=False,
            on_epoch=True,
            batch_size=len(x0),
            sync_dist=self.trainer.world_size > 1,
        )
        return terms.loss

    def symmetric_loss(
        self, x0: Tensor, x1: Tensor, labels: Tensor | None
    ) -> HaDisLossTerms:
        """The terms of the loss, averaged over (x0 -> x1) and (x1 -> x0)."""
        diffuse = self.current_epoch >= self.warmup_epochs
        if self.concatenate_views:
            x = torch.cat([x0, x1])
            z, p = self.model.forward_student(x, diffuse=diffuse)
            (z0, z1), (p0, p1) = z.chunk(2), p.chunk(2)
            t0, t1 = self.model.forward_teacher(x).chunk(2)
        else:
            z0, p0 = self.model.forward_student(x0, diffuse=diffuse)
            z1, p1 = self.model.forward_student(x1, diffuse=diffuse)
            t0, t1 = self.model.forward_teacher(x0), self.model.forward_teacher(x1)
        terms_01 = self.criterion(student=z0, prediction=p0, teacher=t1, labels=labels)
        terms_10 = self.criterion(student=z1, prediction=p1, teacher=t0, labels=labels)
        return HaDisLossTerms(
            *(0.5 * (a + b) for a, b in zip(terms_01, terms_10, strict=True))
        )

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Moves the teacher towards the student, once per step of the optimiser."""
        momentum = self.teacher_momentum
        if self.final_teacher_momentum is not None:
            momentum = cosine_schedule(
                step=self.trainer.global_step,
                max_steps=int(self.trainer.estimated_stepping_batches),
                start_value=self.teacher_momentum,
                end_value=self.final_teacher_momentum,
            )
        self.model.update_teacher(momentum)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD, and a schedule per step: linear warm-up, then a cosine to 0."""
        prediction_head_lr = self.learning_rate * self.prediction_head_lr_scale
        groups: list[dict[str, Any]] = [
            {"name": "student", "params": self.model.student.parameters()},
            {
                "name": "prediction_head",
                "params": self.model.prediction_head.parameters(),
                "lr": prediction_head_lr,
            },
        ]
        optimizer = SGD(
            groups,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        if math.isinf(self.trainer.estimated_stepping_batches):
            raise ValueError(
                "the trainer has neither max_epochs nor max_steps, but the schedule of "
                "the learning rate has to end somewhere."
            )
        max_steps = int(self.trainer.estimated_stepping_batches)
        accumulated = self.trainer.accumulate_grad_batches
        steps_per_epoch = max_steps  # of a loader without a length, the most it can be
        if not math.isinf(self.trainer.num_training_batches):
            steps_per_epoch = math.ceil(self.trainer.num_training_batches / accumulated)
        scheduler = CosineWarmupScheduler(
            optimizer,
            warmup_epochs=min(self.warmup_epochs * steps_per_epoch, max_steps),
            max_epochs=max_steps,
            end_value=0.0,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
