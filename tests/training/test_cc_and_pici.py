"""Contrastive Clustering and PICI as modules, in a plain trainer of Lightning's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hadis_lightly.data import DeviceLoader
from hadis_lightly.loss import CCLoss
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    build_backbone,
)
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.transforms import BatchedTestTransform, BatchedViews
from tests.training.plain_trainer import plain_trainer
from tests.training.test_no_synchronization import (
    Steps,
    Watch,
    make_images,
    needs_pretence,
    on_the_pretended_gpu,
    pretended_gpu,
    reading_forbidden,
)
from tests.training.two_head_modules import (
    BATCH,
    STEPS,
    K,
    Maker,
    N,
    Recorder,
    TwoViews,
    both,
    cc,
    clusters_of,
    fit,
    pici,
    some_apart,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


# What both do.


@both
def test_losses_of_every_epoch_are_logged_under_their_names(make: Maker) -> None:
    recorder = Recorder()
    module = make(clusters_of())
    trainer = fit(module, recorder)
    logged = {
        name.removeprefix("train/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("train/") and not name.endswith("_step")
    }
    assert tuple(logged) == module.loss_names
    for name, value in logged.items():
        of_steps = [losses[name] for losses in recorder.losses]
        assert len(of_steps) == STEPS and all(map(math.isfinite, of_steps))
        assert value == pytest.approx(sum(of_steps) / STEPS, rel=1e-5)
    terms = [name for name in module.loss_names if name != "loss"]
    for losses in recorder.losses:
        assert losses["loss"] == pytest.approx(sum(losses[name] for name in terms))
    assert {"cluster/nmi", "cluster/acc", "cluster/ari"} <= set(
        trainer.callback_metrics
    )


@both
def test_training_makes_the_loss_smaller(make: Maker) -> None:
    recorder = Recorder()
    fit(make(learning_rate=3e-3), recorder, max_epochs=10)
    losses = [losses["loss"] for losses in recorder.losses]
    assert sum(losses[-STEPS:]) < sum(losses[:STEPS]) - 0.5


@both
def test_a_module_embeds_and_assigns_as_its_model(make: Maker) -> None:
    module = make()
    fit(module)
    module.train()
    images = TwoViews(clean=True).images
    model: Any = module.model
    embeddings, probabilities = module.embed_and_assign(images)
    assert module.training and model.training  # as it was
    assert not embeddings.requires_grad and not probabilities.requires_grad
    for ours in (module.embed(images), module(images), model.embed(images)):
        assert torch.equal(ours, embeddings)
    assert torch.equal(probabilities, model.assign(images))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(N))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(N))


@both
def test_the_module_brings_its_clusters_along(make: Maker) -> None:
    clusters = clusters_of()
    module = make(clusters)
    trainer = fit(module, max_epochs=2)
    assert clusters in trainer.callbacks  # type: ignore[attr-defined]
    expected = module.embed_and_assign(TwoViews(clean=True).images)[1].argmax(dim=1)
    assert torch.equal(clusters.labels_, expected)


@both
@pytest.mark.parametrize("warmup_epochs", [0, 2])
def test_adam_at_the_given_rate_after_a_warm_up(
    make: Maker, warmup_epochs: int
) -> None:
    recorder = Recorder()
    module = make(learning_rate=2e-3, weight_decay=0.01, warmup_epochs=warmup_epochs)
    trainer = fit(module, recorder, max_epochs=3)
    (optimizer,) = trainer.optimizers
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert group["weight_decay"] == 0.01 and group["betas"] == (0.9, 0.999)
    trained = {id(p) for p in module.parameters() if p.requires_grad}
    assert {id(p) for p in group["params"]} == trained
    rising = warmup_epochs * STEPS
    expected = [2e-3 * (step + 1) / rising for step in range(rising)]
    expected += [2e-3] * (3 * STEPS - rising)
    assert recorder.rates == pytest.approx(expected)


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_bad_numbers(make: Maker, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
    with pytest.raises(ValueError, match="pretraining_epochs must be at least 0, got"):
        pici(pretraining_epochs=-1)


@both
@pytest.mark.parametrize("training_only", [[True] * N, torch.ones(N)])
def test_training_only_is_a_tensor_of_bools(make: Maker, training_only: Any) -> None:
    with pytest.raises(TypeError, match="training_only must be a tensor of bools"):
        make(training_only=training_only)


# Images that are there for the instance loss alone.


@pytest.mark.parametrize("batch", [0, STEPS - 1])
def test_training_only_images_of_cc_are_in_the_instance_loss_alone(batch: int) -> None:
    training_only = some_apart()
    module = cc(training_only=training_only).double()
    keys = torch.arange(batch * BATCH, (batch + 1) * BATCH)
    views = [view.double() for view in stacked_views(keys)]
    weights = module.weights_of(keys)
    terms = module._terms(module.model, module.criterion, *views, weights)
    (z0, a0), (z1, a1) = (module.model.project(view) for view in views)
    criterion = CCLoss(K)

    def loss_of(rows: Tensor) -> Any:
        outputs = {"instance0": z0, "instance1": z1, "assignments0": a0}
        outputs["assignments1"] = a1
        return criterion(**{name: x[rows] for name, x in outputs.items()})

    everybody = torch.ones(BATCH, dtype=torch.bool)
    torch.testing.assert_close(terms.instance, loss_of(everybody).instance)
    others = ~training_only[keys]
    if others.any():
        expected = loss_of(others).cluster
        torch.testing.assert_close(terms.cluster, expected)
        assert (expected - loss_of(everybody).cluster).abs().item() > 1e-6
    else:
        assert terms.cluster.item() == 0
    # Nothing of the cluster loss reaches what the head says of these images.
    a0.retain_grad()
    criterion.cluster_loss(a0, a1, weights).backward(retain_graph=True)
    assert a0.grad is not None
    assert not a0.grad[training_only[keys]].any()
    assert bool(a0.grad[others].any()) == bool(others.any())


def stacked_views(keys: Tensor) -> list[Tensor]:
    dataset = TwoViews()
    views = [dataset[int(key)][0] for key in keys]
    return [torch.stack(view) for view in zip(*views, strict=True)]


@both
def test_training_only_goes_by_index(make: Maker) -> None:
    assert make().weights_of(["a.png", "b.png"]) is None
    module = make(training_only=some_apart())
    weights = module.weights_of(torch.tensor([1, 0, 39]))
    assert weights is not None and weights.tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(TypeError, match="goes by index, but keys are file names"):
        module.weights_of(["a.png", "b.png"])
    # A checkpoint is of the networks, not of the set.
    assert not any("weights" in name for name in module.state_dict())


# No step waits for an accelerator.


@both
def test_no_step_on_the_cpu_reads_a_value(make: Maker) -> None:
    """In all phases: PICI has one epoch of each.

    Adam is fused, as on GPUs. Else it counts its steps on the host, and reads that.
    """
    images = make_images(size=8)
    clean = DeviceLoader(images, batch_size=32, transform=BatchedTestTransform(8))
    callback = ClusterHeadAssignment(
        K, clean, pseudo_label_epochs=1, n_init=1, random_state=0
    )
    own = {"pretraining_epochs": 1} if make is pici else {}
    module = make(
        callback,
        training_only=torch.arange(len(images)) % 5 == 0,
        fused=True,
        views=BatchedViews(8, gaussian_blur=0.5),
        seed=0,
        **own,
    )
    watch = Watch()
    trainer = plain_trainer(Steps(watch), max_epochs=3)
    loader = DeviceLoader(images, batch_size=8, shuffle=True, drop_last=True)
    with reading_forbidden(watch), watch:
        trainer.fit(module, loader)
    assert watch.num_operations > 1000  # it has watched
    assert trainer.current_epoch == 3


@needs_pretence
@pytest.mark.parametrize("has_weights", [False, True])
def test_a_step_of_cc_on_a_gpu_needs_no_value(has_weights: bool) -> None:
    heads = CCInstanceHead(1024, output_dim=8), CCClusterHead(1024, K)
    module = cc()
    model = CCModel(build_backbone("small_convnet", 3), *heads)
    with pretended_gpu():
        on_the_pretended_gpu(model)
        views = torch.empty(2, 8, 3, 16, 16).unbind()
        weights = torch.empty(8) if has_weights else None
        terms = module._terms(model, CCLoss(K), *views, weights)
    assert {term.device.type for term in terms} == {"cuda"}
