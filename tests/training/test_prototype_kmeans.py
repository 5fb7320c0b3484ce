"""The callback on a module of the user's own, through Lightning's trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hadis_lightly.loss import PCLLoss
from hadis_lightly.training import PrototypeKMeans
from tests.training.plain_trainer import plain_trainer

MEANS = 4 * torch.eye(4)
TARGETS = torch.arange(40) % 4
POINTS = MEANS[TARGETS] + 0.1 * torch.randn(
    40, 4, generator=torch.Generator().manual_seed(0)
)


class Plain(pl.LightningModule):
    """A module that is not ours: it embeds, asks for labels, and keeps them."""

    def __init__(self, prototypes: PrototypeKMeans) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        nn.init.eye_(self.layer.weight)
        self.norm = nn.BatchNorm1d(4)
        self.prototypes = prototypes
        self.seen: list[tuple[int, Tensor | None, Tensor | None]] = []

    def embed(self, x: Tensor) -> Tensor:
        assert not self.norm.training
        return self.layer(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, _, keys = batch
        labels = self.prototypes.labels(keys)
        nearest = self.prototypes.nearest(self.layer(x).detach())
        self.seen.append((self.current_epoch, labels, nearest))
        return self.norm(self.layer(x)).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader(
    targets: Tensor = TARGETS, keys: Any = None, shuffle: bool = False
) -> DataLoader[Any]:
    keys = torch.arange(40) if keys is None else keys
    if isinstance(keys, Tensor):
        dataset: Any = TensorDataset(POINTS, targets, keys)
    else:
        dataset = list(zip(POINTS, targets, keys, strict=True))
    return DataLoader(dataset, batch_size=10, shuffle=shuffle)


def few_images() -> DataLoader[Any]:
    return DataLoader(TensorDataset(POINTS[:8], TARGETS[:8], torch.arange(8)), 8)


def fit(
    prototypes: PrototypeKMeans,
    train_loader: DataLoader[Any],
    max_epochs: int = 3,
    max_steps: int = -1,
    module: Plain | None = None,
    **options: Any,
) -> Plain:
    module = module or Plain(prototypes)
    trainer = plain_trainer(prototypes, max_epochs=max_epochs, max_steps=max_steps)
    trainer.fit(module, train_loader, **options)
    return module


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
class TestTraining:
    @pytest.mark.parametrize("warm_start", [False, True])
    def test_a_warm_start_goes_on_from_the_clusters_before(
        self, warm_start: bool
    ) -> None:
        prototypes = PrototypeKMeans(
            4, loader(), warmup_epochs=0, random_state=0, warm_start=warm_start
        )
        module = fit(prototypes, loader(), max_epochs=1)
        found = prototypes.partition_
        assert found is not None
        # Two clusters joined and one cut in two: k-means does not leave that by itself.
        stuck = TARGETS.clamp(max=2)
        stuck = torch.where((TARGETS == 0) & (POINTS[:, 1] > 0), 3, stuck)
        prototypes.partition_ = replace(found, labels=stuck)
        prototypes.cluster(module.trainer, module, epoch=2)
        is_stuck = prototypes.scores_["acc"] < 0.9
        assert is_stuck == warm_start

    @pytest.mark.parametrize("names", [False, True])
    @pytest.mark.parametrize("whiten", [False, True])
    def test_labels_follow_the_keys(self, names: bool, whiten: bool) -> None:
        keys: Any = torch.randperm(40) * 3
        if names:
            keys = [f"folder/{int(key)}.png" for key in keys]
        prototypes = PrototypeKMeans(
            4, loader(keys=keys), warmup_epochs=1, random_state=0, whiten=whiten
        )
        module = fit(prototypes, loader(keys=keys, shuffle=True))
        for epoch, labels, nearest in module.seen:
            assert (labels is None) == (nearest is None) == (epoch < 1)
            if labels is not None:
                assert labels.shape == (10,) and labels.dtype == torch.long
        labels = prototypes.labels(keys)
        assert labels is not None
        torch.testing.assert_close(labels, prototypes.labels_)
        assert (
            prototypes.scores_.items() >= {"nmi": 1.0, "acc": 1.0, "ari": 1.0}.items()
        )
        assert prototypes.prototypes_.shape == (4, 4)
        norms = prototypes.prototypes_.norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(4))
        nearest = prototypes.nearest(3 * prototypes.embeddings_)
        torch.testing.assert_close(nearest, labels)

    def test_the_number_is_chosen_when_the_warm_up_ends(self) -> None:
        prototypes = PrototypeKMeans((2, 8), loader(), warmup_epochs=2, random_state=0)
        assert prototypes.n_clusters == 8  # the nearest to 10, until one is chosen
        module = Plain(prototypes)
        module.criterion = PCLLoss(99)
        plain_trainer(prototypes, max_epochs=3).fit(module, loader())
        choice = prototypes.n_clusters_choice_
        assert choice is not None and choice.n_clusters == 4
        assert prototypes.n_clusters == module.criterion.n_clusters == 4
        assert prototypes.labels_.unique().tolist() == [0, 1, 2, 3]
        again = PrototypeKMeans((2, 8), loader(), warmup_epochs=2)
        again.load_state_dict(prototypes.state_dict())
        assert again.n_clusters == 4 and again.n_clusters_choice_ == choice
        other = PrototypeKMeans((2, 3), loader())
        with pytest.raises(ValueError, match="the checkpoint has 4 clusters"):
            other.load_state_dict(prototypes.state_dict())

    def test_no_pseudo_labels_before_the_number_is_chosen(self) -> None:
        prototypes = PrototypeKMeans(
            (2, 8), loader(), warmup_epochs=1, every_n_epochs=2, random_state=0
        )
        module = fit(prototypes, loader(), max_epochs=3)
        early = [labels is None for epoch, labels, _ in module.seen if epoch < 2]
        assert all(early) and len(early) == 8
        assert all(labels is not None for epoch, labels, _ in module.seen if epoch == 2)

    def test_a_dry_run_has_labels_for_any_loss(self) -> None:
        prototypes = PrototypeKMeans((2, 8), loader(), warmup_epochs=0, random_state=0)
        module = Plain(prototypes)
        module.criterion = PCLLoss(3)
        plain_trainer(prototypes, fast_dev_run=True).fit(module, loader())
        assert module.seen[0][1] is not None
        assert module.criterion.n_clusters == 8

    def test_few_images_for_a_range(self) -> None:
        few = few_images()
        prototypes = PrototypeKMeans((2, 40), few, warmup_epochs=1, random_state=0)
        fit(prototypes, few, max_epochs=2)
        assert prototypes.n_clusters_choice_ is not None and prototypes.n_clusters <= 4
        fewer = PrototypeKMeans((5, 40), few, warmup_epochs=1, random_state=0)
        with pytest.raises(ValueError, match="there are only 8 images"):
            fit(fewer, few, max_epochs=2)

    def test_a_checkpoint_from_before_the_choice(self) -> None:
        few = few_images()
        prototypes = PrototypeKMeans((2, 40), few, warmup_epochs=9, random_state=0)
        with pytest.warns(UserWarning, match="there will be no pseudo-labels"):
            fit(prototypes, few, max_epochs=1)
        state = {**prototypes.state_dict(), "n_clusters_choice": None}
        again = PrototypeKMeans((2, 40), few, warmup_epochs=9)
        again.load_state_dict(state)
        assert again.n_clusters == prototypes.n_clusters < 5
        assert again.n_clusters_choice_ is None

    def test_clusters_before_the_first_and_after_every_epoch(self) -> None:
        prototypes = PrototypeKMeans(4, loader(), warmup_epochs=0, random_state=0)
        module = fit(prototypes, loader())
        assert [record["epoch"] for record in prototypes.history_] == [0, 1, 2, 3]
        assert all(labels is not None for _, labels, _ in module.seen)

    def test_a_tree_is_of_one_clustering_and_goes_into_checkpoints(self) -> None:
        prototypes = PrototypeKMeans(4, loader(), warmup_epochs=0, random_state=0)
        module = fit(prototypes, loader(), max_epochs=1)
        assert prototypes.tree_ is None
        tree = prototypes.fit_tree()
        assert tree.levels == (2, 4, 8) and prototypes.tree_ is tree
        again = PrototypeKMeans(4, loader())
        again.load_state_dict(prototypes.state_dict())
        assert again.tree_ is not None and again.tree_.describe() == tree.describe()
        prototypes.cluster(module.trainer, module, epoch=2)
        assert prototypes.tree_ is None

    def test_every_n_epochs_and_after_the_last(self) -> None:
        prototypes = PrototypeKMeans(4, loader(), 0, every_n_epochs=2, random_state=0)
        fit(prototypes, loader(), max_epochs=5)
        assert [record["epoch"] for record in prototypes.history_] == [0, 2, 4, 5]

    def test_after_the_last_step(self) -> None:
        prototypes = PrototypeKMeans(4, loader(), 0, every_n_epochs=2, random_state=0)
        fit(prototypes, loader(), max_epochs=5, max_steps=10)
        assert [record["epoch"] for record in prototypes.history_] == [0, 2, 3]

    def test_ids_are_stable(self) -> None:
        """Each k-means starts elsewhere, and still every cluster keeps its id."""
        prototypes = PrototypeKMeans(4, loader(), warmup_epochs=0)
        module = fit(prototypes, loader(), max_epochs=6)
        first = torch.cat([labels for epoch, labels, _ in module.seen if epoch == 0])
        for wanted in range(1, 6):
            labels = [labels for epoch, labels, _ in module.seen if epoch == wanted]
            torch.testing.assert_close(torch.cat(labels), first)

    def test_a_clean_loader_may_shuffle(self) -> None:
        prototypes = PrototypeKMeans(
            4, loader(shuffle=True), warmup_epochs=0, random_state=0
        )
        fit(prototypes, loader())
        labels = prototypes.labels(torch.arange(40))
        assert labels is not None
        pairs = {(int(t), int(c)) for t, c in zip(TARGETS, labels, strict=True)}
        assert len(pairs) == 4

    def test_scores_without_targets(self) -> None:
        prototypes = PrototypeKMeans(
            4, loader(targets=torch.full((40,), -1)), 0, random_state=0
        )
        fit(prototypes, loader(), max_epochs=1)
        assert prototypes.scores_["silhouette"] > 0.9
        assert prototypes.scores_["size_entropy"] == pytest.approx(1.0)

    def test_a_checkpoint_brings_the_labels_back(self, tmp_path: Path) -> None:
        prototypes = PrototypeKMeans(
            4, loader(), warmup_epochs=0, random_state=0, whiten=True
        )
        module = Plain(prototypes)
        trainer = plain_trainer(prototypes)
        trainer.fit(module, loader())
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        resumed = PrototypeKMeans(
            4, loader(), warmup_epochs=0, random_state=0, whiten=True
        )
        fit(resumed, loader(), max_epochs=2, ckpt_path=tmp_path / "last.ckpt")
        assert [record["epoch"] for record in resumed.history_] == [0, 1, 2]
        torch.testing.assert_close(resumed.labels_, prototypes.labels_)

    def test_a_module_that_cannot_embed(self) -> None:
        prototypes = PrototypeKMeans(4, loader())
        trainer = plain_trainer(prototypes)
        with pytest.raises(TypeError, match="Bare has none"):
            trainer.fit(Bare(), loader())

    @pytest.mark.parametrize(
        ("clean", "message"),
        [
            ([], "dataloader is empty"),
            ([(POINTS, TARGETS)], r"must yield \(images, targets, keys\)"),
            ([(POINTS[:3], TARGETS[:3], torch.arange(3))], "n_clusters"),
            ([(POINTS * float("nan"), TARGETS, torch.arange(40))], "NaN"),
            ([(POINTS, TARGETS, torch.zeros(40).long())], "keys must differ"),
        ],
    )
    def test_bad_loaders(self, clean: Any, message: str) -> None:
        prototypes = PrototypeKMeans(4, clean)
        with pytest.raises((ValueError, TypeError), match=message):
            fit(prototypes, loader())


class Bare(pl.LightningModule):
    """Cannot embed."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return torch.zeros(())

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 1}, "n_clusters must be at least 2, got 1"),
        ({"warmup_epochs": -1}, "warmup_epochs must be at least 0, got -1"),
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1, got 0"),
        ({"n_init": 0}, "n_init must be at least 1, got 0"),
    ],
)
def test_bad_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrototypeKMeans(**{"n_clusters": 4, "dataloader": [], **options})


def test_before_training_there_are_no_labels() -> None:
    prototypes = PrototypeKMeans(4, loader(), warmup_epochs=0)
    with pytest.warns(UserWarning, match="no Trainer has it"):
        assert prototypes.labels(torch.arange(3)) is None
    with pytest.warns(UserWarning, match="no Trainer has it"):
        assert prototypes.nearest(POINTS) is None
    with pytest.raises(AttributeError, match="has no clusters yet"):
        _ = prototypes.prototypes_


class Constant(Plain):
    """A module whose embeddings collapse after some epochs."""

    def embed(self, x: Tensor) -> Tensor:
        embeddings = super().embed(x)
        if self.trainer.current_epoch >= 6:
            embeddings = 1e-3 * embeddings + torch.ones(4)
        return embeddings


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_collapse_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    prototypes = PrototypeKMeans(4, loader(), warmup_epochs=2, random_state=0)
    fit(prototypes, loader(), max_epochs=9, module=Constant(prototypes))
    said = [r.getMessage() for r in caplog.records if "after" in r.getMessage()]
    assert len(said) == 1 and said[0].startswith("after 7 epochs the embeddings have")
    assert "teacher_momentum" in said[0]
    (warning,) = prototypes.warnings_
    assert warning in said[0]
    good = PrototypeKMeans(4, loader(), warmup_epochs=2, random_state=0)
    fit(good, loader(), max_epochs=9)
    assert good.warnings_ == []
