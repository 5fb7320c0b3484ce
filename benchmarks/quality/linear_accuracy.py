"""Linear and nearest-neighbour accuracy of the features of a run.

    python benchmarks/quality/linear_accuracy.py runs/cifar10/2026-11-22_08-01-29
    python benchmarks/quality/linear_accuracy.py runs/mine --data c10.npz --csv a.csv

The backbone stays as it is. A logistic regression, and lightly's weighted 200 nearest
neighbours, learn from its features of the training images, with labels, and are scored
on the rest: CIFAR-10's 10,000 test images where they are known (``is_train`` in an npz
file), else a random sixth (seed 0). HaDis itself has seen all of these images, without
labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightly.utils.benchmarking import knn_predict
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from tries import write_rows

from hadis_lightly.artifacts import (
    Checkpoint,
    backbone_state_dict,
    load_checkpoint,
)
from hadis_lightly.data import ImageSource, load_source
from hadis_lightly.methods.backbone import build_backbone_of
from hadis_lightly.prediction.outputs import check_device
from hadis_lightly.runs.pipeline import build_pipeline
from hadis_lightly.settings import Settings

NEIGHBOURS, TEMPERATURE = 200, 0.1  # lightly's own
CIFAR10_TRAINING_IMAGES = 50_000


class Accuracy(NamedTuple):
    """Fractions of the test images that get their class."""

    linear: float
    nearest_neighbours: float


def feature_accuracy(
    run: Path, data: Path | None = None, device: str = "auto"
) -> Accuracy:
    """Both accuracies of the features of a run; ``data`` if the images have moved.

    Raises:
        ValueError: If the run cannot be read, or the classes are unknown.
    """
    checkpoint = load_checkpoint(run)
    settings = checkpoint.settings
    if data is not None:
        settings.data.path = str(data)
    source = load_source(
        settings.data.source,
        settings.data.path,
        download=False,
        num_channels=settings.data.num_channels,
        limit=settings.data.limit,
        seed=settings.seed,
        on_error=settings.data.on_error,
    )
    if (source.targets < 0).any():
        raise ValueError("some images have no class: there is nothing to score")
    features = backbone_features(settings, source, checkpoint, check_device(device))
    is_test = torch.from_numpy(held_out_rows(settings, source))
    targets = torch.from_numpy(source.targets)
    return Accuracy(
        linear_accuracy(features, targets, is_test),
        nearest_neighbour_accuracy(features, targets, is_test),
    )


@torch.no_grad()
def backbone_features(
    settings: Settings,
    source: ImageSource,
    checkpoint: Checkpoint,
    device: torch.device,
) -> Tensor:
    """Features of all images, in their order, float32 ``(n, d)`` on the CPU."""
    backbone, _ = build_backbone_of(settings, source.num_channels, with_weights=False)
    backbone.load_state_dict(backbone_state_dict(checkpoint))
    backbone.to(device).eval()
    settings.trainer.progress_bar = False
    loader = build_pipeline(settings, source, device).plain_loader
    features = torch.empty(0)
    for images, _, indices in loader:
        found = backbone(images.to(device)).flatten(1).float().cpu()
        if not len(features):
            features = found.new_empty((len(source), found.shape[1]))
        features[indices.cpu()] = found
    return features


def held_out_rows(settings: Settings, source: ImageSource) -> npt.NDArray[np.bool_]:
    """Which images are scored, and not learned from, ``(n,)``."""
    if settings.data.source == "cifar10":
        return np.array([int(key) >= CIFAR10_TRAINING_IMAGES for key in source.keys])
    if settings.data.source == "npz":
        with np.load(str(settings.data.path)) as file:
            if "is_train" in file.files and not file["is_train"].all():
                return ~file["is_train"].astype(bool)[[int(k) for k in source.keys]]
    n = len(source)
    is_test = np.zeros(n, dtype=bool)
    is_test[np.random.default_rng(0).permutation(n)[: max(1, n // 6)]] = True
    return is_test


def linear_accuracy(features: Tensor, targets: Tensor, is_test: Tensor) -> float:
    """Of a logistic regression on standardised features."""
    x, y, test = features.numpy(), targets.numpy(), is_test.numpy()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    classifier.fit(x[~test], y[~test])
    return float(classifier.score(x[test], y[test]))


def nearest_neighbour_accuracy(
    features: Tensor, targets: Tensor, is_test: Tensor
) -> float:
    """Of the nearest images to train on, by cosine, as in lightly's benchmarks."""
    normalised = torch.nn.functional.normalize(features)
    known = normalised[~is_test]
    correct = 0
    for rows in is_test.nonzero().squeeze(1).split(1000):
        ranking = knn_predict(
            normalised[rows],
            known.T,
            targets[~is_test],
            num_classes=int(targets.max()) + 1,
            knn_k=min(NEIGHBOURS, len(known)),
            knn_t=TEMPERATURE,
        )
        correct += int((ranking[:, 0] == targets[rows]).sum())
    return correct / int(is_test.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--data", type=Path, help="where the images are now")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    try:
        accuracy = feature_accuracy(options.run, options.data, options.device)
    except ValueError as error:
        raise SystemExit(f"{options.run}: {error}") from None
    linear, nearest = accuracy
    print(f"{options.run}: linear {linear:.1%}, nearest neighbours {nearest:.1%}")
    if options.csv:
        write_rows(options.csv, [{"run": str(options.run)} | accuracy._asdict()])


if __name__ == "__main__":
    main()
