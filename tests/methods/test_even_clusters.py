"""loader.even_clusters in a run: every cluster comes as often as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from hadis_lightly.runs import run
from hadis_lightly.settings import (
    DataSettings,
    LoaderSettings,
    ModelSettings,
    Settings,
    TrainerSettings,
    ViewSettings,
)
from hadis_lightly.training import HaDis
from hadis_lightly.training.clustering_module import ClusteringModule
from hadis_lightly.transforms import DIGITS_NORMALIZE, BatchedViews

NUM_IMAGES, N_CLUSTERS = 200, 4


def settings(pipeline: str, folder: Path) -> Settings:
    normalize = DIGITS_NORMALIZE
    return Settings(
        n_clusters=N_CLUSTERS,
        quiet=True,
        output_dir=str(folder),
        data=DataSettings(source="digits", limit=NUM_IMAGES, pipeline=pipeline),
        loader=LoaderSettings(batch_size=50, num_workers=0, even_clusters=True),
        views=ViewSettings(input_size=8, **normalize),
        model=ModelSettings(
            backbone="small_convnet", hidden_dim=8, output_dim=8, pcl_weight=0.0
        ),
        trainer=TrainerSettings(
            max_epochs=3, accelerator="cpu", logger="none", progress_bar=False
        ),
    )


@pytest.mark.parametrize(
    "pipeline", ["device", pytest.param("workers", marks=pytest.mark.slow)]
)
def test_clusters_come_equally_often_after_the_first_epoch(
    pipeline: str, one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.zeros(3, N_CLUSTERS, dtype=torch.long)
    step = HaDis.training_step

    def watched(module: HaDis, batch: Any, batch_idx: int) -> Tensor:
        assert module.prototypes is not None
        labels = module.prototypes.labels_[module.prototypes.rows(batch[2])]
        counts[module.current_epoch] += torch.bincount(labels, minlength=N_CLUSTERS)
        return step(module, batch, batch_idx)

    monkeypatch.setattr(HaDis, "training_step", watched)
    run(settings(pipeline, tmp_path / "run"))
    assert (counts.sum(dim=1) == NUM_IMAGES).all()
    assert counts[0].max() - counts[0].min() > 1  # the clusters are not even
    for of_epoch in counts[1:]:
        assert of_epoch.max() - of_epoch.min() <= 1


class Plain(ClusteringModule):
    """Makes views, and no more."""

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(start_dim=1)


def test_an_image_that_comes_again_has_other_views(one_thread: None) -> None:
    views = BatchedViews(input_size=8, normalize=DIGITS_NORMALIZE)
    module = Plain(torch.nn.Identity(), views=views, seed=0)

    module.trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1
    )
    images = torch.randint(256, (1, 1, 8, 8), dtype=torch.uint8).expand(2, -1, -1, -1)
    batch = (images, torch.zeros(2), torch.tensor([5, 5]))
    (same, _), _, _ = module.on_after_batch_transfer(batch, 0)
    assert torch.equal(same[0], same[1])
    module.images_repeat = True
    (other, _), _, _ = module.on_after_batch_transfer(batch, 0)
    assert not torch.equal(other[0], other[1])
