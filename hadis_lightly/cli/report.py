"""``hadis-lightly-report``: a page to look at the clusters of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.cli.command import Command
from hadis_lightly.progress import StepProgress
from hadis_lightly.report import write_report
from hadis_lightly.report.run_report import data_of_run
from hadis_lightly.settings.environment import check_path
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.help import describe_settings
from hadis_lightly.settings.validate import check_types
from hadis_lightly.system import unique_path


@dataclass
class ImagesOfTheRun:
    """The images of the run."""

    path: str | None = None
    """Where they lie now, if they are no longer where they were."""


@dataclass
class ReportSettings:
    """Settings of ``hadis-lightly-report``."""

    checkpoint: str | None = None
    """The folder of a finished run, or a checkpoint in it."""
    out: str = "report"
    """Folder that gets the page, index.html. A number is added to the name if there is
    such a folder already."""
    max_images: int = 10_000
    """Most images in the page; of a larger set the most telling ones are chosen, and
    others at random. Numbers and scores are of all."""
    map_images: int = 3000
    """Most images on the map, which takes a second for 200 of them."""
    quiet: bool = False
    """Say nothing but errors."""
    data: ImagesOfTheRun = field(default_factory=ImagesOfTheRun)


_HELP = """Makes a page of a run: its clusters, its odd images, a map, and all images.

  hadis-lightly-report checkpoint=runs/train/...
  hadis-lightly-report checkpoint=runs/train/... out=report/ max_images=2000

The page is one file that needs no network and no other file. Open it in a browser.

{settings}"""


def check(settings: ReportSettings) -> None:
    """Checks what can be known before anything is read.

    Raises:
        SettingsError: Names the setting and its value.
    """
    check_types(settings)
    if settings.checkpoint is None:
        raise SettingsError("checkpoint is needed: the folder of a run, or a file.")
    for name in ("checkpoint", "out"):
        check_path(name, getattr(settings, name))
    for name in ("max_images", "map_images"):
        if getattr(settings, name) < 1:
            raise SettingsError(f"{name} must be >= 1, got {getattr(settings, name)}.")


def report(settings: ReportSettings) -> Path:
    """Writes the page, and says where it is.

    Raises:
        CheckpointError: If the run cannot be read, or has not finished.
        DataError: If its images are gone.
    """
    check(settings)
    run = load_run(str(settings.checkpoint))
    shows = not settings.quiet
    with StepProgress("drawing the map", shows) as progress:
        progress(0, 1)
        data = data_of_run(run, path=settings.data.path, map_images=settings.map_images)
    folder = unique_path(Path(settings.out))
    with StepProgress("making thumbnails", shows) as progress:
        page = write_report(
            data, folder, max_images=settings.max_images, progress=progress
        )
    if shows:
        megabytes = page.stat().st_size / 1e6
        print(f"{page}  ({megabytes:.1f} MB)\n{page.resolve().as_uri()}")
    return page


def command() -> Command[ReportSettings]:
    """The command, not yet run."""
    defaults = ReportSettings()
    return Command(
        name="report",
        defaults=defaults,
        help=_HELP.format(settings=describe_settings(defaults)),
        task=lambda settings, _: report(settings),
        check=check,
    )


def main() -> None:
    """Runs the command."""
    command()()


if __name__ == "__main__":
    main()
