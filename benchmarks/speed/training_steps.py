"""A training of HaDis in parts that can be timed one by one; shared set-up."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import build_parser, is_gpu
from torch import Tensor

from hadis_lightly.data import ArraySource
from hadis_lightly.data.image_source import position_keys
from hadis_lightly.methods.method import Parts
from hadis_lightly.methods.registry import build_model, method_of
from hadis_lightly.models import build_backbone
from hadis_lightly.runs.performance import resolve_performance, resolve_precision
from hadis_lightly.runs.pipeline import Pipeline, build_pipeline
from hadis_lightly.settings import Settings
from hadis_lightly.training import HaDis
from hadis_lightly.training.embedding import embed_dataset

#: Images of an epoch, as in CIFAR-10.
EPOCH = 60_000


def build_training_parser(
    description: str | None,
) -> tuple[argparse.ArgumentParser, bool]:
    """A parser with the options of every training, and whether it is for a GPU.

    Defaults are CIFAR-10's on a GPU, and small on a CPU.
    """
    parser = build_parser(description)
    on_gpu = is_gpu(parser)
    backbone = "small_resnet18" if on_gpu else "resnet18"
    parser.add_argument("--backbone", default=backbone)
    parser.add_argument("--batch-size", type=int, default=256 if on_gpu else 64)
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--n-clusters", type=int, default=10)
    parser.add_argument("--compile", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--data", type=Path, help="npz with the array images")
    return parser, on_gpu


def settings_of(options: argparse.Namespace, pipeline: str) -> Settings:
    settings = Settings(n_clusters=options.n_clusters)
    settings.data.pipeline = pipeline
    settings.loader.batch_size = options.batch_size
    settings.loader.num_workers = options.workers
    settings.views.input_size = options.input_size
    settings.model.backbone = options.backbone
    settings.clustering.warmup_epochs = settings.optimizer.warmup_epochs = 0
    settings.clustering.n_init = 1  # of the few images here; k-means is timed apart
    settings.trainer.accelerator = "cpu" if options.device == "cpu" else "gpu"
    settings.trainer.progress_bar = False
    settings.trainer.compile = options.compile
    settings.trainer.precision = options.precision
    backbone = build_backbone(options.backbone)
    settings.trainer.precision = resolve_precision(settings, backbone)
    return resolve_performance(settings, torch.device(options.device), EPOCH)


def noise_source(n: int, size_px: int) -> ArraySource:
    """Images of noise: run time does not depend on what they show."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(n, size_px, size_px, 3), dtype=np.uint8)
    return source_of(pixels)


def source_of(images: np.ndarray) -> ArraySource:
    n = len(images)
    return ArraySource("npz", None, np.zeros(n, int), position_keys(n), "", 3, images)


def load(options: argparse.Namespace, num_images: int) -> ArraySource:
    """So many images of ``--data``, repeated if there are fewer, or noise."""
    if options.data is None:
        return noise_source(num_images, options.input_size)
    with np.load(options.data) as file:
        images = file["images"]
    return source_of(images[np.arange(num_images) % len(images)])


def warm_steps(options: argparse.Namespace) -> int:
    """Steps that do not count: more than workers have batches in store."""
    return max(3 if options.device == "cpu" else 20, 2 * options.workers + 1)


def assemble(
    settings: Settings, source: ArraySource, device: torch.device
) -> tuple[HaDis, Pipeline]:
    """Module and pipeline, as a recipe would train them."""
    pipeline = build_pipeline(settings, source, device)
    method = method_of(settings)
    clusters = method.build_callback(settings, pipeline.plain_loader)
    model = build_model(settings, source.num_channels)
    if settings.trainer.channels_last == "on":
        model = model.to(memory_format=torch.channels_last)
    parts = Parts(settings, model, clusters, source, pipeline.views)
    return method.build_module(parts), pipeline


class Training:
    """The parts of a training, to be called one by one.

    Args:
        settings: All settings, performance options resolved.
        source: The images.
        device: Where it takes place.
    """

    def __init__(
        self, settings: Settings, source: ArraySource, device: torch.device
    ) -> None:
        self.device = device
        torch.backends.cudnn.benchmark = True  # as in every run
        self.module, self.pipeline = assemble(settings, source, device)
        self.module.to(device).train()
        self.model, self.criterion = self.module.model, self.module.criterion
        dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        half = dtypes.get(settings.trainer.precision)
        self.precision = torch.autocast(device.type, half, enabled=half is not None)
        fused = settings.optimizer.fused == "on"
        parameters = self.module.parameters()
        self.optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, fused=fused)
        self._batches = iter(self.pipeline.train_loader)
        self.batch = self.data()
        self.x0, self.x1 = (view.clone() for view in self.views())
        self.labels = torch.randint(settings.n_clusters, (len(self.x0),), device=device)

    def data(self) -> list[Tensor]:
        try:
            batch = next(self._batches)
        except StopIteration:
            self._batches = iter(self.pipeline.train_loader)
            batch = next(self._batches)
        return [x.to(self.device) for x in batch]

    def views(self) -> list[Tensor]:
        views: list[Tensor] = self.module.on_after_batch_transfer(self.batch, 0)[0]
        return views

    def student(self) -> Any:
        with self.precision:
            return [self.model.forward_student(x) for x in (self.x0, self.x1)]

    def teacher(self) -> Any:
        with self.precision:
            return [self.model.forward_teacher(x) for x in (self.x0, self.x1)]

    def forward_and_backward(self) -> None:
        with self.precision:
            terms = self.module.symmetric_loss([self.x0, self.x1], self.labels)
        self.optimizer.zero_grad()
        terms.loss.backward()

    def update(self) -> None:
        self.model.update_teacher(0.996)
        self.optimizer.step()

    def step(self) -> None:
        self.batch = self.data()
        self.x0, self.x1 = self.views()
        self.forward_and_backward()
        self.update()

    def steps(self, n: int) -> None:
        """Steps one after another: the host may run ahead of the device."""
        for _ in range(n):
            self.step()

    def embed(self) -> None:
        with self.precision:
            embed_dataset(self.module, self.pipeline.plain_loader)
