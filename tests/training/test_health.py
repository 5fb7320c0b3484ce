"""Losses and gradients that are not finite: which, and where it began."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn

from hadis_lightly.artifacts.checkpoint import load_checkpoint
from hadis_lightly.runs import run
from hadis_lightly.training import PrototypeKMeans
from hadis_lightly.training.health import (
    DivergedError,
    FiniteRecord,
    FirstFailure,
    HealthMonitor,
    gradient_norms,
)
from tests.runs.small_run import small_settings
from tests.training.plain_trainer import plain_trainer

NAN, INF = float("nan"), float("inf")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return torch.device(request.param)


def record_of(
    steps: list[tuple[list[float], list[float]]], device: torch.device, **options: int
) -> FiniteRecord:
    """A record of steps, each with its losses and the norms of its gradients."""
    record = FiniteRecord(**options)
    for batch, (losses, norms) in enumerate(steps):
        tensors = (torch.tensor(values, device=device) for values in (losses, norms))
        record.add(7, batch, *tensors)
    return record


GOOD = ([1.0, 2.0], [3.0, 0.0])


def test_good_steps(device: torch.device) -> None:
    assert FiniteRecord().look_now() is None
    assert record_of([GOOD] * 5, device).look_now() is None


def test_the_first_bad_step_is_kept(device: torch.device) -> None:
    steps = [GOOD, ([1.0, NAN], [1.0, 1.0]), GOOD, ([INF, 1.0], [NAN, 1.0]), GOOD]
    failure = record_of(steps, device).look_now()
    assert failure is not None
    assert (failure.epoch, failure.batch, failure.parameter) == (7, 1, None)
    assert str(failure.losses) == "(1.0, nan)"


def test_gradients_count_as_well(device: torch.device) -> None:
    steps = [GOOD, ([1.0, 2.0], [1.0, INF]), ([1.0, 2.0], [NAN, 1.0])]
    failure = record_of(steps, device).look_now()
    assert failure == FirstFailure(7, 1, (1.0, 2.0), parameter=1)


def test_steps_that_mixed_precision_skips_are_no_failure(device: torch.device) -> None:
    bad = ([1.0, 2.0], [INF, 1.0])
    assert record_of([bad] * 3, device, max_skipped=3).look_now() is None
    steps = [bad] * 3 + [GOOD] + [bad] * 3
    assert record_of(steps, device, max_skipped=3).look_now() is None
    # More in a row are one, also when good ones come before anybody looks.
    steps = [GOOD] + [bad] * 4 + [GOOD] * 2
    failure = record_of(steps, device, max_skipped=3).look_now()
    assert failure is not None and failure.batch == 1


def test_a_loss_is_not_scaled_so_that_a_bad_one_is_a_failure(
    device: torch.device,
) -> None:
    skipped = ([1.0, 2.0], [INF, 1.0])
    lost = ([1.0, NAN], [INF, 1.0])
    failure = record_of([GOOD, skipped, lost, GOOD], device, max_skipped=3).look_now()
    assert failure is not None and failure.batch == 2
    assert str(failure.losses) == "(1.0, nan)"
    # The first failure stays, whatever follows.
    steps = [skipped] * 5 + [lost]
    failure = record_of(steps, device, max_skipped=3).look_now()
    assert failure is not None and failure.batch == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
def test_a_gpu_is_not_waited_for() -> None:
    record = FiniteRecord()
    zero, one = torch.zeros(1, device="cuda"), torch.ones(1, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    found = []
    try:
        for step in range(1, 61):
            record.add(0, step, zero / 0, one)
            found.append(record.look(step))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found[18] is None and found[39] is not None


def test_norms_of_gradients() -> None:
    module = nn.Linear(2, 1)
    module.weight.grad = torch.tensor([[3.0, 4.0]])
    assert gradient_norms(module.parameters()).tolist() == [5.0, 0.0]


class Module(pl.LightningModule):
    """Loses what it is told to lose, batch by batch."""

    loss_names = ("loss", "loss_first", "loss_second")

    def __init__(self, losses: list[float], gradients: list[float]) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        self.losses, self.gradients = losses, gradients

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        term = torch.tensor(self.losses[batch_idx])
        self.last_losses = torch.stack([1 + term, torch.ones(()), term])
        return self.layer.weight.sum() * self.gradients[batch_idx]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module: Module, max_epochs: int = 2, **options: Any) -> None:
    trainer = plain_trainer(HealthMonitor(), max_epochs=max_epochs, **options)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(4, 1), batch_size=1))


def message(**options: Any) -> str:
    good = {"losses": [1.0] * 4, "gradients": [1.0] * 4}
    with pytest.raises(DivergedError) as error:
        fit(Module(**(good | options)))
    return str(error.value)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_which_loss_which_epoch_which_batch() -> None:
    fit(Module([1.0] * 4, [1.0] * 4))
    said = message(losses=[1.0, 2.0, NAN, 1.0])
    assert "epoch 0, batch 2: loss_second is nan. " in said
    assert "loss_first" not in said
    assert "loss_second is -inf" in message(losses=[-INF, 1.0, 1.0, 1.0])


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_which_gradient() -> None:
    said = message(gradients=[1.0, INF, 1.0, 1.0])
    assert "batch 1: the gradient of layer.weight is not finite" in said


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_scaler_that_looks_for_its_scale_is_no_failure() -> None:
    """A real scaler, whose first scales are far too high for these gradients."""

    def train(init_scale: float) -> tuple[Module, float]:
        scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
        module = Module([1.0] * 4, [1e10] * 4)
        precision = MixedPrecision("16-mixed", "cpu", scaler=scaler)
        fit(module, max_epochs=10, plugins=[precision])
        return module, scaler.get_scale()

    torch.manual_seed(0)
    start = Module([], []).layer.weight.item()
    torch.manual_seed(0)
    module, scale = train(2.0**120)
    skipped = round(math.log2(2.0**120 / scale))
    assert 20 < skipped < 40
    # All other steps were made.
    moved = start - module.layer.weight.item()
    assert moved == pytest.approx(0.1 * 1e10 * (40 - skipped), rel=1e-3)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_bad_loss_under_a_scaler_is_named_at_once() -> None:
    """As in float32: Lightning has no 16-mixed on CPUs, but its scaler runs there."""
    scaler = torch.amp.GradScaler("cpu")
    plugins = [MixedPrecision("16-mixed", "cpu", scaler=scaler)]
    options = {"losses": [1.0, NAN, 1.0, 1.0], "gradients": [1.0, NAN, 1.0, 1.0]}
    with pytest.raises(DivergedError) as error:
        fit(Module(**options), plugins=plugins)
    assert "epoch 0, batch 1: loss_second is nan" in str(error.value)


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "run")
    settings.trainer.checkpoint_every_n_minutes = 0
    settings.optimizer.learning_rate = 1e12
    said = r"diverged in epoch \d, batch \d: .*nan.* checkpoint stays: .*last.ckpt\."
    with pytest.raises(DivergedError, match=said):
        run(settings)
    settings.trainer.checkpoint_every_n_minutes = None
    with pytest.raises(DivergedError, match=r"may help\.$"):
        run(settings)  # of which nothing has been saved
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").content
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


def test_a_run_is_looked_at_before_its_embeddings_are_clustered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU what a step did wrong is known later: not after the next clustering."""
    seen: list[str] = []

    def told(kind: type, name: str) -> None:
        method = getattr(kind, name)

        def tell(*args: Any) -> Any:
            seen.append(name)
            return method(*args)

        monkeypatch.setattr(kind, name, tell)

    told(HealthMonitor, "check_now")
    told(PrototypeKMeans, "fit_partition")
    run(small_settings(tmp_path / "run"))

    before, *between, _ = " ".join(seen).split("fit_partition")
    assert before == ""
    assert len(between) == 2  # epochs
    assert all("check_now" in looks for looks in between)
