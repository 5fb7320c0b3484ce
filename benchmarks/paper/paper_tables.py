"""Tables II, III and IV of the paper, with ours beside.

    python benchmarks/paper/paper_tables.py --methods kmeans,hadis --datasets cifar10
    python benchmarks/paper/paper_tables.py --methods cc --datasets digits
    python benchmarks/paper/paper_tables.py --print --csv tables.csv

A cell is a method on a data set with a seed, or a variant of it for the ablations. It
runs in a folder of its own; a finished cell is not run again, an interrupted one is
resumed. A cell that was not run stays empty. The tables are Markdown and go to stdout,
everything else to stderr. Table III needs --methods propos,hadis, and IV hadis. A
result counts only for the settings that it was made with.
"""

from __future__ import annotations

import signal
import sys

from cell_runs import read_cells, run_cells
from cells import check_cell, needed_cells
from omegaconf.errors import OmegaConfBaseException
from options import read_options
from table_text import tables, write_csv

from hadis_lightly.cli.error_lines import one_line
from hadis_lightly.runs.checkpointing import RunInterrupted
from hadis_lightly.settings.sections import Settings


def main(argv: list[str]) -> int:
    """Runs the cells that are missing, and prints the tables.

    Returns:
        Exit status: 0, 1 if a cell failed, 2 if an argument is wrong, else a signal's.
    """
    options = read_options(argv, __doc__)
    try:
        cells = needed_cells(options)
        for cell in cells if options.run else ():
            check_cell(cell, options)
    except (ValueError, OmegaConfBaseException) as error:
        print(f"error: {one_line(error, Settings())}", file=sys.stderr)
        return 2
    failed = {}
    if options.run:
        try:
            failed = run_cells(cells, options)
        except (RunInterrupted, KeyboardInterrupt) as interruption:
            text = str(interruption) or "interrupted"
            print(f"{text}\nThe same command continues.", file=sys.stderr)
            return 128 + int(getattr(interruption, "signum", signal.SIGINT))
    results, others = read_cells(cells, options)
    print(tables(options, results))
    for reason in others:
        print(f"left out: {reason}", file=sys.stderr)
    if options.csv is not None:
        write_csv(options.csv, results)
    for cell, reason in failed.items():
        print(f"failed: {cell}: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
