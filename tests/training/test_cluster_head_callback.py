"""The callback that takes clusters from a head, through Lightning's trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hadis_lightly.cluster import Partition
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.embedding import embed_dataset
from tests.training.plain_trainer import plain_trainer

N, K = 40, 4
TARGETS = torch.arange(N) % K
POINTS = 4 * torch.eye(K)[TARGETS] + 0.1 * torch.randn(
    N, K, generator=torch.Generator().manual_seed(0)
)
# What the head calls the four kinds of points.
NUMBERS = torch.tensor([2, 0, 3, 1])

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


class Plain(pl.LightningModule):
    """A module that is not ours: it embeds, and has a head that knows the kinds."""

    def __init__(self, clusters: ClusterHeadAssignment, sharpness: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(K, K, bias=False)
        nn.init.eye_(self.layer.weight)
        self.norm = nn.BatchNorm1d(K)
        self.clusters = clusters
        self.sharpness = sharpness
        self.seen: list[tuple[int, Tensor, Tensor | None]] = []

    def embed(self, x: Tensor) -> Tensor:
        return self.embed_and_assign(x)[0]

    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert not self.norm.training
        logits = torch.empty_like(x)
        logits[:, NUMBERS] = self.sharpness * x
        return self.layer(x), logits.softmax(dim=1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, _, keys = batch
        labels = self.clusters.pseudo_labels(keys)
        self.seen.append((self.current_epoch, keys, labels))
        return self.norm(self.layer(x)).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Blind(pl.LightningModule):
    """Embeds, and has no cluster head."""

    def embed(self, x: Tensor) -> Tensor:
        return x

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return torch.zeros(())

    def configure_optimizers(self) -> None:
        return None


def loader(
    targets: Tensor = TARGETS, names: bool = False, shuffle: bool = False
) -> DataLoader[Any]:
    if names:
        keys = [f"folder/{number}.png" for number in range(N)]
        dataset: Any = list(zip(POINTS, targets, keys, strict=True))
    else:
        dataset = TensorDataset(POINTS, targets, torch.arange(N))
    return DataLoader(dataset, batch_size=10, shuffle=shuffle)


def fit(
    clusters: ClusterHeadAssignment,
    train_loader: DataLoader[Any] | None = None,
    max_epochs: int = 3,
    module: Plain | None = None,
    ckpt_path: Path | None = None,
    **options: Any,
) -> Plain:
    module = module or Plain(clusters)
    trainer = plain_trainer(clusters, max_epochs=max_epochs, **options)
    train_loader = train_loader or loader(shuffle=True)
    trainer.fit(module, train_loader, ckpt_path=ckpt_path)
    return module


def pseudo_labels_of(module: Plain) -> dict[int, dict[Any, int]]:
    """For every epoch that had pseudo-labels: keys to labels."""
    found: dict[int, dict[Any, int]] = {}
    for epoch, keys, labels in module.seen:
        if labels is not None:
            names = keys.tolist() if isinstance(keys, Tensor) else keys
            found.setdefault(epoch, {}).update(zip(names, labels.tolist(), strict=True))
    return found


def test_labels_are_the_most_probable_clusters_of_the_plain_images() -> None:
    clusters = ClusterHeadAssignment(K, loader())
    module = fit(clusters)
    _, probabilities = module.eval().embed_and_assign(POINTS)
    assert torch.equal(clusters.labels_, probabilities.argmax(dim=1))
    assert torch.equal(clusters.labels_, NUMBERS[TARGETS])
    torch.testing.assert_close(clusters.confidence_, probabilities.amax(dim=1))
    assert clusters.scores_.items() >= {"nmi": 1.0, "acc": 1.0, "ari": 1.0}.items()
    rows = F.normalize(module.layer(POINTS), dim=1)
    torch.testing.assert_close(clusters.embeddings_, rows)
    for cluster in range(K):
        mean = rows[clusters.labels_ == cluster].mean(dim=0)
        prototype = clusters.prototypes_[cluster]
        torch.testing.assert_close(prototype, F.normalize(mean, dim=0))
    distance = (rows - clusters.prototypes_[clusters.labels_]).norm(dim=1)
    torch.testing.assert_close(clusters.distance_, distance)


def test_it_looks_before_the_first_and_after_every_epoch() -> None:
    clusters = ClusterHeadAssignment(K, loader())
    fit(clusters)
    assert [record["epoch"] for record in clusters.history_] == [0, 1, 2, 3]


def test_every_n_epochs_after_the_last_and_whenever_pseudo_labels_are_due() -> None:
    clusters = ClusterHeadAssignment(K, loader(), every_n_epochs=3)
    fit(clusters, max_epochs=7)
    assert [record["epoch"] for record in clusters.history_] == [0, 3, 6, 7]
    clusters = ClusterHeadAssignment(
        K, loader(), every_n_epochs=3, pseudo_label_epochs=2, random_state=0
    )
    fit(clusters, max_epochs=7)
    assert [record["epoch"] for record in clusters.history_] == [0, 3, 5, 6, 7]


@pytest.mark.parametrize("length", [0, 2, 9])
def test_pseudo_labels_are_there_for_exactly_the_last_epochs(length: int) -> None:
    clusters = ClusterHeadAssignment(
        K, loader(), pseudo_label_epochs=length, n_init=2, random_state=0
    )
    module = fit(clusters, max_epochs=5)
    assert {epoch for epoch, _, _ in module.seen} == set(range(5))
    found = pseudo_labels_of(module)
    assert sorted(found) == list(range(5 - min(length, 5), 5))
    for labels in found.values():
        assert len(labels) == N
    for _, _, labels in module.seen:
        assert labels is None or (labels.shape, labels.dtype) == ((10,), torch.long)


@pytest.mark.parametrize("names", [False, True])
def test_pseudo_labels_follow_the_keys_in_the_numbers_of_the_head(names: bool) -> None:
    clusters = ClusterHeadAssignment(
        K, loader(names=names), pseudo_label_epochs=2, random_state=0
    )
    module = fit(clusters, loader(names=names, shuffle=True))
    keys = [f"folder/{i}.png" if names else i for i in range(N)]
    expected = dict(zip(keys, NUMBERS[TARGETS].tolist(), strict=True))
    assert pseudo_labels_of(module) == {1: expected, 2: expected}


def test_a_key_that_the_clean_loader_did_not_give_is_named() -> None:
    clusters = ClusterHeadAssignment(K, loader(), pseudo_label_epochs=1, random_state=0)
    fit(clusters, max_epochs=1)
    with pytest.raises(ValueError, match="99"):
        clusters.rows(torch.tensor([3, 99]))


class Renumbered(ClusterHeadAssignment):
    """k-means gives its clusters other numbers."""

    def fit_kmeans(self, embeddings: Tensor, start: Tensor | None = None) -> Partition:
        partition = super().fit_kmeans(embeddings, start)
        return partition.renumbered(torch.tensor([3, 0, 1, 2])[partition.labels])


class Unsure(Plain):
    """Its head puts some images into another cluster."""

    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embeddings, probabilities = super().embed_and_assign(x)
        return embeddings, probabilities.roll(1, dims=1).where(
            (x[:, :1] > 4), probabilities
        )


@pytest.mark.parametrize("kind", [ClusterHeadAssignment, Renumbered])
def test_the_numbers_that_k_means_gives_do_not_matter(
    kind: type[ClusterHeadAssignment],
) -> None:
    clusters = kind(K, loader(), pseudo_label_epochs=1, random_state=0)
    module = fit(clusters, max_epochs=1, module=Unsure(clusters))
    assert 0 < int((clusters.labels_ != NUMBERS[TARGETS]).sum()) < N // K
    # k-means finds the four kinds, and most images keep the number of the head.
    expected = {0: dict(enumerate(NUMBERS[TARGETS].tolist()))}
    assert pseudo_labels_of(module) == expected


def test_pseudo_labels_and_clusters_come_out_of_a_checkpoint(tmp_path: Path) -> None:
    def clusters_of() -> ClusterHeadAssignment:
        return ClusterHeadAssignment(K, loader(), pseudo_label_epochs=3, random_state=0)

    class Save(pl.Callback):
        """In the middle of an epoch that has pseudo-labels."""

        def on_train_batch_end(
            self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, i: int
        ) -> None:
            if trainer.current_epoch == 2 and i == 1:
                trainer.save_checkpoint(tmp_path / "within.ckpt")

    whole = clusters_of()
    module = Plain(whole)
    trainer = plain_trainer(whole, Save(), max_epochs=4)
    trainer.fit(module, loader(shuffle=True))
    state = torch.load(tmp_path / "within.ckpt", weights_only=True)["callbacks"]
    assert torch.equal(
        state["ClusterHeadAssignment"]["pseudo_labels"], NUMBERS[TARGETS]
    )
    resumed = clusters_of()
    options: dict[str, Any] = {"max_epochs": 4, "ckpt_path": tmp_path / "within.ckpt"}
    with pytest.warns(UserWarning, match="not resumable"):
        module = fit(resumed, **options)
    # It did not have to cluster anew to have them.
    assert [record["epoch"] for record in resumed.history_] == [0, 1, 2, 3, 4]
    assert resumed.history_[:3] == whole.history_[:3]  # seconds and all
    assert sorted(pseudo_labels_of(module)) == [2, 3]
    assert torch.equal(resumed.labels_, whole.labels_)
    assert resumed.scores_["acc"] == whole.scores_["acc"]


def test_before_training_there_is_nothing_to_save_and_no_label() -> None:
    clusters = ClusterHeadAssignment(K, loader(), pseudo_label_epochs=3)
    assert clusters.state_dict() == {}
    clusters.load_state_dict({})
    assert clusters.pseudo_labels(torch.arange(3)) is None
    assert clusters.partition_ is None
    with pytest.raises(
        AttributeError, match="ClusterHeadAssignment has no clusters yet"
    ):
        _ = clusters.labels_


def test_a_module_without_a_cluster_head_is_refused() -> None:
    clusters = ClusterHeadAssignment(K, loader())
    with pytest.raises(TypeError, match=r"embed_and_assign.*Blind has none"):
        plain_trainer(clusters).fit(Blind(), loader())


def test_a_clean_loader_may_shuffle() -> None:
    clusters = ClusterHeadAssignment(
        K, loader(shuffle=True), pseudo_label_epochs=2, random_state=0
    )
    module = fit(clusters)
    keys = torch.arange(N)
    assert torch.equal(clusters.labels_[clusters.rows(keys)], NUMBERS[TARGETS])
    assert torch.equal(clusters.targets_[clusters.rows(keys)], TARGETS)
    expected = dict(enumerate(NUMBERS[TARGETS].tolist()))
    assert pseudo_labels_of(module) == {1: expected, 2: expected}


def test_scores_without_targets() -> None:
    clusters = ClusterHeadAssignment(K, loader(targets=torch.full((N,), -1)))
    fit(clusters, max_epochs=1)
    assert clusters.scores_["size_entropy"] == pytest.approx(1.0)
    assert clusters.scores_["silhouette"] > 0.9


class Collapsed(Plain):
    """Puts everything into one cluster."""

    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embeddings, probabilities = super().embed_and_assign(x)
        probabilities[:, 1] += 1
        return embeddings, probabilities / 2


@pytest.mark.parametrize("warmup_epochs", [0, 7, 20])
def test_a_collapse_is_said_once_warm_up_is_over(
    warmup_epochs: int, caplog: pytest.LogCaptureFixture
) -> None:
    clusters = ClusterHeadAssignment(K, loader(), warmup_epochs=warmup_epochs)
    fit(clusters, max_epochs=9, module=Collapsed(clusters))
    messages = [record.getMessage() for record in caplog.records]
    said = [text for text in messages if text.startswith("after")]
    if warmup_epochs == 20:
        assert said == clusters.warnings_ == []
        return
    # The clustering after epoch 7 is still of the last epoch of the warm-up.
    first = 5 if warmup_epochs == 0 else 8
    assert len(said) == len(clusters.warnings_) == 2
    assert said[0].startswith(f"after {first} epochs cluster 1 holds 100% of the image")
    assert said[1].startswith(f"after {first} epochs 3 of 4 clusters are empty")
    assert not any("teacher" in text or "whiten" in text for text in said)


def test_probabilities_come_with_the_embeddings_of_a_set() -> None:
    module = Plain(ClusterHeadAssignment(K, []))
    found = embed_dataset(module, loader())
    assert found.probabilities is not None
    assert found.probabilities.shape == (N, K) and len(found.outputs) == 2
    back = found.in_order_of(found.keys.at(torch.arange(N).flip(0)))
    assert back.probabilities is not None
    assert torch.equal(back.probabilities, found.probabilities.flip(0))


def test_one_row_of_probabilities_for_every_image() -> None:
    class Short(Plain):
        def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
            embeddings, probabilities = super().embed_and_assign(x)
            return embeddings, probabilities[1:]

    clusters = ClusterHeadAssignment(K, loader())
    with pytest.raises(ValueError, match=r"must return \(10, d\).*got \(9, 4\)"):
        fit(clusters, module=Short(clusters))


def test_embeddings_that_are_not_finite_are_named() -> None:
    clusters = ClusterHeadAssignment(K, loader())
    module = Plain(clusters)
    nn.init.constant_(module.layer.weight, float("nan"))
    with pytest.raises(ValueError, match="NaN or infinite values after 0 epochs"):
        fit(clusters, module=module)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 1}, "n_clusters must be at least 2, got 1"),
        ({"pseudo_label_epochs": -1}, "pseudo_label_epochs must be at least 0, got -1"),
    ],
)
def test_bad_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterHeadAssignment(**{"n_clusters": K, "dataloader": [], **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataloader": 3}, "dataloader must be iterable"),
        ({"whiten": "yes"}, "whiten must be True or False"),
    ],
)
def test_bad_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ClusterHeadAssignment(**{"n_clusters": K, "dataloader": [], **options})


def test_images_for_training_alone_have_no_pseudo_label() -> None:
    class Weighted(Plain):
        cluster_weights = (torch.arange(N) % 3 > 0).float()

    clusters = ClusterHeadAssignment(K, loader(), pseudo_label_epochs=1, random_state=0)
    module = fit(clusters, max_epochs=1, module=Weighted(clusters))
    found = pseudo_labels_of(module)[0]
    assert {key for key, label in found.items() if label == -1} == set(range(0, N, 3))


def test_pseudo_labels_do_not_outlive_their_epochs() -> None:
    clusters = ClusterHeadAssignment(K, loader(), pseudo_label_epochs=1, random_state=0)
    fit(clusters, max_epochs=1)
    assert clusters.pseudo_labels(torch.tensor([0])) is None
