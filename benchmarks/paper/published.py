"""The published figures that ``paper_tables.py`` prints, each with its paper.

All scores are NMI, ACC and ARI in percent. Tables II, III and IV are those of HaDis's
paper (arXiv 2401.14038); rows of other papers say so. No figures of PICI's own paper
are here: we have no copy of them that we could check.
"""

from __future__ import annotations

Scores = tuple[float, float, float]

#: The data sets of Table II in its order: their recipes, and their titles.
SETS = {
    "cifar10": "CIFAR-10",
    "cifar20": "CIFAR-20",
    "stl10": "STL-10",
    "imagenet10": "ImageNet-10",
    "imagenet_dogs": "ImageNet-Dogs",
}

PAPER, CC_PAPER, PROPOS_PAPER = "the paper", "CC's own paper", "ProPos's own paper"

#: Table II: who says it, the method, and the scores in the order of ``SETS``.
TABLE_II: list[tuple[str, str, list[Scores]]] = [
    (
        PAPER,
        "k-means",
        [
            (8.7, 22.9, 4.9),
            (8.4, 13.0, 2.8),
            (12.5, 19.2, 6.1),
            (11.9, 24.1, 5.7),
            (5.5, 10.5, 2.0),
        ],
    ),
    (
        PAPER,
        "CC (re-run)",
        [
            (68.1, 76.6, 60.6),
            (42.4, 42.6, 26.7),
            (67.4, 74.7, 60.6),
            (86.2, 89.5, 82.5),
            (40.1, 34.2, 22.5),
        ],
    ),
    (
        PAPER,
        "IDFD (re-run)",
        [
            (71.1, 81.5, 66.3),
            (42.6, 42.5, 26.4),
            (59.6, 70.3, 53.2),
            (79.7, 85.4, 68.5),
            (47.0, 50.2, 34.1),
        ],
    ),
    (
        PAPER,
        "SACC",
        [
            (76.5, 85.1, 72.4),
            (44.8, 44.3, 28.2),
            (69.1, 75.9, 62.6),
            (87.7, 90.5, 84.3),
            (45.5, 43.7, 28.5),
        ],
    ),
    (
        PAPER,
        "ProPos (re-run, ResNet-18)",
        [
            (86.0, 92.3, 84.6),
            (53.8, 52.8, 36.0),
            (68.7, 73.1, 61.4),
            (84.8, 90.0, 81.9),
            (45.9, 47.4, 33.8),
        ],
    ),
    (
        PAPER,
        "HaDis",
        [
            (86.9, 93.0, 86.2),
            (56.8, 56.3, 41.1),
            (69.6, 73.9, 62.3),
            (88.4, 94.9, 89.2),
            (49.6, 55.0, 37.6),
        ],
    ),
    (
        CC_PAPER,
        "CC (ResNet-34, 224 px)",
        [
            (70.5, 79.0, 63.7),
            (43.1, 42.9, 26.6),
            (76.4, 85.0, 72.6),
            (85.9, 89.3, 82.2),
            (44.5, 42.9, 27.4),
        ],
    ),
    (
        PROPOS_PAPER,
        "ProPos (ResNet-34)",
        [
            (88.6, 94.3, 88.4),
            (60.6, 61.4, 45.1),
            (75.8, 86.7, 73.7),
            (89.6, 95.6, 90.6),
            (69.2, 74.5, 62.7),
        ],
    ),
]

#: Table III, the ablation: what is left out, and the scores by data set.
TABLE_III: dict[str, dict[str, Scores]] = {
    "without HSD": {
        "cifar10": (85.8, 92.0, 84.3),
        "imagenet10": (85.0, 90.3, 82.9),
    },
    "without PCL": {
        "cifar10": (78.5, 86.0, 73.9),
        "imagenet10": (83.3, 92.0, 83.4),
    },
    "both": {
        "cifar10": (86.9, 93.0, 86.2),
        "imagenet10": (88.4, 94.9, 89.2),
    },
}

#: Table IV, the noise of the diffusion. The two values above 0.001 we do not know.
TABLE_IV: dict[str, dict[str, Scores]] = {
    "none": {"cifar10": (83.9, 91.1, 82.4)},
    "0.001": {"cifar10": (86.9, 93.0, 86.2)},
    "a larger one": {"cifar10": (85.3, 91.9, 83.8)},
    "another larger one": {"cifar10": (83.4, 90.3, 80.9)},
}
