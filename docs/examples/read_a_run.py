"""The images of a run that are like no others, in Python."""

import sys
from pathlib import Path

import numpy as np

from hadis_lightly.artifacts.assignments import read_assignments


def main(run, number=10):
    found = read_assignments(Path(run))
    for row in np.argsort(-found.isolation)[:number]:
        print(found.keys[row], found.labels[row], found.isolation[row])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])  # runs/photos
