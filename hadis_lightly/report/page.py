"""Writes the report: one HTML page with everything in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hadis_lightly.report.report_data import ReportData

Progress = Callable[[int, int], None]


def write_report(
    data: ReportData,
    path: Path,
    *,
    max_images: int = 10_000,
    progress: Progress | None = None,
) -> Path:
    """Writes one page that needs nothing else: no network, no other files.

    Args:
        data: What is shown.
        path: HTML file to write, or a folder that gets an ``index.html``.
        max_images: At most so many images are in the page; the numbers, the sizes and
            the scores are of all.
        progress: Called with how many images are done and how many there are.

    Returns:
        The file that was written.
    """
    raise NotImplementedError
