"""The tables as text: Markdown beside the paper's figures, and CSV."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from paper_figures import PAPER, SETS, TABLE_II, TABLE_III, TABLE_IV, Scores
from table_cells import ABLATION, DIFFUSION, SETS_OF, Cell, cells_in, sets_in
from table_options import Options
from table_runs import Result

OURS = "ours"
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
_METRICS = ("nmi", "acc", "ari")
_CSV_COLUMNS = (
    "method", "dataset", "variant", "seed", *_METRICS, "epochs", "seconds", "device",
    "commit", "images",
)  # fmt: skip
_LARGER = "Which two larger values the paper has we do not know; 0.01 and 0.1 are ours."
Results = Mapping[Cell, Result]


def tables(options: Options, results: Results) -> str:
    """The chosen tables, and how our figures came about."""
    makers: dict[str, Callable[[Options, Results], list[str]]] = {
        "II": table_ii,
        "III": table_iii,
        "IV": table_iv,
    }
    parts = [makers[table](options, results) for table in options.tables]
    parts.append(table_of_runs(options, results))
    return "\n\n".join("\n".join(part) for part in parts)


def table_ii(options: Options, results: Results) -> list[str]:
    """Methods by data sets."""
    columns = _columns("II", options)
    lines = _head("Table II: methods", ["from", "method"], columns)
    for source, name, scores in TABLE_II:
        published = dict(zip(SETS, scores, strict=True))
        lines.append(_row(source, name, *_published(published, columns)))
    for method in options.methods:
        cells = (cells_in(options, method, name) for name in columns)
        lines.append(_row(OURS, NAMES[method], *_measured(cells, results)))
    return lines


def table_iii(options: Options, results: Results) -> list[str]:
    """The ablation."""
    columns = _columns("III", options)
    lines = _head("Table III: ablation", ["from", "HaDis"], columns)
    for name, scores in TABLE_III.items():
        lines.append(_row(PAPER, name, *_published(scores, columns)))
    return [*lines, *_our_rows(ABLATION, columns, options, results)]


def table_iv(options: Options, results: Results) -> list[str]:
    """The noise of the diffusion."""
    columns = _columns("IV", options)
    lines = _head("Table IV: diffusion", ["from", "model.latent_std"], columns)
    for name, scores in TABLE_IV.items():
        lines.append(_row(PAPER, name, *_published(scores, columns)))
    return [*lines, *_our_rows(DIFFUSION, columns, options, results), "", _LARGER]


def table_of_runs(options: Options, results: Results) -> list[str]:
    """Seeds, images, epochs, hours and device of our figures."""
    groups: dict[tuple[str, str, str], dict[Cell, Result]] = {}
    for cell, result in results.items():
        key = (cell.dataset, cell.method, cell.variant)
        groups.setdefault(key, {})[cell] = result
    if not groups:
        return ["None of our cells is there yet."]
    names = ["data set", "method", "seeds", "images", "epochs", "hours a run",
             "device", "commit"]  # fmt: skip
    lines = ["### Our runs", "", *_table_head(names)]
    for (dataset, method, variant), found in groups.items():
        runs = list(found.values())
        seeds = ", ".join(str(seed) for seed in sorted(cell.seed for cell in found))
        epochs = [run.epochs for run in runs if run.epochs is not None]
        hours = statistics.mean(run.seconds for run in runs) / 3600
        lines.append(
            _row(
                SETS.get(dataset, dataset),
                NAMES[method] + (f", {variant}" if variant else ""),
                seeds,
                _several(f"{run.images:,}" for run in runs),
                _several(str(number) for number in epochs),
                _hours(hours),
                _several(run.device for run in runs),
                _several(run.commit for run in runs),
            )
        )
    lines += ["", "Means over the seeds ± standard deviations (n - 1)."]
    if options.settings:
        lines.append(f"Settings that were given: `{' '.join(options.settings)}`.")
    return lines


def _columns(table: str, options: Options) -> list[str]:
    """The paper's data sets, and then the chosen ones that it lacks."""
    ours = sets_in(table, options)
    return [*SETS_OF[table], *(name for name in ours if name not in SETS)]


def _our_rows(
    rows: Mapping[str, tuple[str, str]],
    columns: Sequence[str],
    options: Options,
    results: Results,
) -> list[str]:
    lines = []
    for name, (method, variant) in rows.items():
        cells = (cells_in(options, method, column, variant) for column in columns)
        lines.append(_row(OURS, name, *_measured(cells, results)))
    return lines


def _head(title: str, names: list[str], columns: Sequence[str]) -> list[str]:
    titles = [SETS.get(column, column) for column in columns]
    return [
        f"### {title}, NMI / ACC / ARI in percent",
        "",
        *_table_head([*names, *titles]),
    ]


def _table_head(names: Sequence[str]) -> list[str]:
    return [_row(*names), "|" + " --- |" * len(names)]


def _row(*words: str) -> str:
    return "| " + " | ".join(words) + " |"


def _published(scores: Mapping[str, Scores], columns: Iterable[str]) -> list[str]:
    found = (scores.get(column) for column in columns)
    return [" / ".join(f"{s:.1f}" for s in three) if three else "" for three in found]


def _measured(places: Iterable[Iterable[Cell]], results: Results) -> list[str]:
    found = ([results[cell] for cell in cells if cell in results] for cells in places)
    return [mean_and_spread(runs) if runs else "" for runs in found]


def mean_and_spread(runs: Sequence[Result]) -> str:
    """``86.9 ± 0.2 / 93.0 ± 0.1 / 86.2 ± 0.3``; of one seed there is no spread."""
    words = []
    for metric in _METRICS:
        values = [100 * run.scores[metric] for run in runs]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        words.append(f"{statistics.mean(values):.1f}{spread}")
    return " / ".join(words)


def _hours(hours: float) -> str:
    if hours < 0.001:
        return "< 0.001"
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"


def _several(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word))


def write_csv(path: Path, results: Results) -> None:
    """Writes a row for every finished cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _CSV_COLUMNS)
        writer.writeheader()
        for cell, run in results.items():
            row = {**vars(cell), **vars(run), **run.scores}
            row["seconds"] = round(run.seconds, 1)
            writer.writerow({name: row[name] for name in _CSV_COLUMNS})
