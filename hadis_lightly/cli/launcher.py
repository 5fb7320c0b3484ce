"""A command line for a recipe's settings, by Hydra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.cli.command import Command
from hadis_lightly.data import SOURCE_NAMES
from hadis_lightly.methods.registry import check_run, paper_settings
from hadis_lightly.runs.folder import interrupted_run
from hadis_lightly.runs.runner import run
from hadis_lightly.settings.help import describe_settings
from hadis_lightly.settings.sections import METHOD_NAMES, DataSettings, Settings

_HELP = """{description}

Any setting below can be given as key=value, for example
  {program} trainer.max_epochs=20 model.pcl_weight=0.05
  {program} data=folder data.path=my_photos n_clusters=12
  {program} method=cc
  {program} --multirun seed=0,1,2
The images come from
  data={sources}.
--cfg job prints all settings as they would be used, --multirun runs all combinations,
HYDRA_FULL_ERROR=1 shows the traceback of an error.

{settings}"""


def launch(
    settings: Settings,
    name: str,
    description: str,
    task: Callable[[Settings], object] = run,
    program: str | None = None,
    methods: Mapping[str, Mapping[str, Any]] | None = None,
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
        program: How the recipe is called; by default ``python recipes/name.py``.
        methods: For a method that the recipe has settings of its own for: their full
            names, and their values. They take the place of the paper's.
    """
    run_command(settings, name, description, task, program, methods)()


def run_command(
    settings: Settings,
    name: str,
    description: str,
    task: Callable[[Settings], object] = run,
    program: str | None = None,
    methods: Mapping[str, Mapping[str, Any]] | None = None,
) -> Command[Settings]:
    """The command that :func:`launch` runs."""

    def in_its_folder(chosen: Settings, folder: Path) -> None:
        try:
            if chosen.output_dir is None:
                chosen.output_dir = str(_own_folder(chosen, folder))
            task(chosen)
        finally:
            _remove_if_empty(folder)

    time = "${now:%Y-%m-%d_%H-%M-%S}"
    return Command(
        name=name,
        defaults=settings,
        help=_HELP.format(
            description=description.strip(),
            program=program or f"python recipes/{name}.py",
            sources="|".join(SOURCE_NAMES),
            settings=describe_settings(settings),
        ),
        task=in_its_folder,
        check=check_run,
        may_sweep=True,
        groups={"data": data_by_name(settings.data)},
        chosen={"data": settings.data.source, "method": settings.method},
        bundles={"method": _bundles(settings, methods or {})},
        hydra={
            "run": {"dir": f"runs/{name}/{time}"},
            "sweep": {
                "dir": f"runs/{name}/multirun_{time}",
                "subdir": "${hydra.job.num}",
            },
        },
    )


def data_by_name(own: DataSettings) -> dict[str, DataSettings]:
    """What ``data=NAME`` stands for; for the recipe's own source its own settings."""
    return {
        source: own if source == own.source else DataSettings(source=source)
        for source in SOURCE_NAMES
    }


def _bundles(
    settings: Settings, methods: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """For every method the settings that it brings along, where it is not the own.

    Raises:
        ValueError: If the own method brings settings along, which would stay.
    """
    if paper_settings(settings.method):
        raise ValueError(
            f"settings must be those of method=hadis, got {settings.method!r}."
        )
    return {
        method: {}
        if method == settings.method
        else {**paper_settings(method), **methods.get(method, {})}
        for method in METHOD_NAMES
    }


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


def _remove_if_empty(folder: Path) -> None:
    """Removes the folder that Hydra made, and those above, if a run left it empty."""
    above = folder.parent
    with suppress(OSError):
        folder.rmdir()
        if [path.name for path in above.iterdir()] == ["multirun.yaml"]:
            (above / "multirun.yaml").unlink()
        for empty in folder.parents[:3]:
            if empty == Path.cwd():  # which is not ours, however empty
                break
            empty.rmdir()
