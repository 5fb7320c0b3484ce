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
from hadis_lightly.data.files.tables import TABLE_SUFFIXES, read_columns
from hadis_lightly.text import describe_error

#: Suffixes of lists of paths, in lower case.
LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", *TABLE_SUFFIXES)

#: The path that stands for a list on standard input.
STANDARD_INPUT = "-"

_PATH_COLUMNS = ("file", "path", "image", "filename", "file_name", "filepath")
_LABEL_COLUMNS = ("label", "labels", "class", "target", "category")
_UNKNOWN = ("", "-1")  # labels


class ListedPath(NamedTuple):
    """A path in a list, of a file or a folder."""

    place: str
    """Where it was named, for messages: ``line 3: a.png``."""
    path: str
    """The path as written."""
    label: str | None
    """The label, empty if unknown; ``None`` if the list has none."""


def read_list(path: str) -> list[ListedPath]:
    r"""Reads a list of paths; blank lines do not count.

    Args:
        path: A table, ``.csv`` or ``.tsv``; an object per line, ``.jsonl``; a table of
            images or of paths, ``.parquet`` or ``.arrow`` (see :func:`read_columns`);
            or a text with a path on each line (or up to each ``\0``, as ``find
            -print0`` writes them), ``.txt`` or :data:`STANDARD_INPUT`. In UTF-8, or in
            UTF-16 with a byte order mark.

    Raises:
        DataError: if it cannot be read, or its rows differ in length; names the line.
    """
    is_input = path == STANDARD_INPUT
    suffix = os.path.splitext(path)[1].lower()
    if suffix in TABLE_SUFFIXES:
        columns = read_columns(path, (*_PATH_COLUMNS, *_LABEL_COLUMNS))
        return _typed_entries(f"table {path!r}", columns, itertools.count(), "row")
    title = "standard input" if is_input else f"list {path!r}"
    try:
        with open(0 if is_input else path, "rb", closefd=not is_input) as file:
            content = file.read()
        is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # PowerShell's
        # A name that is not UTF-8 stays what it is on the file system.
        text = content.decode("utf-16" if is_wide else "utf-8-sig", "surrogateescape")
    except (OSError, UnicodeError) as error:
        raise DataError(f"cannot read {title}: {describe_error(error)}") from error
    if suffix == ".jsonl":
        return _parse_objects(title, text)
    if suffix in (".csv", ".tsv"):
        return _parse_table(title, text, "\t" if suffix == ".tsv" else ",;\t")
    lines = text.split("\0" if "\0" in text else "\n")
    return [
        ListedPath(f"line {number}: {line}", line, None)
        for number, line in enumerate((line.rstrip("\r") for line in lines), 1)
        if line.strip()
    ]


def _parse_table(title: str, text: str, marks: str) -> list[ListedPath]:
    """The same of a table, separated by the mark that is in its first line."""
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
    if not rows:
        return []
    header = [name.strip().lower() for name in rows[0][1]]
    width, has_header = len(header), any(name in header for name in _PATH_COLUMNS)
    file, label = 0, 1 if width > 1 else None
    if has_header:
        file = next(header.index(name) for name in _PATH_COLUMNS if name in header)
        known = [header.index(name) for name in _LABEL_COLUMNS if name in header]
        label = known[0] if known else None
    for number, row in rows:
        if len(row) != width:
            raise DataError(
                f"{title}: line {number} has {len(row)} columns, line {rows[0][0]} has "
                f"{width}: separators are mixed, or a name that holds one needs quotes"
            )
    entries = []
    for number, row in rows[has_header:]:
        name = None if label is None else row[label].strip()
        name = "" if name in _UNKNOWN else name
        entries.append(ListedPath(f"line {number}: {row[file]}", row[file], name))
    return entries


def _parse_objects(title: str, text: str) -> list[ListedPath]:
    """The same of JSON, an object on each line."""
    rows: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows[number] = dict(json.loads(line))
            except (TypeError, ValueError):
                raise DataError(f"{title}: line {number} is no JSON object") from None
    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns = {name.lower(): [row.get(name) for row in rows.values()] for name in names}
    return _typed_entries(title, columns, rows, "line") if rows else []


def _typed_entries(
    title: str, columns: Mapping[str, list[Any]], numbers: Iterable[int], word: str
) -> list[ListedPath]:
    """The entries in columns of values; ``numbers`` count their lines or rows."""
    files = next((columns[name] for name in _PATH_COLUMNS if name in columns), None)
    if files is None:
        raise DataError(
            f"{title} has neither images nor a column of paths "
            f"({', '.join(_PATH_COLUMNS)})"
        )
    labels = next((columns[name] for name in _LABEL_COLUMNS if name in columns), None)
    entries = []
    for row, (number, file) in enumerate(zip(numbers, files, strict=False)):
        if not isinstance(file, str) or not file:
            raise DataError(f"{title}: {word} {number} names no file")
        label = None
        if labels is not None:
            is_known = labels[row] is not None and labels[row] == labels[row]  # no NaN
            label = str(labels[row]).strip() if is_known else ""
            label = "" if label in _UNKNOWN else label
        entries.append(ListedPath(f"{word} {number}: {file}", file, label))
    return entries
