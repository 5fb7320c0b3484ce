"""Batches of a set that stays on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from hadis_lightly.data import DeviceLoader, device_memory
from hadis_lightly.data.device_memory import (
    free_memory,
    room_for_images,
)


def numbered_images(n: int) -> torch.Tensor:
    """Images that show their number."""
    images = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    images[:] = torch.arange(n, dtype=torch.uint8)[:, None, None, None]
    return images


def test_an_epoch_is_a_permutation_and_a_batch_an_index() -> None:
    targets = np.arange(10) % 3
    loader = DeviceLoader(numbered_images(10), targets, batch_size=4, shuffle=True)
    batches = list(loader)
    assert [len(rows) for _, _, rows in batches] == [4, 4, 2]
    assert sorted(torch.cat([rows for _, _, rows in batches])) == list(range(10))
    for images, batch_targets, rows in batches:
        assert images.dtype == torch.uint8
        assert torch.equal(images[:, 0, 0, 0].long(), rows)
        assert torch.equal(batch_targets, torch.from_numpy(targets)[rows])


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(epoch: int, seed: int = 0) -> list[int]:
        loader = DeviceLoader(
            numbered_images(50), batch_size=50, shuffle=True, seed=seed
        )
        loader.sampler.set_epoch(epoch)
        ((_, _, rows),) = list(loader)
        return rows.tolist()

    torch.manual_seed(1)
    first = order(epoch=3)
    torch.manual_seed(2)
    assert order(epoch=3) == first
    assert order(epoch=4) != first
    assert order(epoch=3, seed=1) != first
    # By itself one epoch follows the other.
    loader = DeviceLoader(numbered_images(50), batch_size=50, shuffle=True)
    assert [next(iter(loader))[2].tolist() for _ in range(2)] == [order(0), order(1)]


def test_without_shuffling_images_come_in_their_order() -> None:
    loader = DeviceLoader(numbered_images(5), batch_size=2)
    for _ in range(2):
        assert torch.cat([rows for _, _, rows in loader]).tolist() == [0, 1, 2, 3, 4]
    assert [t.tolist() for _, t, _ in loader] == [[-1, -1], [-1, -1], [-1]]


@pytest.mark.parametrize(("drop_last", "lengths"), [(True, [4, 4]), (False, [4, 4, 2])])
def test_length_and_last_batch(drop_last: bool, lengths: list[int]) -> None:
    loader = DeviceLoader(numbered_images(10), batch_size=4, drop_last=drop_last)
    assert len(loader) == len(lengths)
    assert [len(images) for images, _, _ in loader] == lengths


def test_the_transform_sees_each_batch() -> None:
    loader = DeviceLoader(
        numbered_images(4), batch_size=2, transform=lambda x: x.float()
    )
    assert [images.dtype for images, _, _ in loader] == [torch.float32] * 2


def test_images_on_the_device_are_not_copied() -> None:
    images = numbered_images(4)
    assert DeviceLoader(images).images.data_ptr() == images.data_ptr()


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(TypeError, match=r"images must be uint8.*float32"):
        DeviceLoader(torch.zeros(4, 3, 2, 2))
    with pytest.raises(ValueError, match=r"\(n, c, h, w\), got \(4, 3, 2\)"):
        DeviceLoader(torch.zeros(4, 3, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        DeviceLoader(numbered_images(4), batch_size=0)
    with pytest.raises(ValueError, match=r"targets must have shape \(4,\), got \(3,\)"):
        DeviceLoader(numbered_images(4), [0, 1, 2])


def test_room_for_images() -> None:
    cpu = torch.device("cpu")
    assert 0 < free_memory(cpu) < 1 << 50
    assert room_for_images(cpu, limit_gib=2) == 2 << 30
    assert room_for_images(cpu) <= free_memory(cpu)
    # Several processes share, and do not depend on what is free just now.
    half = room_for_images(cpu, num_processes=2)
    assert room_for_images(cpu, num_processes=4) == pytest.approx(half / 2, abs=1)


def test_a_container_has_less_than_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(device_memory, "_CGROUPS", [(limit, used)])
    cpu = torch.device("cpu")
    unlimited = free_memory(cpu)
    assert unlimited > 5000
    limit.write_text("8000\n")
    used.write_text("3000\n")
    assert free_memory(cpu) == 5000
    limit.write_text("max\n")
    assert free_memory(cpu) > 5000


class Counts(pl.LightningModule):
    """Counts the batches of every stage."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.seen: dict[str, int] = {}

    def _see(self, stage: str, batch: Any) -> torch.Tensor:
        self.seen[stage] = self.seen.get(stage, 0) + 1
        return self.layer(batch[0].flatten(1).float()).mean()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self._see("train", batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._see("validate", batch)

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self._see("predict", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_lightning_takes_it_as_any_loader(tmp_path: Path) -> None:
    loader = DeviceLoader(numbered_images(10), batch_size=4, shuffle=True)
    module = Counts()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader, DeviceLoader(numbered_images(5), batch_size=2))
    assert module.seen == {"train": 6, "validate": 6}
    assert loader.sampler.epoch == 2
    trainer.predict(module, DeviceLoader(numbered_images(5), batch_size=5))
    assert module.seen["predict"] == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_order_is_that_of_the_cpu() -> None:
    here = DeviceLoader(numbered_images(50), batch_size=7, shuffle=True, seed=3)
    there = DeviceLoader(
        numbered_images(50), batch_size=7, shuffle=True, seed=3, device="cuda"
    )
    for (images, _, rows), (images_there, _, rows_there) in zip(
        here, there, strict=True
    ):
        assert rows_there.device.type == images_there.device.type == "cuda"
        assert torch.equal(rows_there.cpu(), rows)
        assert torch.equal(images_there.cpu(), images)
    assert free_memory(torch.device("cuda")) > 0
