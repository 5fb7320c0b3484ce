"""What a training costs in operations, and how long a budget of them lasts."""

from __future__ import annotations

from typing import Any

import pytest

from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    Settings,
    ViewSettings,
)

DIGITS, BATCH = 400, 50


def settings(**views: Any) -> Settings:
    return Settings(
        n_clusters=10,
        data=DataSettings(source="digits", limit=DIGITS),
        views=ViewSettings(input_size=8, mean=[0.3], std=[0.3], **views),
        model=ModelSettings(
            backbone="small_pooled_convnet", hidden_dim=16, output_dim=8, pcl_weight=0.0
        ),
        loader=LoaderSettings(batch_size=BATCH),
        clustering=ClusteringSettings(every_n_epochs=1),
    )


def length_of(given: Settings, num_flops: float) -> tuple[int, int]:
    from flops import fit_to_budget

    fit_to_budget(given, num_flops)
    return given.trainer.max_steps, given.trainer.max_epochs


def test_a_step_is_two_views_of_student_and_teacher_and_the_clustering() -> None:
    from flops import _flops_of_embedding, _flops_of_step, _module

    from hadis_lightly.data import load_source

    given = settings()
    module = _module(given, load_source("digits", None))
    embedding = _flops_of_embedding(module, given, 1)
    step = _flops_of_step(module, given, 1, epoch=0)
    # Of an image: two forward passes of the teacher, two of the student, and backward
    # about twice as much again; and what the predictor and the loss add.
    assert 7 < step / (BATCH * embedding) < 9
    per_epoch = DIGITS / BATCH * step + DIGITS * embedding
    assert length_of(given, 10.5 * per_epoch) == (84, 11)
    assert given.optimizer.warmup_epochs == given.clustering.warmup_epochs == 1


def test_more_views_leave_fewer_steps() -> None:
    budget = 1e10
    two, _ = length_of(settings(), budget)
    four, _ = length_of(settings(n_views=4), budget)
    small, _ = length_of(settings(n_local_views=2, local_crop_size=4), budget)
    assert 0.45 < four / two < 0.6 < small / two < 1
    grown, _ = length_of(settings(initial_size=4), budget)
    assert 1.3 < grown / two < 1.7


def test_a_budget_that_is_too_small_and_a_method_that_is_not_counted() -> None:
    with pytest.raises(ValueError, match=r"a step takes .* operations, more than 1000"):
        length_of(settings(), 1000)
    for method, train in (("cc", "all"), ("hadis", "heads")):
        given = settings()
        given.method, given.model.train = method, train
        with pytest.raises(ValueError, match=f"got {method} with model.train={train}"):
            length_of(given, 1e10)
