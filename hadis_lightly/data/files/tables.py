"""Images in Parquet and Arrow tables, each with a path of its own: pyarrow, an extra.

``photos.parquet/000017-cat.jpg`` is the image in row 17 of ``photos.parquet``.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import json
import os
import re
import threading
from collections.abc import Collection
from itertools import accumulate
from typing import Any

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import describe_error

#: Suffixes of tables, in lower case.
TABLE_SUFFIXES = (".arrow", ".parquet")

_ROW = re.compile(r"(.+\.(?:arrow|parquet))[/\\](\d+)(?:-[^/\\]*)?", re.I | re.DOTALL)

# One thread reads a group of rows; the others, which want it too, wait. Nobody holds
# the lock while a process is forked.
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_lock.release,
    )


def is_table(path: str) -> bool:
    """Whether a path names a file that is a table by its suffix."""
    return path.lower().endswith(TABLE_SUFFIXES) and os.path.isfile(path)


def containing_file(path: str | os.PathLike[str]) -> str:
    """The file that holds an image: the table of a row, else the path itself."""
    path = os.fspath(path)
    match = _ROW.fullmatch(path)
    return match[1] if match and os.path.isfile(match[1]) else path


def read_row(path: str | os.PathLike[str]) -> bytes | None:
    """The encoded image in the row of a table; None if the path names no row.

    Of a Parquet file the whole row group is read; the last two stay in memory.

    Raises:
        OSError: if the table cannot be read.
        ValueError: if it is damaged, the row holds no image or does not exist, or
            pyarrow is not installed.
    """
    path = os.fspath(path)
    table_path = containing_file(path)
    if table_path == path:
        return None
    row = int(path[len(table_path) + 1 :].partition("-")[0])
    with _lock:
        table = _open(table_path, _version(table_path))
        group = bisect.bisect_right(table.ends, row)
        if table.image is None or group == len(table.ends):
            raise DataError(f"the table has no image in a row {row}")
        images = _read_group(table, group)
        # Counted from the end of the group.
        value = images[row - table.ends[group] + len(images)].as_py()
    content, name = value, None
    if isinstance(value, dict):
        content, name = value["bytes"], value.get("path")
    if content is None:
        only = f", only the path {name!r}" if name else ""
        raise DataError(f"the row holds no image{only}")
    return bytes(content)


def read_columns(path: str, names: Collection[str]) -> dict[str, list[Any]]:
    """Some columns of a table; its images stay unread.

    Args:
        path: A Parquet file, or an Arrow file as ``save_to_disk`` of Hugging Face's
            ``datasets`` writes it.
        names: Names of the columns, in lower case. Missing ones do not matter.

    Returns:
        Values by the name of the column in lower case. Classes are given by name where
        the table knows them; the first column of such classes is ``label`` if no column
        is called so. If there are images, ``file`` has the path of each, relative to
        the folder of the table.

    Raises:
        DataError: if the file cannot be read, or pyarrow is not installed.
    """
    try:
        with _lock:
            return _columns(os.path.basename(path), _open(path, _version(path)), names)
    except DataError:
        raise
    except Exception as error:  # pyarrow fails in many ways
        reason = describe_error(error)
        raise DataError(f"cannot read table {path!r}: {reason}") from error


def _columns(
    table_name: str, table: _Table, names: Collection[str]
) -> dict[str, list[Any]]:
    chosen = {name.lower(): name for name in table.schema.names}
    classes = [name for name in table.schema.names if table.class_names(name)]
    if classes:
        chosen.setdefault("label", classes[0])
    columns = {
        name: table.read(column).to_pylist()
        for name, column in chosen.items()
        if name in names and column != table.image
    }
    for name in columns:
        if known := dict(enumerate(table.class_names(chosen[name]))):
            columns[name] = [known.get(number) for number in columns[name]]
    if table.image is not None:
        lasts = [re.split(r"[/\\]", name)[-1] for name in table.file_names()]
        columns["file"] = [
            f"{table_name}/{row:06d}" + (f"-{last}" if last else "")
            for row, last in enumerate(lasts)
        ]
    return columns


class _Table:
    """An opened table.

    Args:
        path: A file ``.parquet`` or ``.arrow``.
    """

    def __init__(self, path: str) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise DataError(
                "to read Parquet and Arrow files: pip install 'hadis-lightly[parquet]'"
            ) from None
        self.file: Any = None
        if path.lower().endswith(".parquet"):
            # Threads of its own would not survive in forked processes.
            self.file = parquet.ParquetFile(path, pre_buffer=False)
            self.schema: Any = self.file.schema_arrow
            about = self.file.metadata
            sizes = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        else:
            self.table = pa.ipc.open_stream(pa.memory_map(path)).read_all()
            self.schema = self.table.schema
            sizes = [len(self.table)]
        self.ends = list(accumulate(sizes))
        self._features: dict[str, Any] = {}
        with contextlib.suppress(KeyError, TypeError, ValueError):
            about = json.loads(self.schema.metadata[b"huggingface"])
            self._features = dict(about["info"]["features"])
        is_bytes = pa.types.is_binary, pa.types.is_large_binary
        images = [
            field.name
            for field in self.schema
            for kind in (_fields(field.type).get("bytes", field.type),)
            if any(holds(kind) for holds in is_bytes)
        ]
        #: Name of the column of encoded images, if there is one.
        self.image = images[0] if images else None

    def class_names(self, column: str) -> list[str]:
        """Names of the classes in a column by number, if it has such."""
        feature = self._features.get(column)
        names = feature.get("names") if isinstance(feature, dict) else None
        return names if isinstance(names, list) else []

    def file_names(self) -> list[str]:
        """Names that the images had as files, empty where unknown."""
        if "path" not in _fields(self.schema.field(self.image).type):
            return [""] * (self.ends or [0])[-1]
        from pyarrow import compute

        images = self.read(str(self.image), f"{self.image}.path")
        return [name or "" for name in compute.struct_field(images, "path").to_pylist()]

    def read(self, column: str, part: str = "") -> Any:
        """A column; of a Parquet file only a part of it, if one is named."""
        if self.file is None:
            return self.table.column(column)
        read = self.file.read([part or column], use_threads=False)
        return read.column(column)

    def read_images(self, group: int) -> Any:
        """The images of a group of rows."""
        if self.file is None:
            return self.table.column(self.image)
        read = self.file.read_row_group(group, [self.image], use_threads=False)
        return read.column(self.image)


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a struct and their types, of other types none."""
    inner = [kind.field(i) for i in range(kind.num_fields)]
    return {field.name: field.type for field in inner}


@functools.lru_cache(maxsize=64)
def _open(path: str, version: tuple[int, int]) -> _Table:
    return _Table(path)


@functools.lru_cache(maxsize=2)
def _read_group(table: _Table, group: int) -> Any:
    return table.read_images(group)


def _version(path: str) -> tuple[int, int]:
    """What changes with the contents of a file."""
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size
