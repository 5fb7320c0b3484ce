"""Files of weights, read as plain data."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Names of the checkpoints of a run, the newest first.
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
# PyTorch's words about a pickle that is whole, but would run code.
_CODE = re.compile("GLOBAL|Can only|Trying to")
# How files of torch.save begin if they are older than PyTorch 1.6.
_LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_DAMAGED = "it is damaged or cut off"
_EXPECTED = "a file of torch.save or safetensors"


class WeightFile(NamedTuple):
    """What was read from a file of weights."""

    path: Path
    tables: dict[str, dict[str, Tensor]]
    """All dicts of tensors in it, however deep they lie in other dicts: the tensors by
    name, by the path of their dict, such as ``"state_dict."``; that of the file itself
    is ``""``."""
    backbone: str | None
    """``model.backbone``, if the file is a checkpoint of a run."""
    views: dict[str, Any]
    """Its settings of views, if it is one; else empty."""


def read_weights(path: Path) -> WeightFile:
    """Reads a file of weights, or the last checkpoint in the folder of a run.

    Args:
        path: A file of ``torch.save`` or of safetensors, whatever its name; or a
            folder, where the checkpoint before the last one is read if that is damaged.

    Raises:
        ValueError: If the file is not there, cannot be read, or has no tensors. Code
            in it is refused, not run.
    """
    files = [path]
    if path.is_dir():
        files = checkpoint_files(path)
        if not files:
            raise ValueError(
                f"{str(path)!r} is not the folder of a run: it has no checkpoint."
            )
    newest, *earlier = files
    try:
        return _read(newest)
    except ValueError:
        for file in earlier:
            with suppress(ValueError):
                return _read(file)
        raise


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in the folder of a run, the newest first."""
    inner = folder if folder.name == "checkpoints" else folder / "checkpoints"
    return [inner / name for name in (LAST, PREVIOUS) if (inner / name).exists()]


def is_whole(path: Path) -> bool:
    """Whether a file is an archive by torch.save, every byte as it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile):
        return False


def _read(path: Path) -> WeightFile:
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}.")
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head[8:9] == b"{":
            content = _read_safetensors(path)
        elif head.startswith((b"PK", _LEGACY)):
            content = _read_pickle(path)
        else:
            raise ValueError(f"{_kind(head)}, expected {_EXPECTED}")
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}.") from None
    tables = dict(_tables(content))
    if not tables:
        raise ValueError(
            f"{str(path)!r} has no weights: expected a dict of tensors, such as "
            f"model.state_dict(), got a {type(content).__name__} without tensors."
        )
    settings = _at(content, "hadis_lightly", "settings")
    backbone, views = _at(settings, "model", "backbone"), _at(settings, "views")
    return WeightFile(
        path,
        tables,
        backbone if isinstance(backbone, str) else None,
        dict(views) if isinstance(views, Mapping) else {},
    )


def _at(content: Any, *keys: str) -> Any:
    """What lies in nested dicts under the keys; None if there is nothing."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _kind(head: bytes) -> str:
    """What a file is, by its first bytes, if it cannot have weights."""
    if not head:
        return "it is empty"
    if head.startswith(b"\x80"):
        return "it is a pickle of another kind"
    text = head.decode("utf-8", "replace")[:-1]  # the last character may be cut
    if "".join(text.split()).isprintable() and "\ufffd" not in text[:-3]:
        return "it is text"
    return "it is of an unknown kind"


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
            "it needs safetensors, which is not installed: pip install safetensors"
        ) from None
    try:
        return load_file(path)
    # Its own errors come from Rust and have no common kind.
    except Exception:
        raise ValueError(_DAMAGED) from None


def _read_pickle(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
        if "data.pkl" not in names or "constants.pkl" in names:
            kind = "TorchScript" if "constants.pkl" in names else "another archive"
            raise ValueError(f"it is {kind}, expected {_EXPECTED}")
        if not is_whole(path):
            raise ValueError(_DAMAGED)
    try:
        # DINO's and MAE's checkpoints have their arguments beside the weights.
        # Opened here, because torch.load would go by the suffix of a path.
        safe = torch.serialization.safe_globals([argparse.Namespace])
        with safe, path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    # A damaged pickle raises whatever its bytes happen to say.
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and _CODE.search(str(error)):
            raise ValueError(
                "it holds more than tensors and plain data, and loading that could run "
                "code. Save model.state_dict() alone where it was made"
            ) from None
        raise ValueError(_DAMAGED) from None
