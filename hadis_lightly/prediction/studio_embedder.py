"""A run as the embedder of Lightly Studio."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from hadis_lightly.data import ImageReadError, decode_image
from hadis_lightly.data.thread_map import thread_map
from hadis_lightly.prediction.loading import load_predictor
from hadis_lightly.system import available_cores

if TYPE_CHECKING:
    from lightly_studio_serve.types import EmbeddingResult, EmbeddingSpaceSpec

_LOG = logging.getLogger(__name__)


class StudioEmbedder:
    """Embeds images for Lightly Studio as a run does.

    Similarity search, by an image of the dataset or by one that is dropped into the
    window, and the map are then those of the run. There is no search by text.

    Args:
        checkpoint: The folder of a run, a checkpoint in it, or an ``.onnx`` file that
            ``hadis-lightly-export`` wrote; both give the same embedding space.
        device: ``auto``, ``cpu``, ``cuda``, ...
        batch_size: Images at a time.

    Raises:
        ImportError: If Lightly Studio is not installed.
        ValueError: If the checkpoint cannot be read, or there is no such device.

    Example:
        >>> import lightly_studio as ls  # doctest: +SKIP
        >>> embedder = StudioEmbedder("runs/photos")  # doctest: +SKIP
        >>> ls.register_default_embedder(embedder)  # doctest: +SKIP
    """

    ready = True
    """Whether the networks are loaded, as Lightly Studio asks."""

    def __init__(
        self, checkpoint: str | Path, device: str = "auto", batch_size: int = 256
    ) -> None:
        try:
            from lightly_studio_serve.embedder import (
                ImageBytesEmbedder,
                ImagePathEmbedder,
            )
        except ImportError as error:
            raise ImportError(
                f"StudioEmbedder needs lightly-studio: pip install lightly-studio "
                f"({error})"
            ) from None
        # Not base classes, so that this module does not need the package.
        for interface in (ImagePathEmbedder, ImageBytesEmbedder):
            interface.register(type(self))
        self._predictor: Any = load_predictor(checkpoint, device)
        self._batch_size = batch_size
        self._lock = Lock()  # Lightly Studio calls from several threads

    def embedding_space_spec(self) -> EmbeddingSpaceSpec:
        """The name of the embedding space, which no other run has, and its size."""
        from lightly_studio_serve.types import EmbeddingSpaceSpec

        return EmbeddingSpaceSpec(
            f"hadis-lightly/{self._predictor.clusters_id}",
            self._predictor.embedding_dim,
        )

    def embed_images(self, paths: list[str]) -> EmbeddingResult:
        """Embeddings of image files, local or of any kind that fsspec reads.

        Files that cannot be read are logged and left out.
        """
        return self._embed(paths, _read)

    def embed_image_bytes(self, images: list[bytes]) -> EmbeddingResult:
        """Embeddings of the contents of image files, such as those of a search."""
        return self._embed(images, bytes)

    def _embed(
        self, images: list[Any], content_of: Callable[[Any], bytes]
    ) -> EmbeddingResult:
        from lightly_studio_serve.types import EmbeddingResult

        predictor = self._predictor

        def pixels_at(row: int) -> Any:
            try:
                content = content_of(images[row])
                image = decode_image(
                    content, predictor.num_channels, predictor.decode_size
                )
            except (OSError, ImageReadError) as error:
                name = images[row] if isinstance(images[row], str) else f"image {row}"
                _LOG.warning("%s is left out: %s", name, error)
                return None
            return predictor.transform_plain(image)

        found = enumerate(thread_map(pixels_at, len(images), available_cores()))
        readable = ((row, pixels) for row, pixels in found if pixels is not None)
        kept: list[int] = []
        embeddings = [np.empty((0, predictor.embedding_dim), np.float32)]
        while batch := list(islice(readable, self._batch_size)):
            kept += [row for row, _ in batch]
            with self._lock:
                prediction = predictor.predict_plain([pixels for _, pixels in batch])
            embeddings.append(np.asarray(prediction.embeddings, np.float32))
        return EmbeddingResult(np.concatenate(embeddings), kept)


def _read(path: str) -> bytes:
    import fsspec

    with fsspec.open(path, "rb") as file:
        return bytes(file.read())
