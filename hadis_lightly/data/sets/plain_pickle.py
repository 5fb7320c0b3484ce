"""Reads pickled arrays and plain values; nothing in the file is ever run."""

from __future__ import annotations

import os
import pickle
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import one_line

#: Larger files are refused.
MAX_BYTES = 1 << 30

_NUMBERS = re.compile(r"[iu][1248]")
_CORES = ("numpy.core", "numpy._core")  # before and from NumPy 2


def read_pickled_dict(path: Path) -> dict[str, Any]:
    """Reads a dictionary of arrays, lists, texts and numbers, by any Python's pickle.

    A pickle is a program that names the functions it calls. Here it gets none of them:
    the few names that arrays are written with lead to code of this file, which makes
    arrays of whole numbers and nothing else; with any other name reading ends.

    Args:
        path: The file.

    Returns:
        The dictionary; its keys are texts, also where they were bytes.

    Raises:
        DataError: if the file is missing, cannot be read, or holds anything else.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"data file {str(path)!r} is no file")
        if status.st_size > MAX_BYTES:
            raise DataError(
                f"data file {str(path)!r} has {status.st_size:,} bytes, more than "
                f"{MAX_BYTES:,}"
            )
        with open(path, "rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except DataError:
        raise
    except OSError as error:
        reason = error.strerror or one_line(str(error))
        raise DataError(f"cannot open data file {str(path)!r}: {reason}") from error
    except Exception as error:  # UnpicklingError, EOFError, ValueError, MemoryError ...
        reason = one_line(str(error)) or type(error).__name__
        raise DataError(f"data file {str(path)!r} is damaged: {reason}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DataError(f"data file {str(path)!r} is damaged: {kind}, no dictionary")
    return {
        _text(key): value.array if isinstance(value, _Array) else value
        for key, value in content.items()
        if isinstance(key, (bytes, str))
    }


class _Unpickler(pickle.Unpickler):
    """Finds none but the functions below."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands in for a function or class of NumPy's."""
        function = _KNOWN.get((module, name))
        if function is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is not run"
            )
        # A new one each time: what the file does to it is forgotten.
        return lambda *arguments: function(*arguments)


class _Dtype:
    """What is written of a NumPy dtype."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = _text(code)
        self.order = "<"
        if not _NUMBERS.fullmatch(self.code):
            raise ValueError(f"an array of {self.code!r}, not of whole numbers")

    def __setstate__(self, state: Any) -> None:
        if _text(state[1]) == ">":
            self.order = ">"

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _Array:
    """What is written of a NumPy array: first that there is one, then its content."""

    array: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        self.array = _filled(content, dtype, shape, "F" if is_fortran else "C")


def _new_array(*_: Any) -> _Array:
    return _Array()  # of no size yet, whatever is asked for


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    made = _Array()
    made.array = _filled(content, dtype, shape, "F" if _text(order) == "F" else "C")
    return made


def _scalar(dtype: Any, content: Any) -> int:
    return int(_filled(content, dtype, (1,), "C")[0])


def _filled(content: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(content, (bytes, bytearray)):
        raise ValueError("an array that is not of whole numbers")
    return np.frombuffer(content, dtype.numpy).reshape(shape, order=order)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
        raise ValueError(f"text in encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""  # which Python 3 writes for Python 2 as a call


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("__builtin__", "bytes"): _no_bytes,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _new_array,
    **{(f"{core}.multiarray", "_reconstruct"): _new_array for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORES},
}
