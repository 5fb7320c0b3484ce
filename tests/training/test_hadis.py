"""The training step: its order, its schedules, and the methods by flags."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hadis_lightly.loss import CodingRateLoss, HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
)
from hadis_lightly.training import HaDis, PrototypeKMeans
from hadis_lightly.transforms import BatchedViews
from tests.training.plain_trainer import plain_trainer


class TwoViews(torch.utils.data.Dataset[Any]):
    """Forty images of four kinds, as two noisy views."""

    def __init__(self, clean: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(40, 3, 2, 2, generator=generator)
        self.images += 3 * torch.randn(4, 3, 2, 2, generator=generator).repeat(
            10, 1, 1, 1
        )
        self.clean = clean

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        if self.clean:
            return image, index % 4, index
        noise = 0.1 * torch.randn(2, *image.shape)
        return list(image + noise), index % 4, index


def make_model() -> HaDisModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8))
    return HaDisModel(
        backbone,
        HaDisProjectionHead(8, 16, 4),
        HaDisPredictionHead(4, 16, 4),
    )


def fit(
    module: HaDis, *callbacks: pl.Callback, max_epochs: int = 2, **options: Any
) -> None:
    trainer = plain_trainer(*callbacks, max_epochs=max_epochs, **options)
    trainer.fit(module, DataLoader(TwoViews(), batch_size=10, shuffle=True))


def prototypes_of(warmup_epochs: int = 1) -> PrototypeKMeans:
    clean = DataLoader(TwoViews(clean=True), batch_size=20)
    return PrototypeKMeans(4, clean, warmup_epochs=warmup_epochs, random_state=0)


pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


class Recorder(pl.Callback):
    """Takes down the learning rates, and what happens around each step."""

    def __init__(self) -> None:
        self.rates: list[tuple[float, float]] = []
        self.errors: list[float] = []
        self.before: tuple[list[Tensor], list[Tensor]] | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        student, head = trainer.optimizers[0].param_groups
        self.rates.append((student["lr"], head["lr"]))
        model = pl_module.model
        self.before = (
            [p.detach().clone() for p in model.student.parameters()],
            [p.detach().clone() for p in model.teacher.parameters()],
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """The teacher has moved towards the student as it was before the step."""
        assert self.before is not None
        for student, teacher, now in zip(
            *self.before, pl_module.model.teacher.parameters(), strict=True
        ):
            expected = 0.9 * teacher + 0.1 * student
            self.errors.append(float((now - expected).abs().max()))


def test_the_teacher_moves_towards_the_student_before_the_optimizer_steps() -> None:
    module = HaDis(make_model(), HaDisLoss(4), teacher_momentum=0.9, warmup_epochs=0)
    recorder = Recorder()
    fit(module, recorder)
    assert len(recorder.errors) > 0 and max(recorder.errors) < 1e-6


def test_the_teacher_moves_once_per_optimizer_step() -> None:
    module = HaDis(make_model(), HaDisLoss(4), teacher_momentum=0.9)
    moves = []
    update = module.model.update_teacher
    module.model.update_teacher = lambda momentum: moves.append(update(momentum))
    fit(module, max_epochs=2, accumulate_grad_batches=2)
    assert len(moves) == 4  # 2 epochs of 4 batches, two at a time


def test_batchnorm_of_the_teacher_moves_by_its_own_forward_passes() -> None:
    module = HaDis(make_model(), HaDisLoss(4), warmup_epochs=0)
    fit(module)
    norm = module.model.teacher.module.backbone[2]
    # Two views in each of 8 steps; the embedding pass, in evaluation mode, adds none.
    assert int(norm.num_batches_tracked) == 16


def test_learning_rates() -> None:
    module = HaDis(make_model(), HaDisLoss(4), learning_rate=0.1, warmup_epochs=2)
    recorder = Recorder()
    fit(module, recorder, max_epochs=5)
    student = [rate for rate, _ in recorder.rates]
    assert student[:8] == pytest.approx([0.1 * (i + 1) / 8 for i in range(8)])
    assert student[8] == pytest.approx(0.1)
    assert student == pytest.approx(sorted(student[:8]) + sorted(student[8:])[::-1])
    assert student[-1] == 0.0
    head = [rate for _, rate in recorder.rates]
    assert head == pytest.approx([10 * rate for rate in student])


def test_the_schedule_ends_with_max_steps() -> None:
    module = HaDis(make_model(), HaDisLoss(4), learning_rate=0.1, warmup_epochs=50)
    recorder = Recorder()
    fit(module, recorder, max_epochs=100, max_steps=6)
    assert len(recorder.rates) == 6
    assert recorder.rates[-1][0] == pytest.approx(0.1)  # warm-up took all of it


def test_a_schedule_without_an_end() -> None:
    module = HaDis(make_model(), HaDisLoss(4))
    with pytest.raises(ValueError, match="neither max_epochs nor max_steps"):
        fit(module, max_epochs=-1)


def test_final_teacher_momentum() -> None:
    module = HaDis(
        make_model(), HaDisLoss(4), teacher_momentum=0.5, final_teacher_momentum=1.0
    )
    seen = []
    update = module.model.update_teacher
    module.model.update_teacher = lambda m: (seen.append(m), update(m))
    fit(module, max_epochs=2)
    assert seen[0] == pytest.approx(0.5)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_warm_up_has_no_noise_and_no_labels() -> None:
    prototypes = prototypes_of(warmup_epochs=1)
    module = HaDis(make_model(), HaDisLoss(4), prototypes, warmup_epochs=1)
    noisy, with_labels = [], []
    forward, criterion = module.model.forward_student, module.criterion.forward

    def forward_student(x: Tensor, diffuse: bool) -> Any:
        noisy.append(diffuse)
        return forward(x, diffuse=diffuse)

    def loss(**tensors: Any) -> Any:
        with_labels.append(tensors["labels"] is not None)
        return criterion(**tensors)

    module.model.forward_student = forward_student
    module.criterion.forward = loss
    fit(module)
    assert noisy == with_labels == [False] * 8 + [True] * 8


@pytest.mark.parametrize(
    ("weights", "zero"),
    [
        ((1.0, 0.1), set()),
        ((0.0, 0.1), {"hsd"}),
        ((1.0, 0.0), {"pcl"}),
        ((0.0, 0.0), {"hsd", "pcl"}),
    ],
)
def test_the_methods_by_flags(weights: tuple[float, float], zero: set[str]) -> None:
    criterion = HaDisLoss(4, hsd_weight=weights[0], pcl_weight=weights[1])
    module = HaDis(make_model(), criterion, prototypes_of(), warmup_epochs=1)
    fit(module, max_epochs=3)
    metrics = module.trainer.callback_metrics
    for term in ("dsa", "hsd", "pcl"):
        assert (float(metrics[f"train/loss_{term}"]) == 0) == (term in zero)
    assert torch.isfinite(metrics["train/loss"])


def test_concatenated_views_share_their_statistics() -> None:
    x0, x1 = (
        torch.randn(2, 10, 3, 2, 2)
        + 2 * torch.tensor([0.0, 1.0])[:, None, None, None, None]
    )
    model = make_model()
    losses = {}
    for concatenate in (False, True):
        module = HaDis(
            copy.deepcopy(model),
            HaDisLoss(4),
            warmup_epochs=9,
            concatenate_views=concatenate,
        )
        losses[concatenate] = module.symmetric_loss([x0, x1], None).loss.item()
    assert losses[False] != pytest.approx(losses[True], rel=1e-3)


def test_symmetric_loss_is_the_mean_of_both_directions() -> None:
    x0, x1 = torch.randn(2, 10, 3, 2, 2)
    labels = torch.arange(10) % 4
    model = make_model().double()
    x0, x1 = x0.double(), x1.double()
    module = HaDis(model, HaDisLoss(4), warmup_epochs=9)
    terms = module.symmetric_loss([x0, x1], labels)
    z0, p0 = model.forward_student(x0, diffuse=False)
    z1, p1 = model.forward_student(x1, diffuse=False)
    t0, t1 = model.forward_teacher(x0), model.forward_teacher(x1)
    criterion = HaDisLoss(4)
    one = criterion(student=z0, prediction=p0, teacher=t1, labels=labels)
    two = criterion(student=z1, prediction=p1, teacher=t0, labels=labels)
    for term, a, b in zip(terms, one, two, strict=True):
        torch.testing.assert_close(term, (a + b) / 2)


def directions(
    model: HaDisModel, views: Sequence[Tensor], pairs: Sequence[tuple[int, Tensor]]
) -> Tensor:
    """The mean loss over pairs of a view of the student and a target."""
    criterion, losses = HaDisLoss(4), []
    for i, target in pairs:
        z, p = model.forward_student(views[i], diffuse=False)
        losses.append(criterion(student=z, prediction=p, teacher=target).loss)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("concatenate", [False, True])
def test_the_teacher_sees_the_first_views_alone(concatenate: bool) -> None:
    model = make_model().double().eval()
    views = list(torch.randn(4, 10, 3, 2, 2, dtype=torch.double))
    module = HaDis(
        model,
        HaDisLoss(4),
        warmup_epochs=9,
        teacher_views=2,
        concatenate_views=concatenate,
    )
    t = [model.forward_teacher(x) for x in views[:2]]
    pairs = [(0, t[1]), (1, t[0])] + [(i, t[j]) for i in (2, 3) for j in (0, 1)]
    expected = directions(model, views, pairs)
    torch.testing.assert_close(module.symmetric_loss(views, None).loss, expected)


def test_the_mean_of_the_teachers_other_views_is_the_target() -> None:
    model = make_model().double().eval()
    views = list(torch.randn(4, 10, 3, 2, 2, dtype=torch.double))
    options = {"warmup_epochs": 9, "teacher_views": 3, "teacher_target": "mean"}
    module = HaDis(model, HaDisLoss(4), **options)
    a, b, c = (F.normalize(model.forward_teacher(x), dim=1) for x in views[:3])
    targets = [(b + c) / 2, (a + c) / 2, (a + b) / 2, (a + b + c) / 3]
    expected = directions(model, views, list(enumerate(targets)))
    torch.testing.assert_close(module.symmetric_loss(views, None).loss, expected)


def test_the_coding_rate_is_added_and_logged() -> None:
    views = list(torch.randn(2, 10, 3, 2, 2))
    batch = views, torch.zeros(10), torch.arange(10)
    model, logged = make_model().eval(), []
    for weight in (0.0, 0.5):
        module = HaDis(model, HaDisLoss(4), warmup_epochs=9, coding_rate_weight=weight)
        module.log_losses = logged.append  # type: ignore[method-assign]
        module.training_step(batch, 0)
        assert len(logged[-1]) == len(module.loss_names) == len(module.last_losses)
    projections = (model.forward_student(x)[0] for x in views)
    rate = sum(map(CodingRateLoss(), projections)) / 2
    torch.testing.assert_close(logged[1][-1], rate)
    torch.testing.assert_close(logged[1][0], logged[0][0] + 0.5 * rate)


def test_small_views_are_for_the_student_alone() -> None:
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    heads = HaDisProjectionHead(12, 16, 4), HaDisPredictionHead(4, 16, 4)
    model = HaDisModel(backbone, *heads)
    views = [torch.randn(10, 3, size, size) for size in (8, 8, 4, 4)]
    batch = views, torch.zeros(10), torch.arange(10)
    for concatenate in (False, True):
        module = HaDis(
            model, HaDisLoss(4), teacher_views=2, concatenate_views=concatenate
        )
        module.log_losses = lambda terms: None  # type: ignore[method-assign]
        module.training_step(batch, 0).backward()
    with pytest.raises(ValueError, match=r"^all views must have the same .*; with"):
        HaDis(model, HaDisLoss(4)).training_step(batch, 0)
    with pytest.raises(ValueError, match=r"^the first 3 views must have the same"):
        HaDis(model, HaDisLoss(4), teacher_views=3).training_step(batch, 0)
    with pytest.raises(ValueError, match=r"least 5 views .* for teacher_views=5, got"):
        HaDis(model, HaDisLoss(4), teacher_views=5).training_step(batch, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_views": 1}, "teacher_views must be at least 2, got 1"),
        ({"teacher_target": "any"}, "teacher_target must be 'each' or 'mean'"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"warmup_epochs": -1}, "warmup_epochs must be at least 0, got -1"),
        ({"teacher_momentum": 1.5}, r"teacher_momentum must be in \[0, 1\], got 1.5"),
        ({"final_teacher_momentum": -1.0}, "final_teacher_momentum must be in"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HaDis(make_model(), HaDisLoss(4), **options)


def test_views_are_made_of_training_batches_alone() -> None:
    model = HaDisModel(nn.Flatten(), nn.Linear(192, 4), nn.Linear(4, 4))
    module = HaDis(model, HaDisLoss(2), views=BatchedViews(8))
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    keys = torch.arange(3)
    (x0, x1), _, _ = module.on_after_batch_transfer((images, keys, keys), 0)
    assert x0.shape == x1.shape == (3, 3, 8, 8)
    module.eval()
    assert module.on_after_batch_transfer(images, 0) is images
    module.train()
    with pytest.raises(TypeError, match="got a list; leave views=None"):
        module.on_after_batch_transfer(([x0, x1], keys, keys), 0)
