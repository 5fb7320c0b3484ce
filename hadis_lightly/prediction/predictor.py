"""Assigns images to the clusters of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor

from hadis_lightly.artifacts.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
)
from hadis_lightly.artifacts.names_file import clusters_id
from hadis_lightly.checks import check_integer
from hadis_lightly.cluster import ClusterTree, OutlierDetector, Partition
from hadis_lightly.data import load_source, plain_image, read_image
from hadis_lightly.data.files.listing import AnyPath
from hadis_lightly.data.files.pixels import image_of_array
from hadis_lightly.data.files.reader import reduce_image
from hadis_lightly.methods.registry import build_model, method_of
from hadis_lightly.precision import accurate_dtype, has_native_bfloat16
from hadis_lightly.prediction.outputs import Outputs, check_device, outputs_of
from hadis_lightly.settings.sections import Settings
from hadis_lightly.text import describe_error
from hadis_lightly.transforms import BatchedTestTransform, HaDisTestTransform

#: An image, by itself or by its path.
AnyImage = Image.Image | AnyPath | np.ndarray[Any, Any]

_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Prediction(NamedTuple):
    """Clusters of some images, on the CPU."""

    labels: Tensor
    """Cluster, ``(n,)``."""
    confidence: Tensor
    """Softmax over all clusters, or probability by a cluster head, ``(n,)``."""
    distance: Tensor
    """Euclidean distance from the middle of the cluster, ``(n,)``: in [0, 2], or
    without an upper bound where clusters are of whitened embeddings."""
    embeddings: Tensor
    """L2-normalised, ``(n, d)``."""
    outlier: Tensor
    """Whether it is like no image of the run, ``(n,)``; False if its checkpoint is of
    an earlier version."""


class ClusterPredictor:
    """Assigns images to clusters exactly as the run did.

    Args:
        settings: Settings of the run.
        model: Its networks.
        partition: Its clusters.
        plain_transform: How plain images were scaled: ``batched``, as tensors, or
            ``pillow``. The two differ by less than one level of 255.
        device: ``auto``, ``cpu``, ``cuda``, ...
        precision: Precision of the run. Half precision is kept on a CUDA device;
            bfloat16 also on a CPU that computes with it, if the first images come out
            as in float32. On Apple's MPS all is float32.
        decode_size: Shorter side in pixels that the run reduced larger images to; 0 if
            it did not.
        feature_dtype: ``float16`` or ``float32``: of the features that heads trained
            on, if the backbone was frozen.
        tree: The tree over the clusters; its ``assign`` takes predictions to a level.
        outliers: Tells images that are like none of the run's.

    Raises:
        ValueError: If there is no such device.

    Example:
        >>> predictor = ClusterPredictor.from_checkpoint("runs/mine")  # doctest: +SKIP
        >>> predictor.predict([Image.open("a.jpg")]).labels  # doctest: +SKIP
        tensor([3])
    """

    def __init__(
        self,
        settings: Settings,
        model: nn.Module,
        partition: Partition,
        plain_transform: str = "pillow",
        device: str = "auto",
        precision: str = "32-true",
        decode_size: int = 0,
        feature_dtype: str = "float16",
        tree: ClusterTree | None = None,
        outliers: OutlierDetector | None = None,
    ) -> None:
        self.settings = settings
        self.tree = tree
        self.device = check_device(device)
        is_double = precision == "64-true"
        self.dtype = accurate_dtype(self.device) if is_double else torch.float32
        self.half = _HALF.get(precision)
        is_native = self.half is torch.bfloat16 and has_native_bfloat16()
        if self.device.type != "cuda" and not (self.device.type == "cpu" and is_native):
            self.half = None
        self.feature_dtype: torch.dtype = getattr(torch, feature_dtype)
        self._outputs: Outputs | None = None
        self.model = model.to(self.device, self.dtype).eval()
        self.partition = partition.to(self.device)
        self.outliers = outliers and outliers.to(self.device)
        views = settings.views
        self.num_channels = views.num_channels
        is_batched = plain_transform == "batched"
        kind = BatchedTestTransform if is_batched else HaDisTestTransform
        self.decode_size = decode_size
        self._transform = kind.from_settings(views)

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""
        return self.partition.n_clusters

    @property
    def embedding_dim(self) -> int:
        """Size d of an embedding."""
        return self.partition.prototypes.shape[1]

    @property
    def clusters_id(self) -> str:
        """Tells clusters and embeddings of this run from those of another."""
        return clusters_id(self.partition.prototypes.float().cpu().numpy())

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path | Checkpoint, device: str = "auto"
    ) -> ClusterPredictor:
        """Loads networks and clusters.

        Args:
            checkpoint: The folder of a run, a checkpoint, or one that is loaded.
            device: ``auto``, ``cpu``, ``cuda``, ...

        Raises:
            CheckpointError: If there is no checkpoint, it cannot be read, or the run
                had no clusters yet.
        """
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = load_checkpoint(checkpoint)
        settings = checkpoint.settings
        model = build_model(settings, settings.views.num_channels, with_weights=False)
        try:
            model.load_state_dict(checkpoint.weights())
        except RuntimeError as error:
            raise CheckpointError(
                f"checkpoint {str(checkpoint.path)!r} does not fit its own settings: "
                f"{describe_error(error)[:200]}"
            ) from None
        clusters = checkpoint.clusters
        tree = clusters.get("tree")  # none before the end of a run
        outliers = clusters.get("outliers")
        return cls(
            settings,
            model,
            method_of(settings).partition_type.from_state_dict(clusters["partition"]),
            checkpoint.stamp.get("plain_transform", "pillow"),
            device,
            checkpoint.stamp.get("precision", "32-true"),
            checkpoint.stamp.get("decode_size", 0),
            checkpoint.stamp.get("feature_dtype", "float16"),
            tree and ClusterTree.from_state_dict(tree),
            outliers and OutlierDetector.from_state_dict(outliers),
        )

    def transform(self, image: AnyImage) -> Tensor:
        """The plain tensor ``(c, h, w)`` of an image of any size and mode.

        The path of a large JPEG gives what the run saw; an opened image, which is
        decoded in full before it is reduced, differs by a few levels of 255.

        Args:
            image: An image of PIL's, the path of one, or a uint8 array ``(h, w)`` or
                ``(h, w, c)`` with ``c`` 1, 3 or 4.

        Raises:
            ImageReadError: If a file cannot be read as an image.
            TypeError: If ``image`` is something else.
        """
        if isinstance(image, (str, PathLike)):
            path = os.path.expanduser(image)
            image = read_image(path, self.num_channels, self.decode_size)
            return self.transform_plain(image)
        if isinstance(image, np.ndarray):
            image = image_of_array(image)
        if not isinstance(image, Image.Image):
            raise TypeError(
                "images must be PIL images, paths or uint8 arrays, or one tensor of "
                f"all; got {type(image).__name__}."
            )
        image = plain_image(image, self.num_channels)
        return self.transform_plain(reduce_image(image, self.decode_size))

    def transform_plain(self, image: Image.Image) -> Tensor:
        """The same from what :func:`~hadis_lightly.data.read_image` returns."""
        if isinstance(self._transform, HaDisTestTransform):
            return self._transform(image)
        return self._transform(pil_to_tensor(image).unsqueeze(0))[0]

    def predict_plain(self, images: list[Tensor]) -> Prediction:
        """Clusters of what :meth:`transform_plain` made of images, one or more."""
        return self.predict(torch.stack(images), len(images))

    @torch.no_grad()
    def predict(
        self,
        images: Iterable[AnyImage] | AnyPath | Tensor,
        batch_size: int = 256,
    ) -> Prediction:
        """Assigns images to clusters.

        Args:
            images: Images, each as :meth:`transform` takes it; or a path: of a folder,
                a list of paths or an image, in the order of
                :func:`~hadis_lightly.data.load_images`; or ``(n, c, h, w)`` of what
                :meth:`transform` makes of images.
            batch_size: Images at a time.

        Raises:
            DataError: If a path does not exist, or a file cannot be read as an image.
            TypeError: If ``images`` or one of them is something else.
            ValueError: If there are no images, or ``batch_size`` is below 1.
        """
        check_integer("batch_size", batch_size, least=1)
        parts = [self._predict(batch) for batch in self._batches(images, batch_size)]
        if not parts:
            raise ValueError("images is empty: there is nothing to predict.")
        return Prediction(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _batches(
        self, images: Iterable[AnyImage] | AnyPath | Tensor, batch_size: int
    ) -> Iterator[Tensor]:
        if isinstance(images, Tensor):
            if images.ndim != 4 or not images.is_floating_point():
                raise TypeError(
                    "a tensor of images must hold floats (n, c, h, w) as transform "
                    f"makes them, got {images.dtype} {tuple(images.shape)}."
                )
            yield from images.split(batch_size)  # type: ignore[no-untyped-call]
            return
        if isinstance(images, (str, PathLike)):
            source = load_source(
                "folder",
                images,
                num_channels=self.num_channels,
                min_side=self.decode_size,
            )
            images = map(source.read, range(len(source)))
        is_one = isinstance(images, np.ndarray) and (
            images.ndim < 3 or (images.ndim == 3 and images.shape[2] in (1, 3, 4))
        )
        if is_one or not isinstance(images, Iterable):
            raise TypeError(
                "images must be several images, a path or a tensor, got one "
                f"{type(images).__name__}."
            )
        rest = iter(images)
        while batch := [self.transform(image) for image in islice(rest, batch_size)]:
            yield torch.stack(batch)

    def _predict(self, images: Tensor) -> Prediction:
        images = images.to(self.device, self.dtype)
        is_known = self.device.type in ("cpu", "cuda")
        if self.settings.trainer.channels_last != "off" and is_known:
            images = images.contiguous(memory_format=torch.channels_last)
        if self._outputs is None:
            self._outputs = outputs_of(
                self.model, images, self.half, self.partition, self.feature_dtype
            )
        outputs, points = self._outputs(images)
        clusters, outlier = self.partition, torch.zeros(len(images), dtype=torch.bool)
        if self.outliers is not None:
            outlier = self.outliers.predict(points).cpu()
        return Prediction(
            labels=clusters.predict(*outputs).cpu(),
            confidence=clusters.confidence(*outputs).cpu(),
            distance=clusters.distance(*outputs).cpu(),
            embeddings=outputs[0].cpu(),
            outlier=outlier,
        )
