"""Files of weights, read as plain data."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hadis_lightly.text import first_line

# PyTorch's words about a pickle that is whole, but would run code.
_CODE = re.compile("GLOBAL|Can only|Trying to")


def read_tables(path: Path) -> dict[str, dict[str, Tensor]]:
    """All dicts of tensors in a file, however deep they lie in other dicts.

    Args:
        path: A file of ``torch.save``, or of safetensors if its name ends so.

    Returns:
        The tensors by name, by the path of their dict, such as ``"state_dict."``; that
        of the file itself is ``""``.

    Raises:
        ValueError: If the file is not there, cannot be read, or has no tensors. Code
            in it is refused, not run.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}.")
    is_safetensors = path.suffix == ".safetensors"
    content = _read_safetensors(path) if is_safetensors else _read_pickle(path)
    tables = dict(_tables(content))
    if not tables:
        raise ValueError(
            f"{str(path)!r} has no weights: expected a dict of tensors, such as "
            f"model.state_dict(), got a {type(content).__name__} without tensors."
        )
    return tables


def _tables(content: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(content, Mapping):
        return
    table = {k: v for k, v in content.items() if isinstance(v, Tensor)}
    table = {name: v for name, v in table.items() if isinstance(name, str)}
    if table:
        yield prefix, table
    for name, value in content.items():
        yield from _tables(value, f"{prefix}{name}.")


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise ValueError(
            f"{str(path)!r} needs safetensors, which is not installed: pip install "
            "safetensors."
        ) from None
    try:
        return load_file(path)
    # Its own errors come from Rust and have no common kind.
    except Exception as error:
        raise ValueError(f"{str(path)!r} cannot be read: {first_line(error)}") from None


def _read_pickle(path: Path) -> Any:
    try:
        # DINO's and MAE's checkpoints have their arguments beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged pickle raises whatever its bytes happen to say.
    except Exception as error:
        reason = first_line(error)
        if isinstance(error, pickle.UnpicklingError):
            reason = "it is damaged, or not a file of torch.save."
            if _CODE.search(str(error)):
                reason = (
                    "it holds more than tensors and plain data, and loading that could "
                    "run code. Save model.state_dict() alone where it was made."
                )
        raise ValueError(f"{str(path)!r} cannot be read: {reason}") from None
