"""Downloads of public data sets by torchvision, which checks what it gets."""

from __future__ import annotations

import contextlib
import io
import socket
import tarfile
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import one_line

#: Seconds of silence after which a download is given up. Without it a firewall that
#: drops packets would keep us waiting for minutes.
DOWNLOAD_TIMEOUT_SECONDS = 30.0

#: What torchvision raises when there is no data and no way to get them.
DOWNLOAD_ERRORS = (
    OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError,
)  # fmt: skip


def require_files(
    dataset: Any, root: Path, names: Sequence[str], download: bool, source: str
) -> None:
    """Sees to it that files of a data set are there; what is in them is not read.

    Args:
        dataset: torchvision's class.
        root: The folder in which its own folder is, or will be.
        names: The files in that folder.
        download: Whether to download the data set if a file is missing.
        source: Name of the source, for the error.

    Raises:
        DataError: if a file is missing and it cannot be downloaded.
    """
    folder = root / dataset.base_folder
    missing = [name for name in names if not (folder / name).exists()]
    if not missing:
        return
    reason = f"no {str(folder / missing[0])!r}"
    if download:
        try:
            with patient_for(DOWNLOAD_TIMEOUT_SECONDS):
                dataset(root, download=True)
            return
        except DOWNLOAD_ERRORS as error:
            reason = one_line(str(error)) or type(error).__name__
    tried = "could not be downloaded" if download else "download is off"
    raise DataError(
        f"{dataset.__name__} is not in {str(root)!r} and {tried} ({reason}); point to "
        f"a local copy: data={source} data.path=DIR, where DIR holds "
        f"{dataset.base_folder}"
    )


def root_of(dataset: Any, path: str | Path) -> Path:
    """The folder that holds a data set's own folder, of which either may be given."""
    root = Path(path).expanduser()
    is_own = root.name == dataset.base_folder and root.is_dir()
    return root.parent if is_own else root


@contextlib.contextmanager
def patient_for(seconds: float) -> Iterator[None]:
    """Limits the wait for a silent server, and keeps torchvision from printing."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
