"""Images that are clustered take the way of a validation batch."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.trainer.states import RunningStage
from torch import Tensor
from torch.utils.data import DataLoader

from hadis_lightly.training import PrototypeKMeans
from tests.training.any_trainer.parts import (
    Digits,
    Net,
    digits,
    fit,
    k_means,
    lightnings_advice_left_out,
    loader,
)
from tests.training.plain_trainer import plain_trainer

ONE_STEP = {"max_steps": 1}


class Frozen(Net):
    """Embeds pixels as they come."""

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def halved(batch: Any) -> Any:
    images, *others = batch
    if isinstance(images, Tensor):
        images = images - 0.5
    return images, *others


class Centred(Frozen):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return halved(batch)


class CentredBefore(Frozen):
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return halved(batch)


class CentredOnTheWay(Frozen):
    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        return halved(super().transfer_batch_to_device(batch, device, dataloader_idx))


def expected() -> Tensor:
    return F.normalize((digits()[0] - 0.5).flatten(1), dim=1)


@pytest.mark.parametrize("kind", [Centred, CentredBefore, CentredOnTheWay])
def test_each_batch_hook_of_the_module_is_called_once(kind: type[Frozen]) -> None:
    prototypes = k_means()
    fit(prototypes, kind(prototypes), **ONE_STEP)
    torch.testing.assert_close(prototypes.embeddings_, expected())


def test_batch_hooks_of_a_data_module_are_called() -> None:
    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> DataLoader[Any]:
            return loader(views=True)

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return halved(batch)

    prototypes = k_means()
    trainer = plain_trainer(prototypes, **ONE_STEP)
    with lightnings_advice_left_out():
        trainer.fit(Frozen(prototypes), datamodule=Data())
    torch.testing.assert_close(prototypes.embeddings_, expected())


def test_batches_that_a_hook_makes_triples() -> None:
    class Unpacked(Frozen):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            if isinstance(batch, dict):
                return batch["image"], batch["class"], batch["key"]
            return batch

    class Named(Digits):
        def __getitem__(self, index: int) -> Any:
            names = ("image", "class", "key")
            return dict(zip(names, super().__getitem__(index), strict=True))

    prototypes = k_means(plain=DataLoader(Named(), 30))
    fit(prototypes, Unpacked(prototypes), **ONE_STEP)
    assert torch.equal(prototypes.targets_, digits()[1])


def test_a_hook_that_drops_the_keys_is_an_error_that_says_so() -> None:
    class ImagesAlone(Frozen):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch if self.training else batch[0]

    prototypes = k_means()
    with pytest.raises(TypeError, match=r"batch hooks must yield \(images, targets, k"):
        fit(prototypes, ImagesAlone(prototypes))


class Augmenting(Frozen):
    """Adds noise in training alone, as Lightning's documentation has it."""

    stages: list[Any]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        stage = self.trainer.state.stage
        self.stages.append(stage)
        assert self.trainer.training == (stage == RunningStage.TRAINING)
        return halved(batch) if self.trainer.training else batch


def test_hooks_see_a_trainer_that_validates_and_the_stage_comes_back() -> None:
    class After(pl.Callback):
        def on_train_batch_start(
            self, trainer: pl.Trainer, *args: Any, **kwargs: Any
        ) -> None:
            assert trainer.training and not trainer.validating

    prototypes = k_means()
    module = Augmenting(prototypes)
    module.stages = []
    fit(prototypes, module, After(), **ONE_STEP)
    assert module.stages.count(RunningStage.TRAINING) == 1
    assert set(module.stages) == {RunningStage.VALIDATING, RunningStage.TRAINING}
    plain = F.normalize(digits()[0].flatten(1), dim=1)
    torch.testing.assert_close(prototypes.embeddings_, plain)


def test_the_stage_comes_back_after_an_error() -> None:
    seen = []

    class Failing(Frozen):
        def embed(self, x: Tensor) -> Tensor:
            raise ArithmeticError("on purpose")

    class Catching(PrototypeKMeans):
        def cluster(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
            stage = trainer.state.stage
            try:
                super().cluster(trainer, *args, **kwargs)
            except ArithmeticError:
                seen.append(trainer.state.stage == stage)
                raise

    prototypes = Catching(3, loader(), warmup_epochs=0)
    with pytest.raises(ArithmeticError, match="on purpose"):
        fit(prototypes, Failing(prototypes))
    assert seen == [True]


def test_the_loader_is_read_outside_of_the_precision_of_the_network() -> None:
    class Watching(Digits):
        def __getitem__(self, index: int) -> Any:
            assert not torch.is_autocast_enabled("cpu")
            return super().__getitem__(index)

    seen = []

    class Watched(Net):
        def embed(self, x: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().embed(x)

    prototypes = k_means(plain=DataLoader(Watching(), 30))
    fit(prototypes, Watched(prototypes), precision="bf16-mixed")
    assert seen[:4] == [False, True, True, True]  # the first one to compare with
    assert prototypes.embeddings_.dtype == torch.float32
