"""An estimator with scikit-learn's manners that clusters images."""

from __future__ import annotations

import copy
import gc
import pickle
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks
from torch.utils.data import Dataset

from hadis_lightly import ImageClusterer
from hadis_lightly.artifacts import CheckpointError
from hadis_lightly.artifacts.names_file import read_names
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.data import DataError, load_digits, read_image
from hadis_lightly.estimator.composition import compose, given_settings
from hadis_lightly.runs import RunInterrupted
from hadis_lightly.settings import SettingsError
from tests.estimator.small_clusterer import SETTINGS, small_clusterer
from tests.photo_runs import NUM_IMAGES, write_names


def paths_of(fitted: ImageClusterer, photos: Path) -> list[Path]:
    return [photos / key for key in fitted.keys_]


def test_what_a_fit_leaves(fitted: ImageClusterer, photos: Path) -> None:
    assert fitted.labels_.shape == fitted.confidence_.shape == (NUM_IMAGES,)
    assert fitted.labels_.dtype == np.int64
    assert set(fitted.labels_) == {0, 1, 2} and fitted.n_clusters_ == 3
    assert fitted.embeddings_.shape == (NUM_IMAGES, 8)
    assert fitted.embeddings_.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(fitted.embeddings_, axis=1), 1, atol=1e-3)
    assert all(path.is_file() for path in paths_of(fitted, photos))
    assert "silhouette" in fitted.scores_
    assert (fitted.run_ / "results.json").is_file()


def test_images_of_a_fit_get_their_clusters(
    fitted: ImageClusterer, photos: Path
) -> None:
    before = {name: id(value) for name, value in vars(fitted).items()}
    paths = paths_of(fitted, photos)
    for images in (
        paths,
        np.array(list(map(str, paths))),
        [Image.open(path) for path in paths],
        [np.asarray(read_image(path)) for path in paths],
    ):
        np.testing.assert_array_equal(fitted.predict(images), fitted.labels_)
    embeddings = fitted.transform(paths[5:9])
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, fitted.embeddings_[5:9], atol=1e-3)
    del before["_predictor"]  # loaded by the first prediction
    assert before.items() <= {n: id(v) for n, v in vars(fitted).items()}.items()


def test_images_in_memory_are_clustered_as_files(weights: Path, tmp_path: Path) -> None:
    """Of different sizes, one of them larger than is needed."""
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(256, size=(h, 20, 3), dtype=np.uint8))
        for h in (16, 40, 18, 90) * 8
    ]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number:06}.png")
    of_files = small_clusterer(weights).fit(tmp_path)
    # A list of paths is in its own order; of images in memory, so are the positions.
    clusterer = small_clusterer(weights)
    np.testing.assert_array_equal(clusterer.fit_predict(images), of_files.labels_)
    np.testing.assert_array_equal(clusterer.embeddings_, of_files.embeddings_)
    np.testing.assert_array_equal(clusterer.predict(images), of_files.labels_)
    assert clusterer.keys_[1] == "000001"


def test_an_array_is_fitted_twice_alike_and_leaves_randomness_alone(
    weights: Path, tmp_path: Path
) -> None:
    images = load_digits().images[:60, ..., 0]
    kept, states = images.copy(), (random.getstate(), torch.get_rng_state())
    drawn = np.random.get_state()[1].copy()  # noqa: NPY002
    clusterer = small_clusterer(weights)
    assert clusterer.fit(images) is clusterer
    first = clusterer.run_
    labels, embeddings = clusterer.labels_, clusterer.embeddings_
    np.testing.assert_array_equal(clusterer.predict(images), labels)
    np.testing.assert_array_equal(clusterer.predict(images[7:9]), labels[7:9])
    clusterer.fit(images)
    np.testing.assert_array_equal(clusterer.labels_, labels)
    np.testing.assert_array_equal(clusterer.embeddings_, embeddings)
    np.testing.assert_array_equal(images, kept)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert (np.random.get_state()[1] == drawn).all()  # noqa: NPY002
    second = clusterer.run_
    with pytest.raises(DataError, match="were in memory; set data"):
        load_run(second).source()
    np.savez(tmp_path / "images.npz", images=images)
    source = load_run(second).source(str(tmp_path / "images.npz"))
    np.testing.assert_array_equal(source.images[..., 0], images)
    assert not first.exists() and second.exists()
    del clusterer
    gc.collect()
    assert not second.parent.exists()


def test_a_folder_of_ones_own_stays(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"output_dir": tmp_path / "run", "max_epochs": 1}
    clusterer = small_clusterer(weights, **params).fit(photos)
    assert capsys.readouterr() == ("", "")
    run, copied = clusterer.run_, pickle.loads(pickle.dumps(clusterer))
    del clusterer
    gc.collect()
    assert copied.run_ == run == tmp_path / "run" and (run / "map.png").is_file()
    small_clusterer(weights, **params, verbose=True).fit(photos)
    assert "view the clusters" in capsys.readouterr().out
    assert (tmp_path / "run-2" / "map.png").is_file()


def test_copies_and_files_predict_the_same(
    fitted: ImageClusterer, photos: Path, tmp_path: Path
) -> None:
    paths = paths_of(fitted, photos)
    fitted.save(tmp_path / "photos.ckpt")
    loaded = ImageClusterer.load(tmp_path / "photos.ckpt")
    weights = fitted.weights
    assert loaded.get_params() == {**fitted.get_params(), "weights": str(weights)}
    assert len(pickle.dumps(fitted)) < 6 << 20
    for other in (loaded, copy.deepcopy(fitted), pickle.loads(pickle.dumps(loaded))):
        assert other.run_ is None and other.keys_ == fitted.keys_
        assert other.scores_ == fitted.scores_ and other._repr_html_()
        for name in ("labels_", "confidence_", "embeddings_"):
            np.testing.assert_array_equal(getattr(other, name), getattr(fitted, name))
        np.testing.assert_array_equal(other.transform(paths), fitted.transform(paths))


def test_a_run_is_loaded_from_its_folder(
    fitted: ImageClusterer, photos: Path, tmp_path: Path
) -> None:
    assert fitted.run_ is not None
    folder = shutil.copytree(fitted.run_, tmp_path / "run")
    loaded = ImageClusterer.load(folder)
    assert loaded.run_ == folder and loaded.scores_ == fitted.scores_
    assert (loaded.n_clusters, loaded.n_clusters_, loaded.backbone) == (
        3, 3, "small_convnet",
    )  # fmt: skip
    assert loaded.settings is not None and loaded.settings["model.hidden_dim"] == 16
    assert "model.pcl_weight" not in loaded.settings  # the command's default
    for name in ("labels_", "confidence_", "embeddings_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))
    paths = paths_of(fitted, photos)
    np.testing.assert_array_equal(loaded.predict(paths), fitted.labels_)
    again = clone(loaded).set_params(output_dir=None).fit(photos)
    np.testing.assert_array_equal(again.labels_, fitted.labels_)


def test_a_fit_starts_from_images_with_a_name(
    fitted: ImageClusterer, weights: Path, photos: Path, tmp_path: Path
) -> None:
    # Two of one cluster are now apart, in the order of their names.
    first, second = np.flatnonzero(fitted.labels_ == fitted.labels_[0])[:2]
    labels = {fitted.keys_[first]: "tree", fitted.keys_[second]: "flower"}
    names = write_names(tmp_path / "names.json", labels)
    settings = {**SETTINGS, "names": str(names)}
    clusterer = small_clusterer(weights, settings=settings).fit(photos)
    assert clusterer.labels_[[first, second]].tolist() == [1, 0]
    images = [photos / key for key in labels]
    assert clusterer.predict(images).tolist() == [1, 0]
    assert clusterer.run_ is not None
    found = read_names(clusterer.run_ / "names.json")
    assert found.names == {"0": "flower", "1": "tree"}
    clusterer.save(tmp_path / "photos.ckpt")
    loaded = ImageClusterer.load(tmp_path / "photos.ckpt")
    assert loaded.predict(images).tolist() == [1, 0]


def test_names_that_do_not_fit(
    fitted: ImageClusterer, weights: Path, photos: Path, tmp_path: Path
) -> None:
    path = tmp_path / "names.json"
    clusterer = small_clusterer(weights, settings={**SETTINGS, "names": str(path)})
    with pytest.raises(SettingsError, match=r"names\.json' cannot be read"):
        clusterer.fit(photos)
    for labels, message in (
        ({"other.png": "tree"}, "none of its 1 images is here, such as 'other.png'"),
        ({key: key for key in fitted.keys_[:4]}, "n_clusters is 3, but names has 4"),
    ):
        write_names(path, labels)
        with pytest.raises(SettingsError, match=message):
            clusterer.fit(photos)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_other_files_are_not_loaded(fitted: ImageClusterer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"was not written by ImageClusterer.sav"):
        ImageClusterer.load(fitted.run_ / "checkpoints" / "last.ckpt")
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(fitted))
    with pytest.raises(CheckpointError, match="could run anybody's code"):
        ImageClusterer.load(tmp_path / "a.ckpt")


def test_arguments(weights: Path) -> None:
    clusterer = small_clusterer(weights, random_state=7)
    assert clone(clusterer).get_params() == clusterer.get_params()
    clusterer.set_params(n_clusters=np.int64(4), output_dir=Path("a"), max_epochs=None)
    settings = compose(given_settings(clusterer.get_params()))
    assert (settings.n_clusters, settings.seed, settings.output_dir) == (4, 7, "a")
    assert settings.trainer.max_epochs == 30 and settings.quiet
    drawn = [
        given_settings({**clusterer.get_params(), "random_state": state})["seed"]
        for state in (np.random.RandomState(0), np.random.RandomState(0))
    ]
    assert drawn[0] == drawn[1] > 0


@pytest.mark.parametrize(
    ("params", "backbone", "size", "epochs"),
    [
        ({}, "efficientnet_b0", 224, 30),
        ({"train": "all"}, "resnet18", 224, 60),
        ({"train": "all", "weights": None}, "resnet18", 64, 60),
        ({"method": "pici"}, "masked_vit", 64, 60),
        ({"train": "all", "backbone": "resnet50", "max_epochs": 5}, "resnet50", 224, 5),
    ],
)
def test_what_is_left_open_is_the_commands(
    params: dict[str, Any], backbone: str, size: int, epochs: int
) -> None:
    settings = compose(given_settings(ImageClusterer(**params).get_params()))
    assert settings.model.backbone == backbone
    assert settings.views.input_size == size
    assert settings.trainer.max_epochs == epochs


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_clusters": 1}, "n_clusters must be >= 2, got 1"),
        ({"n_clusters": 61}, "n_clusters is 61, but there are only 60 images"),
        ({"method": "kmeans"}, "method must be one of hadis, .*, got 'kmeans'"),
        ({"settings": {"model.pcl": 1}}, "there is no setting 'model.pcl'"),
        ({"settings": {"seed": 1}}, "give it as the argument random_state"),
        ({"settings": {"data.path": "a"}}, "give the images to fit"),
        ({"settings": {"trainer.devices": 2}}, "trains on one"),
        ({"random_state": "a"}, "'a' cannot be used to seed"),
    ],
)
def test_wrong_arguments(
    weights: Path,
    params: dict[str, Any],
    message: str,
    monkeypatch: Any,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    clusterer = small_clusterer(weights, **params)
    with pytest.raises(ValueError, match=message):
        clusterer.fit(load_digits().images[:60])
    with pytest.raises(NotFittedError):
        clusterer.predict(load_digits().images[:60])
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_none(fitted: ImageClusterer, tmp_path: Path) -> None:
    for images, error in (
        (tmp_path / "none", DataError),
        (tmp_path, DataError),
        ([], ValueError),
        (np.zeros((2, 8, 8)), TypeError),
        ([None] * 9, TypeError),
    ):
        for use in (clone(fitted).fit, fitted.predict):
            with pytest.raises(error):
                use(images)


def test_a_gallery_in_a_notebook(weights: Path, fitted: ImageClusterer) -> None:
    page = fitted._repr_mimebundle_()["text/html"]
    assert page == fitted._repr_html_()
    assert "60 images in 3 clusters" in page and "data:image/jpeg;base64,/9j/" in page
    assert len(page) < 500_000
    page = copy.copy(fitted).set_params(method="<script>")._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "image/jpeg" not in small_clusterer(weights)._repr_html_()  # the diagram
    with sklearn.config_context(display="text"):
        assert fitted._repr_html_() is None


class Interrupting(Dataset[Image.Image]):
    """A data set that sends a signal once a training listens for it."""

    def __init__(self, signum: int) -> None:
        self.source, self.signum, self.is_sent = load_digits(), signum, False
        self.before = signal.getsignal(signum)

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Image.Image:
        is_heard = signal.getsignal(self.signum) is not self.before
        if is_heard and not self.is_sent:
            self.is_sent = True
            signal.raise_signal(self.signum)
        return self.source.read(index)


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Python's own handler: a shell that starts tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize(
    ("signum", "stays", "error", "message"),
    [
        (signal.SIGINT, False, KeyboardInterrupt, "^$"),
        (signal.SIGTERM, False, RunInterrupted, "nothing is kept: give output_dir"),
        (signal.SIGINT, True, RunInterrupted, "trainer.resume=auto"),
    ],
)
def test_interrupting_a_fit(
    signum: int,
    stays: bool,
    error: type[BaseException],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    more = {name: value for name, value in SETTINGS.items() if "features" not in name}
    clusterer = small_clusterer(
        None,
        train="all",
        settings={**more, "data.pipeline": "workers", "loader.batch_size": 8},
        output_dir=tmp_path / "run" if stays else None,
    )
    images = Interrupting(signum)
    with pytest.raises(error, match=message):
        clusterer.fit(images)
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() == stays
    assert len(list(tmp_path.iterdir())) == stays
    assert not hasattr(clusterer, "labels_")
    if stays:
        more = {**clusterer.settings, "trainer.resume": "auto"}
        assert clusterer.set_params(settings=more).fit(images).run_ == tmp_path / "run"


# They feed tables of floats, lists of numbers or sparse matrices, which are no images.
_OF_TABLES = """
    clustering complex_data dict_unchanged dont_overwrite_parameters dtype_object
    estimator_sparse_array estimator_sparse_matrix estimators_dtypes
    estimators_empty_data_messages estimators_fit_returns_self estimators_nan_inf
    estimators_overwrite_params estimators_pickle f_contiguous_array_estimator fit1d
    fit2d_1feature fit2d_1sample fit2d_predict1d fit_check_is_fitted fit_idempotent
    fit_score_takes_y methods_sample_order_invariance methods_subset_invariance
    n_features_in n_features_in_after_fitting pipeline_consistency
    positive_only_tag_during_fit readonly_memmap_input transformer_data_not_an_array
    transformer_general
"""


@pytest.mark.skipif(
    not hasattr(estimator_checks, "estimator_checks_generator"),
    reason="scikit-learn before 1.6 cannot expect that a check fails",
)
def test_checks_of_scikit_learn() -> None:
    """All that need no table; what they would check of tables is above, of images."""

    class OfTables(ImageClusterer):
        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.two_d_array, tags.no_validation = True, False
            return tags

    reason = "feeds tables, not images"
    results = estimator_checks.check_estimator(
        OfTables(),
        expected_failed_checks={f"check_{n}": reason for n in _OF_TABLES.split()},
        on_skip=None,
    )
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    assert passed >= {
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_cloneable",
        "check_estimators_unfitted",
        "check_get_params_invariance",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
    }
    with pytest.warns(estimator_checks.SkipTestWarning, match="requires input"):
        estimator_checks.check_estimator(ImageClusterer())
