"""The examples that docs/ shows: they train, and the swap is as short as it says."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightly.data import LightlyDataset
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from torch.utils.data import DataLoader

from hadis_lightly import models, transforms
from hadis_lightly.loss import HaDisLoss, HaDisLossTerms
from hadis_lightly.training import HaDis, PrototypeKMeans

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MAX_EPOCHS, BATCH_SIZE, IMAGES_PER_CLASS = 4, 6, 7


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of noisy images, red and blue, in folders of their own."""
    monkeypatch.chdir(tmp_path)  # Lightning logs and saves where it runs
    pl.seed_everything(0, verbose=False)
    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(IMAGES_PER_CLASS):
            pixels = rng.integers(0, 128, (20, 24, 3), dtype=np.uint8)
            pixels[:, :, channel] += 127
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def train(example: ModuleType, folder: Path) -> pl.LightningModule:
    module: pl.LightningModule = example.main(
        str(folder),
        input_size=32,
        batch_size=BATCH_SIZE,
        max_epochs=MAX_EPOCHS,
        num_workers=0,
    )
    assert module.trainer.current_epoch == MAX_EPOCHS
    assert torch.isfinite(module.trainer.callback_metrics["train/loss"])
    return module


quiet = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:The number of training batches",
)


def assert_ids_are_stable(old: torch.Tensor, new: torch.Tensor) -> None:
    """No other numbering of the new clusters agrees better with the old labels."""
    table = contingency_matrix(old, new)
    best = table[linear_sum_assignment(table, maximize=True)].sum()
    assert (old == new).sum() == best


@quiet
def test_byol_trains(folder: Path) -> None:
    train(load("byol"), folder)


@quiet
def test_cc_trains(folder: Path) -> None:
    module = train(load("cc"), folder)
    clusters = module.callback
    assert [row["epoch"] for row in clusters.history_] == [0, 1, 2, 3, 4]
    assert set(clusters.scores_) >= {"nmi", "acc", "ari"}
    assert clusters.labels_.shape == (2 * IMAGES_PER_CLASS,)


@quiet
@pytest.mark.parametrize("name", ["hadis_from_byol", "hadis_from_byol_nearest"])
def test_hadis_trains(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load(name)
    terms: list[HaDisLossTerms] = []

    class Recorded(example.HaDisLoss):  # type: ignore[name-defined, misc]
        def forward(self, **inputs: torch.Tensor) -> HaDisLossTerms:
            terms.append(super().forward(**inputs))
            return terms[-1]

    class Watched(example.PrototypeKMeans):  # type: ignore[name-defined, misc]
        def cluster(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int
        ) -> None:
            before = [buffer.clone() for buffer in pl_module.buffers()]
            old_labels = self.labels_ if self.history_ else None
            super().cluster(trainer, pl_module, epoch)
            if old_labels is not None:
                assert_ids_are_stable(old_labels, self.labels_)
            # The example's embed leaves evaluation mode to the callback.
            assert all(map(torch.equal, before, pl_module.buffers()))
            assert pl_module.training

    monkeypatch.setattr(example, "HaDisLoss", Recorded)
    monkeypatch.setattr(example, "PrototypeKMeans", Watched)
    module = train(example, folder)
    prototypes = module.prototypes

    # Two directions per step; no pseudo-labels in the first of four epochs.
    terms_per_epoch = 2 * (2 * IMAGES_PER_CLASS // BATCH_SIZE)
    assert len(terms) == terms_per_epoch * MAX_EPOCHS
    assert all(torch.isfinite(term.loss) for term in terms)
    assert all(term.pcl == 0 for term in terms[:terms_per_epoch])
    assert all(term.pcl > 0 for term in terms[terms_per_epoch:])

    assert [row["epoch"] for row in prototypes.history_] == [0, 1, 2, 3, 4]
    assert set(prototypes.scores_) >= {"nmi", "acc", "ari"}
    filenames = LightlyDataset(str(folder)).get_filenames()
    assert sorted(filenames)[:2] == ["blue/0.png", "blue/1.png"]
    order = torch.tensor([13, 0, 6, 6, 7])
    labels = prototypes.labels([filenames[i] for i in order])
    assert labels.dtype == torch.long
    assert torch.equal(labels, prototypes.labels_[order])
    assert load("read_prototypes").main(module) is prototypes
    # By key or by prototype, an image has the same cluster.
    assert torch.equal(labels, prototypes.nearest(prototypes.embeddings_[order]))


@quiet
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")
def test_a_module_is_loaded_and_predicts(folder: Path) -> None:
    transform = transforms.HaDisTestTransform(input_size=32)
    views = transforms.HaDisTransform(input_size=32)
    loader = DataLoader(LightlyDataset(str(folder), transform=transform), BATCH_SIZE)
    train = DataLoader(LightlyDataset(str(folder), transform=views), BATCH_SIZE)

    def parts() -> tuple[models.HaDisModel, PrototypeKMeans]:
        backbone, heads = models.small_convnet(), models.HaDisPredictionHead(8, 8, 8)
        head = models.HaDisProjectionHead(4096, 8, 8)
        prototypes = PrototypeKMeans(10, loader, warmup_epochs=0)
        return models.HaDisModel(backbone, head, heads), prototypes

    model, prototypes = parts()
    trainer = pl.Trainer(max_epochs=1, logger=False, accelerator="cpu")
    trainer.fit(HaDis(model, HaDisLoss(10), prototypes, warmup_epochs=0), train)
    trainer.save_checkpoint("hadis.ckpt")
    labels = load("load_module").main("hadis.ckpt", *parts(), loader)
    assert torch.equal(labels, prototypes.labels_)


@pytest.mark.parametrize(
    "name, n_changed", [("hadis_from_byol", 15), ("hadis_from_byol_nearest", 13)]
)
def test_swap_is_short(name: str, n_changed: int) -> None:
    """Lines of the new file that are not in the old one, but for title and blanks."""
    old = (EXAMPLES / "byol.py").read_text().splitlines()[1:]
    new = (EXAMPLES / f"{name}.py").read_text().splitlines()[1:]
    lines = [line[2:] for line in difflib.ndiff(old, new) if line.startswith("+ ")]
    assert len([line for line in lines if line.strip()]) == n_changed


def test_views_on_the_device_for_a_loop_of_ones_own(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(9, 20, 24, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    x0, x1 = load("device_views").main(tmp_path / "images.npz", 16, batch_size=4)
    assert x0.shape == x1.shape == (4, 3, 16, 16)
    assert torch.isfinite(x0).all()
    assert not torch.equal(x0, x1)


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_a_backbone_starts_from_weights(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = tmp_path / "weights.pth", "resnet18"
    if kind == "torchvision":
        load("save_torchvision_weights").main(name, path, weights=None)
    else:
        pytest.importorskip("timm")
        name = "vit_tiny_patch16_224"
        load("save_timm_weights").main(name, path, "96", pretrained=False)
        name = f"timm/{name}"
    features = load("start_from_weights").main(name, path)
    assert torch.isfinite(features).all()
    assert capsys.readouterr().out.startswith("weights.pth: 1")


def test_the_loss_alone() -> None:
    terms = load("loss").main(n=8, d=4)
    assert torch.isfinite(torch.stack(list(terms))).all()


def test_costs_of_backbones(capsys: pytest.CaptureFixture[str]) -> None:
    load("backbone_costs").main("small_resnet18", "resnet18", input_size=32)
    said = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert said == [
        ["small_resnet18", "512", "11.2", "0.56"],
        ["resnet18", "512", "11.2", "0.04"],
    ]


def test_with_method_brings_settings_along() -> None:
    settings = load("with_method").main()
    assert (settings.method, settings.loader.batch_size) == ("cc", 256)
    assert settings.optimizer.learning_rate == 3e-4
    assert settings.trainer.max_epochs == 50  # which is not CC's


def test_the_number_of_clusters_of_embeddings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.eye(6)[np.arange(90) % 3] + np.random.default_rng(0).normal(
        0, 0.1, (90, 6)
    )
    np.save(tmp_path / "embeddings.npy", rows)
    choice = load("choose_n_clusters").main(tmp_path / "embeddings.npy", 2, 5)
    assert choice.n_clusters == 3
    assert capsys.readouterr().out.startswith("3 clusters\nbest in 5 of 5 repeats")
