"""Runs the cells of a table, goes on with those that were interrupted, reads them."""

from __future__ import annotations

import contextlib
import gc
import glob
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from pixel_methods import OPTIONS, PIXEL_METHODS, SETTINGS_THAT_MATTER, run_on_pixels
from table_cells import Cell, settings_of
from table_options import Options

from hadis_lightly.artifacts.results import EMBEDDINGS
from hadis_lightly.cli.error_lines import one_line
from hadis_lightly.runs.folder import interrupted_run, is_finished
from hadis_lightly.runs.interruption import RunInterrupted
from hadis_lightly.runs.runner import run
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import unique_path

# What the data, the settings or the machine can cause; else the traceback is shown.
_EXPECTED = (ValueError, OSError, ImportError, MemoryError)


@dataclass(frozen=True)
class Result:
    """What a finished cell has found."""

    scores: dict[str, float]
    epochs: int | None
    seconds: float
    device: str
    commit: str
    images: int


@dataclass
class Found:
    """What lies in the folder of the tables."""

    results: dict[Cell, Result] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    """Finished runs that are left out, and why."""


def read_cells(cells: Sequence[Cell], options: Options) -> Found:
    """Reads the results of all cells that are finished with the settings of now."""
    found = Found()
    for cell in cells:
        result, reasons = _read(cell, options)
        if result is not None:
            found.results[cell] = result
        else:
            found.others += reasons
    return found


def _read(cell: Cell, options: Options) -> tuple[Result | None, list[str]]:
    reasons = []
    for folder in _folders(cell, options):
        content = _finished(cell, folder)
        if content is None:
            continue
        changes = _changes(cell, content, settings_of(cell, options))
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            reasons.append(f"{folder} has other settings: "
                           f"{'; '.join(changes[:3])}{more}")  # fmt: skip
        elif "acc" not in content["scores"]:
            reasons.append(f"{folder} has no scores: no class is known")
        else:
            return _result(content, folder), []
    return None, reasons


def _folders(cell: Cell, options: Options) -> list[Path]:
    """Where a cell may lie: the run of now, or one with other settings before it."""
    wanted = cell.folder(options.folder)
    return [wanted, *sorted(wanted.parent.glob(f"{glob.escape(wanted.name)}-*"))]


def _finished(cell: Cell, folder: Path) -> dict[str, Any] | None:
    if cell.method not in PIXEL_METHODS and not is_finished(folder):
        return None
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return None


def _changes(cell: Cell, content: dict[str, Any], settings: Settings) -> list[str]:
    """In what a finished cell differs from what is wanted now."""
    changes = different_settings(content["settings"], settings)
    if cell.method in PIXEL_METHODS:
        changes = [c for c in changes if c.split(":")[0] in SETTINGS_THAT_MATTER]
        if content["options"] != OPTIONS[cell.method]:
            changes.append(f"options: {content['options']} -> {OPTIONS[cell.method]}")
    before, now = content["settings"]["data"]["path"], settings.data.path
    # A folder may have moved; a file of another name has other images.
    if settings.data.source == "npz" and before and now:
        before, now = Path(before).name, Path(now).name
        changes += [f"data.path: {before} -> {now}"] if before != now else []
    return changes


def _result(content: dict[str, Any], folder: Path) -> Result:
    images = content.get("images")
    if images is None:
        images = len(np.load(folder / EMBEDDINGS, mmap_mode="r"))
    return Result(
        scores=content["scores"],
        epochs=content.get("epochs"),
        seconds=content["seconds"],
        device=content["device"],
        commit=content["commit"] or "",
        images=images,
    )


def _is_underway(cell: Cell, settings: Settings, options: Options) -> bool:
    """Whether another process runs this cell just now."""
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


def run_cells(cells: Sequence[Cell], options: Options) -> dict[Cell, str]:
    """Runs the cells that are not finished.

    Args:
        cells: All that are wanted, in their order.
        options: What the arguments ask for.

    Returns:
        Cells that failed, and why.

    Raises:
        RunInterrupted: After Ctrl-C or SIGTERM in a training; it is saved.
        KeyboardInterrupt: After Ctrl-C elsewhere.
    """
    done = read_cells(cells, options).results
    _say(f"{len(cells)} cells, {len(done)} of them are there already")
    failed: dict[Cell, str] = {}
    for number, cell in enumerate(cells, start=1):
        place = f"[{number}/{len(cells)}] {cell}"
        if cell in done:
            _say(f"{place}: is there already")
            continue
        settings = settings_of(cell, options)
        try:
            if _is_underway(cell, settings, options):
                _say(f"{place}: another process is at it")
                continue
            _say(f"{place}: runs")
            _run(cell, settings)
        except RunInterrupted:
            raise
        except Exception as error:  # whatever it is, others can still run
            failed[cell] = one_line(error, settings)
            if not isinstance(error, _EXPECTED):
                traceback.print_exc()
            _say(f"{place}: failed: {failed[cell]}")
            if not options.keep_going:
                break
        _free_memory()
    return failed


def _run(cell: Cell, settings: Settings) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # where the tables are to be alone
        if cell.method in PIXEL_METHODS:
            settings.output_dir = str(unique_path(Path(str(settings.output_dir))))
            run_on_pixels(cell.method, settings)
        else:
            run(settings)


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
