"""The formulas of epoch_cost.py beside what was measured.

    python benchmarks/epoch_cost_check.py
    python benchmarks/epoch_cost_check.py --results docs/results --tables kmeans

Nothing is measured here. The measurements are those of docs/results/, made by
benchmarks/large.py, losses.py and scaling.py on CPUs. Every rate is taken from one
measurement, marked "calibrates"; the others are predicted from it, and ratio is
predicted / measured. Of a loss the fastest repeat counts, of k-means the seconds of the
CPU: other programs may have run at the same time.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from epoch_cost import (
    HSD_BYTES,
    PCL_BYTES,
    KMeansCost,
    Network,
    head_of,
    hsd,
    pcl,
    row_of,
)

RESULTS = Path(__file__).parents[1] / "docs" / "results"
Values = dict[str, list[float]]


def read(file: Path, **only: str) -> list[dict[str, str]]:
    """Rows of a file of results with these values."""
    with file.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if only.items() <= row.items()]


def compared(predicted: float, measured: float, calibrates: bool) -> tuple[str, ...]:
    ratio = "calibrates" if calibrates else f"{predicted / measured:.2f}"
    return f"{predicted:.3g}", f"{measured:.3g}", ratio


def measured_kmeans(results: Path) -> Iterator[tuple[int, int, int, dict[str, float]]]:
    """Rows, columns, clusters and values of the fits of ours, the first one first."""
    found: dict[tuple[int, int, int], dict[str, float]] = {}
    for row in read(results / "large.csv", section="kmeans", method="hadis_lightly"):
        key = int(row["n"]), int(row["dim"]), int(row["clusters"])
        found.setdefault(key, {})[row["what"]] = float(row["value"])
    return ((*key, values) for key, values in found.items())


def kmeans(options: argparse.Namespace) -> None:
    head_of(
        "k-means, one restart",
        *("images", "K", "stage", "predicted, CPU s", "measured, CPU s", "ratio"),
    )
    rates: dict[str, float] = {}
    for n, d, k, values in measured_kmeans(options.results):
        iterations = tuple(
            int(values.get(f"{stage}, iterations", 0)) for stage in ("search", "refine")
        )
        work = KMeansCost(n, d, k, iterations, 1, 1).stages()
        first = not rates
        if first:
            rates = {stage: work[stage] / values[f"{stage}, CPU s"] for stage in work}
        total = 0.0
        for stage, flop in work.items():
            total += flop / rates[stage]
            cells = compared(flop / rates[stage], values[f"{stage}, CPU s"], first)
            row_of(f"{n:,}", k, stage, *cells)
        row_of(f"{n:,}", k, "all", *compared(total, values["CPU seconds"], False))
    print()
    for stage, rate in rates.items():
        print(f"{stage}: {rate / 1e9:.0f} GFLOP/s")


def measured_losses(
    results: Path, section: str, name: str
) -> Iterator[tuple[str, int, int, Values]]:
    """File, batch, clusters, and values of a loss; those of large.csv first."""
    found: dict[tuple[str, int, int], Values] = {}
    for row in read(results / "large.csv", section=section):
        key = "large", int(row["n"]), int(row["clusters"])
        found.setdefault(key, {}).setdefault(row["what"], []).append(
            float(row["value"])
        )
    for row in read(results / "losses_cpu.csv"):
        if row["loss"].startswith(name):
            k = int(row["loss"].split("K ")[1]) if "K " in row["loss"] else 0
            values = found.setdefault(("losses_cpu", int(row["n"]), k), {})
            values.setdefault("seconds", []).append(float(row["seconds"]))
    # The batch of 1024 calibrates.
    order = sorted(found, key=lambda key: (key[0], key[1] != 1024, key))
    return ((*key, found[key]) for key in order)


def losses(options: argparse.Namespace) -> None:
    head_of(
        "Losses, one direction",
        *("loss", "batch", "K", "file", "predicted, ms", "measured, ms", "ratio"),
        *("predicted, MiB", "measured, MiB"),
    )
    rates: dict[str, float] = {}
    for section, name in (("hsd", "HSDLoss"), ("pcl", "PCLLoss")):
        for file, b, k, values in measured_losses(options.results, section, name):
            work = hsd(b, 256) if section == "hsd" else pcl(b, 256, k)
            seconds, first = min(values["seconds"]), name not in rates
            rate = rates.setdefault(name, work / seconds)
            times = compared(1000 * work / rate, 1000 * seconds, first)
            memory = HSD_BYTES * b**2 if section == "hsd" else PCL_BYTES * min(b, k) * b
            gib = values.get("GiB")
            seen = f"{1024 * gib[0]:.1f}" if gib else ""
            row_of(name, b, k or "", file, *times, f"{memory / 2**20:.1f}", seen)
    print()
    for name, rate in rates.items():
        print(f"{name}: {rate / 1e9:.1f} GFLOP/s")


def steps(options: argparse.Namespace) -> None:
    head_of(
        "Steps and embedding, resnet18, each run from its own first row",
        *("run", "batch", "px", "images", "step predicted, ms", "measured", "ratio"),
        *("embedding predicted, s", "measured", "ratio"),
    )
    counted: dict[int, Network] = {}
    rates: dict[str, tuple[float, float]] = {}
    for row in read(options.results / "scaling_cpu.csv"):
        batch, size, n = (int(row[name]) for name in ("batch", "size", "images"))
        counted[size] = counted.get(size) or Network("resnet18", size)
        step, embedding = batch * counted[size].step, n * counted[size].embedding
        seconds = float(row["step_ms"]) / 1000, float(row["embedding_s"])
        first = row["run"] not in rates
        if first:
            rates[row["run"]] = step / seconds[0], embedding / seconds[1]
        of_step, of_embedding = rates[row["run"]]
        row_of(
            *(row["run"], batch, size, f"{n:,}"),
            *compared(1000 * step / of_step, 1000 * seconds[0], first),
            *compared(embedding / of_embedding, seconds[1], first),
        )
    for run, (of_step, of_embedding) in rates.items():
        print(f"\nrun {run}: {of_step / 1e9:.0f} and {of_embedding / 1e9:.0f} GFLOP/s")


TABLES = {"kmeans": kmeans, "losses": losses, "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=[*TABLES])
    options = parser.parse_args()
    for name in options.tables:
        TABLES[name](options)


if __name__ == "__main__":
    main()
