"""Deep clustering of images as an estimator of scikit-learn's kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.results import EMBEDDINGS
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.data import source_in_memory
from hadis_lightly.data.thread_map import thread_map
from hadis_lightly.estimator.composition import (
    arguments_of,
    compose,
    given_settings,
    plain_values,
)
from hadis_lightly.estimator.folder import folder_of_run
from hadis_lightly.estimator.gallery import gallery_html, read_gallery
from hadis_lightly.estimator.images import paths_in, source_to_predict
from hadis_lightly.estimator.saved_file import (
    checkpoint_bytes,
    predictor_from,
    read_saved,
    write_saved,
)
from hadis_lightly.prediction import ClusterPredictor, Prediction
from hadis_lightly.runs import run
from hadis_lightly.system import available_cores

if TYPE_CHECKING:
    from typing_extensions import Self

FloatArray = NDArray[np.float32]

# What save keeps beside the checkpoint.
_SAVED = (
    *("labels_", "n_clusters_", "embeddings_", "confidence_", "keys_", "scores_"),
    "_gallery",
)


class ImageClusterer(ClusterMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Clusters images as ``hadis-lightly-train`` does, with scikit-learn's manners.

    The result is that of the command with the same settings, bit for bit.

    Args:
        n_clusters: Number of clusters; or a range such as ``"5-20"``, or ``"auto"``, to
            have a number chosen.
        method: ``hadis``, ``propos``, ``byol``, ``cc`` or ``pici``.
        backbone: See :class:`~hadis_lightly.settings.ModelSettings`. ``"auto"`` is the
            command's: ``efficientnet_b0``, or what ``method`` and ``train`` bring.
        weights: Weights that the backbone starts from; None for random ones. ``"auto"``
            is ``pretrained``, or what ``method`` brings.
        train: ``heads``, on features of the backbone; ``all``, the backbone as well; or
            ``nothing``, k-means on the features alone. ``"auto"`` is ``heads``, or what
            ``method`` brings.
        random_state: Seed of all randomness, as ``seed`` of the command. Of a
            ``RandomState``, or NumPy's own if None, a seed is drawn.
        input_size: Side of a view in pixels; by default that of the weights.
        max_epochs: Length of the training in epochs; by default the command's.
        settings: Any other settings by their full names, such as
            ``{"features.n_views": 16, "data.on_error": "skip"}``, or ``{"names":
            "names.json"}`` to start from images that were named in a report.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; for new images ``cuda:1`` too.
        cache: Where features and decoded images are kept: ``auto``, ``off`` or a
            folder.
        output_dir: Folder for what a run leaves; a number is added if it is taken. By
            default a temporary one, removed with the estimator.
        verbose: Whether to print what the command prints.

    Attributes:
        labels_: Cluster of each image, int64 ``(n,)``.
        n_clusters_: Number of clusters.
        embeddings_: L2-normalised, float32 ``(n, d)``, of which the run keeps 16 bits.
        confidence_: How clearly each image lies with its cluster, float32 ``(n,)`` in
            [0, 1], to four decimals.
        keys_: Names of the ``n`` images: paths relative to the folder, or positions.
        scores_: Scores that need no labels by name; of folders with sub-folders, which
            are taken for classes, also ``nmi``, ``acc`` and ``ari``.
        run_: Folder of the run, as a :class:`~pathlib.Path`, for the report and other
            commands; None in a copy if it was temporary.

    Example:
        >>> clusterer = ImageClusterer(n_clusters=12)  # doctest: +SKIP
        >>> clusterer.fit("my_photos").labels_  # doctest: +SKIP
        array([3, 0, 3, ...])
        >>> clusterer.predict(["new/a.jpg", "new/b.jpg"])  # doctest: +SKIP
        array([3, 7])
    """

    def __init__(
        self,
        n_clusters: int | str = "auto",
        method: str = "hadis",
        backbone: str = "auto",
        weights: str | os.PathLike[str] | None = "auto",
        train: str = "auto",
        random_state: int | np.random.RandomState | None = 0,
        *,
        input_size: int | None = None,
        max_epochs: int | None = None,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        cache: str | os.PathLike[str] = "auto",
        output_dir: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.method = method
        self.backbone = backbone
        self.weights = weights
        self.train = train
        self.random_state = random_state
        self.input_size = input_size
        self.max_epochs = max_epochs
        self.settings = settings
        self.device = device
        self.cache = cache
        self.output_dir = output_dir
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Clusters images.

        Args:
            X: A path: of a folder, a list of paths, a table of images or an npz file;
                several paths; an array of images, uint8 ``(n, h, w)`` or ``(n, h, w,
                c)`` with ``c`` 1, 3 or 4; a list of PIL images or of such arrays; a
                data set of PyTorch or Hugging Face that gives them by index; or a
                source, as from :func:`~hadis_lightly.data.load_source`.
            y: Not used.

        Raises:
            SettingsError: a ``ValueError``: If an argument or a setting is not allowed,
                or does not fit the images.
            DataError: a ``ValueError``: If images cannot be found or read.
            TypeError: If ``X`` is something else.
            RunInterrupted: After Ctrl-C if ``output_dir`` is given: with
                ``settings={"trainer.resume": "auto"}`` another fit continues.
        """
        given = given_settings(self.get_params(deep=False))
        paths, source = paths_in(X), None
        if paths is None:
            source = source_in_memory(X, given.get("data.num_channels"))
        else:
            given["data.path"] = paths
        with folder_of_run(self, given) as remove, isolate_rng():
            result = run(compose(given), source)
            self._keep(result.output_dir, result.n_clusters, result.scores)
        earlier, self._remove = vars(self).get("_remove"), remove
        if earlier is not None:
            earlier()
        return self

    def _keep(self, folder: Path, n_clusters: int, scores: dict[str, float]) -> None:
        """Takes over what a run has found."""
        folder = Path(os.path.abspath(folder))
        table = read_assignments(folder)
        self.run_: Path | None = folder
        self.labels_, self.confidence_ = table.labels, table.confidence
        self.embeddings_: FloatArray = np.load(folder / EMBEDDINGS).astype(np.float32)
        self.n_clusters_ = n_clusters
        self.keys_, self.scores_ = table.keys, scores
        self._gallery = read_gallery(folder)
        self._checkpoint = checkpoint_bytes(folder)
        self._predictor: tuple[str, ClusterPredictor] | None = None

    @property
    def predictor_(self) -> ClusterPredictor:
        """Gives confidence, distance and embeddings of new images as well.

        Raises:
            NotFittedError: If nothing was fitted.
            ValueError: If there is no ``device`` of that name.
        """
        check_is_fitted(self)
        if self._predictor is None or self._predictor[0] != self.device:
            predictor = predictor_from(self._checkpoint, self.device)
            self._predictor = self.device, predictor
        return self._predictor[1]

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Assigns new images to the clusters.

        Args:
            X: Images, as for :meth:`fit`.

        Returns:
            Clusters, int64 ``(n,)``.

        Raises:
            NotFittedError: If nothing was fitted.
            DataError: a ``ValueError``: If images cannot be found or read.
            TypeError: If ``X`` is something else.
        """
        return self._predict(X).labels.numpy()

    def transform(self, X: Any) -> FloatArray:
        """Embeds new images; raises what :meth:`predict` raises.

        Args:
            X: Images, as for :meth:`fit`.

        Returns:
            L2-normalised embeddings, float32 ``(n, d)``.
        """
        return self._predict(X).embeddings.float().numpy()

    def _predict(self, X: Any) -> Prediction:
        predictor = self.predictor_
        channels, min_side = predictor.num_channels, predictor.decode_size
        source = source_to_predict(X, channels, min_side)
        images = thread_map(source.read, len(source), available_cores())
        return predictor.predict(images)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one file with all that was fitted, which no code can hide in.

        It is a checkpoint as well: ``hadis-lightly-predict checkpoint=FILE`` reads it.
        A ``RandomState`` is not saved.

        Args:
            path: The file, such as ``photos.ckpt``; what is there is replaced.

        Raises:
            NotFittedError: If nothing was fitted.
            OSError: If it cannot be written.
        """
        check_is_fitted(self)
        params = plain_values(self.get_params(deep=False))
        if isinstance(params["random_state"], np.random.RandomState):
            params["random_state"] = None
        params["settings"] = params["settings"] and plain_values(params["settings"])
        fitted = {name: getattr(self, name) for name in _SAVED}
        write_saved(path, self._checkpoint, params, fitted)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what :meth:`save` wrote, or a run; code in it is refused, not run.

        Args:
            path: The file; or the folder of a finished run, such as one of
                ``hadis-lightly-train``, whose settings become the arguments.

        Raises:
            CheckpointError: a ``ValueError``: If it cannot be read, is another file, or
                the run has not finished.
        """
        if os.path.isdir(path):
            saved = load_run(os.fspath(path))
            loaded = cls(**arguments_of(saved.settings))
            scores = saved.result["scores"]
            loaded._keep(saved.folder, len(saved.prototypes), scores)
            return loaded
        checkpoint, params, fitted = read_saved(path)
        loaded = cls(**params)
        own = {"run_": None, "_checkpoint": checkpoint, "_predictor": None}
        loaded.__dict__ |= {**fitted, **own}
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if state.pop("_remove", None) is not None:
            state["run_"] = None
        return {**state, "_predictor": None} if "_predictor" in state else state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.no_validation = True
        return tags

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """The typical images of each cluster; scikit-learn's diagram before a fit."""
        shown: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in shown and hasattr(self, "_gallery"):
            text = f"{len(self.labels_):,} images in {self.n_clusters_} clusters"
            shown["text/html"] = gallery_html(repr(self), text, self._gallery)
        return shown

    def _repr_html_(self) -> str | None:
        return self._repr_mimebundle_().get("text/html")
