"""Gradient checkpointing runs layers twice; BatchNorm statistics move once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils.checkpoint import checkpoint

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import batch_norms, frozen_statistics
from hadis_lightly.training import HaDis
from tests.training.any_trainer.hadis_parts import hadis_model
from tests.training.any_trainer.parts import k_means, loader
from tests.training.plain_trainer import plain_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    # Of the teacher, which needs no gradient.
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True"),
    # PyTorch's compiler looks at it, and uses its own deprecated names.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*torch._prims_common.check.*:FutureWarning"),
]


class Body(nn.Module):
    """A stem and a block with BatchNorm, which is checkpointed if it is to be."""

    def __init__(self, use_reentrant: bool | None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, 32))
        self.block = nn.Sequential(
            nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32),
            nn.BatchNorm1d(32, momentum=None), nn.ReLU(),
        )  # fmt: skip
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.use_reentrant is None:
            return self.block(x)
        return checkpoint(self.block, x, use_reentrant=self.use_reentrant)


def trained(
    use_reentrant: bool | None, *callbacks: pl.Callback, **options: Any
) -> HaDis:
    torch.manual_seed(1)
    model = hadis_model(Body(None))
    for network in (model.student, model.teacher.module):
        network.backbone.use_reentrant = use_reentrant
    module = HaDis(model, HaDisLoss(3), k_means(), warmup_epochs=0, **options)
    torch.manual_seed(0)
    plain_trainer(*callbacks, max_epochs=2).fit(module, loader(views=True))
    return module


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_statistics_and_weights_are_those_without_checkpointing(
    use_reentrant: bool,
) -> None:
    plain, checkpointed = trained(None), trained(use_reentrant)
    assert int(plain.model.student.backbone.block[0].num_batches_tracked) == 16
    theirs = checkpointed.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    for layer in batch_norms(checkpointed.model):
        assert layer.num_batches_tracked is not None
        assert layer.momentum in (0.1, None)


def test_gradients_are_those_without_checkpointing() -> None:
    x, gradients = torch.randn(30, 1, 8, 8), []
    body = Body(None)
    for use_reentrant in (None, False, True):
        net = copy.deepcopy(body)
        net.use_reentrant = use_reentrant
        loss = net(x).square().mean()
        with frozen_statistics(batch_norms(net)):
            loss.backward()
        gradients.append([p.grad for p in net.parameters()])
    for plain, *others in zip(*gradients, strict=True):
        assert all(torch.equal(plain, other) for other in others)


def test_layers_are_as_before_after_a_failure() -> None:
    net = Body(None)
    first, second = batch_norms(net)
    counted = first.num_batches_tracked
    with pytest.raises(KeyError), frozen_statistics([first, second]):
        assert first.momentum == 0.0
        raise KeyError
    assert (first.momentum, second.momentum) == (0.1, None)
    assert first.num_batches_tracked is counted


@pytest.mark.slow
def test_nothing_is_compiled_again_after_the_first_steps() -> None:
    class Counter(pl.Callback):
        def __init__(self) -> None:
            self.graphs: list[int] = []

        def on_train_batch_end(self, *args: Any) -> None:
            self.graphs.append(counters["stats"]["unique_graphs"])

    counter = Counter()
    torch._dynamo.reset()
    trained(None, counter, compile_mode="default")
    assert counter.graphs[0] > 0
    assert len(set(counter.graphs)) == 1
