"""Downloads of public data sets by torchvision, which checks what it gets."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import tarfile
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from torchvision.datasets.utils import check_integrity

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import describe_error

#: Seconds of silence after which a download is given up. Without it a firewall that
#: drops packets would keep us waiting for minutes.
DOWNLOAD_TIMEOUT_SECONDS = 30.0

# What torchvision raises when there is no data and no way to get them.
_ERRORS = (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError)


def root_of(dataset: Any, path: str | Path) -> Path:
    """The folder that holds a data set's own folder, of which either may be given."""
    root = Path(path).expanduser()
    is_own = root.name == dataset.base_folder and root.is_dir()
    return root.parent if is_own else root


@contextlib.contextmanager
def checked_download(
    dataset: Any,
    root: Path,
    title: str,
    source: str,
    download: bool,
    checksums: Iterable[tuple[str, str]] = (),
) -> Iterator[None]:
    """A context in which torchvision reads a data set, and may download it.

    Limits the wait for a silent server, and keeps torchvision from printing.

    Args:
        dataset: torchvision's class.
        root: The folder in which its own folder is, or will be.
        title: Name of the data set in papers.
        source: Name of the source.
        download: Whether it may be downloaded.
        checksums: Files below ``root`` and their MD5; the error names the first one
            that is damaged.

    Raises:
        DataError: if torchvision fails: a file is missing and cannot be downloaded, or
            is not what it should be.
    """
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except _ERRORS as error:
        reason = _damaged_file(root, checksums) or describe_error(error)
        tried = "could not be downloaded" if download else "download is off"
        raise DataError(
            f"{title} is not in {str(root)!r} and {tried} ({reason}); point to a local "
            f"copy: data={source} data.path=DIR, where DIR holds "
            f"{dataset.base_folder}, or read another copy with data=npz or data=folder"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _damaged_file(root: Path, checksums: Iterable[tuple[str, str]]) -> str | None:
    for name, md5 in checksums:
        with contextlib.suppress(OSError):  # which the other error names
            if os.path.lexists(root / name) and not check_integrity(root / name, md5):
                return f"{str(root / name)!r} is damaged"
    return None
