"""Lists of image paths, as text or as a table with labels."""

from __future__ import annotations

import csv
import io
import os
import re
from typing import NamedTuple

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import describe_error

#: Suffixes of lists of paths, in lower case.
LIST_SUFFIXES = (".csv", ".tsv", ".txt")

#: The path that stands for a list on standard input.
STANDARD_INPUT = "-"

_PATH_COLUMNS = ("file", "path", "image", "filename", "file_name", "filepath")
_LABEL_COLUMNS = ("label", "class", "target", "category")
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
        path: A table, ``.csv`` or ``.tsv``; or a text with a path on each line (or up
            to each ``\0``, as ``find -print0`` writes them), ``.txt`` or
            :data:`STANDARD_INPUT`. In UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        DataError: if it cannot be read, or its rows differ in length; names the line.
    """
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
    suffix = os.path.splitext(path)[1].lower()
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
