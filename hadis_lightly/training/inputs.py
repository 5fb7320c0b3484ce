"""Checks of what the modules are given: arguments, the Trainer, batches."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterator, Sequence
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
)
from torch import Tensor, nn

from hadis_lightly.loss import HaDisLoss, PCLLoss

_SHARDING = (DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy)
_WITH_VIEWS = "(images, targets, keys) of uint8 images (n, c, h, w), with views=..."
_WITHOUT_VIEWS = (
    "((x0, x1), targets, keys), where views are tensors (n, c, h, w) and keys indices "
    "or file names"
)
_HINTS = (
    " IndexedDataset adds keys to a data set of torchvision; HaDisTransform makes two "
    "views of an image, and views=BatchedViews(...) makes them on the device."
)


def losses_with_labels(module: nn.Module) -> Iterator[PCLLoss | HaDisLoss]:
    """The losses of a module that take pseudo-labels."""
    for part in module.modules():
        if isinstance(part, HaDisLoss) and part.pcl_weight == 0:
            continue
        if isinstance(part, (HaDisLoss, PCLLoss)):
            yield part


def check_losses(module: nn.Module, counts: Sequence[int]) -> None:
    """Raises a ``ValueError`` unless the losses have as many clusters as a callback."""
    for loss in losses_with_labels(module):
        if loss.n_clusters not in counts:
            raise ValueError(
                f"{type(loss).__name__} has n_clusters={loss.n_clusters}, but "
                f"PrototypeKMeans has n_clusters={counts[0]}."
            )


def check_same_n_clusters(**numbers: int | None) -> None:
    """Raises a ``ValueError`` unless all numbers of clusters that are known agree.

    Example:
        >>> check_same_n_clusters(criterion=8, prototypes=10)
        Traceback (most recent call last):
        ValueError: n_clusters must be the same in all parts, got criterion 8, ...
    """
    known = {name: number for name, number in numbers.items() if number is not None}
    if len(set(known.values())) > 1:
        found = ", ".join(f"{name} {number}" for name, number in known.items())
        raise ValueError(f"n_clusters must be the same in all parts, got {found}.")


def saved_arguments(module_class: type) -> list[str]:
    """Arguments that a checkpoint keeps: the numbers and switches of our classes."""
    return [
        name
        for base in module_class.__mro__
        if base.__module__.startswith("hadis_lightly.") and "__init__" in vars(base)
        for name in inspect.getfullargspec(vars(base)["__init__"]).kwonlyargs
        if name not in ("views", "training_only")
    ]


def check_networks_given(module_class: type, given: Container[str]) -> None:
    """Raises a ``TypeError`` unless a module can be built from a checkpoint.

    A checkpoint has neither networks nor a criterion; a class that takes none as
    arguments builds its own.
    """
    missing = [
        name
        for name, parameter in inspect.signature(module_class).parameters.items()
        if name in ("model", "criterion") and parameter.default is parameter.empty
        if name not in given
    ]
    if missing:
        raise TypeError(
            f"{module_class.__name__}.load_from_checkpoint needs "
            f"{' and '.join(missing)}: a checkpoint has weights, but not how to build "
            "networks. For a run of hadis-lightly-train, hadis_lightly.prediction."
            "ClusterPredictor.from_checkpoint(path) rebuilds everything."
        )


def check_strategy(trainer: Trainer) -> None:
    """Raises a ``ValueError`` if the Trainer's strategy shards the parameters."""
    if isinstance(trainer.strategy, _SHARDING):
        raise ValueError(
            f"{type(trainer.strategy).__name__} shards the parameters, but every "
            "process needs all of them to embed images; use strategy='ddp'."
        )


def raw_images_of(batch: Any) -> tuple[Tensor, Any, Any]:
    """Images, targets and keys of a training batch whose views are yet to be made.

    Raises:
        TypeError: If it is not ``(images, targets, keys)``.
    """
    images, targets, keys = _three_parts(batch, _WITH_VIEWS)
    if not isinstance(images, Tensor):
        raise TypeError(
            "with views, batches must bring uint8 images (n, c, h, w), got a "
            f"{type(images).__name__}; leave views=None if the loader makes views."
        )
    return images, targets, keys


def views_of(
    batch: Any, most: int | None = None, of_one_shape: int | None = None
) -> tuple[list[Tensor], Any]:
    """Views ``(n, c, h, w)`` and keys of a training batch.

    Args:
        batch: ``((x0, x1, ...), targets, keys)``.
        most: How many views a method can use; None for any number.
        of_one_shape: How many views, the first ones, must have one shape, of which
            there must be as many; None for all.

    Raises:
        TypeError: If the batch has another form.
        ValueError: If it has fewer than two views, too many, or of different shapes.
    """
    views, _, keys = _three_parts(batch, _WITHOUT_VIEWS)
    if not isinstance(views, (tuple, list)) or not all(
        isinstance(view, Tensor) for view in views
    ):
        given = "a single view" if isinstance(views, Tensor) else _form(views)
        raise TypeError(
            f"a training batch must be {_WITHOUT_VIEWS}; in place of the views it has "
            f"{given}.{_HINTS}"
        )
    least = of_one_shape or 2
    if len(views) < least or (most is not None and len(views) > most):
        expected = f"at least {least}" if most is None else f"{most}"
        reason = "" if of_one_shape is None else f" for teacher_views={least}"
        raise ValueError(
            f"a training batch must have {expected} views of each image{reason}, got "
            f"{len(views)}."
        )
    shapes = [tuple(view.shape) for view in views]
    if len(set(shapes[:of_one_shape])) > 1:
        which = "all" if of_one_shape is None else f"the first {of_one_shape}"
        hint = "; with teacher_views=2 HaDis takes smaller ones after these"
        raise ValueError(
            f"{which} views must have the same shape, got "
            f"{', '.join(map(str, shapes))}{hint if most is None else ''}."
        )
    return list(views), keys


def plain_images_of(batch: Any) -> tuple[Tensor, Any]:
    """Images ``(n, c, h, w)`` and keys (None without) of a batch to predict.

    Raises:
        TypeError: If the batch is not images, ``(images, targets)`` or
            ``(images, targets, keys)``.
    """
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    if not 1 <= len(parts) <= 3 or not isinstance(parts[0], Tensor):
        raise TypeError(
            "a batch to predict must be plain images (n, c, h, w), (images, targets) "
            f"or (images, targets, keys), got {_form(batch)}."
        )
    return parts[0], parts[2] if len(parts) == 3 else None


def _three_parts(batch: Any, expected: str) -> tuple[Any, Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 3:
        raise TypeError(
            f"a training batch must be {expected}; got {_form(batch)}.{_HINTS}"
        )
    first, second, third = batch
    return first, second, third


def _form(batch: Any) -> str:
    """What a batch looks like: ``tuple (Tensor, Tensor)``."""
    kind = type(batch).__name__
    if not isinstance(batch, (tuple, list)):
        return kind
    parts = ", ".join(type(part).__name__ for part in batch[:4])
    return f"{kind} of {len(batch)} ({parts}{', ...' if len(batch) > 4 else ''})"
