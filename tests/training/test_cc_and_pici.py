"""Contrastive Clustering and PICI as modules, in a plain trainer of Lightning's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from hadis_lightly.data import DeviceLoader
from hadis_lightly.loss import CCLoss, PICILoss
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    PICIModel,
    build_backbone,
    build_masked_vit,
)
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import ClusterHeadModule
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering
from hadis_lightly.training.pici import PICI
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

N, K, BATCH = 40, 4, 10
STEPS = N // BATCH

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


class TwoViews(torch.utils.data.Dataset[Any]):
    """Forty images of four kinds, as two noisy views that are always the same."""

    def __init__(self, clean: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        kinds = 3 * torch.randn(K, 3, 8, 8, generator=generator)
        self.images = kinds.repeat(N // K, 1, 1, 1)
        self.noise = 0.3 * torch.randn(2, N, 3, 8, 8, generator=generator)
        self.clean = clean

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        if self.clean:
            return image, index % K, index
        return [image + noise for noise in self.noise[:, index]], index % K, index


def make_cc_model() -> CCModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16))
    return CCModel(backbone, CCInstanceHead(16, output_dim=8), CCClusterHead(16, K))


def make_pici_model() -> PICIModel:
    torch.manual_seed(0)
    vit = build_masked_vit(3, 8, 4, 16, 1, 2, 16, 1, 2)
    return PICIModel(vit, CCInstanceHead(16, output_dim=8), CCClusterHead(16, K))


def clusters_of(
    interaction_epochs: int = 0, warmup_epochs: int = 0
) -> ClusterHeadAssignment:
    return ClusterHeadAssignment(
        K,
        DataLoader(TwoViews(clean=True), batch_size=20),
        warmup_epochs,
        pseudo_label_epochs=interaction_epochs,
        n_init=2,
        random_state=0,
    )


def cc(
    clusters: ClusterHeadAssignment | None = None, **options: Any
) -> ContrastiveClustering:
    return ContrastiveClustering(make_cc_model(), CCLoss(K), clusters, **options)


def pici(
    clusters: ClusterHeadAssignment | None = None,
    pretraining_epochs: int = 0,
    **options: Any,
) -> PICI:
    return PICI(
        make_pici_model(),
        PICILoss(K),
        clusters,
        pretraining_epochs=pretraining_epochs,
        **options,
    )


Maker = Callable[..., ClusterHeadModule]
MAKERS: dict[str, Maker] = {"cc": cc, "pici": pici}
both = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def fit(
    module: ClusterHeadModule,
    *callbacks: pl.Callback,
    max_epochs: int = 1,
    **options: Any,
) -> pl.Trainer:
    torch.manual_seed(1)
    trainer = plain_trainer(*callbacks, max_epochs=max_epochs, **options)
    trainer.fit(module, DataLoader(TwoViews(), batch_size=BATCH))
    return trainer


class Recorder(pl.Callback):
    """Takes down losses, gradients and learning rates, step by step."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.rates: list[float] = []
        #: Of every step the parts that had a gradient: Adam moves no others.
        self.trained: list[set[str]] = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        assert isinstance(pl_module, ClusterHeadModule)
        names, values = pl_module.loss_names, pl_module.last_losses.tolist()
        self.losses.append(dict(zip(names, values, strict=True)))
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.trained.append(
            {
                _part(name)
                for name, parameter in pl_module.model.named_parameters()
                if parameter.grad is not None
            }
        )


def _part(name: str) -> str:
    """Which part of a network a weight belongs to."""
    parts = ("instance_head", "cluster_head", "autoencoder.encoder", "backbone")
    found = [part for part in parts if name.startswith(part)]
    return found[0] if found else "decoder"


# What both do.


@both
def test_losses_of_every_epoch_are_logged_under_their_names(
    make: Maker,
) -> None:
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
def test_training_makes_the_loss_smaller(
    make: Maker,
) -> None:
    recorder = Recorder()
    fit(make(learning_rate=3e-3), recorder, max_epochs=10)
    losses = [losses["loss"] for losses in recorder.losses]
    assert sum(losses[-STEPS:]) < sum(losses[:STEPS]) - 0.5


@both
def test_a_module_embeds_and_assigns_as_its_model(
    make: Maker,
) -> None:
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
def test_the_module_brings_its_clusters_along(
    make: Maker,
) -> None:
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


def some_apart() -> Tensor:
    """Every third image, and all of the last batch."""
    training_only = torch.arange(N) % 3 == 0
    training_only[-BATCH:] = True
    return training_only


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


def test_training_only_images_of_pici_have_no_pseudo_label_either() -> None:
    training_only = some_apart()
    clusters = clusters_of(interaction_epochs=1)
    module = pici(clusters, training_only=training_only)
    seen: list[tuple[Tensor, Tensor]] = []
    forward = module.criterion.forward

    def criterion(**inputs: Any) -> Any:
        assert inputs["labels0"] is inputs["labels1"]
        seen.append((inputs["labels0"], inputs["weights"]))
        return forward(**inputs)

    module.criterion.forward = criterion  # type: ignore[method-assign]
    recorder = Recorder()
    fit(module, recorder)
    labels, weights = (torch.cat(column) for column in zip(*seen, strict=True))
    assert torch.equal(labels == -1, training_only)
    assert torch.equal(weights == 0, training_only)
    assert recorder.losses[0]["loss_interaction"] > 0
    last = recorder.losses[-1]
    assert last["loss_interaction"] == last["loss_cluster"] == 0
    assert last["loss"] == last["loss_instance"] > 0


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


# The phases of PICI: one epoch of pretraining, two in between, one at the end.

PHASES = {
    "loss_reconstruction": {0, 1, 2},
    "loss_instance": {1, 2, 3},
    "loss_cluster": {1, 2, 3},
    "loss_interaction": {3},
}
HEADS = {"instance_head", "cluster_head"}


@pytest.fixture(scope="module")
def four_epochs() -> Recorder:
    recorder = Recorder()
    clusters = clusters_of(interaction_epochs=1, warmup_epochs=1)
    module = pici(clusters, pretraining_epochs=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        fit(module, recorder, max_epochs=4)
    return recorder


@pytest.mark.parametrize("term", PHASES)
def test_each_term_of_pici_has_its_phases(four_epochs: Recorder, term: str) -> None:
    for step, losses in enumerate(four_epochs.losses):
        assert (losses[term] != 0) == (step // STEPS in PHASES[term]), step
        others = sum(losses[name] for name in PHASES)
        assert losses["loss"] == pytest.approx(others, rel=1e-5)


def test_each_part_of_pici_is_trained_in_its_phases(four_epochs: Recorder) -> None:
    for step, trained in enumerate(four_epochs.trained):
        phase = (0, 1, 1, 2)[step // STEPS]
        expected = {"autoencoder.encoder"}
        expected |= {"decoder"} if phase < 2 else set()
        expected |= HEADS if phase > 0 else set()
        assert trained == expected, step


def test_without_clusters_there_is_no_last_phase() -> None:
    recorder = Recorder()
    fit(pici(pretraining_epochs=1), recorder, max_epochs=3)
    assert {losses["loss_interaction"] for losses in recorder.losses} == {0.0}
    assert recorder.losses[-1]["loss_reconstruction"] > 0


def test_the_last_phase_pulls_the_head_to_the_pseudo_labels() -> None:
    clusters = clusters_of(interaction_epochs=15)
    recorder = Recorder()
    module = pici(clusters, learning_rate=3e-3)
    fit(module, recorder, max_epochs=15)
    first, last = recorder.losses[0], recorder.losses[-1]
    assert last["loss_interaction"] < 0.2 < first["loss_interaction"]
    assert clusters.scores_["acc"] > 0.9


# No step waits for an accelerator.


@both
def test_no_step_on_the_cpu_reads_a_value(
    make: Maker,
) -> None:
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


@needs_pretence
@pytest.mark.parametrize("has_weights", [False, True])
def test_no_phase_of_pici_on_a_gpu_needs_a_value(has_weights: bool) -> None:
    module, model = pici(), make_pici_model()
    with pretended_gpu():
        on_the_pretended_gpu(model)
        x0, x1 = torch.empty(2, 8, 3, 8, 8).unbind()
        weights = torch.empty(8) if has_weights else None
        labels = torch.empty(8, dtype=torch.long)
        common = (model, PICILoss(K), x0, x1)
        of_phases = [
            module._masked_terms(*common, None, with_contrasts=False),
            module._masked_terms(*common, weights, with_contrasts=True),
            module._interaction_terms(*common, weights, labels),
        ]
    for terms in of_phases:
        assert {term.device.type for term in terms} == {"cuda"}
