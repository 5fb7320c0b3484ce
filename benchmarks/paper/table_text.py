"""The tables as text: Markdown beside the published scores, and CSV."""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cell_runs import Result
from cells import ABLATION, DIFFUSION, SETS_OF, Cell, cells_in, sets_in
from published import SETS, published

NAMES = {
    "kmeans": "k-means on pixels",
    "spectral": "spectral clustering on pixels",
    "agglomerative": "agglomerative clustering on pixels",
    "nmf": "NMF on pixels",
    "byol": "BYOL",
    "propos": "ProPos",
    "hadis": "HaDis",
    "cc": "CC",
    "pici": "PICI",
}
TITLES = {
    "II": ("Table II: methods", "method"),
    "III": ("Table III: ablation", "HaDis"),
    "IV": ("Table IV: diffusion", "model.latent_std"),
}
_METRICS = ("nmi", "acc", "ari")
_CSV_COLUMNS = (
    "method", "dataset", "variant", "seed", *_METRICS, "epochs", "seconds", "device",
    "commit", "images",
)  # fmt: skip
Results = Mapping[Cell, Result]


def tables(options: argparse.Namespace, results: Results) -> str:
    """The chosen tables, and how our scores were made."""
    parts = [_table(table, options, results) for table in options.tables]
    parts.append(_table_of_runs(options, results))
    return "\n\n".join("\n".join(part) for part in parts)


def _table(table: str, options: argparse.Namespace, results: Results) -> list[str]:
    ours = {NAMES[method]: (method, "") for method in options.methods}
    rows = {"II": ours, "III": ABLATION, "IV": DIFFUSION}[table]
    extra = (name for name in sets_in(table, options) if name not in SETS)
    columns = [*SETS_OF[table], *extra]
    title, kind = TITLES[table]
    names = ["from", kind, *(SETS.get(column, column) for column in columns)]
    lines = [f"### {title}, NMI / ACC / ARI in percent", "", *_head(names)]
    for (source, name), scores in published(table).items():
        found = (scores.get(column) for column in columns)
        cells = (" / ".join(f"{s:.1f}" for s in three or ()) for three in found)
        lines.append(_row(source, name, *cells))
    for name, (method, variant) in rows.items():
        places = (cells_in(options, method, column, variant) for column in columns)
        runs = ([results[c] for c in cells if c in results] for cells in places)
        lines.append(_row("ours", name, *map(mean_and_spread, runs)))
    return lines


def _table_of_runs(options: argparse.Namespace, results: Results) -> list[str]:
    """Seeds, images, epochs, hours and device of our runs."""
    groups: dict[tuple[str, str, str], dict[Cell, Result]] = {}
    for cell, result in results.items():
        key = (cell.dataset, cell.method, cell.variant)
        groups.setdefault(key, {})[cell] = result
    if not groups:
        return ["None of our cells is finished."]
    names = ["data set", "method", "seeds", "images", "epochs", "hours per run",
             "device", "commit"]  # fmt: skip
    lines = ["### Our runs", "", *_head(names)]
    for (dataset, method, variant), found in groups.items():
        runs = list(found.values())
        seeds = ", ".join(str(seed) for seed in sorted(cell.seed for cell in found))
        hours = statistics.mean(run.seconds for run in runs) / 3600
        lines.append(
            _row(
                SETS.get(dataset, dataset),
                NAMES[method] + (f", {variant}" if variant else ""),
                seeds,
                _distinct(f"{run.images:,}" for run in runs),
                _distinct(str(run.epochs or "") for run in runs),
                f"{hours:.2g}",
                _distinct(run.device for run in runs),
                _distinct(run.commit for run in runs),
            )
        )
    lines += ["", "Means over the seeds ± standard deviations (n - 1)."]
    if options.settings:
        lines.append(f"Settings of all runs: `{' '.join(options.settings)}`.")
    return lines


def _head(names: Sequence[str]) -> list[str]:
    return [_row(*names), "|" + " --- |" * len(names)]


def _row(*words: str) -> str:
    return "| " + " | ".join(words) + " |"


def mean_and_spread(runs: Sequence[Result]) -> str:
    """``86.9 ± 0.2 / 93.0 ± 0.1 / 86.2 ± 0.3``; one seed has no spread."""
    words = []
    for metric in _METRICS if runs else ():
        values = [100 * run.scores[metric] for run in runs]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        words.append(f"{statistics.mean(values):.1f}{spread}")
    return " / ".join(words)


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word))


def write_csv(path: Path, results: Results) -> None:
    """Writes a row for every finished cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _CSV_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for cell, run in results.items():
            writer.writerow({**vars(cell), **vars(run), **run.scores})
