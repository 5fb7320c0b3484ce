"""Our modules in Trainers of all kinds: callbacks, precision, strategies, axes."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
)
from torch import nn
from torch.utils.data import DataLoader

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import MomentumTeacher
from hadis_lightly.training import HaDis, PrototypeKMeans
from tests.training.any_trainer.hadis_parts import cc, hadis, hadis_model
from tests.training.any_trainer.parts import (
    Digits,
    k_means,
    lightnings_advice_left_out,
    loader,
)
from tests.training.plain_trainer import plain_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    # PyTorch's compiler looks at it, and uses its own deprecated names.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*torch._prims_common.check.*:FutureWarning"),
]
BATCHES = 4


class Rows(DummyLogger):
    """Keeps every row that is logged, with its step."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.append((step, {name: float(x) for name, x in metrics.items()}))

    def axis(self, name: str) -> list[tuple[int, int]]:
        """Steps and epochs at which a value is logged."""
        return [(step, int(row["epoch"])) for step, row in self.rows if name in row]


@pytest.mark.parametrize(
    ("options", "compile_mode", "accumulated"),
    [
        ({}, None, 1),
        ({"accumulate_grad_batches": 4}, None, 4),
        ({"precision": "bf16-mixed"}, None, 1),
        pytest.param({}, "default", 1, marks=pytest.mark.slow),
    ],
    ids=["plain", "accumulating", "bf16-mixed", "compiled"],
)
def test_losses_are_drawn_over_the_steps_of_the_optimizer(
    options: dict[str, Any], compile_mode: str | None, accumulated: int
) -> None:
    rows, prototypes = Rows(), k_means()
    trainer = plain_trainer(max_epochs=2, logger=rows, log_every_n_steps=1, **options)
    torch.manual_seed(0)
    trainer.fit(hadis(prototypes, compile_mode=compile_mode), loader(views=True))
    in_epoch = BATCHES // accumulated
    assert rows.axis("train/loss") == [(in_epoch - 1, 0), (2 * in_epoch - 1, 1)]
    assert rows.axis("train/loss_step") == [
        (step, step // in_epoch) for step in range(2 * in_epoch)
    ]
    assert rows.axis("train/loss") == rows.axis("train/loss_pcl")
    assert all(0 < row.get("train/loss", 1.0) < 10 for _, row in rows.rows)
    assert prototypes.labels_.shape == (120,)


def test_the_users_own_callback_of_the_same_class_stays() -> None:
    own, other, ours = k_means(2, name="own"), pl.Callback(), k_means(3)
    trainer = plain_trainer(own, other)
    module = hadis(ours)
    for _ in range(2):
        trainer.fit(module, loader(views=True))
        found = [c for c in trainer.callbacks if isinstance(c, PrototypeKMeans)]
        assert found == [own, ours] and other in trainer.callbacks
    assert (len(own.prototypes_), len(ours.prototypes_)) == (2, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_teacher_of_16_bits_would_stand_still_and_is_refused(
    dtype: torch.dtype,
) -> None:
    student = nn.Linear(8, 8).to(dtype)
    nn.init.constant_(student.weight, 1.0)
    teacher = MomentumTeacher(student)
    nn.init.constant_(student.weight, 1.1)
    weight = teacher.module.weight
    for _ in range(100):  # the arithmetic of an update; in float32 it gives 1.033
        weight.data.lerp_(student.weight.data, 1 - 0.996)
    assert torch.equal(weight, torch.ones_like(weight))
    with pytest.raises(ValueError, match=r"lost in rounding.*bf16-mixed"):
        teacher.update(student, momentum=0.996)
    teacher.update(student, momentum=0.0)  # a copy needs no precision
    assert torch.equal(weight, student.weight)


def test_16_bit_weights_are_refused_before_the_first_step() -> None:
    module = hadis(k_means())
    trainer = plain_trainer(precision="bf16-true")
    with pytest.raises(ValueError, match=r"follow the student in torch.bfloat16"):
        trainer.fit(module, loader(views=True))
    assert trainer.global_step == 0
    assert module.callback.partition_ is None


@pytest.mark.parametrize(
    "strategy", [DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy]
)
def test_strategies_that_shard_parameters_are_refused(strategy: type[Any]) -> None:
    module, trainer = hadis(), plain_trainer()
    # Lightning builds a Trainer with them on GPUs alone.
    trainer._accelerator_connector.strategy = strategy.__new__(strategy)
    module.trainer = trainer
    with pytest.raises(ValueError, match=f"{strategy.__name__} shards the parameters"):
        module.setup("fit")


@pytest.mark.parametrize(
    ("warmup_epochs", "options", "warned"),
    [
        (1, {"max_epochs": 2}, False),
        (2, {"max_epochs": 2}, True),
        (2, {"max_epochs": 9, "max_steps": 8}, True),
        (2, {"max_epochs": 9, "max_steps": 9}, False),
        (50, {"max_epochs": 1, "fast_dev_run": True}, False),
    ],
)
def test_a_warm_up_without_an_end_is_told(
    warmup_epochs: int,
    options: dict[str, Any],
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "hadis_lightly"):
        trainer = plain_trainer(**options)
        trainer.fit(hadis(warmup_epochs=warmup_epochs), loader(views=True))
    told = [r for r in caplog.messages if f"warmup_epochs={warmup_epochs} covers" in r]
    assert len(told) == warned


def test_a_training_that_is_made_longer_has_a_learning_rate_to_the_end(
    tmp_path: Path,
) -> None:
    """In checkpoints, schedules of lightly's have the length that they had."""
    trainer = plain_trainer(max_epochs=2)
    with lightnings_advice_left_out():
        trainer.fit(hadis(), loader(views=True))
    trainer.save_checkpoint(tmp_path / "2.ckpt")
    resumed = rates_of(hadis(), max_epochs=4, ckpt_path=tmp_path / "2.ckpt")
    assert resumed == pytest.approx(rates_of(hadis(), max_epochs=4)[8:])


def test_an_epoch_that_is_stopped_within_logs_its_losses() -> None:
    class Stopping(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            trainer.should_stop = trainer.global_step == 2

    trainer = plain_trainer(Stopping(), max_epochs=3)
    with lightnings_advice_left_out():
        trainer.fit(hadis(), loader(views=True))
    assert trainer.global_step == 2 and "train/loss" in trainer.callback_metrics


def rates_of(
    module: pl.LightningModule, ckpt_path: Path | None = None, **options: Any
) -> list[float]:
    """The learning rate of every step."""
    seen: list[float] = []

    class Noting(pl.Callback):
        def on_before_optimizer_step(self, *args: Any) -> None:
            optimizer: Any = args[2]
            seen.append(optimizer.param_groups[0]["lr"])

    with lightnings_advice_left_out():
        plain_trainer(Noting(), **options).fit(
            module, loader(views=True), ckpt_path=ckpt_path
        )
    return seen


@pytest.mark.parametrize("module", [hadis, cc])
def test_max_steps_alone_leave_the_warm_up_its_length(module: Any) -> None:
    """Then Lightning does not know the length of an epoch unless it is asked."""
    options: dict[str, int] = {"max_steps": 12, "max_epochs": 100}
    wanted = rates_of(module(warmup_epochs=1), **options)
    options["max_epochs"] = -1
    assert rates_of(module(warmup_epochs=1), **options) == wanted
    assert wanted[3] == max(wanted) and len(wanted) == 12


class OwnSchedule(HaDis):
    """Steps down instead."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def test_a_subclass_may_have_a_schedule_of_its_own() -> None:
    module = OwnSchedule(hadis_model(), HaDisLoss(3), warmup_epochs=0)
    assert rates_of(module, max_epochs=2) == pytest.approx([1.0] * 4 + [0.1] * 4)


def test_an_empty_loader_is_named_also_with_max_steps_alone() -> None:
    trainer = plain_trainer(max_steps=3, max_epochs=-1)
    empty = DataLoader(Digits(10, views=True), 30, drop_last=True)
    with (
        lightnings_advice_left_out(),
        pytest.raises(ValueError, match="there are no training batches"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", ".*Total length of `")
        trainer.fit(hadis(), empty)
