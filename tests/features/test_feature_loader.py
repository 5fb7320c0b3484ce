"""Batches of features: what is drawn for an image, and a training on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hadis_lightly.features import (
    FeatureLoader,
    PlainFeatureLoader,
    nearest_neighbours,
)
from hadis_lightly.loss import CCLoss, HaDisLoss
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    FrozenBackbone,
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
)
from hadis_lightly.training import (
    ClusterHeadAssignment,
    ContrastiveClustering,
    HaDis,
    PrototypeKMeans,
)


def numbered_views(n: int = 40, n_views: int = 4) -> Tensor:
    """Features that show the number of their image and of their view."""
    images = torch.arange(n).view(-1, 1, 1).expand(-1, n_views, 1)
    views = torch.arange(n_views).view(1, -1, 1).expand(n, -1, 1)
    return torch.cat([images, views], dim=2).half()


def ring(n: int = 40, k: int = 3) -> Tensor:
    """The k images after each image."""
    return (torch.arange(n).unsqueeze(1) + torch.arange(1, k + 1)) % n


def drawn(loader: FeatureLoader, epoch: int) -> dict[int, list[list[float]]]:
    """What was drawn for each image in an epoch."""
    loader.sampler.set_epoch(epoch)
    return {
        index: [view[row].tolist() for view in views]
        for views, _, indices in loader
        for row, index in enumerate(indices.tolist())
    }


def test_positives_are_views_of_an_image_and_of_neighbours() -> None:
    options: dict[str, Any] = {"neighbours": ring(), "n_views_per_step": 3}
    loader = FeatureLoader(numbered_views(), batch_size=8, **options)
    seen_views, seen_neighbours = set(), set()
    for epoch in range(20):
        for index, (own, first, second) in drawn(loader, epoch).items():
            assert own[0] == index
            steps = {int(x[0] - index) % 40 for x in (first, second)}
            assert len(steps) == 2 and steps <= {1, 2, 3}
            seen_views |= {x[1] for x in (own, first, second)}
            seen_neighbours |= steps
    assert seen_views == {0, 1, 2, 3} and seen_neighbours == {1, 2, 3}


def test_without_neighbours_they_are_different_views_of_the_image() -> None:
    loader = FeatureLoader(numbered_views(), batch_size=8)
    pairs = set()
    for epoch in range(20):
        for index, (first, second) in drawn(loader, epoch).items():
            assert first[0] == second[0] == index
            pairs.add((first[1], second[1]))
    assert pairs == {(a, b) for a in range(4) for b in range(4) if a != b}


@pytest.mark.parametrize("neighbours", [None, ring()])
def test_draws_depend_on_seed_epoch_and_image_alone(neighbours: Tensor | None) -> None:
    def loader(batch_size: int, seed: int = 0) -> FeatureLoader:
        return FeatureLoader(
            numbered_views(), batch_size=batch_size, neighbours=neighbours, seed=seed
        )

    torch.manual_seed(1)
    expected = drawn(loader(8), 3)
    torch.manual_seed(2)
    assert drawn(loader(5), 3) == expected
    assert drawn(loader(8), 4) != expected
    assert drawn(loader(8, seed=1), 3) != expected
    resumed = loader(8)
    resumed.sampler.start_at(3, 16)
    rest = drawn(resumed, 3)
    assert len(rest) == 24
    assert rest == {index: expected[index] for index in rest}


def test_neighbours_in_other_clusters_and_images_themselves_give_other_views() -> None:
    labels = torch.arange(40) % 2  # of the ring: the second of three neighbours is near
    loader = FeatureLoader(numbered_views(), batch_size=8, neighbours=ring())
    steps = set()
    loader.labels = lambda: labels
    for epoch in range(20):
        for index, (own, other) in drawn(loader, epoch).items():
            steps.add(int(other[0] - index) % 40)
            assert own[1] != other[1]
    assert steps == {0, 2}


def test_every_pass_of_an_epoch_has_an_order_and_draws_of_its_own() -> None:
    loader = FeatureLoader(numbered_views(n_views=64), batch_size=40, passes=2)
    first, again = list(loader)
    for _, _, indices in (first, again):
        assert sorted(indices.tolist()) == list(range(40))
    assert not torch.equal(first[2], again[2])
    views = [x0[indices.argsort(), 1] for (x0, _), _, indices in (first, again)]
    assert (views[0] != views[1]).float().mean() > 0.9


def test_an_image_that_comes_again_has_other_draws() -> None:
    loader = FeatureLoader(numbered_views(n_views=64), batch_size=40)
    labels = torch.zeros(40, dtype=torch.int64)
    labels[0] = 1  # comes 20 times
    loader.sampler.cluster_labels = lambda: labels
    ((x0, _), _, indices) = next(iter(loader))
    assert (indices == 0).sum() == 20
    assert len(x0[indices == 0, 1].unique()) > 10


def test_batches_are_float32_and_the_set_keeps_its_dtype() -> None:
    views, targets = numbered_views(), torch.arange(40) % 3
    loader = FeatureLoader(views, targets, 16)
    assert len(loader) == 2
    assert loader.views.data_ptr() == views.data_ptr()
    for (x0, x1), classes, indices in loader:
        assert x0.dtype == x1.dtype == torch.float32 and x0.shape == (16, 2)
        assert torch.equal(classes, indices % 3)
    plain = PlainFeatureLoader(views[:, 0], targets, 16)
    for _ in range(2):
        batches = list(plain)
        assert [len(x) for x, _, _ in batches] == [16, 16, 8]
        assert batches[0][0].dtype == torch.float32
        assert torch.cat([x[:, 0] for x, _, _ in batches]).tolist() == list(range(40))


def test_errors_name_what_is_wrong() -> None:
    views = numbered_views()
    with pytest.raises(ValueError, match=r"views must be \(n, V, d\), got \(40, 2\)"):
        FeatureLoader(views[:, 0])
    with pytest.raises(ValueError, match=r"\(40, k\), got torch.int64 \(9, 3\)"):
        FeatureLoader(views, neighbours=ring(9))
    with pytest.raises(ValueError, match="at most 4, the number of views, got 5"):
        FeatureLoader(views, n_views_per_step=5)
    with pytest.raises(ValueError, match="at most 2, the number of neighbours and the"):
        FeatureLoader(views, neighbours=ring(k=1), n_views_per_step=3)
    with pytest.raises(ValueError, match=r"features must be \(n, d\)"):
        PlainFeatureLoader(views)


def blobs() -> tuple[Tensor, Tensor]:
    """Features ``(120, 5, 8)`` of three kinds of images, and the kinds."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    centres = 3 * torch.eye(8)[:3][targets].unsqueeze(1)
    return (centres + torch.randn(120, 5, 8, generator=generator)).half(), targets


# What is frozen is in evaluation mode, which Lightning only wonders about.
@pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training")
@pytest.mark.parametrize("method", ["hadis", "cc"])
def test_heads_train_on_features(method: str, tmp_path: Path) -> None:
    pl.seed_everything(0, verbose=False)
    features, targets = blobs()
    neighbours = nearest_neighbours(features[:, 0], 5)
    loader = FeatureLoader(features[:, 1:], targets, 40, neighbours=neighbours)
    plain = PlainFeatureLoader(features[:, 0], targets)
    backbone = FrozenBackbone(nn.Conv2d(3, 8, 4))
    before = [p.clone() for p in backbone.parameters()]
    module: Any
    callback: Any
    if method == "hadis":
        heads = HaDisProjectionHead(8, 16, 4), HaDisPredictionHead(4, 16, 4)
        callback = PrototypeKMeans(3, plain, warmup_epochs=1, random_state=0)
        module = HaDis(
            HaDisModel(backbone, *heads), HaDisLoss(3), callback, warmup_epochs=1
        )
    else:
        callback = ClusterHeadAssignment(3, plain)
        cc = CCModel(backbone, CCInstanceHead(8), CCClusterHead(8, 3))
        module = ContrastiveClustering(cc, CCLoss(3), callback)
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader)
    assert loader.sampler.epoch == 3
    assert callback.labels_.shape == (120,) and "nmi" in callback.scores_
    assert all(map(torch.equal, before, backbone.parameters()))
    images = torch.rand(2, 3, 4, 4)  # the same network takes both
    assert torch.equal(module.embed(images), module.embed(backbone(images)))
