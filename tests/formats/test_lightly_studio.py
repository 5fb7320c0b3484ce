"""Lightly Studio itself, with a run as its embedder; skipped where it is missing."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hadis_lightly.artifacts.saved_run import SavedRun
from hadis_lightly.cli.export import ExportSettings, export_to_file
from hadis_lightly.formats import ClusteredImages, add_to_lightly_studio
from hadis_lightly.prediction import StudioEmbedder
from tests.formats.conftest import NUM_IMAGES

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "lightly_studio.py"
pytestmark = pytest.mark.filterwarnings("ignore")  # its own


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package, with a database of its own, which tells nobody of its use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTLY_STUDIO_ANALYTICS_ENABLED", "false")
        package = pytest.importorskip("lightly_studio")
        database = tmp_path_factory.mktemp("studio") / "studio.db"
        package.database.db_manager.connect(db_file=str(database))
        yield package
        package.database.db_manager.close()


@pytest.fixture(scope="module")
def dataset(studio: Any, saved: SavedRun) -> Any:
    """The photos of the run, embedded by it."""
    studio.register_default_embedder(StudioEmbedder(saved.folder, "cpu"))
    dataset = studio.ImageDataset.create()
    dataset.add_images_from_path(folder_of(saved))
    assert len(list(dataset)) == NUM_IMAGES
    return dataset


def folder_of(saved: SavedRun) -> Path:
    return Path(str(saved.settings.data.path))


def test_similarity_search_is_that_of_the_run(dataset: Any, saved: SavedRun) -> None:
    from lightly_studio.embed import embed_samples
    from lightly_studio.resolvers import image_resolver

    root = folder_of(saved)
    for row in (0, 5, 17):
        content = (root / saved.assignments.keys[row]).read_bytes()
        where = dataset.session, dataset.collection_id
        vector = embed_samples.embed_image_for_collection(*where, content)
        np.testing.assert_allclose(vector, saved.embeddings[row], atol=1e-3)
        found = image_resolver.get_all_by_collection_id(*where, text_embedding=vector)
        keys = [
            Path(x.file_path_abs).relative_to(root).as_posix() for x in found.samples
        ]
        cosines = dict(zip(keys, found.similarity_scores or [], strict=True))
        own = saved.embeddings @ saved.embeddings[row]
        expected = dict(zip(saved.assignments.keys, own.tolist(), strict=True))
        assert cosines == pytest.approx(expected, abs=1e-3)
        assert keys[0] == saved.assignments.keys[row]


def test_clusters_become_tags_and_metadata(
    dataset: Any, images: ClusteredImages
) -> None:
    assert add_to_lightly_studio(images, dataset) == NUM_IMAGES
    root = Path(images.source.root)  # type: ignore[attr-defined]
    rows = {str(root / key): row for row, key in enumerate(images.table.keys)}
    columns = images.columns()
    for sample in dataset:
        row = rows[sample.file_path_abs]
        assert sample.tags == {columns["label"][row]}
        assert all(sample.metadata[name] == v[row] for name, v in columns.items())


def test_the_example_of_the_docs(
    studio: Any, saved: SavedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "photos").symlink_to(saved.folder)
    (tmp_path / "photos").symlink_to(folder_of(saved))
    (tmp_path / "names.json").write_text('{"0": "cats", "1": "cats", "2": "cats"}')
    # All but the window, which waits for a browser.
    monkeypatch.setattr(studio, "start_gui", lambda: None)
    runpy.run_path(str(EXAMPLE))
    tags = [sample.tags for sample in studio.ImageDataset.load("photos")]
    assert tags == [{"cats"}] * NUM_IMAGES


def test_another_folder_gets_no_clusters(
    dataset: Any, images: ClusteredImages, tmp_path: Path
) -> None:
    moved = dataclasses.replace(images.source, root=str(tmp_path))  # type: ignore[call-arg]
    images = dataclasses.replace(images, source=moved)
    with pytest.raises(ValueError, match="none of the 41 image files of the run"):
        add_to_lightly_studio(images, dataset)


def test_an_exported_run_has_the_same_space(
    studio: Any, saved: SavedRun, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    out = str(tmp_path / "model.onnx")
    export_to_file(ExportSettings(str(saved.folder), out, quiet=True))
    ours, exported = StudioEmbedder(saved.folder, "cpu"), StudioEmbedder(out, "cpu", 7)
    assert ours.embedding_space_spec() == exported.embedding_space_spec()
    root = folder_of(saved)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    paths = [str(root / key) for key in saved.assignments.keys]
    paths[3:3] = [str(broken), str(tmp_path / "gone.png")]
    for embedder in (ours, exported):
        found = embedder.embed_images(paths)
        assert found.kept_indices == [0, 1, 2, *range(5, NUM_IMAGES + 2)]
        np.testing.assert_allclose(found.embeddings, saved.embeddings, atol=1e-3)
        nothing = embedder.embed_image_bytes([broken.read_bytes()])
        assert nothing.embeddings.shape == (0, found.embeddings.shape[1])


def test_without_lightly_studio_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lightly_studio_serve.embedder", None)
    with pytest.raises(ImportError, match="pip install lightly-studio"):
        StudioEmbedder("runs/photos")
