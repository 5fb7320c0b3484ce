"""An estimator, the commands, and another process: the same clusters, bit for bit."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from hadis_lightly.artifacts import load_checkpoint
from hadis_lightly.estimator import ImageClusterer
from tests.estimator.small_clusterer import SETTINGS, small_clusterer
from tests.forked_lines import Lines
from tests.runs.heads_run import write_weights

_ELSEWHERE = """
import pickle, sys
import numpy as np
from hadis_lightly import ImageClusterer

with open("fitted.pkl", "rb") as file:
    fitted = pickle.load(file)
loaded = ImageClusterer.load("fitted.ckpt")
np.savez("found.npz", *[x.transform({photos!r}) for x in (fitted, loaded)])
np.savez("labels.npz", *[x.predict({photos!r}) for x in (fitted, loaded)])
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


def test_an_estimator_the_command_and_another_process(
    lines: Lines, weights: Path, photos: Path, tmp_path: Path
) -> None:
    good = [path for path in sorted(photos.rglob("*.*")) if path.name != "broken.png"]
    listed = tmp_path / "photos.txt"
    listed.write_text("\n".join(map(str, good)) + "\n", encoding="utf-8")
    clusterer = small_clusterer(weights).fit(listed)

    lines.cwd = tmp_path
    words = [f"{name}={value}".replace(" ", "") for name, value in SETTINGS.items()]
    words += [
        "n_clusters=3",
        "model.backbone=small_convnet",
        f"model.weights={weights}",
    ]
    words += ["views.input_size=16", "trainer.max_epochs=3", "trainer.accelerator=cpu"]
    words += [f"data.path={listed}", "output_dir=run", "trainer.logger=none"]
    done = lines.run("hadis_lightly/cli/train", words)
    assert done.status == 0, done.errors
    for name in ("assignments.csv", "embeddings.npy"):
        ours = (clusterer.run_ / name).read_bytes()
        assert ours == (tmp_path / "run" / name).read_bytes()
    of_run, of_fit = (
        load_checkpoint(folder).weights()
        for folder in (tmp_path / "run", clusterer.run_)
    )
    assert all(torch.equal(of_run[name], of_fit[name]) for name in of_run | of_fit)

    (tmp_path / "fitted.pkl").write_bytes(pickle.dumps(clusterer))
    clusterer.save(tmp_path / "fitted.ckpt")
    script = tmp_path / "elsewhere.py"
    script.write_text(_ELSEWHERE.format(photos=str(listed)), encoding="utf-8")
    done = lines.run(str(script.with_suffix("")), [])
    assert done.status == 0, done.errors
    embeddings = clusterer.transform(listed)
    for found in np.load(tmp_path / "found.npz").values():
        np.testing.assert_array_equal(found, embeddings)
    for labels in np.load(tmp_path / "labels.npz").values():
        np.testing.assert_array_equal(labels, clusterer.labels_)

    words = ["checkpoint=fitted.ckpt", f"data.path={listed}", "device=cpu"]
    done = lines.run("hadis_lightly/cli/predict", words)
    assert done.status == 0, done.errors
    with (tmp_path / "clusters.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["cluster"]) for row in rows] == clusterer.labels_.tolist()
    assert ImageClusterer.load(tmp_path / "fitted.ckpt").keys_ == clusterer.keys_
