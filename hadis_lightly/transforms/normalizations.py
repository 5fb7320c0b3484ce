"""Mean and standard deviation of the channels, in lightly's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Normalize = Mapping[str, Sequence[float]]

# NOTE: the authors' numbers. The CIFAR-10 deviations are smaller than those over all
# pixels (0.247, 0.243, 0.262); they stay, because the paper's runs used them.
CIFAR10_NORMALIZE = {
    "mean": [0.4914, 0.4822, 0.4465],
    "std": [0.2023, 0.1994, 0.2010],
}
CIFAR100_NORMALIZE = {
    "mean": [0.5071, 0.4867, 0.4408],
    "std": [0.2675, 0.2565, 0.2761],
}
# Mean and standard deviation of all pixels of scikit-learn's digits, scaled to 0..1.
DIGITS_NORMALIZE = {"mean": [0.3053], "std": [0.3760]}
