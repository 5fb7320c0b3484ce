"""The command line of a recipe, and of ``hadis-lightly-train``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from hadis_lightly.cli.command import remove_if_empty, run_command
from hadis_lightly.settings import DataSettings, Settings
from hadis_lightly.settings.images import DOWNLOADED, SOURCE_NAMES
from hadis_lightly.settings.papers import METHOD_NAMES, paper_settings
from hadis_lightly.settings.validate import check_exists, check_settings

_HELP = """{description}

Give any setting below as key=value, for example
  {program} model.pcl_weight=0.05 seed=1
  {program} data=folder data.path=my_photos n_clusters=12
  {program} method=cc
  {program} --multirun seed=0,1,2
--cfg job prints all settings as they would be used, --multirun runs all combinations,
HYDRA_FULL_ERROR=1 shows the traceback of an error."""


def launch(
    settings: Settings,
    name: str,
    description: str,
    task: Callable[[Settings], object] | None = None,
    program: str | None = None,
    methods: Mapping[str, Mapping[str, Any]] | None = None,
    by_training: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Runs a recipe with the settings that the command line changes.

    Args:
        settings: Settings of the recipe.
        name: Name of the recipe; results go into ``runs/name/``.
        description: First words of the help.
        task: What to do with the settings; by default :func:`hadis_lightly.runs.run`.
        program: How the recipe is called; by default ``python recipes/name.py``.
        methods: The recipe's own settings for some methods, by full name; they
            replace the paper's.
        by_training: The recipe's own settings for other values of ``model.train``, by
            full name. Those that a method brings, and those on the command line, stay;
            settings of views give way to published weights.

    Raises:
        ValueError: If the settings are those of a method which brings settings along:
            they would stay when the command line chooses another.
    """
    if paper_settings(settings.method):
        raise ValueError(
            f"settings must be those of method=hadis, got {settings.method!r}."
        )

    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    runs = Path("runs", name)
    sweeps = runs
    words = sys.argv[1:]
    if {"--multirun", "-m"} & set(words) and any(map(_is_output_dir, words)):
        # Hydra's notes on a sweep, which are removed again: the working folder may be
        # read-only.
        sweeps = Path(tempfile.mkdtemp(), runs)

    def in_its_folder(chosen: Settings) -> None:
        check_settings(chosen)
        if chosen.data.source not in DOWNLOADED:
            check_exists("data.path", chosen.data.path)
        check_exists("names", chosen.names)
        if chosen.trainer.resume != "auto":
            check_exists("trainer.resume", chosen.trainer.resume)
        # Only now: it takes seconds.
        from hadis_lightly.methods.registry import fill_training_defaults
        from hadis_lightly.runs import run

        typed = HydraConfig.get().overrides.task
        given = {word.partition("=")[0].lstrip("+") for word in typed}
        given |= brought[chosen.method].keys()
        fill_training_defaults(chosen, by_training or {}, given)
        if chosen.output_dir is None:
            chosen.output_dir = str(_own_folder(chosen, runs / time))
        (task or run)(chosen)

    sources = {name: {"data": DataSettings(source=name)} for name in SOURCE_NAMES}
    sources[settings.data.source] = {"data": settings.data}
    own_of = methods or {}
    brought = {
        method: {"method": method, **paper_settings(method), **own_of.get(method, {})}
        for method in METHOD_NAMES
    }
    brought[settings.method] = {"method": settings.method}
    run_command(
        name,
        settings,
        in_its_folder,
        _HELP.format(
            description=description.strip(),
            program=program or f"python recipes/{name}.py",
        ),
        groups={
            "data": (settings.data.source, sources),
            "method": (settings.method, brought),
        },
        folders={
            # Hydra would make another folder even where output_dir is given.
            "run": {"dir": "."},
            "sweep": {
                "dir": str(sweeps / f"multirun_{time}"),
                "subdir": "${hydra.job.num}",
            },
        },
    )


def _is_output_dir(word: str) -> bool:
    return word.startswith("output_dir=")


def _own_folder(settings: Settings, folder: Path) -> Path:
    """The folder of this run, or that of a run beside it which is to be resumed.

    Args:
        settings: All settings.
        folder: The folder of a single run, unless Hydra was given another.
    """
    from pytorch_lightning.utilities import rank_zero_only

    from hadis_lightly.runs.folder import interrupted_run

    made_by_hydra = Path(HydraConfig.get().runtime.output_dir)
    if made_by_hydra != Path.cwd():
        folder = made_by_hydra
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        remove_if_empty(folder)  # the first process chooses
    elif settings.trainer.resume == "auto":
        is_of_sweep = folder.parent.name.startswith("multirun_")
        above = folder.parents[1 if is_of_sweep else 0]
        beside = [*above.glob("*"), *above.glob("multirun_*/*")]
        found = interrupted_run(settings, beside)
        if found is not None:
            found.release()
            remove_if_empty(folder)
            return found.path
    return folder
