"""Images by any path: a folder, several, one file, or a list of paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import NamedTuple

from hadis_lightly.data.errors import (
    DataError,
    ImageProblem,
    check_on_error,
    list_problems,
)
from hadis_lightly.data.files.folder import (
    FolderSource,
    load_folder,
    source_of_files,
)
from hadis_lightly.data.files.folder_classes import LabelledImages, label_images
from hadis_lightly.data.files.formats import image_suffixes
from hadis_lightly.data.files.path_list import (
    LIST_SUFFIXES,
    STANDARD_INPUT,
    ListedPath,
    read_list,
)
from hadis_lightly.data.files.tables import containing_file, is_table
from hadis_lightly.data.files.walk import FoundImages
from hadis_lightly.text import in_utf8, printable

AnyPath = str | PathLike[str]


class _Found(NamedTuple):
    path: str
    label: str  # "" if unknown


def split_paths(path: AnyPath | Sequence[AnyPath]) -> list[str]:
    """The paths of one or several, as text, with ``~`` expanded."""
    paths = [path] if isinstance(path, (str, PathLike)) else path
    return [os.path.expanduser(os.fspath(part)) for part in paths]


def load_images(
    path: AnyPath | Sequence[AnyPath],
    num_channels: int = 3,
    *,
    on_error: str = "raise",
    follow_links: bool = False,
) -> FolderSource:
    """Finds images by a path of any kind; none is opened yet.

    - A folder: see :func:`load_folder`.
    - Several folders or files: the images of each folder have the classes that its
      subfolders give.
    - A list of paths: a ``.txt`` file with a path on each line, or a ``.csv``,
      ``.tsv``, ``.jsonl`` or ``.parquet`` table. Its paths are in the column ``file``,
      ``path``, ``image``, ``filename``, ``file_name`` or ``filepath``, classes in
      ``label``, ``labels``, ``class``, ``target`` or ``category`` (empty or -1 where
      unknown). Without such a header, paths are in the first column and classes in the
      second, if there are two. Relative paths start from the folder of the list; a
      path may be a folder.
    - A table of images, ``.parquet`` as on the Hugging Face hub or ``.arrow`` as
      ``save_to_disk`` of ``datasets`` or Polars write it: the first column of type
      ``Image`` of ``datasets``, else of structs with ``bytes`` in them, else of bytes,
      if there is no column of paths. Classes are those of a list, or the first
      ``ClassLabel``. It needs pyarrow; a folder of such tables is read as one set.
    - ``-``: such a list of lines on standard input, relative to the working folder.
    - An image file.

    Images of a list are in its order.

    Args:
        path: The path, or several.
        num_channels: 3 to read every image as RGB, 1 as grey.
        on_error: ``raise`` if a path does not exist, is named twice, or is a folder
            that cannot be listed or is empty; or ``skip`` it.
        follow_links: See :func:`load_folder`.

    Returns:
        The source. Its keys are paths, with ``/``: relative to the folder of the list,
        or to the deepest folder that holds all images if one lies elsewhere; of several
        folders or files, to the deepest folder in which all of them lie.

    Raises:
        DataError: if there are no images, or a list cannot be read; names its line.
    """
    check_on_error(on_error)
    paths = split_paths(path)
    if not paths:
        raise DataError("no images: the list of paths is empty")
    look = partial(label_images, on_error=on_error, follow_links=follow_links)
    only = paths[0] if len(paths) == 1 else ""
    base, suffix = os.path.dirname(only), os.path.splitext(only)[1].lower()
    if only == STANDARD_INPUT:
        title, entries = "standard input", read_list(only)
    elif only and not os.path.isfile(only):
        return load_folder(  # says what is wrong with it
            only, num_channels, on_error=on_error, follow_links=follow_links
        )
    elif suffix in LIST_SUFFIXES:
        kind = "table" if is_table(only) else "list"
        title, entries = f"{kind} {os.path.basename(only)}", read_list(only)
    elif only and suffix not in image_suffixes():
        raise DataError(
            f"data file {only!r} is neither an image, nor a list of paths "
            f"({', '.join(LIST_SUFFIXES)}), nor an npz file"
        )
    else:
        for part in paths:
            if not os.path.exists(part):  # a slip of the hand, never skipped
                raise DataError(f"data folder {part!r} does not exist")
        names = [os.path.basename(os.path.realpath(part)) for part in paths]
        title = f"{' + '.join(names[:3])}{' + ...' * (len(names) > 3)}"
        entries = [ListedPath(part, os.path.abspath(part), None) for part in paths]
        base = _common(os.path.dirname(entry.path) for entry in entries)
    base = os.path.abspath(base)
    problems: list[ImageProblem] = []
    rest = [FoundImages([], problems, Counter())]
    found = list(_find(_rows_of_tables(entries, base), base, look, rest))
    if problems and (on_error == "raise" or not found):
        more = "; data.on_error=skip leaves them out" if found else ""
        raise DataError(f"{printable(title)}: {list_problems(problems)}{more}")
    if not found:
        raise DataError(f"no images: {printable(title)} names no file")
    return _source_of(found, base, printable(title), num_channels, rest)


def _common(folders: Iterable[str]) -> str:
    """The deepest folder that holds all the folders."""
    try:
        return os.path.commonpath(list(folders))
    except ValueError:
        raise DataError("images of one data.path must be on one drive") from None


def _rows_of_tables(entries: Iterable[ListedPath], base: str) -> Iterator[ListedPath]:
    """The entries, those that are tables replaced by their rows."""
    for entry in entries:
        path = os.path.join(base, os.path.expanduser(entry.path))
        if not is_table(path):
            yield entry
            continue
        for place, name, label, _ in read_list(path):
            name = os.path.join(os.path.dirname(path), name)
            label = label if entry.label is None else entry.label
            yield ListedPath(f"{entry.place}, {place}", name, label)


def _find(
    entries: Iterable[ListedPath],
    base: str,
    look: Callable[[str], LabelledImages],
    rest: list[FoundImages],
) -> Iterator[_Found]:
    """All files of the entries, each once.

    Adds entries that are wrong to what is left out of ``rest[0]``, and what lies in
    folders beside their images to ``rest``.
    """
    seen: dict[str, str] = {}
    problems = rest[0].left_out
    for place, name, label, _ in entries:
        path = os.path.normpath(os.path.join(base, os.path.expanduser(name)))
        found = [_Found(path, label or "")]
        if os.path.isdir(path):
            try:
                folder = look(path)
            except DataError as error:
                problems.append(ImageProblem(place, str(error)))
                continue
            left_out = [
                ImageProblem(os.path.join(path, key), reason)
                for key, reason in folder.found.left_out
            ]
            rest.append(folder.found._replace(left_out=left_out))
            found = [
                _Found(os.path.join(path, file), own if label is None else label)
                for file, own in zip(folder.found.files, folder.labels, strict=True)
            ]
        elif not os.path.exists(containing_file(path)):
            problems.append(ImageProblem(place, "it does not exist"))
            continue
        again = [image.path for image in found if image.path in seen]
        if again:
            reason = f"{again[0]!r} is in {seen[again[0]]} already"
            problems.append(ImageProblem(place, reason))
        for image in found:
            if image.path not in seen:
                seen[image.path] = place
                yield image


def _source_of(
    found: list[_Found],
    base: str,
    title: str,
    num_channels: int,
    rest: list[FoundImages],
) -> FolderSource:
    """The source of some files."""
    folders = {os.path.dirname(image.path) for image in found}
    root = base if _common([base, *folders]) == base else _common(folders)
    start = len(os.path.join(root, ""))
    files = [image.path[start:].replace(os.sep, "/") for image in found]
    return source_of_files(
        FoundImages(
            files,
            [problem for part in rest for problem in part.left_out],
            sum((part.others for part in rest), Counter()),
        ),
        [in_utf8(image.label) for image in found],
        root=root,
        title=title,
        num_channels=num_channels,
    )
