"""``hadis-lightly-figures``: the paper's pictures from runs of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hadis_lightly.cli.command import Command
from hadis_lightly.progress import StepProgress
from hadis_lightly.report.run_figures import draw_all, find_runs
from hadis_lightly.settings.environment import check_path
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.help import describe_settings
from hadis_lightly.system import unique_path


@dataclass
class FiguresSettings:
    """Settings of ``hadis-lightly-figures``."""

    run: Any = None
    """The folder of a run or of a sweep, or a list of such: '[runs/a,runs/b]'."""
    out: str = "figures"
    """Folder that gets the pictures. A number is added to the name if there is such a
    folder already."""
    quiet: bool = False
    """Say nothing but errors."""


_HELP = """Draws the pictures of the paper (arXiv 2401.14038) from runs of your own.

  hadis-lightly-figures run=runs/cifar10/...
  hadis-lightly-figures run='[runs/hadis,runs/propos]' out=comparison
  hadis-lightly-figures run=runs/cifar10/multirun_...

confusion.png     classes against clusters (Fig. 3), where classes are known
scores.png        NMI, ACC and ARI against epochs (Figs. 4 to 6), a line per run
moments.png       t-SNE of the embeddings at six moments (Fig. 7)
sensitivity.png   scores against the setting that the runs of a sweep differ in (Fig. 8)

{settings}"""


def check(settings: FiguresSettings) -> None:
    """Checks what can be known before anything is read.

    Raises:
        SettingsError: Names the setting and its value.
    """
    paths = _paths(settings)
    if not paths or not all(isinstance(path, str) and path.strip() for path in paths):
        raise SettingsError(
            f"run must be the folder of a run, or a list of such, got {settings.run!r}."
        )
    check_path("out", settings.out)


def _paths(settings: FiguresSettings) -> list[Any]:
    run = settings.run
    return list(run) if isinstance(run, list) else [run] if run is not None else []


def figures(settings: FiguresSettings) -> list[Path]:
    """Draws the pictures, and says where they are.

    Raises:
        CheckpointError: If a run cannot be read, or has not finished.
    """
    check(settings)
    runs = find_runs(_paths(settings))
    folder = unique_path(Path(settings.out))
    with StepProgress("drawing moments", not settings.quiet) as progress:
        drawn = draw_all(folder, runs, progress)
    if not settings.quiet:
        print(f"{folder}/\n  {'  '.join(path.name for path in drawn)}")
    return drawn


def command() -> Command[FiguresSettings]:
    """The command, not yet run."""
    defaults = FiguresSettings()
    return Command(
        name="figures",
        defaults=defaults,
        help=_HELP.format(settings=describe_settings(defaults)),
        task=lambda settings, _: figures(settings),
        check=check,
    )


def main() -> None:
    """Runs the command."""
    command()()


if __name__ == "__main__":
    main()
