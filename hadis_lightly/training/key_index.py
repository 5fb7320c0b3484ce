"""From the keys of a data set, indices or file names, to the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
            self.keys = [_checked_name(key) for batch in batches for key in batch]
            self._row_of_name = {name: row for row, name in enumerate(self.keys)}
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

    def as_list(self) -> list[int] | list[str]:
        """The keys, in the order of the rows."""
        return self.keys.tolist() if isinstance(self.keys, Tensor) else self.keys

    def rows(self, keys: Keys, device: torch.device | str = "cpu") -> Tensor:
        """Rows of the given keys, ``(n,)``, on the device.

        Raises:
            ValueError: If a key was never seen. For indices on an accelerator the
                device asserts it, without being waited for.
        """
        if self._row_of_name:
            try:
                rows = [self._row_of_name[name] for name in keys]  # type: ignore[index]
            except KeyError as error:
                raise ValueError(_unknown(error.args[0])) from None
            found = torch.tensor(rows, dtype=torch.long)
            if torch.device(device).type == "cuda":
                found = found.pin_memory()  # else the copy would stall the device
            return found.to(device, non_blocking=True)
        indices = _as_indices(keys).to(device, non_blocking=True)
        self._row_of_index = self._row_of_index.to(indices.device)
        is_in_range = (indices >= 0) & (indices < len(self._row_of_index))
        rows_of_keys = self._row_of_index[indices.where(is_in_range, 0)]
        is_known = is_in_range & (rows_of_keys >= 0)
        try:
            # NOTE: A comparison on the host would stall the device at every step.
            torch._assert_async(is_known.all(), _unknown("?"))
        except RuntimeError:
            if indices.device.type != "cpu":  # something that failed before
                raise
            raise ValueError(_unknown(int(indices[~is_known][0]))) from None
        return rows_of_keys


def _unknown(key: object) -> str:
    return f"unknown key {key!r}: the dataloader that is clustered never yielded it."


def _checked_name(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys must be all indices or all names, got {key!r}.")
    return key


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
