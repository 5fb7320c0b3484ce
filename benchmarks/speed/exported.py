"""An exported run beside its checkpoint: images per second, and whether they agree.

    python benchmarks/speed/exported.py --checkpoint RUN --model a.onnx --images a.npz

Batches of 256 images go through PyTorch and onnxruntime in turn, on the CPU, with as
many threads as the process has cores (``taskset -c 0`` for one). Images per second are
medians, of the networks alone; scaling is timed for itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from hadis_lightly.data import load_npz
from hadis_lightly.prediction import ClusterPredictor, OnnxPredictor
from hadis_lightly.system import available_cores

BATCH_SIZE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "model", "images"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    torch.set_num_threads(available_cores())
    predictors = (
        ClusterPredictor.from_checkpoint(options.checkpoint, "cpu"),
        OnnxPredictor(options.model, "cpu"),
    )
    source = load_npz(options.images)
    found: tuple[list[Any], list[Any]] = ([], [])
    rates: tuple[list[float], list[float]] = ([], [])
    scaling = [0.0, 0.0]
    for start in range(0, len(source), BATCH_SIZE):
        stop = min(len(source), start + BATCH_SIZE)
        images = [source.read(index) for index in range(start, stop)]
        for i, predictor in enumerate(predictors):
            began = time.perf_counter()
            plain = [predictor.transform_plain(image) for image in images]
            scaled = time.perf_counter()
            found[i].append(predictor.predict_plain(plain))
            rates[i].append(len(images) / (time.perf_counter() - scaled))
            scaling[i] += scaled - began
    names = ("labels", "confidence", "distance", "embeddings")
    for name in names:
        ours, theirs = (
            np.concatenate([np.asarray(getattr(part, name)) for part in parts])
            for parts in found
        )
        if name == "labels":
            print(f"{(ours != theirs).sum()} of {len(ours):,} labels differ")
        else:
            print(f"{name} differ by up to {np.abs(ours - theirs).max():.1e}")
    for name, rate, seconds in zip(("PyTorch", "ONNX"), rates, scaling, strict=True):
        print(
            f"{name}: {statistics.median(rate[1:] or rate):.0f} images/s, "
            f"scaling {len(source) / seconds:.0f} images/s"
        )


if __name__ == "__main__":
    main()
