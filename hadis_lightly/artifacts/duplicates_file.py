"""``duplicates.csv``: the images of a run that are copies of each other."""

from __future__ import annotations

import csv
from pathlib import Path

from hadis_lightly.atomic import atomic_write
from hadis_lightly.data import Duplicates


def write_duplicates(folder: Path, duplicates: Duplicates) -> Path:
    """Writes a row ``group, key, kind`` for every image of a group.

    The first image of a group has the kind ``first``; the kinds of its copies are those
    of :class:`~hadis_lightly.data.Duplicates`.

    Returns:
        The file.
    """
    groups: dict[int, list[int]] = {}
    for row, first in enumerate(duplicates.first.tolist()):
        groups.setdefault(first, []).append(row)
    path = folder / "duplicates.csv"
    with atomic_write(path) as file:
        writer = csv.writer(file)
        writer.writerow(["group", "key", "kind"])
        several = [rows for rows in groups.values() if len(rows) > 1]
        for number, rows in enumerate(several):
            for row in rows:
                kind = duplicates.kinds[row] or "first"
                writer.writerow([number, duplicates.keys[row], kind])
    return path
