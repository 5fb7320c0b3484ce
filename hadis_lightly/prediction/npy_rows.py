"""An ``.npy`` file that grows row by row."""

from __future__ import annotations

import struct
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


class NpyRows:
    """Writes an ``.npy`` file row by row; only their number has to wait for the end.

    Args:
        file: An empty file, opened for bytes.
    """

    _HEADER_SIZE = 128  # a multiple of 64; room for any number of rows

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shape = (0, 0)
        self._dtype = np.dtype(np.float16)
        file.write(bytes(self._HEADER_SIZE))

    def append(self, rows: NDArray[Any]) -> None:
        """Adds rows ``(n, d)``, all of one dtype."""
        self._shape = (self._shape[0] + len(rows), rows.shape[1])
        self._dtype = rows.dtype
        self._file.write(np.ascontiguousarray(rows).tobytes())

    def finish(self) -> None:
        """Writes the header."""
        start = np.lib.format.magic(1, 0)
        values = {
            "descr": self._dtype.str,
            "fortran_order": False,
            "shape": self._shape,
        }
        size = self._HEADER_SIZE - len(start) - 2
        header = repr(values).ljust(size - 1) + "\n"
        self._file.seek(0)
        self._file.write(start + struct.pack("<H", size) + header.encode("ascii"))
