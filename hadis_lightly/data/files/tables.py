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
from collections.abc import Callable, Collection, Iterator
from itertools import accumulate, chain
from typing import Any

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import describe_error

#: Suffixes of tables, in lower case.
TABLE_SUFFIXES = (".arrow", ".parquet")

#: Names of columns of paths, in lower case; the first that is there counts.
PATH_COLUMNS = ("file", "path", "image", "filename", "file_name", "filepath")

_Reader = Callable[..., Any]  # of a group of rows, by its number and columns
_BYTES = ("binary", "large_binary", "binary_view")  # types of columns
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

    The whole row group of a Parquet file or record batch of an Arrow file is read; the
    last two stay in memory.

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


def holds_images(path: str) -> bool:
    """Whether a table has a column of images, not only of their paths.

    Raises:
        DataError: if the file cannot be read, or pyarrow is not installed.
    """
    with _opened(path) as table:
        return table.image is not None


def read_columns(path: str, names: Collection[str]) -> dict[str, list[Any]]:
    """Some columns of a table; its images stay unread.

    Args:
        path: A Parquet file, or an Arrow file: a stream, as ``save_to_disk`` of Hugging
            Face's ``datasets`` writes it, or with an index, as Feather and Polars do.
        names: Names of the columns, in lower case. Missing ones do not matter.

    Returns:
        Values by the name of the column in lower case. Classes are given by name where
        the table knows them; the first column of such classes is ``label`` if no column
        is called so. If there are images, ``file`` has the path of each, relative to
        the folder of the table.

    Raises:
        DataError: if the file cannot be read, or pyarrow is not installed.
    """
    with _opened(path) as table:
        return _columns(os.path.basename(path), table, names)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[_Table]:
    """A table for one thread; every error becomes a DataError that names it."""
    try:
        with _lock:
            yield _open(path, _version(path))
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
    chosen = {
        name: column
        for name, column in chosen.items()
        if name in names and column != table.image
    }
    values, file_names = table.read([*chosen.values()])
    columns = {name: values[column] for name, column in chosen.items()}
    for name in columns:
        if known := dict(enumerate(table.class_names(chosen[name]))):
            columns[name] = [known.get(number) for number in columns[name]]
    if table.image is not None:
        lasts = [re.split(r"[/\\]", name or "")[-1] for name in file_names]
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
            from pyarrow import parquet
        except ImportError:
            raise DataError(
                "to read Parquet and Arrow files: pip install pyarrow"
            ) from None
        if path.lower().endswith(".parquet"):
            # Threads of its own would not survive in forked processes.
            file = parquet.ParquetFile(path, pre_buffer=False)
            about = file.metadata
            sizes = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
            self.schema: Any = file.schema_arrow
            read: _Reader = functools.partial(file.read_row_group, use_threads=False)
        else:
            self.schema, sizes, read = _open_arrow(path)
        self._read = read
        self.ends = list(accumulate(sizes))
        self._features: dict[str, Any] = {}
        with contextlib.suppress(KeyError, TypeError, ValueError):
            about = json.loads(self.schema.metadata[b"huggingface"])
            self._features = dict(about["info"]["features"])
        #: Name of the column of encoded images, if there is one.
        self.image = self._image_column()

    def _image_column(self) -> str | None:
        """The first ``Image`` of ``datasets``, struct, or bytes that have no paths."""
        kinds = {field.name: field.type for field in self.schema}
        columns = [
            name
            for name, kind in kinds.items()
            if str(_fields(kind).get("bytes", kind)) in _BYTES
        ]
        paths = [name for name in kinds if name.lower() in PATH_COLUMNS]
        by_preference = chain(
            (name for name in columns if self._feature(name, "_type") == "Image"),
            (name for name in columns if _fields(kinds[name])),
            (name for name in columns if not paths or name in paths),
        )
        return next(by_preference, None)

    def _feature(self, column: str, key: str) -> Any:
        """What ``datasets`` wrote about a column, if it did."""
        feature = self._features.get(column)
        return feature.get(key) if isinstance(feature, dict) else None

    def class_names(self, column: str) -> list[str]:
        """Names of the classes in a column by number, if it has such."""
        names = self._feature(column, "names")
        return names if isinstance(names, list) else []

    def read(self, columns: list[str]) -> tuple[dict[str, list[Any]], list[str | None]]:
        """Values of columns, and the names that the images had as files."""
        from pyarrow import compute

        values: dict[str, list[Any]] = {column: [] for column in columns}
        names: list[str | None] = []
        path = None
        if self.image and "path" in _fields(self.schema.field(self.image).type):
            path = f"{self.image}.path"
        for group in range(len(self.ends)):
            rows = self.read_rows(group, [*columns, *filter(None, [path])])
            for column in columns:
                values[column] += rows.column(column).to_pylist()
            if path is not None:
                images = rows.column(self.image)
                names += compute.struct_field(images, "path").to_pylist()
        return values, names or [None] * (self.ends or [0])[-1]

    def read_rows(self, group: int, columns: Collection[str | None]) -> Any:
        """A group of rows; of a Parquet file only some columns."""
        rows = self._read(group, columns)
        rows.validate(full=True)  # damaged ones would end the process
        return rows


def _open_arrow(path: str) -> tuple[Any, list[int], _Reader]:
    """Opens an Arrow file of either format.

    It is not mapped to memory: a file that shrinks under a mapping ends the process.

    Returns:
        The schema, the number of rows in each record batch, and what reads a batch.
    """
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(use_threads=False)
    file = pa.OSFile(path)
    sizes = []
    start = file.read(6)
    file.seek(0)
    if start == b"ARROW1":  # has an index
        reader = pa.ipc.open_file(file, options=options)
        sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        return reader.schema, sizes, lambda index, _: reader.get_batch(index)
    stream = pa.ipc.open_stream(file, options=options)
    schema = stream.schema
    if any(map(pa.types.is_dictionary, schema.types)):  # each batch needs those before
        batches = stream.read_all().to_batches()
        return schema, list(map(len, batches)), lambda index, _: batches[index]
    starts = [file.tell()]
    for batch in stream:
        sizes.append(batch.num_rows)
        starts.append(file.tell())

    def read(index: int, _: Any) -> Any:
        # The place in the file is shared by forked processes.
        batch = file.read_at(starts[index + 1] - starts[index], starts[index])
        return pa.ipc.read_record_batch(pa.py_buffer(batch), schema)

    return schema, sizes, read


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a struct and their types, of other types none."""
    inner = [kind.field(i) for i in range(kind.num_fields)]
    return {field.name: field.type for field in inner}


@functools.lru_cache(maxsize=64)
def _open(path: str, version: tuple[int, int]) -> _Table:
    return _Table(path)


@functools.lru_cache(maxsize=2)
def _read_group(table: _Table, group: int) -> Any:
    return table.read_rows(group, [table.image]).column(table.image)


def _version(path: str) -> tuple[int, int]:
    """What changes with the contents of a file."""
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size
