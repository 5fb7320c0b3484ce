"""FiftyOne itself reads what is written for it; skipped where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hadis_lightly.formats import ClusteredImages, export_clusters

pytestmark = pytest.mark.filterwarnings("ignore")  # its own


@pytest.fixture
def fiftyone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, over a database in memory in place of a MongoDB server."""
    settings = {"DO_NOT_TRACK": "1", "DISABLE_SERVICES": "1", "SHOW_PROGRESS_BARS": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(f"FIFTYONE_{name}", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    mongomock = pytest.importorskip("mongomock")
    package = pytest.importorskip("fiftyone")
    import mongoengine
    from fiftyone.core.odm import database

    client = mongoengine.connect(
        package.config.database_name,
        mongo_client_class=mongomock.MongoClient,
        uuidRepresentation="standard",
    )
    monkeypatch.setattr(database, "_client", client)
    monkeypatch.setattr(database, "_connect", lambda: None)
    return package


def test_fiftyone_reads_clusters_and_embeddings(
    fiftyone: Any, images: ClusteredImages, tmp_path: Path
) -> None:
    folder = export_clusters(images, "fiftyone", tmp_path / "out").parent
    kind = fiftyone.types.FiftyOneDataset
    dataset = fiftyone.Dataset.from_dir(str(folder), kind, name="photos")
    columns = images.columns()
    samples = {sample["key"]: sample for sample in dataset}
    assert list(samples) == columns["key"]
    for row, sample in enumerate(samples.values()):
        assert Path(sample.filepath).is_file()
        assert sample.label.label == columns["label"][row]
        assert sample.label.confidence == columns["confidence"][row]
        assert sample.cluster == columns["cluster"][row]
        assert sample.outlier == columns["outlier"][row]
        truth = sample.ground_truth
        assert (truth.label if truth else "") == columns["class"][row]
        np.testing.assert_array_equal(sample.embedding, images.embeddings[row])
