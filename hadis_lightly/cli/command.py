"""What all commands share: Hydra's command line, a dataclass of settings, a task."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hadis_lightly.cli.error_lines import CommandLineError, errors_in_one_line
from hadis_lightly.cli.words import check_words, quote_text, split_words
from hadis_lightly.fields import expand_paths
from hadis_lightly.settings.help import describe_settings

T = TypeVar("T")
Groups = Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]]


def run_command(
    name: str,
    defaults: T,
    task: Callable[[T], object],
    description: str,
    groups: Groups | None = None,
    folders: Mapping[str, Any] | None = None,
) -> None:
    """Reads the command line and runs the task with its settings.

    Hydra composes the settings and does ``--help``, ``--cfg job`` and ``--multirun``.
    A wrong setting or bad data ends in one line and exit status 2;
    ``HYDRA_FULL_ERROR=1`` shows the traceback instead.

    Args:
        name: Name of the configuration.
        defaults: A dataclass: all settings, with their values if none is given.
        task: What to do with the settings.
        description: First part of ``--help``; the settings follow.
        groups: What is chosen by one name, as ``data=folder`` or ``method=cc``: the
            name if none is given, and for each name full names of settings to values.
        folders: Hydra's ``run`` and ``sweep``; without them ``--multirun`` is refused.
    """
    for stream in (sys.stdout, sys.stderr):
        # A console that lacks a character of a file's name shows its escape.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    groups = groups or {}
    asked = os.environ.get("HYDRA_FULL_ERROR", "0")

    def main(config: DictConfig) -> None:
        os.environ["HYDRA_FULL_ERROR"] = asked  # for processes that the task starts
        try:
            with errors_in_one_line(defaults, asked == "1"):
                settings: Any = OmegaConf.to_object(config)
                expand_paths(settings)
                task(settings)
        finally:
            remove_if_empty(Path(HydraConfig.get().runtime.output_dir))

    page = description.strip()
    if {"--help", "-h"} & set(sys.argv[1:]):
        page += f"\n\n{describe_settings(defaults)}"
    hydra_settings = {
        "output_subdir": None,
        "help": {"template": page.replace("$", "$$")},
        **(folders or {"run": {"dir": "."}}),
    }
    _store(name, defaults, groups, hydra_settings)
    # Left to itself, Hydra prints its errors over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with errors_in_one_line(defaults, asked == "1"):
            flags, words = split_words(sys.argv[1:])
            if folders is None and {"--multirun", "-m"} & set(flags):
                raise CommandLineError("--multirun is for training only")
            check_words(words, groups)
            # argparse takes settings in one piece only; before all flags, because
            # --info would take the first of them.
            sys.argv[1:] = quote_text(words, defaults, groups) + flags
            hydra.main(config_name=name, config_path=None, version_base="1.3")(main)()
    finally:
        if folders is not None:
            remove_if_empty(Path(folders["sweep"]["dir"]))


def _store(
    name: str, defaults: object, groups: Groups, hydra_settings: Mapping[str, Any]
) -> None:
    """Registers the settings with Hydra, and what is chosen by name."""
    store = ConfigStore.instance()
    for group, (_, choices) in groups.items():
        for choice, values in choices.items():
            node = OmegaConf.create()
            for setting, value in values.items():
                OmegaConf.update(node, setting, value)
            store.store(group=group, name=choice, node=node, package="_global_")
    store.store(name=f"{name}_settings", node=defaults)
    config = {
        "defaults": [
            f"{name}_settings",
            "_self_",
            *({group: chosen} for group, (chosen, _) in groups.items()),
            {"override hydra/job_logging": "none"},
            {"override hydra/hydra_logging": "none"},
        ],
        "hydra": hydra_settings,
    }
    store.store(name=name, node=config)


def remove_if_empty(folder: Path) -> None:
    """Removes the folder that Hydra made, and those above, if they are empty."""
    folder = folder.absolute()
    with suppress(OSError):
        for empty in (folder, *folder.parents[:3]):
            if empty == Path.cwd():  # which is not ours, however empty
                break
            if [path.name for path in empty.iterdir()] == ["multirun.yaml"]:
                (empty / "multirun.yaml").unlink()
            empty.rmdir()
