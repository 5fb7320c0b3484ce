"""Assigns images to the clusters of an exported run, without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from hadis_lightly.central_square import central_square, is_long, scaled_side
from hadis_lightly.prediction.tensor_resize import resize_bytes
from hadis_lightly.system import available_cores
from hadis_lightly.text import first_line

#: Where an exported file carries its description.
METADATA = "hadis_lightly"
#: Raised by one whenever other versions would misread the description.
FORMAT = 2
# As many pixels at a time as inference.py gives a network on a CPU.
_SLICE_PIXELS = 2**17
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

Array = npt.NDArray[Any]


class OnnxPrediction(NamedTuple):
    """As :class:`Prediction`, in arrays."""

    labels: Array
    confidence: Array
    distance: Array
    embeddings: Array
    outlier: Array


class OnnxPredictor:
    """Assigns images to clusters as the run did that an ONNX file was exported from.

    It needs NumPy, Pillow and onnxruntime. Images are scaled as in
    :class:`ClusterPredictor`.

    Args:
        path: A file that ``hadis-lightly-export`` wrote.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ValueError: If onnxruntime is not installed, the file is none of ours or cannot
            be read, or there is no such device.
    """

    def __init__(self, path: str | Path, device: str = "auto") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(
                f"{str(path)!r} needs onnxruntime: pip install onnxruntime ({error})"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cores()
        options.log_severity_level = 3  # errors
        provider = _provider(device, onnxruntime.get_available_providers())
        try:
            # Bytes, because a name may be one that onnxruntime cannot open.
            self._session = onnxruntime.InferenceSession(
                Path(path).read_bytes(), options, [provider]
            )
        except OSError:
            raise
        except Exception as error:  # of one of onnxruntime's dozen classes
            raise ValueError(
                f"checkpoint {str(path)!r} cannot be read by onnxruntime: "
                f"{first_line(error)}"
            ) from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA not in metadata:
            raise ValueError(
                f"checkpoint {str(path)!r} was not written by hadis-lightly-export."
            )
        self.description: dict[str, Any] = json.loads(metadata[METADATA])
        if (version := self.description.get("format", 0)) != FORMAT:
            again = "export the run again: hadis-lightly-export checkpoint=RUN"
            raise ValueError(
                f"checkpoint {str(path)!r} was exported by hadis-lightly "
                f"{self.description.get('hadis_lightly')} in format {version}, but "
                f"this version reads format {FORMAT}: "
                + (again if version < FORMAT else "update hadis-lightly.")
            )
        how = self.description["preprocessing"]
        self.num_channels: int = how["channels"]
        self.decode_size: int = how["reduced_to"]
        self.n_clusters: int = self.description["n_clusters"]
        self.clusters_id: str = self.description["clusters_id"]
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        self.embedding_dim: int = shapes["embedding"][1]
        self._size: int = how["size"]
        self._scaled = scaled_side(self._size, how["crop"])
        self._interpolation: str = how["interpolation"]
        self._is_batched = how["scaled_by"] == "torch"

    def transform_plain(self, image: Image.Image) -> Array:
        """The pixels uint8 ``(c, s, s)`` of what ``read_image`` returns."""
        size, scaled = self._size, self._scaled
        if not self._is_batched or is_long(*image.size):
            square = central_square(image, size, scaled, self._interpolation)
            pixels = np.asarray(square).reshape(size, size, self.num_channels)
        else:
            width, height = image.size
            whole = np.asarray(image).reshape(height, width, self.num_channels)
            sides = [scaled * side // min(image.size) for side in (height, width)]
            whole = resize_bytes(whole, sides[0], sides[1], self._interpolation)
            top, left = (round((side - size) / 2) for side in sides)
            pixels = whole[top : top + size, left : left + size]
        return pixels.transpose(2, 0, 1)

    def predict_plain(self, images: list[Array]) -> OnnxPrediction:
        """Clusters of what :meth:`transform_plain` made of images, one or more."""
        return self.predict_pixels(np.stack(images).astype(np.float32) / 255)

    def predict_pixels(self, images: Array) -> OnnxPrediction:
        """Clusters of images ``(n, c, s, s)``, float32 in [0, 1], n >= 1."""
        step = max(1, _SLICE_PIXELS // self._size**2)
        parts = [
            self._session.run(
                ["cluster", "confidence", "distance", "embedding", "outlier"],
                {"images": images[start : start + step]},
            )
            for start in range(0, len(images), step)
        ]
        return OnnxPrediction(*map(np.concatenate, zip(*parts, strict=True)))


def _provider(device: str, available: list[str]) -> Any:
    """What onnxruntime calls a device."""
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    name = _PROVIDERS.get(kind)
    if name not in available:
        raise ValueError(f"device is {device}, but onnxruntime has only {available}.")
    return (name, {"device_id": number}) if number else name
