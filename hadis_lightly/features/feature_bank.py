"""Features that are computed once, and kept for every training that follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hadis_lightly.checks import check_integer
from hadis_lightly.features.backbone_pass import BackbonePass
from hadis_lightly.features.bank_file import (
    BankFile,
    FeatureCache,
    check_numbers,
    load_bank,
    save_bank,
)
from hadis_lightly.features.view_batches import ViewBatches
from hadis_lightly.models import evaluating
from hadis_lightly.models.pretrained import weights_hash

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """Features of ``n`` images: of each plain image, and of V views of it.

    Args:
        features: float16 ``(n, 1 + V, d)``, or float32 where that loses too much, on
            the CPU. From a file they are mapped, and read when they are needed.
        is_half: Whether the backbone computed them in half precision.
        path: Their file; None if they lie in memory.
    """

    features: Tensor
    is_half: bool = False
    path: Path | None = None

    @property
    def plain(self) -> Tensor:
        """Features of the plain images ``(n, d)``; not a copy."""
        return self.features[:, 0]

    @property
    def views(self) -> Tensor:
        """Features of the views ``(n, V, d)``; not a copy."""
        return self.features[:, 1:]

    @classmethod
    def open(cls, cache: FeatureCache, key: str) -> FeatureBank | None:
        """The bank of a cache; None if it is not there, or not complete."""
        found = load_bank(cache, key)
        return None if found is None else cls(*found, cache.file(key))

    @classmethod
    def compute(
        cls,
        backbone: nn.Module,
        batches: ViewBatches,
        n_images: int,
        n_views: int,
        *,
        cache: FeatureCache | None = None,
        key: str = "",
        progress: Progress | None = None,
    ) -> FeatureBank:
        """Computes a bank, or what is left of it, or opens it if it is complete.

        Of several processes that share a cache one computes, and the others wait. A
        process that was interrupted has left what it had, and the next goes on there.
        Where files cannot be locked, each computes the whole bank in memory. No random
        number of the caller is used up.

        Args:
            backbone: From images to features, which are flattened.
            batches: Gives plain images and views, such as :func:`views_of_array`.
            n_images: Number of images n.
            n_views: Number of views V of each.
            cache: Where to keep the bank; by default in memory.
            key: Tells this bank from others in the cache, see :func:`bank_key`.
            progress: Called with the number of images done and of all.

        Raises:
            ValueError: If images or views are missing, features are not finite, there
                is a cache without a key, or what the cache has of this key is of other
                numbers.
            OSError: If the cache cannot be written, or the disk has no room for it.
        """
        if cache is not None and not key:
            raise ValueError("a cache needs a key, see bank_key.")
        check_integer("n_images", n_images, least=1)
        check_integer("n_views", n_views, least=0)
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(evaluating(backbone))
            is_locked = cache and stack.enter_context(cache.locked(key))
            bank = None if cache is None else cls.open(cache, key)
            if bank is not None:
                check_numbers(tuple(bank.features.shape), n_images, n_views)
                return bank
            # Without a lock another process may be at work on the same file.
            place = cache if is_locked else None
            with BankFile(place, key, n_images, n_views) as rows:
                if not _append_all(rows, backbone, batches, progress):
                    rows.restart()
                    _append_all(rows, backbone, batches, progress)
            if cache is not None and not is_locked:
                with suppress(OSError):
                    save_bank(cache, key, rows.features(), rows.is_half)
            return cls(rows.features(), rows.is_half, rows.path)


def _append_all(
    rows: BankFile, backbone: nn.Module, batches: ViewBatches, progress: Progress | None
) -> bool:
    """Computes all rows that are missing; False as soon as one does not fit float16."""
    run: BackbonePass | None = None
    for batch in batches(rows.num_done):
        features = []
        for images in batch:
            if run is None:
                is_half = rows.is_half if rows.num_done else None
                run = BackbonePass(backbone, images, is_half)
                rows.is_half = run.half is not None
            features.append(run(images))
        if not rows.append(torch.stack(features, dim=1).cpu()):  # (b, 1 + V, d)
            return False
        if progress is not None:
            progress(rows.num_done, rows.n_images)
    if rows.num_done < rows.n_images:
        raise ValueError(
            f"batches end after {rows.num_done} of {rows.n_images} images."
        )
    return True


def bank_key(images: str, backbone: nn.Module, description: Mapping[str, Any]) -> str:
    """The key of a bank in a cache: a hash of all that it depends on, 32 digits.

    Args:
        images: Key of the images, see :func:`~hadis_lightly.data.images_key`.
        backbone: Its weights count, and their names.
        description: Everything else, as JSON knows it: name of the backbone, input
            size, normalisation, settings of the views, their number and their seed, the
            kind of the pipeline.
    """
    told = json.dumps([2, images, weights_hash(backbone), description], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]
