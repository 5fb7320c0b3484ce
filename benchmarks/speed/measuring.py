"""Shared by the speed benchmarks: options, timing in turns, CSV files."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--device``, ``--threads`` and ``--csv``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--csv", type=Path, help="file for every measurement")
    return parser


def is_gpu(parser: argparse.ArgumentParser) -> bool:
    """Whether ``--device`` names a GPU; defaults of other options depend on it."""
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", default=parser.get_default("device"))
    return bool(device.parse_known_args()[0].device != "cpu")


def describe_machine(options: argparse.Namespace) -> str:
    """Device and threads."""
    on_gpu = options.device != "cpu"
    device = torch.cuda.get_device_name() if on_gpu else options.device
    return f"{device}, {options.threads} threads"


def synchronize(device: str | torch.device) -> None:
    """Waits for the device."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], object], device: str | torch.device) -> float:
    """Seconds of one call, from an idle device to an idle device."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def in_turns(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str | torch.device,
    warmup_rounds: int = 1,
) -> dict[str, list[float]]:
    """Seconds of every call; other load on the machine then affects all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warmup_rounds + rounds):
        for name, work in works.items():
            taken = seconds_of(work, device)
            if number >= warmup_rounds:
                seconds[name].append(taken)
    return seconds


def write_rows(path: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows with the columns of the first as CSV; creates the folder."""
    if path is None or not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
