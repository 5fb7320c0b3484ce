"""Errors in one line, for somebody who gave a setting."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any

from hydra import errors as hydra_errors
from omegaconf import errors as config_errors

from hadis_lightly.atomic import disk_full_error
from hadis_lightly.fields import field_infos
from hadis_lightly.text import printable

# What a setting, the data or the machine can cause; anything else is a bug of ours.
_EXPECTED = (
    *(hydra_errors.HydraException, config_errors.OmegaConfBaseException),
    *(ImportError, OSError, TypeError, ValueError),
)
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
_LOST_PROCESS = ("gloo/transport", "closed by peer", "reset by peer")


class CommandLineError(ValueError):
    """A command line that cannot be right."""


@contextmanager
def errors_in_one_line(settings: object, wants_traceback: bool) -> Iterator[None]:
    """Ends the process after an error that is not ours, in one line.

    Args:
        settings: Names of settings to suggest from.
        wants_traceback: Whether to raise the error as it is.
    """
    try:
        yield
        return
    except KeyboardInterrupt:
        reason, status = "interrupted", 130
    except _EXPECTED as error:
        if wants_traceback:
            raise
        reason, status = f"error: {one_line(error, settings)}", 2
    except Exception as error:
        if "torch" not in sys.modules:  # an exported model needs none
            raise
        # Imported by the run already, which alone raises such errors.
        from hadis_lightly.runs.checkpointing import RunInterrupted

        if isinstance(error, RunInterrupted):
            reason, status = str(error), error.exit_status
        else:
            remedy = _remedy(error)
            if wants_traceback or remedy is None:
                raise
            reason, status = f"error: {remedy}", 2
    print(reason, file=sys.stderr)
    sys.exit(status)


def _remedy(error: Exception) -> str | None:
    """What to do about an error of Lightning or the machine; None for a bug of ours.

    Neither for the memory of CPUs nor for gloo has PyTorch a class of error.
    """
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from torch.distributed import DistError

    if isinstance(error, MisconfigurationException):
        return one_line(error, None)
    if not isinstance(error, (MemoryError, RuntimeError)):
        return None
    said = str(error).lower()
    if isinstance(error, MemoryError) or any(word in said for word in _OUT_OF_MEMORY):
        return (
            "out of memory; lower loader.batch_size, views.input_size or "
            "model.hidden_dim"
        )
    if said.startswith("dataloader worker (pid"):
        return (
            "lost a worker process of the data loader, perhaps because memory ran out; "
            "lower loader.num_workers and continue with trainer.resume=auto"
        )
    if isinstance(error, DistError) or any(word in said for word in _LOST_PROCESS):
        return (
            "lost the connection to another process of this run, which has ended or "
            "hangs; once it is clear why, continue with trainer.resume=auto"
        )
    return None


def one_line(error: BaseException, settings: Any) -> str:
    """What is wrong, in one line: which setting, and what would do.

    Args:
        error: What Hydra, OmegaConf or the run raised.
        settings: Names of settings to suggest from.
    """
    return printable(_reason(error, settings) or type(error).__name__)


def _reason(error: BaseException, settings: Any) -> str:
    full = disk_full_error(error)
    if full is not None:
        # Of a copy, the second one is what was written.
        path = full.filename2 or full.filename
        where = f" writing {str(path)!r}" if path else ""
        return f"disk full{where} ({full.strerror}); complete files stay as they are"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, hydra_errors.OverrideParseException):
        return (
            f"cannot read {error.override!r}: settings are given as key=value, and a "
            "value with special characters in quotes, such as 'key=\"a value\"'"
        )
    if isinstance(error, hydra_errors.MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group} must be one of {', '.join(error.options)}, got {name!r}"
    if isinstance(error.__cause__, config_errors.OmegaConfBaseException):
        return _reason(error.__cause__, settings)
    if isinstance(error, config_errors.OmegaConfBaseException):
        name = error.full_key or ""
        if isinstance(error, config_errors.MissingMandatoryValue):
            return f"{name} is needed, there is no default: give {name}=VALUE"
        if isinstance(error, (AttributeError, KeyError)):
            return f"there is no setting {name!r}{_suggestion(name, settings)}"
        if is_dataclass(getattr(settings, name, None)):
            return f"{name} is a section of settings: give {name}.NAME=VALUE"
        return f"{name}: {lines[0]}" if name else lines[0]
    if any(line.startswith("Traceback") for line in lines):
        # A DataLoader's worker puts its traceback in front of the message.
        return lines[-1].partition("Error: ")[2] or lines[-1]
    return " ".join(lines)


def _suggestion(key: str, settings: Any) -> str:
    """``; did you mean data.path?``, or nothing if no setting's name is near."""
    names = [name for name, _ in field_infos(settings)]
    names += {name.partition(".")[0] for name in names}
    near = difflib.get_close_matches(key.strip().lower(), names, n=1)
    return f"; did you mean {near[0]}?" if near and near[0] != key.strip() else ""
