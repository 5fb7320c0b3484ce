"""Files of weights: read as plain data, whoever wrote them."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hadis_lightly.text import first_line

# What PyTorch says of a pickle that is whole, but wants something called or made.
_CODE = re.compile("GLOBAL|Can only|Trying to")
# Dicts within dicts.
_MAX_DEPTH = 20


def read_tables(path: Path) -> dict[str, dict[str, Tensor]]:
    """All tables of tensors in a file, by the names of the dicts they lie in.

    Args:
        path: A file of ``torch.save``, or of safetensors if its name ends so.

    Returns:
        Names of the dicts, such as ``"state_dict."``, to names and tensors; the file
        itself goes by ``""``.

    Raises:
        ValueError: If the file is not there, cannot be read, or has no tensors. Code
            in it is refused, not run.
    """
    if not os.path.isfile(path):  # False, too, where a path is too long
        raise ValueError(f"there is no file {str(path)!r}.")
    is_safetensors = path.suffix == ".safetensors"
    content = _read_safetensors(path) if is_safetensors else _read_pickle(path)
    tables = dict(_tables(content))
    if not tables:
        kind = type(content).__name__
        if isinstance(content, Mapping):
            kind = f"{kind} without tensors" if content else f"empty {kind}"
        raise ValueError(
            f"{str(path)!r} has no weights: it should be a dict of tensors, such as "
            f"model.state_dict(), but holds this: {kind}."
        )
    return tables


def _tables(content: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    # No checkpoint is so deep; one that holds itself would be without end.
    if not isinstance(content, Mapping) or prefix.count(".") > _MAX_DEPTH:
        return
    named = [(name, value) for name, value in content.items() if isinstance(name, str)]
    table = {name: value for name, value in named if _is_plain(value)}
    if table:
        yield prefix, table
    for name, value in named:
        yield from _tables(value, f"{prefix}{name}.")


def _is_plain(value: object) -> bool:
    """Whether it is a tensor that can be copied into any other of its shape."""
    if not isinstance(value, Tensor) or value.is_meta or value.is_quantized:
        return False
    return value.layout is torch.strided


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
        raise _unreadable(path, first_line(error)) from None


def _read_pickle(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        _check_whole(path)
    try:
        # DINO's and MAE's checkpoints have their arguments beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _CODE.search(str(error)):
            raise _unreadable(path, "it is damaged, or no file of torch.save") from None
        raise ValueError(
            f"{str(path)!r} holds more than tensors and plain data. It was not loaded, "
            "since that can run anybody's code: save model.state_dict() alone, where "
            "it was made."
        ) from None
    # A damaged pickle raises whatever its bytes happen to say.
    except Exception as error:
        raise _unreadable(path, first_line(error)) from None


def _check_whole(path: Path) -> None:
    """Compares all bytes with their checksums, which PyTorch does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, first_line(error)) from None
    if damaged is not None:
        raise _unreadable(path, f"{damaged} in it is damaged")


def _unreadable(path: Path, reason: str) -> ValueError:
    return ValueError(f"{str(path)!r} cannot be read: {reason.rstrip('.')}.")
