"""Runs that train heads on features: what other runs promise, and what a bank adds."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.artifacts import backbone_state_dict, load_checkpoint
from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.cli.error_lines import one_line
from hadis_lightly.data.files import array_cache
from hadis_lightly.features import BackbonePass, agreement, backbone_pass
from hadis_lightly.models import build_backbone
from hadis_lightly.prediction import ClusterPredictor, predictor
from hadis_lightly.report.run_report import data_of_run
from hadis_lightly.runs import run
from hadis_lightly.settings import DataSettings, Settings, SettingsError
from tests.forked_runs import ForkedRun
from tests.photo_runs import NUM_IMAGES
from tests.runs.heads_run import heads_settings, write_weights
from tests.runs.test_resume import assert_same, finish, interrupt, kill, outcome

Make = Callable[..., Settings]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def make(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Settings of a run on the photos, with a cache of its own."""
    monkeypatch.setenv("HADIS_LIGHTLY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(agreement, "_MIN_IMAGES", 20)  # there are few photos

    def settings(method: str = "hadis", **data: Any) -> Settings:
        folder = {"source": "folder", "path": str(photos), "on_error": "skip"}
        return heads_settings(
            tmp_path, DataSettings(**{**folder, **data}), weights, method
        )

    return settings


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that go through the backbone."""
    sizes: list[int] = []
    forward = BackbonePass.__call__

    def counted(self: BackbonePass, images: Any) -> Any:
        sizes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(BackbonePass, "__call__", counted)
    return sizes


def finds_its_clusters(folder: Path, images: Any = None) -> None:
    """A prediction for the images of a run, one batch after another, is the run's."""
    loaded = ClusterPredictor.from_checkpoint(folder)
    table = read_assignments(folder)
    if images is None:
        root = Path(json.loads((folder / "results.json").read_text())["images_root"])
        images = [root / key for key in table.keys]
    found = loaded.predict(images, batch_size=7)
    np.testing.assert_array_equal(found.labels, table.labels)
    np.testing.assert_allclose(found.confidence, table.confidence, atol=1e-3)
    np.testing.assert_allclose(found.distance, table.distance, atol=1e-3)


@pytest.mark.parametrize(
    ("method", "components"),
    [
        ("hadis", None),
        ("propos", 10**6),
        ("cc", 16),
        pytest.param("byol", 16, marks=pytest.mark.slow),
    ],
)
def test_a_folder_is_clustered_reported_on_and_predicted(
    make: Make, method: str, components: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of all sizes and modes, one of them broken."""
    settings = make(method)
    settings.features.n_components = components
    result = run(settings)
    said = capsys.readouterr().out
    assert "pipeline features (" in said and "1 file left out" in said
    assert f"agree on {result.view_agreement:.0%} of its nearest" in said
    folder = result.output_dir
    content = json.loads((folder / "results.json").read_text())
    assert content["view_agreement"] == result.view_agreement
    assert content["weights"]["name"] == settings.model.weights
    assert len(read_assignments(folder).labels) == NUM_IMAGES
    finds_its_clusters(folder)
    summary = dict(data_of_run(load_run(folder)).summary)
    assert summary["Trained"].startswith("heads, 3 epochs")
    assert f"agree on {result.view_agreement:.0%}" in summary["Features"]
    names = build_backbone("small_convnet").state_dict().keys()
    assert backbone_state_dict(folder).keys() == names


def test_an_array_of_grey_images_with_duplicates(make: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 9, 9), dtype=np.uint8)
    images[60:] = images[0]
    np.savez(tmp_path / "images.npz", images=images)
    settings = make(source="npz", path=str(tmp_path / "images.npz"))
    settings.n_clusters = 2
    settings.loader.even_clusters = True
    settings.features.n_neighbours = 0
    result = run(settings)
    labels = read_assignments(result.output_dir).labels
    assert set(labels) == {0, 1} and len({labels[0], *labels[60:]}) == 1
    finds_its_clusters(result.output_dir, list(images))


def test_six_images(make: Make, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    for i in range(6):
        pixels = np.full((10 + i, 12, 3), 40 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "few" / f"{i}.png")
    settings = make(path=str(tmp_path / "few"))
    settings.n_clusters = 2
    result = run(settings)
    assert result.view_agreement is None  # of so few it says nothing
    finds_its_clusters(result.output_dir)


def test_nothing_is_trained_on_the_bank(make: Make, passes: list[int]) -> None:
    settings = make()
    settings.model.train = "nothing"
    result = run(settings)
    assert sum(passes) == NUM_IMAGES  # no views
    assert result.epochs == 0 and result.view_agreement is None
    finds_its_clusters(result.output_dir)


def test_nothing_is_computed_where_a_bank_has_views(
    make: Make, passes: list[int]
) -> None:
    settings = make()
    run(settings)
    passes.clear()
    settings.model.train = "nothing"
    result = run(settings)
    assert passes == [] and result.epochs == 0


def test_another_number_of_clusters_opens_the_bank(
    make: Make, passes: list[int], tmp_path: Path
) -> None:
    for n_clusters, batches in ((3, 5), (4, 0)):  # plain images, and four views
        passes.clear()
        settings = make(cache=str(tmp_path / "kept"))
        settings.n_clusters, settings.seed = n_clusters, n_clusters
        run(settings)
        assert len(passes) == batches
    (bank,) = (tmp_path / "kept" / "features").glob("*.features")
    assert bank.stat().st_size == NUM_IMAGES * 5 * 1024 * 2
    assert not (tmp_path / "cache").exists()


def test_features_of_half_precision_in_memory(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (backbone_pass, predictor):  # all CPUs can, if slowly
        monkeypatch.setattr(module, "has_native_bfloat16", lambda: True)
    result = run(make(cache="off"))
    assert not (tmp_path / "cache").exists()
    assert load_checkpoint(result.output_dir).stamp["precision"] == "bf16-mixed"
    finds_its_clusters(result.output_dir)


@pytest.mark.parametrize("place", ["a file", "a full disk"])
def test_a_cache_that_cannot_be_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "a file":
        (tmp_path / "cache").touch()
    else:
        monkeypatch.setattr(array_cache, "_BYTES_LEFT_FREE", 1 << 60)
    with pytest.raises(SettingsError, match=r"data.cache is .*: cannot") as error:
        run(make(cache=str(tmp_path / "cache")))
    assert one_line(error.value, None) == str(error.value)
    with pytest.warns(UserWarning, match="cannot keep features.*They stay in memory"):
        finds_its_clusters(run(make()).output_dir)
    assert not list(tmp_path.glob("cache/features/*.features"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "pici"}, "model.train=heads needs a backbone by name; method=pici"),
        ({"model.weights": None}, "set model.weights=pretrained or model.weights=FILE"),
        ({"trainer.precision": "64-true"}, "all but the backbone computes in float32"),
    ],
)
def test_what_does_not_go_with_heads(
    make: Make, changes: dict[str, Any], message: str
) -> None:
    settings = make()
    for name, value in changes.items():
        section, _, last = name.rpartition(".")
        setattr(getattr(settings, section) if section else settings, last, value)
    with pytest.raises(SettingsError, match=message) as error:
        run(settings)
    assert "\n" not in str(error.value)
    assert not Path(str(settings.output_dir)).exists()


@pytest.fixture(scope="module")
def expected(
    weights: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """How a run ends that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    data = DataSettings(source="folder", path=str(photos), on_error="skip")
    assert finish(heads_settings(folder, data, weights)).count("step") == 12
    return outcome(folder / "run")


@pytest.mark.parametrize(
    "mark", ["step", pytest.param("checkpoint", marks=pytest.mark.slow)]
)
def test_a_killed_run_continues_as_if_nothing_had_happened(
    make: Make, expected: dict[str, Any], tmp_path: Path, mark: str
) -> None:
    settings = make()
    settings.trainer.resume = "auto"
    settings.trainer.checkpoint_every_n_minutes = 0
    kill(settings, mark, 5)
    assert 0 < finish(settings).count("step") < 12
    assert_same(outcome(tmp_path / "run"), expected)


def test_a_named_checkpoint_goes_on_without_its_weights(
    make: Make, expected: dict[str, Any], tmp_path: Path
) -> None:
    """Features are of the backbone in the checkpoint, not of a random one."""
    settings = make(cache="off")
    status, _ = interrupt(settings, "step", signal.SIGTERM, 5)
    assert status == 128 + signal.SIGTERM
    settings.trainer.resume = str(tmp_path / "run")
    settings.output_dir = str(tmp_path / "resumed")
    finish(settings)
    assert_same(outcome(tmp_path / "resumed"), expected)


def test_runs_at_once_share_one_bank(make: Make, tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        settings = make(cache=str(tmp_path / "kept"))
        settings.output_dir = str(tmp_path / name)
        runs.append(ForkedRun(settings))
    assert [run.wait()[0] for run in runs] == [0, 0]
    assert len(list((tmp_path / "kept" / "features").glob("*.features"))) == 1
    assert_same(outcome(tmp_path / "a"), outcome(tmp_path / "b"))
