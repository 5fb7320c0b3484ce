"""What went wrong, in one line: for somebody who gave a setting, not for us."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hadis_lightly.runs.interruption import RunInterrupted

# What a setting, the data or the machine can cause; anything else is a bug of ours.
_EXPECTED = (
    HydraException,
    OmegaConfBaseException,
    MisconfigurationException,
    ImportError,
    OSError,
    TypeError,
    ValueError,
)


_REMEDY = "which loader.batch_size, views.input_size and model.hidden_dim decide on"


@contextmanager
def errors_in_one_line(settings: object, wants_traceback: bool) -> Iterator[None]:
    """Ends the process after an error that is not ours, in one line.

    Args:
        settings: Names of settings to suggest from.
        wants_traceback: Whether to raise the error as it is.
    """
    try:
        yield
    except _EXPECTED as error:
        if wants_traceback:
            raise
        print(f"error: {one_line(error, settings)}", file=sys.stderr)
        sys.exit(2)
    except RunInterrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(interruption.exit_status)
    except (MemoryError, RuntimeError) as error:
        if wants_traceback or not is_out_of_memory(error):
            raise
        reason = one_line(error, settings)
        print(f"error: not enough memory, {_REMEDY}: {reason}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, here or on a GPU."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    is_told = any(word in str(error).lower() for word in words)
    return isinstance(error, MemoryError) or is_told


# What says nothing to somebody who has never heard of Hydra.
_NOISE = (
    "To append", "Set the environment", "reference_type", "object_type", "full_key:",
    "Error merging override", "Config search path", "provider=", "See https",
)  # fmt: skip


def one_line(error: BaseException, settings: object) -> str:
    """What is wrong, in one line: which setting, and what would do.

    Args:
        error: What Hydra, OmegaConf or the run raised.
        settings: Names of settings to suggest from.
    """
    lines = _lines(error)
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        if any(line.startswith("Traceback") for line in lines):
            # A DataLoader's worker puts its traceback in front of the message.
            return lines[-1].partition("Error: ")[2] or lines[-1]
        return " ".join(lines) or type(error).__name__
    if error.__cause__ is not None:
        lines += _lines(error.__cause__)
    keys = [line for line in lines if line.startswith("full_key:")]
    key = keys[-1].removeprefix("full_key:").strip() if keys else ""
    if any(re.match("Key '.*' not in", line) for line in lines):
        return f"there is no setting {key!r}{suggestion(key, settings)}"
    if "Invalid type assigned" in " ".join(lines):
        return f"{key} is a section of settings, given as {key}.NAME=VALUE; see --help"
    kept = [line for line in dict.fromkeys(lines) if not line.startswith(_NOISE)]
    message = re.sub("^In '.*': ", "", "; ".join(kept)).replace(":; ", ": ")
    return f"{key}: {message}" if key else message


def _lines(error: BaseException) -> list[str]:
    """The lines of a message, with every character that cannot be seen spelled out."""
    lines = [line.strip() for line in str(error).splitlines()]
    return [
        "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        for line in lines
        if line
    ]


def suggestion(key: str, settings: object) -> str:
    """``; did you mean data.path?``, or nothing if no setting's name is near."""
    config = OmegaConf.to_container(OmegaConf.structured(settings))
    near = difflib.get_close_matches(key.strip().lower(), setting_names(config), n=1)
    return f"; did you mean {near[0]}?" if near and near[0] != key.strip() else ""


def setting_names(config: Any, prefix: str = "") -> list[str]:
    """Full names of all settings in nested dictionaries."""
    if not isinstance(config, dict):
        return [prefix]
    below = [
        setting_names(v, f"{prefix}.{k}" if prefix else k) for k, v in config.items()
    ]
    return [name for names in below for name in names]
