"""Runs the cells of a table, resumes interrupted ones, reads their results."""

from __future__ import annotations

import argparse
import contextlib
import gc
import glob
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import Cell, settings_of
from omegaconf import OmegaConf
from pixel_methods import PIXEL_METHODS, SETTINGS_THAT_MATTER, run_on_pixels

from hadis_lightly.artifacts.results import EMBEDDINGS
from hadis_lightly.cli.error_lines import one_line
from hadis_lightly.own_output import new_folder
from hadis_lightly.runs.checkpointing import RunInterrupted
from hadis_lightly.runs.folder import interrupted_run, is_finished
from hadis_lightly.runs.runner import run
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings

# What data, settings or the machine can cause; anything else shows its traceback.
_EXPECTED = (ValueError, OSError, ImportError, MemoryError)


@dataclass(frozen=True)
class Result:
    """The result of a finished cell."""

    scores: dict[str, float]
    epochs: int | None
    seconds: float
    device: str
    commit: str
    images: int


def read_cells(
    cells: Sequence[Cell], options: argparse.Namespace
) -> tuple[dict[Cell, Result], list[str]]:
    """Results of finished cells with today's settings; why others are left out."""
    results: dict[Cell, Result] = {}
    others: list[str] = []
    for cell in cells:
        reasons = []
        for folder in _folders(cell, options):
            content = _finished(cell, folder)
            if content is None:
                continue
            changes = _changes(cell, content, settings_of(cell, options))
            if changes:
                reasons.append(f"{folder} has other settings: {'; '.join(changes)}")
            elif "acc" not in content["scores"]:
                reasons.append(f"{folder} has no scores: the classes are unknown")
            else:
                results[cell] = _result(content, folder)
                break
        else:
            others += reasons
    return results, others


def _folders(cell: Cell, options: argparse.Namespace) -> list[Path]:
    """Where a cell may lie: runs with other settings have a number behind."""
    wanted = cell.folder(options.folder)
    return [wanted, *sorted(wanted.parent.glob(f"{glob.escape(wanted.name)}-*"))]


def _finished(cell: Cell, folder: Path) -> dict[str, Any] | None:
    path = folder / "results.json"
    if path.exists() and (cell.method in PIXEL_METHODS or is_finished(folder)):
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content
    return None


def _changes(cell: Cell, content: dict[str, Any], settings: Settings) -> list[str]:
    """How a finished cell differs from what is wanted now."""
    changes = different_settings(content["settings"], settings)
    if cell.method in PIXEL_METHODS:
        changes = [c for c in changes if c.split(":")[0] in SETTINGS_THAT_MATTER]
    before, now = content["settings"]["data"]["path"], settings.data.path
    # A folder may have moved; a file of another name has other images.
    if settings.data.source == "npz" and Path(before).name != Path(str(now)).name:
        changes.append(f"data.path: {before} -> {now}")
    return changes


def _result(content: dict[str, Any], folder: Path) -> Result:
    images = content.get("images") or len(np.load(folder / EMBEDDINGS, mmap_mode="r"))
    return Result(
        scores=content["scores"],
        epochs=content.get("epochs"),
        seconds=content["seconds"],
        device=content["device"],
        commit=content["commit"] or "",
        images=images,
    )


def _is_underway(cell: Cell, settings: Settings, options: argparse.Namespace) -> bool:
    """Whether another process is running this cell."""
    for folder in _folders(cell, options):
        content: Any = None
        with contextlib.suppress(Exception):  # there is none, or it is cut off
            content = OmegaConf.to_container(OmegaConf.load(folder / "settings.yaml"))
        if not isinstance(content, dict) or is_finished(folder):
            continue
        if different_settings(content, settings, exactly=True):
            continue
        unfinished = interrupted_run(settings, [folder])
        if unfinished is None:
            return True
        unfinished.release()
    return False


def run_cells(cells: Sequence[Cell], options: argparse.Namespace) -> dict[Cell, str]:
    """Runs the cells that are not finished.

    Args:
        cells: All that are wanted, in their order.
        options: The arguments.

    Returns:
        Cells that failed, and why.

    Raises:
        RunInterrupted: After Ctrl-C or SIGTERM in a training; it is saved.
        KeyboardInterrupt: After Ctrl-C elsewhere.
    """
    done, _ = read_cells(cells, options)
    _say(f"{len(cells)} cells, {len(done)} of them finished before")
    failed: dict[Cell, str] = {}
    for number, cell in enumerate(cells, start=1):
        place = f"[{number}/{len(cells)}] {cell}"
        if cell in done:
            continue
        settings = settings_of(cell, options)
        try:
            if _is_underway(cell, settings, options):
                _say(f"{place}: running in another process")
                continue
            _say(place)
            _run(cell, settings)
        except RunInterrupted:
            raise
        except Exception as error:  # others can still run
            failed[cell] = one_line(error, settings)
            if not isinstance(error, _EXPECTED):
                traceback.print_exc()
            _say(f"{place}: failed: {failed[cell]}")
            if options.fail_fast:
                break
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return failed


def _run(cell: Cell, settings: Settings) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # stdout has the tables alone
        if cell.method in PIXEL_METHODS:
            with new_folder(Path(str(settings.output_dir))) as folder:
                settings.output_dir = str(folder)
                run_on_pixels(cell.method, settings)
        else:
            run(settings)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
