"""Where the run of an estimator works."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT, Signals
from typing import Any

from hadis_lightly.runs import RunInterrupted


@contextmanager
def folder_of_run(
    owner: object, given: dict[str, Any]
) -> Iterator[Callable[[], object] | None]:
    """Sets ``output_dir`` to a temporary folder if it is None.

    The folder is removed with its owner, or if the run fails. Ctrl-C is then what it is
    elsewhere, a KeyboardInterrupt, because there is nothing to resume from.

    Args:
        owner: The estimator.
        given: Settings by their full names; they are changed.

    Yields:
        What removes the folder before that; None if it is not temporary.
    """
    if given["output_dir"] is not None:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="hadis-lightly-")
    given["output_dir"] = os.path.join(folder, "run")
    remove = weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    try:
        yield remove
    except BaseException as error:
        remove()
        if not isinstance(error, RunInterrupted):
            raise
        if error.signum == SIGINT:
            raise KeyboardInterrupt from None
        message = f"interrupted ({Signals(error.signum).name}); nothing is kept: give "
        raise RunInterrupted(f"{message}output_dir to resume.", error.signum) from None
