"""Tables II, III and IV of the paper, with ours beside.

    python benchmarks/paper_tables.py methods=kmeans,hadis,cc datasets=cifar10,stl10
    python benchmarks/paper_tables.py methods=hadis datasets=cifar10 seeds=0 tables=II
    python benchmarks/paper_tables.py methods=cc datasets=digits trainer.max_epochs=5
    python benchmarks/paper_tables.py run=false csv=tables.csv

A cell is a method on a data set with a seed, or a variant of it for the ablations. It
is run in a folder of its own below runs/tables; a finished cell is not run again, one
that was interrupted goes on. A cell that was not run stays empty. The tables are
Markdown and go to stdout, all else to stderr.

methods=     kmeans, spectral, agglomerative, nmf (of pixels, by scikit-learn), byol,
             propos, hadis, cc, pici
datasets=    cifar10, cifar20, stl10, imagenet10, imagenet_dogs, and digits and
             small_cifar10, which the paper does not have
seeds=       0,1,2 unless given
tables=      II,III,IV unless given: which are printed, and so which cells are needed.
             A data set of the paper is in the tables in which the paper has it; III
             needs methods=propos,hadis and IV methods=hadis
folder=      runs/tables unless given
root=        folder of all data sets: cifar10, cifar100, stl10, imagenet,
             small_cifar10.npz
path.NAME=   where the data set NAME lies, or an npz file that is taken in its place
run=         false runs nothing and prints what is there
keep_going=  false ends with the first cell that fails; else the others are run
csv=         file for every finished cell

All other arguments are settings of every training, such as trainer.max_epochs=200.
A result counts only for the settings that it was made with.
"""

from __future__ import annotations

import signal
import sys

from omegaconf.errors import OmegaConfBaseException
from table_cells import check_cell, needed_cells
from table_options import Options, read_options
from table_runs import read_cells, run_cells
from table_text import tables, write_csv

from hadis_lightly.cli.error_lines import one_line
from hadis_lightly.runs.interruption import RunInterrupted
from hadis_lightly.settings.sections import Settings


def main(argv: list[str]) -> int:
    """Runs the cells that are missing, and prints the tables.

    Returns:
        Exit status: 0, 1 if a cell failed, 2 if an argument is wrong, else a signal's.
    """
    if {"-h", "--help"} & {*argv}:
        print(__doc__)
        return 0
    try:
        options = read_options(argv)
        cells = needed_cells(options)
        if options.run:
            for cell in cells:
                check_cell(cell, options)
    except (ValueError, OSError, OmegaConfBaseException) as error:
        print(f"error: {one_line(error, Settings())}", file=sys.stderr)
        return 2
    failed = {}
    if options.run:
        try:
            failed = run_cells(cells, options)
        except (RunInterrupted, KeyboardInterrupt) as interruption:
            said = str(interruption) or "interrupted"
            print(f"{said}\nThe same command goes on with the rest.", file=sys.stderr)
            signum = getattr(interruption, "signum", signal.SIGINT)
            return 128 + int(signum)
    show(options)
    for cell, reason in failed.items():
        print(f"failed: {cell}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def show(options: Options) -> None:
    """Prints the tables, and writes the cells down."""
    found = read_cells(needed_cells(options), options)
    print(tables(options, found.results))
    for reason in found.others:
        print(f"left out: {reason}", file=sys.stderr)
    if options.csv is not None:
        write_csv(options.csv, found.results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
