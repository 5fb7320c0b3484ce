"""``hadis-lightly-report``: a page that shows the clusters of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from hadis_lightly.cli.command import run_command
from hadis_lightly.fields import setting
from hadis_lightly.own_output import new_file, new_folder
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.validate import check_exists, check_section


@dataclass
class ImagesOfTheRun:
    """Images of the run."""

    path: str | None = setting(
        None, "Where the images are, if they have moved.", is_path=True
    )


@dataclass
class ReportSettings:
    """Settings of ``hadis-lightly-report``."""

    checkpoint: str = setting(
        MISSING, "Folder of a finished run, or a checkpoint in it.", is_path=True
    )
    out: str = setting(
        "report",
        "Folder for the page, index.html. If it exists, a number is added to the name.",
        is_path=True,
    )
    max_images: int = setting(
        10_000,
        "Most images in the page. Of a larger set it shows the most telling ones and a "
        "random sample; numbers and scores cover all.",
        low=1,
    )
    map_images: int = setting(
        3000,
        "Most images on the map. The run has made one of 3,000; for another number it "
        "takes a second per 200.",
        low=1,
    )
    quiet: bool = setting(False, "Print errors only.")
    data: ImagesOfTheRun = field(default_factory=ImagesOfTheRun)


_DESCRIPTION = """Makes a page of a run: clusters, odd images, a map, and all images.

  hadis-lightly-report checkpoint=runs/train/...
  hadis-lightly-report checkpoint=runs/train/... out=report/ max_images=2000

The page is a single file that needs no network. Open it in a browser."""


def report_on_run(settings: ReportSettings) -> Path:
    """Writes the page and prints where it is.

    Raises:
        SettingsError: If a setting is wrong.
        CheckpointError: If the run cannot be read, or has not finished.
        DataError: If its images are gone.
    """
    check_section(settings)
    check_exists("checkpoint", settings.checkpoint)
    check_exists("data.path", settings.data.path)
    # Only now: it takes seconds.
    from hadis_lightly.artifacts.saved_run import load_run
    from hadis_lightly.report import write_report
    from hadis_lightly.report.page import is_page
    from hadis_lightly.report.run_report import data_of_run

    run = load_run(settings.checkpoint)
    data = data_of_run(run, path=settings.data.path, map_images=settings.map_images)
    warnings: list[str] = []

    def write(place: Path) -> Path:
        with StepProgress("making thumbnails", not settings.quiet) as progress:
            return write_report(
                data,
                place,
                max_images=settings.max_images,
                progress=progress,
                warn=warnings.append,
            )

    out = Path(settings.out)
    if is_page(out):
        with new_file(out) as file:
            write(file.unfinished)
        page = file.path
    else:
        with new_folder(out) as folder:
            page = write(folder)
    if not settings.quiet:
        for warning in warnings:
            print(
                f"WARNING: {warning}; data.path=FOLDER reads them from another folder."
            )
        megabytes = page.stat().st_size / 1e6
        print(f"{page}  ({megabytes:.1f} MB)\n{page.resolve().as_uri()}")
    return page


def main() -> None:
    """Runs the command."""
    run_command("report", ReportSettings(), report_on_run, _DESCRIPTION)


if __name__ == "__main__":
    main()
