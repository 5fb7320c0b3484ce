"""A command line for a recipe's settings, by Hydra."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.data import SOURCE_NAMES
from hadis_lightly.training.command_line import CommandLineError, check_jobs
from hadis_lightly.training.config import DataSettings, Settings, check_settings
from hadis_lightly.training.interruption import RunInterrupted
from hadis_lightly.training.run_folder import interrupted_run
from hadis_lightly.training.runner import run

_HELP = """{description}

Any setting below can be given as key=value, for example
  python recipes/{name}.py trainer.max_epochs=20 model.pcl_weight=0.05
  python recipes/{name}.py data=folder data.path=my_photos n_clusters=12
  python recipes/{name}.py --multirun seed=0,1,2
The data come from data={sources}.
--cfg job prints all settings as they would be used, --multirun runs all combinations,
HYDRA_FULL_ERROR=1 shows the traceback of an error.

Settings and their values here:

$CONFIG"""


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


@dataclass
class _Composed(Settings):
    """The settings with what Hydra needs beside them."""

    defaults: list[Any] = field(default_factory=list)
    hydra: Any = None


def launch(
    settings: Settings,
    name: str,
    description: str,
    task: Callable[[Settings], object] = run,
) -> None:
    """Runs a recipe with what the command line changes in its settings.

    ``--help``, ``--cfg job``, ``--multirun`` and the rest of Hydra work. Whatever is
    wrong with a setting or the data ends in one line and exit status 2;
    ``HYDRA_FULL_ERROR=1`` shows the traceback instead.

    Args:
        settings: Settings of the recipe.
        name: Name of the recipe; results go below ``runs/name/``.
        description: First words of the help.
        task: What to do with the settings.
    """
    asked = os.environ.get("HYDRA_FULL_ERROR", "0")
    wants_traceback = asked == "1"
    _store(settings, name, description)

    def main(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            with _errors_in_one_line(settings, wants_traceback):
                chosen = _to_settings(config)
                if chosen.output_dir is None:
                    chosen.output_dir = str(_own_folder(chosen, folder))
                os.environ["HYDRA_FULL_ERROR"] = (
                    asked  # as other processes should see it
                )
                task(chosen)
        finally:
            os.environ["HYDRA_FULL_ERROR"] = "1"
            _remove_if_empty(folder)

    # Left to itself, Hydra prints its errors over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with _errors_in_one_line(settings, wants_traceback):
        # All runs of a sweep, so that none is found wrong after hours of others.
        check_jobs(
            sys.argv[1:], name, lambda config: check_settings(_to_settings(config))
        )
        hydra.main(config_name=name, config_path=None, version_base="1.3")(main)()


def _own_folder(settings: Settings, folder: Path) -> Path:
    """The folder of this run, or the one of a run beside it that is to be resumed."""
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        _remove_if_empty(folder)  # the first process chooses
    elif settings.trainer.resume == "auto":
        is_of_many = folder.parent.name.startswith("multirun_")
        above = folder.parent.parent if is_of_many else folder.parent
        beside = [*above.glob("*"), *above.glob("multirun_*/*")]
        found = interrupted_run(settings, beside)
        if found is not None:
            found.release()
            _remove_if_empty(folder)
            return found.path
    return folder


@contextmanager
def _errors_in_one_line(settings: Settings, wants_traceback: bool) -> Iterator[None]:
    """Ends the process after an error that is not ours, in one line."""
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


def _remove_if_empty(folder: Path) -> None:
    """Removes the folder that Hydra made, and those above, if a run left it empty."""
    above = folder.parent
    with suppress(OSError):
        folder.rmdir()
        if [path.name for path in above.iterdir()] == ["multirun.yaml"]:
            (above / "multirun.yaml").unlink()
        for empty in folder.parents[:3]:
            empty.rmdir()


def _store(settings: Settings, name: str, description: str) -> None:
    """Tells Hydra the settings, the data by name, and where results go."""
    store = ConfigStore.instance()
    for source in SOURCE_NAMES:
        is_own = source == settings.data.source
        node = settings.data if is_own else DataSettings(source=source)
        store.store(group="data", name=source, node=node)
    time = "${now:%Y-%m-%d_%H-%M-%S}"
    composed = _Composed(
        **{f.name: getattr(settings, f.name) for f in fields(settings)},
        defaults=[
            "_self_",
            {"data": settings.data.source},
            {"override hydra/job_logging": "none"},
            {"override hydra/hydra_logging": "none"},
        ],
        hydra={
            "output_subdir": None,
            "run": {"dir": f"runs/{name}/{time}"},
            "sweep": {
                "dir": f"runs/{name}/multirun_{time}",
                "subdir": "${hydra.job.num}",
            },
            "help": {
                "template": _HELP.format(
                    description=description.strip(),
                    name=name,
                    sources="|".join(SOURCE_NAMES),
                )
            },
        },
    )
    store.store(name=name, node=composed)


def _to_settings(config: DictConfig) -> Settings:
    known = set(_names(OmegaConf.to_container(OmegaConf.structured(Settings))))
    for name in _names(OmegaConf.to_container(config)):
        if name not in known:  # which +name=value brings in
            hint = _suggestion(name, Settings())
            raise CommandLineError(f"there is no setting {name!r}{hint}")
    content = {f.name: config[f.name] for f in fields(Settings)}
    merged = OmegaConf.merge(OmegaConf.structured(Settings), content)
    settings = OmegaConf.to_object(merged)
    assert isinstance(settings, Settings)
    return settings


# What says nothing to somebody who has never heard of Hydra.
_NOISE = (
    "To append", "Set the environment", "reference_type", "object_type", "full_key:",
    "Error merging override", "Config search path", "provider=", "See https",
)  # fmt: skip


def one_line(error: BaseException, settings: Settings) -> str:
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
        return f"there is no setting {key!r}{_suggestion(key, settings)}"
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


def _suggestion(key: str, settings: Settings) -> str:
    config = OmegaConf.to_container(OmegaConf.structured(settings))
    near = difflib.get_close_matches(key.strip().lower(), _names(config), n=1)
    return f"; did you mean {near[0]}?" if near and near[0] != key.strip() else ""


def _names(config: Any, prefix: str = "") -> list[str]:
    if not isinstance(config, dict):
        return [prefix]
    below = [_names(v, f"{prefix}.{k}" if prefix else k) for k, v in config.items()]
    return [name for names in below for name in names]
