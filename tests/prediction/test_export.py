"""An exported run gives the clusters of the run, also where there is no PyTorch."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.cli.export import ExportSettings, export_to_file
from hadis_lightly.cli.predict import PredictSettings, predict_images
from hadis_lightly.cluster import (
    HeadPartition,
    OutlierDetector,
    fit_partition,
    merge_clusters,
)
from hadis_lightly.methods import with_method
from hadis_lightly.prediction import ClusterPredictor, OnnxPredictor, Prediction
from hadis_lightly.prediction.export import ExportError, difference
from hadis_lightly.prediction.graph import (
    Isolated,
    MostProbable,
    NearestCentre,
    RunGraph,
)
from hadis_lightly.prediction.tensor_resize import resize_bytes
from hadis_lightly.runs import run
from hadis_lightly.settings import DataSettings, SettingsError
from tests.photo_runs import tiny_settings
from tests.runs.heads_run import heads_settings, write_weights

WITHOUT = ("torch", "torchvision", "lightly", "pytorch_lightning", "sklearn", "scipy")


def heads_run(folder: Path, photos: Path, method: str = "hadis") -> Path:
    """A run of heads, with components and clusters of several centres."""
    data = DataSettings(source="folder", path=str(photos), on_error="skip")
    settings = heads_settings(folder, data, write_weights(folder), method)
    settings.quiet = True
    run(settings)
    return folder / "run"


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    return heads_run(tmp_path_factory.mktemp("heads"), photos)


@pytest.fixture(scope="module")
def exported(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    return export_to_file(ExportSettings(str(heads), str(out), quiet=True))


def test_without_pytorch_files_of_the_run_are_where_the_run_has_put_them(
    exported: Path, heads: Path, photos: Path, tmp_path: Path
) -> None:
    missing = "".join(f"sys.modules[{name!r}] = None; " for name in WITHOUT)
    code = f"import sys; {missing}from hadis_lightly.cli.predict import main; main()"
    words = [f"checkpoint={exported}", f"data.path={photos}", "out=a.csv"]
    words += ["embeddings=a.npy", "sort_into=sorted"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    table = read_assignments(heads)
    assert set(rows) == set(table.keys) and table.outlier is not None
    detector = ClusterPredictor.from_checkpoint(heads, "cpu").outliers
    assert detector is not None and table.isolation is not None
    for i, key in enumerate(table.keys):
        if table.confidence[i] > 0.52:  # no tie
            assert int(rows[key]["cluster"]) == table.labels[i]
        for name, values in (
            ("confidence", table.confidence),
            ("distance", table.distance),
        ):
            assert float(rows[key][name]) == pytest.approx(values[i], abs=2e-2)
        if abs(table.isolation[i] / detector.threshold - 1) > 2e-2:
            assert rows[key]["outlier"] == str(int(table.outlier[i]))
    embeddings = np.load(tmp_path / "a.npy")
    assert np.linalg.norm(embeddings.astype(float), axis=1) == pytest.approx(
        1, abs=2e-3
    )
    assert sum(path.is_symlink() for path in tmp_path.rglob("sorted/*/**/*")) == len(
        rows
    )


def test_the_description_says_what_the_file_takes(exported: Path) -> None:
    beside = json.loads(exported.with_name("model.onnx.json").read_text("utf-8"))
    assert OnnxPredictor(exported, "cpu").description == beside
    assert beside["input"]["shape"] == ["n", 3, 16, 16]
    assert beside["preprocessing"]["mean"] == [0.3] * 3
    assert beside["weights"]["sha256"] and beside["n_clusters"] == 3


def test_images_are_scaled_as_by_the_checkpoint(exported: Path, heads: Path) -> None:
    ours, theirs = (
        OnnxPredictor(exported, "cpu"),
        ClusterPredictor.from_checkpoint(heads),
    )
    rng = np.random.default_rng(0)
    for height, width in ((16, 16), (9, 40), (50, 31), (20, 400)):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        x = torch.from_numpy(ours.transform_plain(image).astype(np.float32)) / 255
        assert theirs.transform_plain(image) == pytest.approx((x - 0.3) / 0.4, abs=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_bytes_are_resized_as_by_pytorch(interpolation: str) -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    if interpolation == "bilinear" and not capability.startswith("AVX"):
        pytest.skip("torchvision resizes floats there")
    rng = np.random.default_rng(0)
    for _ in range(30):
        height, width, side = (int(x) for x in rng.integers(2, 90, 3))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = TF.resize(
            torch.from_numpy(image).permute(2, 0, 1),
            [side],
            InterpolationMode(interpolation),
            antialias=True,
        )
        found = resize_bytes(image, *expected.shape[1:], interpolation)
        assert np.array_equal(found, expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("merge", [False, True])
def test_the_graph_of_nearest_centres(whiten: bool, merge: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(200, 6, generator=draw), dim=1)
    options = {"n_init": 2, "random_state": 0, "whiten": whiten}
    if merge:
        clusters = merge_clusters(
            embeddings, fit_partition(embeddings, 9, **options), 4
        )
        assert clusters.center_labels is not None
    else:
        clusters = fit_partition(embeddings, 4, **options)
    some = torch.cat([torch.zeros(1, 6), embeddings])
    labels, confidence, distance = NearestCentre(clusters)(some)
    assert torch.equal(labels, clusters.predict(some))
    assert confidence == pytest.approx(clusters.confidence(some), abs=1e-5)
    assert distance == pytest.approx(clusters.distance(some), abs=1e-5)


def test_the_graph_of_a_cluster_head() -> None:
    draw = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(50, 6, generator=draw), dim=1)
    embeddings[3] = 0
    probabilities = torch.rand(50, 4, generator=draw).softmax(dim=1)
    clusters = HeadPartition.of(embeddings, probabilities)
    labels, confidence, distance = MostProbable(clusters.prototypes)(
        embeddings, probabilities
    )
    assert torch.equal(labels, clusters.predict(embeddings, probabilities))
    assert torch.equal(confidence, clusters.confidence(embeddings, probabilities))
    assert distance == pytest.approx(clusters.distance(embeddings, probabilities))


@pytest.mark.parametrize("dimensions", [6, 150])
def test_the_graph_of_outliers(dimensions: int) -> None:
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(300, dimensions, generator=draw)
    points[:4] *= 3
    points[4] = points[5]
    for n_samples in (3, 32):
        detector = OutlierDetector.fit(points, n_samples=n_samples)
        expected = detector.predict(points)
        assert expected[:4].all() and not expected.all()
        assert torch.equal(Isolated(detector)(points), expected)
    half = points.half()
    assert torch.equal(Isolated(detector)(half), detector.predict(half))


def test_a_checkpoint_without_outliers_has_none(digits_run: Path) -> None:
    predictor = ClusterPredictor.from_checkpoint(digits_run, "cpu")
    predictor.outliers = None
    outlier = RunGraph(predictor)(torch.rand(3, 1, 16, 16))[4]
    assert outlier.dtype == torch.bool and outlier.tolist() == [False] * 3


def test_an_exported_model_has_no_levels(exported: Path, photos: Path) -> None:
    settings = PredictSettings(checkpoint=str(exported), level=2)
    settings.data.path = str(photos)
    with pytest.raises(SettingsError, match="level is 2, but an exported model has no"):
        predict_images(settings)


def test_networks_from_pixels_as_a_program_of_torch_export(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.pt2"
    for name in ("model.pt2", "model-2.pt2"):
        file = export_to_file(ExportSettings(str(digits_run), str(out)))
        assert file.name == name and file.with_name(f"{name}.json").exists()
        assert f"{name}.json\nagrees with the checkpoint to " in capsys.readouterr().out
    extra = {"hadis_lightly.json": ""}
    module = torch.export.load(file, extra_files=extra).module()
    assert set(json.loads(extra["hadis_lightly.json"])["names"]) <= set("0123456789")
    predictor = ClusterPredictor.from_checkpoint(digits_run, "cpu")
    image = torch.rand(1, 1, 16, 16)  # exported with another number of images
    found, expected = module(image), predictor.predict((image - 0.3) / 0.4)
    assert int(found[0]) == int(expected.labels)
    assert found[2] == pytest.approx(expected.embeddings, abs=1e-5)
    assert torch.equal(found[4], expected.outlier)


def test_networks_with_a_cluster_head_on_features(photos: Path, tmp_path: Path) -> None:
    predictor = ClusterPredictor.from_checkpoint(heads_run(tmp_path, photos, "cc"))
    graph, images = RunGraph(predictor), torch.rand(20, 3, 16, 16)
    labels, confidence, embeddings, distance, outlier = graph(images)
    found = Prediction(labels, confidence, distance, embeddings, outlier)
    expected = predictor.predict((images - graph.mean) / graph.std)
    assert difference(expected, found) < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cc", "pici", "byol"])
def test_other_methods(method: str, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("timm")
    data = DataSettings(source="folder", path=str(photos), on_error="skip")
    own: dict[str, object] = {"trainer.max_epochs": 4, "loader.batch_size": 16}
    if method == "pici":
        sizes = {"width": 32, "depth": 1, "num_heads": 2, "patch_size": 4}
        sizes |= {"decoder_width": 32, "decoder_depth": 1, "decoder_num_heads": 2}
        own |= {f"pici.{name}": value for name, value in sizes.items()}
    run(with_method(tiny_settings(data, tmp_path / "run"), method, own))
    for name in ("model.onnx", "model.pt2"):
        export_to_file(
            ExportSettings(str(tmp_path / "run"), str(tmp_path / name), quiet=True)
        )


def test_what_differs_is_refused() -> None:
    good = Prediction(
        labels=torch.tensor([0, 1]),
        confidence=torch.tensor([0.9, 0.4]),
        distance=torch.rand(2),
        embeddings=torch.rand(2, 3),
        outlier=torch.tensor([True, False]),
    )
    other = good._replace(outlier=torch.tensor([True, True]))
    assert difference(good, other, torch.tensor([False, True])) == 0  # either may be
    assert difference(good, good) == 0
    assert difference(good, good._replace(labels=torch.tensor([0, 0]))) == 0  # a tie
    for wrong in (
        {"labels": torch.tensor([1, 1])},
        {"embeddings": good.embeddings + 0.03},
        {"confidence": torch.tensor([0.9, torch.nan])},
        {"outlier": torch.tensor([False, False])},
    ):
        with pytest.raises(ExportError, match="differs from the checkpoint"):
            difference(good, good._replace(**wrong))


def test_wrong_settings_are_named(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"out must end in \.onnx or \.pt2"):
        export_to_file(ExportSettings(str(run_folder), "model.pb"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SettingsError, match="needs onnxscript: pip install onnx"):
        export_to_file(ExportSettings(str(run_folder), str(tmp_path / "a.onnx")))


def test_files_that_are_none_of_ours_are_named(exported: Path, tmp_path: Path) -> None:
    import onnx

    damaged, foreign = tmp_path / "damaged.onnx", tmp_path / "foreign.onnx"
    later, earlier = tmp_path / "later.onnx", tmp_path / "earlier.onnx"
    damaged.write_bytes(exported.read_bytes()[:1000])
    model = onnx.load(exported)
    for path, number, version in ((later, 3, "9.0"), (earlier, 1, "0.1")):
        content = {"format": number, "hadis_lightly": version}
        model.metadata_props[0].value = json.dumps(content)
        onnx.save(model, path)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(ValueError, match="cannot be read by onnxruntime"):
        OnnxPredictor(damaged)
    with pytest.raises(ValueError, match=r"by hadis-lightly 9\.0 .*: update hadis"):
        OnnxPredictor(later)
    with pytest.raises(ValueError, match=r"0\.1 in format 1, but .*: hadis-lightly-ex"):
        OnnxPredictor(earlier)
    with pytest.raises(ValueError, match="was not written by hadis-lightly-export"):
        OnnxPredictor(foreign)
    with pytest.raises(ValueError, match="device is cuda:7"):
        OnnxPredictor(exported, "cuda:7")
