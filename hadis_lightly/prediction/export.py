"""A run as one file for other programs: ONNX, or ``torch.export``'s ``.pt2``."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hadis_lightly import __version__
from hadis_lightly.artifacts.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
)
from hadis_lightly.artifacts.names_file import names_of_run, read_names
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.prediction.graph import RunGraph
from hadis_lightly.prediction.onnx_predictor import FORMAT, METADATA, OnnxPredictor
from hadis_lightly.prediction.predictor import ClusterPredictor, Prediction

OUTPUTS = ("cluster", "confidence", "embedding", "distance", "outlier")
# Rounding moves embeddings and confidence by some 1e-5; where features are kept in
# float16, which amplifies it, by up to 6e-3 in a network with random weights.
_TOLERANCE = 2e-2
_NUM_COMPARED = 16
# Of a protobuf message, which an ONNX file is.
_MAX_BYTES = 2**31 - 2**20


class ExportError(ValueError):
    """A run cannot be exported, or what was exported differs from it."""


@dataclass(frozen=True)
class Exported:
    """What an export found out."""

    description: dict[str, Any]
    """For the JSON file: input, outputs, preprocessing, names, licence, versions."""
    difference: float
    """Largest difference of embeddings and confidence from the checkpoint's."""


def export_run(checkpoint: str | Path, path: Path) -> Exported:
    """Writes a run as one file, and compares it with the checkpoint.

    Args:
        checkpoint: The folder of a run, or a checkpoint.
        path: The file: ``.onnx`` or ``.pt2``.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        ExportError: If the networks cannot be exported, or if the file gives other
            clusters than the checkpoint.
    """
    loaded = load_checkpoint(checkpoint)
    predictor = ClusterPredictor.from_checkpoint(loaded, "cpu")
    predictor.half = None
    description = describe_export(loaded, predictor)
    c, size = predictor.num_channels, predictor.settings.views.size_px
    # Blocks and noise: something coarse and something fine.
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(_NUM_COMPARED, c, 4, 4, generator=draw)
    images = torch.nn.functional.interpolate(coarse, (size, size))
    images = (images + torch.rand(images.shape, generator=draw)) / 2
    graph = RunGraph(predictor)
    program = _traced(graph, images)
    if path.suffix == ".onnx":
        _write_onnx(program, path, description)
        found: Any = OnnxPredictor(path, "cpu").predict_pixels(images.numpy())
    else:
        texts = {f"{METADATA}.json": json.dumps(description)}
        torch.export.save(program, path, extra_files=texts)
        module = torch.export.load(path).module()
        with torch.no_grad():
            labels, confidence, embeddings, distance, outlier = module(images)
        found = Prediction(labels, confidence, distance, embeddings, outlier)
    plain = (images - graph.mean) / graph.std
    expected = predictor.predict(plain)
    near = _near_threshold(predictor, plain)
    return Exported(description, difference(expected, found, near))


def describe_export(
    checkpoint: Checkpoint, predictor: ClusterPredictor
) -> dict[str, Any]:
    """What a program has to know of an exported run, as plain data."""
    views, stamp = predictor.settings.views, checkpoint.stamp
    size = views.size_px
    is_batched = stamp.get("plain_transform") == "batched"
    numbers, names = range(predictor.n_clusters), None
    if (path := names_of_run(checkpoint.path, predictor.clusters_id)) is not None:
        given = read_names(path).names
        names = [given.get(str(number)) for number in numbers]
    with suppress(CheckpointError):  # the run has not finished
        confusion = load_run(checkpoint.path).confusion()
        if confusion is not None and names is None:
            classes, matching, _ = confusion
            matched = [matching.get(number) for number in numbers]
            names = [None if i is None else classes[i] for i in matched]
    return {
        "format": FORMAT,
        "hadis_lightly": __version__,
        "input": {
            "name": "images",
            "shape": ["n", predictor.num_channels, size, size],
            "dtype": "float32",
            "range": [0, 1],
        },
        "outputs": {
            "cluster": "int64 (n,)",
            "confidence": "float32 (n,), 0 to 1",
            "embedding": "float32 (n, d), L2-normalised",
            "distance": "float32 (n,), from the middle of the cluster",
            "outlier": "bool (n,), like no image of the run",
        },
        "preprocessing": {
            "size": size,
            "crop": 1.0 if views.plain_crop is None else views.plain_crop,
            "interpolation": views.plain_interpolation or "bilinear",
            "scaled_by": "torch" if is_batched else "pillow",
            "channels": predictor.num_channels,
            "reduced_to": predictor.decode_size,
            "mean": views.mean,
            "std": views.std,
            "normalized_inside": True,
        },
        "n_clusters": predictor.n_clusters,
        "clusters_id": predictor.clusters_id,
        "names": names,
        "weights": stamp.get("weights"),
        "method": predictor.settings.method,
        "backbone": predictor.settings.model.backbone,
        "checkpoint": str(checkpoint.path),
        "trained_by": stamp["version"],
        "torch": torch.__version__,
    }


def _traced(graph: RunGraph, images: Tensor) -> torch.export.ExportedProgram:
    """The graph as a program for any number of images."""
    shapes = {"images": {0: torch.export.Dim("n")}}
    try:
        with torch.no_grad():
            return torch.export.export(graph, (images,), dynamic_shapes=shapes)
    except Exception as error:
        # torch.export has many classes of errors.
        raise ExportError(
            f"torch.export cannot trace the networks of this run: {error}"
        ) from error


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, description: dict[str, Any]
) -> None:
    """Writes an ONNX file that carries its description."""
    num_bytes = sum(x.nbytes for x in program.state_dict.values())
    if num_bytes > _MAX_BYTES:
        raise ExportError(
            f"the networks take {num_bytes / 1e9:.1f} GB, more than the 2 GB of an "
            "ONNX file: export to out=model.pt2."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        onnx = torch.onnx.export(
            program, output_names=OUTPUTS, verbose=False, external_data=False
        )
    assert onnx is not None
    onnx.model.metadata_props[METADATA] = json.dumps(description)
    onnx.save(path, external_data=False)


def _near_threshold(predictor: ClusterPredictor, images: Tensor) -> Tensor:
    """Whether rounding could decide if an image is an outlier, ``(n,)``."""
    detector = predictor.outliers
    if detector is None:
        return torch.zeros(len(images), dtype=torch.bool)
    answers = []
    for factor in (1 - _TOLERANCE, 1 + _TOLERANCE):
        predictor.outliers = replace(detector, threshold=factor * detector.threshold)
        answers.append(predictor.predict(images).outlier)
    predictor.outliers = detector
    return answers[0] != answers[1]


def difference(
    expected: Prediction, found: Any, near_threshold: Tensor | None = None
) -> float:
    """Largest difference of embeddings and confidence; raises if it is not rounding.

    Args:
        expected: By the checkpoint.
        found: By the exported file.
        near_threshold: Images that either may call outliers, bool ``(n,)``.
    """
    pairs = [
        (np.asarray(a), np.asarray(b)) for a, b in zip(expected, found, strict=True)
    ]
    (labels, other), *values, (outlier, other_outlier) = pairs
    # Of two clusters that are equally near, either may come out.
    clear = values[0][0] > 0.5 + _TOLERANCE
    num_moved = int((clear & (labels != other)).sum())
    has_changed = outlier != other_outlier
    if near_threshold is not None:
        has_changed &= ~near_threshold.numpy()
    num_changed = int(has_changed.sum())
    largest = max(float(np.abs(a - b).max()) for a, b in values)
    if num_moved or num_changed or not largest <= _TOLERANCE:
        raise ExportError(
            f"the exported file differs from the checkpoint: in {num_moved} of "
            f"{len(labels)} clusters, in {num_changed} of the outliers, and by up to "
            f"{largest:.2g} in embeddings, confidence and distance. It was not kept."
        )
    return largest
