"""HaDis as a LightningModule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from lightly.utils.scheduler import CosineWarmupScheduler, cosine_schedule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import SGD, Optimizer

from hadis_lightly.checks import (
    check_bool,
    check_integer,
    check_number,
    check_type,
)
from hadis_lightly.loss import CodingRateLoss, HaDisLoss, HaDisLossTerms
from hadis_lightly.loss.view_targets import VIEW_TARGETS
from hadis_lightly.models import HaDisModel, evaluating
from hadis_lightly.training.clustering_module import ClusteringModule, ModuleOptions
from hadis_lightly.training.inputs import check_same_n_clusters, views_of
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans
from hadis_lightly.training.trainer_state import warn_of_long_warmup

if TYPE_CHECKING:
    from typing_extensions import Unpack


class HaDis(ClusteringModule):
    r"""Trains a :class:`~hadis_lightly.models.HaDisModel` as in HaDis [0].

    One step: both views through the student and the teacher, the loss in both
    directions, averaged; the teacher moves towards the student; the optimiser steps.
    SGD with momentum; the learning rate rises linearly over the warm-up, then falls
    to 0 along a cosine, step by step.

    Batches may have any number V >= 2 of views, as from lightly's FastSiam and DINO
    transforms (NOTE: the paper has two). The loss is then the mean over all ordered
    pairs of views: a step takes V forward passes of the student and of the teacher,
    with memory for V backward passes, and V (V - 1) losses. ``teacher_views`` and
    ``teacher_target`` make it cheaper.

    Args:
        model: Student, predictor and teacher, with weights of at least 32 bits: the
            Trainer's precision may be bf16-mixed, but not bf16-true.
        criterion: The loss; ``hsd_weight=0`` trains ProPos, ``pcl_weight=0`` as well
            BYOL.
        prototypes: Gives the pseudo-labels; None leaves PCL out. It has the criterion's
            ``n_clusters``, or chooses it later. The module brings the callback along.
        learning_rate: Learning rate of the student at its highest. Paper: 0.05 times
            the (global) batch size over 256.
        momentum: Momentum of SGD. Paper: 0.9.
        weight_decay: Weight decay on all parameters. Paper: 5e-4.
        prediction_head_lr_scale: Learning rate of the predictor relative to that of
            the student. Paper: 10.
        warmup_epochs: Epochs in which the learning rate rises, and in which no
            noise is added to projections. PCL starts after the ``warmup_epochs`` of
            ``prototypes``. Paper: 50 for both.
        teacher_momentum: EMA momentum of the teacher. Paper: 0.996.
        final_teacher_momentum: EMA momentum at the end of training, reached along a
            cosine; by default constant. Paper: 1 for CIFAR-20, else constant.
        concatenate_views: Whether all views pass the networks as one batch, sharing
            their BatchNorm statistics. Paper: False.
        teacher_views: How many of the views, the first ones, the teacher sees; at least
            two, of one shape. Others may be smaller. By default all.
        teacher_target: What a view of the student learns from: ``"each"`` of the
            teacher's embeddings of other views, or their ``"mean"``, as in FastSiam.
            The same for two views.
        coding_rate_weight: Weight of a :class:`~hadis_lightly.loss.CodingRateLoss` of
            the student's projections, averaged over views. Paper: 0.
        **options: See :class:`ClusteringModule`.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a number is out of range; if PCL is on and ``criterion`` and
            ``prototypes`` differ in ``n_clusters``; in training, if weights are 16-bit.

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    model: HaDisModel
    loss_names: tuple[str, ...] = ("loss", "loss_dsa", "loss_hsd", "loss_pcl")

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
        teacher_views: int | None = None,
        teacher_target: str = "each",
        coding_rate_weight: float = 0.0,
        **options: Unpack[ModuleOptions],
    ) -> None:
        check_type("model", model, HaDisModel)
        check_type("criterion", criterion, HaDisLoss)
        check_type("prototypes", prototypes, PrototypeKMeans, optional=True)
        if criterion.pcl_weight > 0 and prototypes is not None:
            is_open = prototypes.n_clusters_range is not None
            check_same_n_clusters(
                criterion=criterion.n_clusters,
                prototypes=None if is_open else prototypes.n_clusters,
            )
        check_number("coding_rate_weight", coding_rate_weight, 0)
        if coding_rate_weight:
            self.loss_names = (*type(self).loss_names, "loss_coding_rate")
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
        if teacher_views is not None:
            check_integer("teacher_views", teacher_views, least=2)
        if teacher_target not in VIEW_TARGETS:
            raise ValueError(
                f"teacher_target must be 'each' or 'mean', got {teacher_target!r}."
            )
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
        self.teacher_views = teacher_views
        self.teacher_target = teacher_target
        self.coding_rate_weight = coding_rate_weight
        self.coding_rate = CodingRateLoss(
            gather_distributed=criterion.gather_distributed
        )
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

    def on_fit_start(self) -> None:
        """Checks the precision of the weights, and that the warm-up has an end."""
        super().on_fit_start()
        for momentum in (self.teacher_momentum, self.final_teacher_momentum):
            if momentum is not None:
                self.model.teacher.check_precision(momentum)
        warn_of_long_warmup(self.trainer, self.warmup_epochs)

    def on_train_start(self) -> None:
        """Gives the schedule the length of this training, if a checkpoint had another.

        lightly's schedules come out of a checkpoint with the length they had.
        """
        scheduler = self.lr_schedulers()
        if not isinstance(scheduler, CosineWarmupScheduler):  # a subclass has its own
            return
        max_steps, steps_per_epoch = self.schedule()
        lengths = min(self.warmup_epochs * steps_per_epoch, max_steps), max_steps
        if lengths == (scheduler.warmup_epochs, scheduler.max_epochs):
            return
        scheduler.warmup_epochs, scheduler.max_epochs = lengths
        scale = scheduler.scale_lr(scheduler.last_epoch)
        groups = scheduler.optimizer.param_groups
        for group, base_lr in zip(groups, scheduler.base_lrs, strict=True):
            group["lr"] = base_lr * scale

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss of a batch ``((x0, x1, ...), targets, keys)``."""
        views, keys = views_of(batch, of_one_shape=self.teacher_views)
        labels = None
        if self.prototypes is not None and self.criterion.pcl_weight > 0:
            labels = self.prototypes.labels(keys)
        terms = self.loss_terms(views, labels)
        self.log_losses(terms)
        return terms[0]

    def loss_terms(
        self, views: Sequence[Tensor], labels: Tensor | None
    ) -> tuple[Tensor, ...]:
        """As :meth:`symmetric_loss`, with the coding rate if it has a weight."""
        students, teachers = self._embeddings(views)
        terms = self._combined(students, teachers, labels)
        if not self.coding_rate_weight:
            return terms
        rate = torch.stack([self.coding_rate(z) for z, _ in students]).mean()
        return terms.loss + self.coding_rate_weight * rate, *terms[1:], rate

    def symmetric_loss(
        self, views: Sequence[Tensor], labels: Tensor | None
    ) -> HaDisLossTerms:
        """The terms of HaDis's loss, averaged over all directions.

        One for each ordered pair of views, or for each view with its ``"mean"`` target.

        Args:
            views: At least two, each ``(n, c, h, w)``.
            labels: Pseudo-labels ``(n,)``; None leaves PCL out.
        """
        return self._combined(*self._embeddings(views), labels)

    def _combined(
        self,
        students: Sequence[tuple[Tensor, Tensor]],
        teachers: Sequence[Tensor],
        labels: Tensor | None,
    ) -> HaDisLossTerms:
        each = []
        for i, t in VIEW_TARGETS[self.teacher_target](teachers, len(students)):
            z, p = students[i]
            terms = self.criterion(student=z, prediction=p, teacher=t, labels=labels)
            each.append(terms)
        share = 1 / len(each)
        sums = (sum(term[1:], term[0]) for term in zip(*each, strict=True))
        return HaDisLossTerms(*(share * total for total in sums))

    def _embeddings(
        self, views: Sequence[Tensor]
    ) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """The student's projections and predictions, and the teacher's projections."""
        model, diffuse = self.model, self.current_epoch >= self.warmup_epochs
        seen = views[: self.teacher_views]
        if not self.concatenate_views:
            students = [model.forward_student(x, diffuse=diffuse) for x in views]
            return students, [model.forward_teacher(x) for x in seen]
        students = []
        for _, group in groupby(views, key=lambda x: x.shape):
            alike = list(group)
            z, p = model.forward_student(torch.cat(alike), diffuse=diffuse)
            students += zip(z.chunk(len(alike)), p.chunk(len(alike)), strict=True)
        teachers = model.forward_teacher(torch.cat(list(seen))).chunk(len(seen))
        return students, list(teachers)

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
