"""No step of training waits for the device: proven without a GPU, and with one.

What makes the host wait is reading a value out of a tensor, or a tensor whose shape
depends on values. On the CPU a fit is watched for the first. A pretended GPU, whose
tensors have shapes but no values, refuses both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from hadis_lightly.data import DeviceLoader
from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    build_backbone,
)
from hadis_lightly.runs.progress_bar import RunProgressBar
from hadis_lightly.training import HaDis, PrototypeKMeans
from hadis_lightly.transforms import BatchedTestTransform, BatchedViews
from tests.training.plain_trainer import plain_trainer

needs_pretence = pytest.mark.skipif(
    [int(part) for part in torch.__version__.split(".")[:2]] < [2, 9],
    reason="older PyTorch aborts when it pretends a GPU that is not there",
)
READS = (torch.ops.aten._local_scalar_dense.default,)
N = 48


class Watch(TorchDispatchMode):
    """Fails when a value is read while it is armed."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False
        self.num_operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if self.armed:
            self.num_operations += 1
            assert func not in READS, f"{func} within a step"
        return func(*args, **(kwargs or {}))


class Steps(pl.Callback):
    """Arms the watch from the first step of an epoch to the last."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_batch_start(self, *args: Any) -> None:
        self.watch.armed = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # What follows the last step, the clustering, may read.
        self.watch.armed = not trainer.is_last_batch


def make_model() -> HaDisModel:
    return HaDisModel(
        build_backbone("small_convnet", 3),
        HaDisProjectionHead(1024, 32, 16),
        HaDisPredictionHead(16, 32, 16),
    )


def make_module(images: Tensor, **options: Any) -> tuple[HaDis, DeviceLoader]:
    clean = DeviceLoader(images, batch_size=32, transform=BatchedTestTransform(16))
    prototypes = PrototypeKMeans(3, clean, warmup_epochs=0, n_init=1, random_state=0)
    views = BatchedViews(16, gaussian_blur=0.5, solarization_prob=0.2)
    module = HaDis(
        make_model(), HaDisLoss(3), prototypes, warmup_epochs=0, views=views, **options
    )
    return module, DeviceLoader(images, batch_size=8, shuffle=True, drop_last=True)


def make_images(size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = N, 3, size, size
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


@contextmanager
def reading_forbidden(watch: Watch) -> Iterator[None]:
    """Makes the methods that read values fail while the watch is armed."""

    def forbid(name: str, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            assert not watch.armed, f".{name}() within a step"
            return method(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("item", "cpu", "tolist"):
            patch.setattr(Tensor, name, forbid(name, getattr(Tensor, name)))
        yield


@pytest.mark.parametrize("images_repeat", [False, True])
def test_no_step_on_the_cpu_reads_a_value(images_repeat: bool) -> None:
    module, loader = make_module(make_images(), seed=0, images_repeat=images_repeat)
    watch = Watch()
    with reading_forbidden(watch), watch:
        # A terminal's bar moves at every step; here it has none, and prints lines.
        callbacks = Steps(watch), RunProgressBar(0.0)
        trainer = plain_trainer(*callbacks, max_epochs=2, enable_progress_bar=True)
        trainer.fit(module, loader)
    assert watch.num_operations > 1000  # it has watched


def test_the_watch_would_see_a_value_being_read() -> None:
    class Reads(pl.Callback):
        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, *rest: Any
        ) -> None:
            float(outputs["loss"])

    module, loader = make_module(make_images())
    watch = Watch()
    trainer = plain_trainer(Reads(), Steps(watch))
    with pytest.raises(AssertionError, match="within a step"), watch:
        trainer.fit(module, loader)


@contextmanager
def pretended_gpu() -> Iterator[None]:
    with FakeTensorMode(), torch.device("cuda"):
        yield


def on_the_pretended_gpu(model: nn.Module) -> nn.Module:
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return model._apply(lambda x: torch.empty(x.shape, dtype=x.dtype))
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


@needs_pretence
def test_views_on_a_gpu_need_no_value() -> None:
    views = BatchedViews(
        32,
        gaussian_blur=0.5,
        solarization_prob=0.2,
        vf_prob=0.5,
        rr_prob=0.5,
        rr_degrees=20.0,
        affine_degrees=10.0,
        affine_translate=0.1,
        affine_shear=5.0,
        dtype=torch.bfloat16,
        memory_format=torch.channels_last,
    )
    with pretended_gpu():
        x0, x1 = views(torch.empty(8, 3, 40, 30, dtype=torch.uint8))
    for view in (x0, x1):
        assert view.device.type == "cuda"
        assert view.dtype == torch.bfloat16
        assert view.is_contiguous(memory_format=torch.channels_last)


@needs_pretence
@pytest.mark.parametrize("num_clusters", [3, 100])
def test_a_step_on_a_gpu_needs_no_value(num_clusters: int) -> None:
    model, criterion = make_model(), HaDisLoss(num_clusters)
    with pretended_gpu():
        on_the_pretended_gpu(model)
        x0, x1 = torch.empty(2, 8, 3, 16, 16).unbind()
        labels = torch.empty(8, dtype=torch.long)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        module = HaDis(model, criterion, warmup_epochs=0)
        terms = module.symmetric_loss([x0, x1], labels)
        # The pretence has no engine for a backward pass on that device.
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        model.update_teacher(0.99)
        optimizer.step()
    assert terms.loss.device.type == "cuda"


@needs_pretence
def test_the_pretended_gpu_refuses_to_give_values() -> None:
    with pretended_gpu(), pytest.raises(DataDependentOutputException):
        torch.empty(2).sum().item()
    with pretended_gpu(), pytest.raises(DynamicOutputShapeException):
        torch.empty(2).nonzero()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compile_mode", [None, "default"])
# PyTorch's compiler looks at it, and hides the warning where warnings are no errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
def test_no_step_on_a_gpu_waits(compile_mode: str | None, tmp_path: Path) -> None:
    class Strict(pl.Callback):
        """Any wait is an error, once a first epoch has set up what is needed."""

        def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
            if trainer.current_epoch > 0:
                torch.cuda.set_sync_debug_mode("error")

        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            if trainer.is_last_batch:
                torch.cuda.set_sync_debug_mode("default")

    module, loader = make_module(
        make_images().to("cuda"), compile_mode=compile_mode, fused=True
    )
    callbacks = Strict(), RunProgressBar(0.0)
    trainer = plain_trainer(
        *callbacks, max_epochs=2, accelerator="gpu", devices=1, enable_progress_bar=True
    )
    try:
        trainer.fit(module, loader)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.current_epoch == 2
