"""A command of ours: settings of any kind, a command line by Hydra, a task."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hadis_lightly.cli.command_line import (
    CommandLineError,
    check_jobs,
    parse_arguments,
)
from hadis_lightly.cli.error_lines import (
    errors_in_one_line,
    setting_names,
    suggestion,
)

T = TypeVar("T")


@dataclass
class Command(Generic[T]):
    """What a command does, and with which settings.

    Whatever is wrong with a setting or the data ends in one line and exit status 2;
    ``HYDRA_FULL_ERROR=1`` shows the traceback instead.
    """

    name: str
    """Name of the configuration."""
    defaults: T
    """A dataclass: the settings, and their values if none is given."""
    help: str
    """What ``--help`` prints."""
    task: Callable[[T, Path], object]
    """What to do with the settings, and the folder that Hydra made."""
    check: Callable[[T], object]
    """Raises if something is wrong that can be known before anything is done."""
    groups: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Sections that are chosen by name, as in ``data=folder``: their choices."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """For every such section the choice if none is made."""
    bundles: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Settings of any section that are chosen together by one name, as in
    ``method=cc``: their choices, and for each the full names of settings to values."""
    hydra: Mapping[str, Any] = field(
        default_factory=lambda: {"run": {"dir": "."}, "sweep": {"dir": "."}}
    )
    """Settings of Hydra's, such as where its folders lie."""
    may_sweep: bool = False
    """Whether ``--multirun`` makes sense."""

    def __call__(self) -> None:
        """Reads the command line and does what it asks for."""
        asked = os.environ.get("HYDRA_FULL_ERROR", "0")
        wants_traceback = asked == "1"
        self.store()

        def main(config: DictConfig) -> None:
            folder = Path(HydraConfig.get().runtime.output_dir)
            try:
                with errors_in_one_line(self.defaults, wants_traceback):
                    settings = self.settings_of(config)
                    # As other processes should see it.
                    os.environ["HYDRA_FULL_ERROR"] = asked
                    self.task(settings, folder)
            finally:
                os.environ["HYDRA_FULL_ERROR"] = "1"

        # Left to itself, Hydra prints its errors over several lines.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        with errors_in_one_line(self.defaults, wants_traceback):
            if not self.may_sweep and parse_arguments(sys.argv[1:]).multirun:
                raise CommandLineError("--multirun is for training alone")
            # All runs of a sweep, so that none is found wrong after hours of others.
            check_jobs(
                sys.argv[1:],
                self.name,
                lambda config: self.check(self.settings_of(config)),
            )
            hydra.main(config_name=self.name, config_path=None, version_base="1.3")(
                main
            )()

    def store(self) -> None:
        """Tells Hydra the settings, and the sections by name."""
        store = ConfigStore.instance()
        for group, nodes in self.groups.items():
            for name, node in nodes.items():
                store.store(group=group, name=name, node=node)
        for group, bundles in self.bundles.items():
            for name, values in bundles.items():
                node = OmegaConf.create()
                for setting, value in {group: name, **values}.items():
                    OmegaConf.update(node, setting, value)
                store.store(group=group, name=name, node=node, package="_global_")
        kind = type(self.defaults)
        defaults: Any = field(default_factory=list)
        composed = make_dataclass(
            "Composed",
            [("defaults", list[Any], defaults), ("hydra", Any, None)],
            bases=(kind,),
        )
        node = composed(
            **{f.name: getattr(self.defaults, f.name) for f in fields(kind)},  # type: ignore[arg-type]
            defaults=[
                "_self_",
                *({group: name} for group, name in self.chosen.items()),
                {"override hydra/job_logging": "none"},
                {"override hydra/hydra_logging": "none"},
            ],
            hydra={
                "output_subdir": None,
                "help": {"template": self.help.replace("$", "$$")},
                **self.hydra,
            },
        )
        store.store(name=self.name, node=node)

    def settings_of(self, config: DictConfig) -> T:
        """The settings, from what Hydra has composed.

        Raises:
            CommandLineError: If there is a setting that is none of ours.
        """
        schema = OmegaConf.structured(type(self.defaults))
        known = set(setting_names(OmegaConf.to_container(schema)))
        for name in setting_names(OmegaConf.to_container(config)):
            if name not in known:  # which +name=value brings in
                hint = suggestion(name, self.defaults)
                raise CommandLineError(f"there is no setting {name!r}{hint}")
        content = {f.name: config[f.name] for f in fields(self.defaults)}  # type: ignore[arg-type]
        settings: T = OmegaConf.to_object(OmegaConf.merge(schema, content))  # type: ignore[assignment]
        return settings
