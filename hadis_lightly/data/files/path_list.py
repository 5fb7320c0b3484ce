"""Lists of image paths, as text or as a table with labels."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.files.tables import (
    PATH_COLUMNS,
    TABLE_SUFFIXES,
    read_columns,
)
from hadis_lightly.text import describe_error

#: Suffixes of lists of paths, in lower case.
LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", *TABLE_SUFFIXES)
_TABLE_LISTS = {*LIST_SUFFIXES} - {".txt"}

#: The path that stands for a list on standard input.
STANDARD_INPUT = "-"

_LABEL_COLUMNS = ("label", "labels", "class", "target", "category")
_UNKNOWN = ("", "-1", "-1.0")  # labels


class ListedPath(NamedTuple):
    """A path in a list, of a file or a folder."""

    place: str
    """Where it was named, for messages: ``line 3: a.png``."""
    path: str
    """The path as written."""
    label: str | None
    """The label, empty if unknown; ``None`` if the list has none."""
    decided_by: str = ""
    """Who gave the label, where a report's ``labels.csv`` says so."""


class _Table(NamedTuple):
    title: str  # for messages
    columns: Mapping[str, list[Any]]  # by name in lower case
    numbers: Iterable[int]  # of the lines or rows
    word: str  # "line" or "row"


def read_list(path: str) -> list[ListedPath]:
    r"""Reads a list of paths; blank lines do not count.

    Args:
        path: A table, ``.csv`` or ``.tsv``; an object per line, ``.jsonl``; a table of
            images or of paths, ``.parquet`` or ``.arrow`` (see :func:`read_columns`);
            or a text with a path on each line (or up to each ``\0``, as ``find
            -print0`` writes them), ``.txt`` or :data:`STANDARD_INPUT`. In UTF-8, or in
            UTF-16 with a byte order mark.

    Raises:
        DataError: if it cannot be read, a row names no file, or rows differ in length;
            names the line.
    """
    if os.path.splitext(path)[1].lower() in _TABLE_LISTS:
        return _entries(_read_table(path))
    _, text = _read_text(path)
    lines = text.split("\0" if "\0" in text else "\n")
    return [
        ListedPath(f"line {number}: {line}", line, None)
        for number, line in enumerate((line.rstrip("\r") for line in lines), 1)
        if line.strip()
    ]


def read_metadata(path: str) -> list[ListedPath]:
    """Reads the classes in the metadata of an image folder, as Hugging Face has them.

    Args:
        path: A table as for :func:`read_list`.

    Returns:
        The images and their labels; none unless there is a column ``file_name`` and one
        of labels.

    Raises:
        DataError: as :func:`read_list`.
    """
    table = _read_table(path)
    names = ["file_name", *filter(table.columns.__contains__, _LABEL_COLUMNS)]
    if len(names) == 1 or names[0] not in table.columns:
        return []
    return _entries(table._replace(columns={n: table.columns[n] for n in names}))


def _read_text(path: str) -> tuple[str, str]:
    """What a text is called in messages, and the text."""
    is_input = path == STANDARD_INPUT
    title = "standard input" if is_input else f"list {path!r}"
    try:
        with open(0 if is_input else path, "rb", closefd=not is_input) as file:
            content = file.read()
        is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # PowerShell's
        # A name that is not UTF-8 stays what it is on the file system.
        text = content.decode("utf-16" if is_wide else "utf-8-sig", "surrogateescape")
    except (OSError, UnicodeError) as error:
        raise DataError(f"cannot read {title}: {describe_error(error)}") from error
    return title, text


def _read_table(path: str) -> _Table:
    """The columns of a table that hold paths or labels, or all of a text."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in TABLE_SUFFIXES:
        columns = read_columns(path, (*PATH_COLUMNS, *_LABEL_COLUMNS))
        return _Table(f"table {path!r}", columns, itertools.count(), "row")
    title, text = _read_text(path)
    if suffix == ".jsonl":
        return _parse_objects(title, text)
    return _parse_table(title, text, "\t" if suffix == ".tsv" else ",;\t")


def _parse_table(title: str, text: str, marks: str) -> _Table:
    """A table whose columns are separated by the mark that is in its first line."""
    first = re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0])
    separators = [mark for mark in marks if mark in first]
    if len(separators) > 1:
        raise DataError(
            f"{title}: the first line has several separators, {separators}; put names "
            "that hold one in quotes"
        )
    reader = csv.reader(io.StringIO(text, ""), delimiter=(separators or ",")[0])
    try:
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{title}: line {reader.line_num}: {error}") from None
    header = [name.strip().lower() for name in rows[0][1]] if rows else ["file"]
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{title}: line {number} has {len(row)} columns, line {rows[0][0]} has "
                f"{len(header)}: separators are mixed, or a name that holds one needs "
                "quotes"
            )
    if any(name in header for name in PATH_COLUMNS):
        rows = rows[1:]
    else:
        header = ["file", "label"][: len(header)]
    columns: dict[str, list[Any]] = {}
    for index, name in enumerate(header):
        columns.setdefault(name, [row[index] for _, row in rows])
    return _Table(title, columns, [number for number, _ in rows], "line")


def _parse_objects(title: str, text: str) -> _Table:
    """A table of JSON, an object on each line."""
    rows: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows[number] = dict(json.loads(line))
            except (TypeError, ValueError):
                raise DataError(f"{title}: line {number} is no JSON object") from None
    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns = {name.lower(): [row.get(name) for row in rows.values()] for name in names}
    return _Table(title, columns if rows else {"file": []}, rows, "line")


def _entries(table: _Table) -> list[ListedPath]:
    """The paths in a table, and their labels if it has any."""
    title, columns, numbers, word = table
    files = next((columns[name] for name in PATH_COLUMNS if name in columns), None)
    if files is None:
        raise DataError(
            f"{title} has neither images nor a column of paths "
            f"({', '.join(PATH_COLUMNS)})"
        )
    labels = next((columns[name] for name in _LABEL_COLUMNS if name in columns), None)
    decided = columns.get("decided_by")
    entries = []
    for row, (number, file) in enumerate(zip(numbers, files, strict=False)):
        if not isinstance(file, str) or not file:
            raise DataError(f"{title}: {word} {number} names no file")
        label = None if labels is None else _class_name(labels[row])
        by = "" if decided is None else str(decided[row]).strip()
        entries.append(ListedPath(f"{word} {number}: {file}", file, label, by))
    return entries


def _class_name(label: Any) -> str:
    """A label as text, empty if unknown."""
    if isinstance(label, float):  # whole numbers become floats where some are missing
        label = int(label) if label.is_integer() else label
    is_known = label is not None and label == label  # no NaN
    name = str(label).strip() if is_known else ""
    return "" if name in _UNKNOWN else name
