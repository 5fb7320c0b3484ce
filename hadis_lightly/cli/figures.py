"""``hadis-lightly-figures``: the paper's pictures, drawn from your own runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hadis_lightly.cli.command import run_command
from hadis_lightly.fields import setting
from hadis_lightly.own_output import new_folder
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.validate import check_exists, check_section


@dataclass
class FiguresSettings:
    """Settings of ``hadis-lightly-figures``."""

    # A path or a list of paths; OmegaConf has no type for that.
    run: Any = setting(
        None,
        "Folder of a run or a sweep, or a list of them: '[runs/a,runs/b]'.",
        is_path=True,
    )
    out: str = setting(
        "figures",
        "Folder for the pictures. If it exists, a number is added to the name.",
        is_path=True,
    )
    quiet: bool = setting(False, "Print errors only.")


_DESCRIPTION = """Draws the pictures of the paper (arXiv 2401.14038) from your own runs.

  hadis-lightly-figures run=runs/cifar10/...
  hadis-lightly-figures run='[runs/hadis,runs/propos]' out=comparison
  hadis-lightly-figures run=runs/cifar10/multirun_...

confusion.png     classes against clusters (Fig. 3), where classes are known
scores.png        NMI, ACC and ARI against epochs (Figs. 4 to 6), a line per run
moments.png       t-SNE of the embeddings at six moments (Fig. 7)
sensitivity.png   scores against the setting that varies in a sweep (Fig. 8)"""


def draw_run_figures(settings: FiguresSettings) -> list[Path]:
    """Draws the pictures and prints where they are.

    Raises:
        SettingsError: If a setting is wrong.
        CheckpointError: If a run cannot be read, or has not finished.
    """
    check_section(settings)
    paths = settings.run if isinstance(settings.run, list) else [settings.run]
    if not paths or not all(isinstance(path, str) and path.strip() for path in paths):
        raise SettingsError(
            f"run must be the folder of a run, or a list of them, got {settings.run!r}."
        )
    check_exists("run", paths)
    # Only now: it takes seconds.
    from hadis_lightly.report.run_figures import draw_all, find_runs

    runs = find_runs(paths)
    with (
        new_folder(Path(settings.out)) as folder,
        StepProgress("drawing moments", not settings.quiet) as progress,
    ):
        drawn = draw_all(folder, runs, progress)
    if not settings.quiet:
        print(f"{folder}/\n  {'  '.join(path.name for path in drawn)}")
    return drawn


def main() -> None:
    """Runs the command."""
    run_command("figures", FiguresSettings(), draw_run_figures, _DESCRIPTION)


if __name__ == "__main__":
    main()
