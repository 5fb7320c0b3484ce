"""From the keys of a data set, indices or file names, to the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat, zip_longest
from typing import Any

import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist

Keys = Tensor | Sequence[str] | Sequence[int]

# Larger indices are no positions in a set, and the table of rows would be huge.
_MAX_INDEX = 10**8
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class KeyIndex:
    """Finds the rows of keys that were seen once, in that order.

    Args:
        batches: The keys, batch by batch: integer tensors or lists of names.

    Raises:
        TypeError: If keys are neither integers nor names.
        ValueError: If a key comes twice, or an index is negative.

    Example:
        >>> index = KeyIndex([["a.png", "b.png"], ["c.png"]])
        >>> index.rows(["c.png", "a.png"])
        tensor([2, 0])
    """

    def __init__(self, batches: Sequence[Keys]) -> None:
        batches = [batch for batch in batches if len(batch)]
        if not batches:
            raise ValueError("keys must be at least one, got none.")
        self.keys: Tensor | list[str]
        self._row_of_name: dict[str, int] = {}
        self._row_of_index = torch.empty(0, dtype=torch.long)
        if isinstance(batches[0][0], str):
            self.keys = _joined_names(batches)
            rows = range(len(self.keys))
            self._row_of_name = dict(zip(self.keys, rows, strict=True))
            n_unique = len(self._row_of_name)
        else:
            self.keys = torch.cat([_as_indices(batch) for batch in batches]).cpu()
            largest = int(self.keys.max())
            if self.keys.min() < 0 or largest > max(_MAX_INDEX, 100 * len(self.keys)):
                raise ValueError(
                    "keys must be names or indices of images, got indices from "
                    f"{int(self.keys.min())} to {largest}."
                )
            self._row_of_index = torch.full((largest + 1,), -1)
            self._row_of_index[self.keys] = torch.arange(len(self.keys))
            n_unique = int((self._row_of_index >= 0).sum())
        if n_unique != len(self.keys):
            raise ValueError(
                f"keys must differ, but the dataloader gave {n_unique} different ones "
                f"for {len(self.keys)} images."
            )

    def __len__(self) -> int:
        """Number of keys."""
        return len(self.keys)

    def has_same_keys(self, other: KeyIndex) -> bool:
        """Whether another index has the same keys, in any order."""
        return len(self) == len(other) and bool((self.rows_or(other.keys) >= 0).all())

    def rows_or(self, keys: Keys, default: int = -1) -> Tensor:
        """Rows of the given keys, ``(n,)``, on the CPU; ``default`` for unknown keys.

        Args:
            keys: Indices or names. All are unknown if this index has the other kind.
            default: Stands for the row of an unknown key.
        """
        if self._row_of_name:
            found = map(self._row_of_name.get, keys, repeat(default))
            return torch.tensor(list(found), dtype=torch.long)
        if len(keys) == 0 or isinstance(keys[0], str):
            return torch.full((len(keys),), default)
        rows, is_known = self._looked_up(_as_indices(keys).cpu())
        return rows.where(is_known, default)

    def as_list(self) -> list[int] | list[str]:
        """The keys, in the order of the rows."""
        return self.keys.tolist() if isinstance(self.keys, Tensor) else self.keys

    def rows(self, keys: Keys, device: torch.device | str = "cpu") -> Tensor:
        """Rows of the given keys, ``(n,)``, on the device.

        Raises:
            TypeError: If keys are indices instead of names, or the reverse.
            ValueError: If a key was never seen. For indices on an accelerator the
                device asserts it, without being waited for.
        """
        are_names = len(keys) > 0 and isinstance(keys[0], str)
        if len(keys) and are_names != bool(self._row_of_name):
            raise TypeError(
                "keys must be all indices or all names: those of the clustered "
                f"dataloader are like {self.as_list()[0]!r}, but here {keys[0]!r} came."
            )
        if self._row_of_name:
            try:
                rows = list(map(self._row_of_name.__getitem__, keys))
            except KeyError as error:
                raise ValueError(_unknown(error.args[0])) from None
            found = torch.tensor(rows, dtype=torch.long)
            if torch.device(device).type == "cuda":
                found = found.pin_memory()  # else the copy would stall the device
            return found.to(device, non_blocking=True)
        indices = _as_indices(keys).to(device, non_blocking=True)
        self._row_of_index = self._row_of_index.to(indices.device)
        rows_of_keys, is_known = self._looked_up(indices)
        try:
            # NOTE: A comparison on the host would stall the device at every step.
            torch._assert_async(is_known.all(), _unknown("?"))
        except RuntimeError:
            if indices.device.type != "cpu":  # something that failed before
                raise
            raise ValueError(_unknown(int(indices[~is_known][0]))) from None
        return rows_of_keys

    def at(self, rows: Tensor) -> KeyIndex:
        """The keys of some rows ``(n,)``, in their order; itself if these are all."""
        if torch.equal(rows, torch.arange(len(self))):
            return self
        if isinstance(self.keys, Tensor):
            return KeyIndex([self.keys[rows]])
        return KeyIndex([list(map(self.keys.__getitem__, rows.tolist()))])

    def rows_of_same(self, before: KeyIndex) -> Tensor:
        """Rows of the same keys in the order of an earlier pass, ``(n,)``, on the CPU.

        Raises:
            ValueError: If the keys are not the same.
        """
        rows = self.rows_or(before.keys)
        is_missing = rows < 0
        if len(self) == len(before) and not is_missing.any():
            return rows
        differences = []
        for kind, keys, is_other in (
            ("missing", before, is_missing),
            ("new", self, before.rows_or(self.keys) < 0),
        ):
            if is_other.any():
                example = keys.as_list()[int(is_other.int().argmax())]
                differences.append(f"{is_other.sum()} {kind} (such as {example!r})")
        raise ValueError(
            "dataloader must yield the same images in every pass, but of the "
            f"{len(before)} of an earlier pass there are {' and '.join(differences)}. "
            "A likely cause is drop_last=True with shuffle=True, or a sampler that "
            "draws some of the images."
        )

    def _looked_up(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of indices, and which of them are known, both ``(n,)``."""
        row_of_index = self._row_of_index.to(indices.device)
        is_in_range = (indices >= 0) & (indices < len(row_of_index))
        rows = row_of_index[indices.where(is_in_range, 0)]
        return rows, is_in_range & (rows >= 0)


def common_names(own: KeyIndex | None, known: KeyIndex | None) -> KeyIndex | None:
    """An index of the names of all processes, the same in all; None for indices.

    Args:
        own: Keys of this process; None if it has none.
        known: Keys of an earlier pass, the same in all processes. Names are exchanged
            only if a process has one that is not among them.

    Raises:
        TypeError: If keys are indices in one process and names in another.
    """
    kind, names = None, None if own is None else own.keys
    if isinstance(names, Tensor):
        kind, names = "indices", None
    elif names is not None:
        is_known = known is not None and bool((known.rows_or(names) >= 0).all())
        kind = "known names" if is_known else "names"
    kinds: list[Any] = [None] * lightly_dist.world_size()
    torch_dist.all_gather_object(kinds, kind)
    if "indices" in kinds and not {"indices", None}.issuperset(kinds):
        raise TypeError("keys must be all indices or all names, in all processes.")
    if "names" not in kinds:
        return known if "known names" in kinds else None
    shares: list[Any] = [None] * lightly_dist.world_size()
    torch_dist.all_gather_object(shares, names or [])
    # The first names of all processes come first; None stands where one has fewer.
    distinct = dict.fromkeys(chain.from_iterable(zip_longest(*shares)))
    distinct.pop(None, None)
    return KeyIndex([list(distinct)])


def _unknown(key: object) -> str:
    return (
        f"unknown key {key!r}: the dataloader that is clustered never yielded it. Does "
        "it drop the last batch, has it other images or other keys?"
    )


def _joined_names(batches: Sequence[Keys]) -> list[str]:
    keys: list[Any] = list(chain.from_iterable(batches))
    if not all(issubclass(kind, str) for kind in set(map(type, keys))):
        other = next(key for key in keys if not isinstance(key, str))
        raise TypeError(f"keys must be all indices or all names, got {other!r}.")
    return keys


def _as_indices(keys: Keys) -> Tensor:
    try:
        indices = torch.as_tensor(keys)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"keys must be all indices or all names: {error}.") from None
    if indices.ndim != 1 or indices.dtype not in _INTEGERS:
        raise TypeError(
            f"keys must be names or an integer tensor (n,), got {indices.dtype} of "
            f"shape {tuple(indices.shape)}."
        )
    return indices.long()
