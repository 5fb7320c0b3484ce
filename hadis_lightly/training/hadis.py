"""HaDis as a LightningModule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from lightly.utils.scheduler import CosineWarmupScheduler, cosine_schedule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import SGD, Optimizer

from hadis_lightly.checks import check_bool, check_integer, check_number
from hadis_lightly.loss import HaDisLoss, HaDisLossTerms
from hadis_lightly.models import HaDisModel, evaluating
from hadis_lightly.training.clustering_module import ClusteringModule, ModuleOptions
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans

if TYPE_CHECKING:
    from typing_extensions import Unpack


class HaDis(ClusteringModule):
    r"""Trains a :class:`~hadis_lightly.models.HaDisModel` as in HaDis [0].

    One step: both views through the student and the teacher, the loss in both
    directions, averaged; the teacher moves towards the student; the optimiser steps.
    SGD with momentum; the learning rate rises linearly over the warm-up, then falls
    to 0 along a cosine, step by step.

    Args:
        model: Student, predictor and teacher.
        criterion: The loss; ``hsd_weight=0`` trains ProPos, ``pcl_weight=0`` as well
            BYOL.
        prototypes: Gives the pseudo-labels; None leaves PCL out. The module brings the
            callback along.
        learning_rate: Learning rate of the student at its highest. Paper: 0.05 times
            the (global) batch size over 256.
        momentum: Momentum of SGD. Paper: 0.9.
        weight_decay: Weight decay on all parameters. Paper: 5e-4.
        prediction_head_lr_scale: Learning rate of the predictor relative to that of
            the student. Paper: 10.
        warmup_epochs: Epochs in which the learning rate rises, and in which no
            noise is added to projections. Paper: 50.
        teacher_momentum: EMA momentum of the teacher. Paper: 0.996.
        final_teacher_momentum: EMA momentum at the end of training, reached along a
            cosine; by default constant. Paper: 1 for CIFAR-20, else constant.
        concatenate_views: Whether both views pass the networks as one batch, sharing
            their BatchNorm statistics. Paper: False.
        **options: See :class:`ClusteringModule`.

    Raises:
        ValueError: If a number is out of range.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    model: HaDisModel
    loss_names = ("loss", "loss_dsa", "loss_hsd", "loss_pcl")

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
        **options: Unpack[ModuleOptions],
    ) -> None:
        super().__init__(model, prototypes, **options)
        check_number("learning_rate", learning_rate, 0, above=True)
        check_number("momentum", momentum, 0, 1)
        check_number("weight_decay", weight_decay, 0)
        check_number("prediction_head_lr_scale", prediction_head_lr_scale, 0)
        check_integer("warmup_epochs", warmup_epochs, least=0)
        check_number("teacher_momentum", teacher_momentum, 0, 1)
        if final_teacher_momentum is not None:
            check_number("final_teacher_momentum", final_teacher_momentum, 0, 1)
        check_bool("concatenate_views", concatenate_views)
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
        if self.compile_mode is not None:
            # Each on its own: one program of a step would hold a network as often as it
            # is called, and be compiled once more at the end of a warm-up.
            parts = model.student, model.prediction_head, model.teacher, criterion
            for part in parts:
                part.compile(mode=self.compile_mode, dynamic=False)

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """Embeds plain images ``(n, c, h, w)``: normalised, ``(n, d)``."""
        with evaluating(self.model.teacher):
            # A copy: what a CUDA graph returns is overwritten when it runs again.
            embeddings = self.model.forward_teacher(self.padded(x))
            return F.normalize(embeddings[: len(x)].float(), dim=1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1), targets, keys)``."""
        (x0, x1), _, keys = batch
        labels = None
        if self.prototypes is not None and self.criterion.pcl_weight > 0:
            labels = self.prototypes.labels(keys)
        terms = self.symmetric_loss(x0, x1, labels)
        self.log_losses(terms)
        return terms.loss

    def symmetric_loss(
        self, x0: Tensor, x1: Tensor, labels: Tensor | None
    ) -> HaDisLossTerms:
        """The terms of the loss, averaged over (x0 -> x1) and (x1 -> x0)."""
        model, diffuse = self.model, self.current_epoch >= self.warmup_epochs
        if self.concatenate_views:
            x = torch.cat([x0, x1])
            z, p = model.forward_student(x, diffuse=diffuse)
            (z0, z1), (p0, p1) = z.chunk(2), p.chunk(2)
            t0, t1 = model.forward_teacher(x).chunk(2)
        else:
            z0, p0 = model.forward_student(x0, diffuse=diffuse)
            z1, p1 = model.forward_student(x1, diffuse=diffuse)
            t0, t1 = model.forward_teacher(x0), model.forward_teacher(x1)
        criterion = self.criterion
        terms_01 = criterion(student=z0, prediction=p0, teacher=t1, labels=labels)
        terms_10 = criterion(student=z1, prediction=p1, teacher=t0, labels=labels)
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
        groups: list[dict[str, Any]] = [
            {"name": "student", "params": self.model.student.parameters()},
            {
                "name": "prediction_head",
                "params": self.model.prediction_head.parameters(),
                "lr": self.learning_rate * self.prediction_head_lr_scale,
            },
        ]
        optimizer = SGD(
            groups,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            fused=self.fused or None,
        )
        max_steps, steps_per_epoch = self.schedule()
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
