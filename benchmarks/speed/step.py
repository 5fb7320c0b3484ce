"""What HaDis costs beside BYOL: one training step of each, the same networks.

    python benchmarks/step.py
    python benchmarks/step.py --backbone small_resnet18 --device cuda --steps 200

BYOL's step is that of lightly's example: momentum update, four forwards, lightly's
negative cosine similarity, SGD. HaDis's has the forward passes and all three losses of
this package's LightningModule, the look-up of the pseudo-labels, the teacher's update
and SGD; neither logs. Both start from the same weights and take turns, so that
whatever else the machine does meets both alike; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.utils import update_momentum
from torch import Tensor

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    build_backbone,
    feature_dim,
)
from hadis_lightly.training import HaDis
from hadis_lightly.training.key_index import KeyIndex

Step = Callable[[Tensor, Tensor, Tensor], Tensor]


def byol_step(model: HaDisModel) -> Step:
    """One step of BYOL, as in lightly's example."""
    student, teacher = model.student, model.teacher.module
    criterion = NegativeCosineSimilarity()
    parameters = [*student.parameters(), *model.prediction_head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.06, momentum=0.9)

    def step(x0: Tensor, x1: Tensor, keys: Tensor) -> Tensor:
        update_momentum(student, teacher, m=0.996)
        p0 = model.prediction_head(student(x0))
        p1 = model.prediction_head(student(x1))
        with torch.no_grad():
            z0, z1 = teacher(x0), teacher(x1)
        loss: Tensor = 0.5 * (criterion(p0, z1) + criterion(p1, z0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def hadis_step(model: HaDisModel) -> Step:
    """One step of HaDis with all its terms."""
    module = HaDis(model, HaDisLoss(10), warmup_epochs=0)
    index = KeyIndex([torch.arange(60_000)])
    labels = torch.randint(10, (60_000,), device=next(model.parameters()).device)
    student = {"params": model.student.parameters()}
    head = {"params": model.prediction_head.parameters(), "lr": 0.5}
    optimizer = torch.optim.SGD([student, head], lr=0.05, momentum=0.9)

    def step(x0: Tensor, x1: Tensor, keys: Tensor) -> Tensor:
        terms = module.symmetric_loss(x0, x1, labels[index.rows(keys, keys.device)])
        optimizer.zero_grad()
        terms.loss.backward()
        model.update_teacher()
        optimizer.step()
        return terms.loss

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default_device)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    backbone = build_backbone(options.backbone)
    dim = feature_dim(backbone, 3, options.input_size)
    model = HaDisModel(backbone, HaDisProjectionHead(dim), HaDisPredictionHead())
    model = model.to(options.device)
    steps = {
        "BYOL (lightly)": byol_step(copy.deepcopy(model)),
        "HaDis": hadis_step(copy.deepcopy(model)),
    }
    shape = (options.batch_size, 3, options.input_size, options.input_size)
    x0, x1 = torch.randn(2, *shape, device=options.device)
    keys = torch.randperm(60_000, device=options.device)[: options.batch_size]
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.steps + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step(x0, x1, keys)
            if options.device != "cpu":
                torch.cuda.synchronize()
            if turn >= 2:  # the first ones warm up
                seconds[name].append(time.perf_counter() - start)

    print(
        f"{options.backbone}, batch {options.batch_size}, {options.input_size} px, "
        f"{options.device}, {options.threads} threads, median of {options.steps} steps"
    )
    byol, hadis = seconds.values()
    for name, times in seconds.items():
        ratio = statistics.median(times) / statistics.median(byol)
        print(f"{name:15} {1000 * statistics.median(times):9.1f} ms   {ratio:.3f} x")
    paired = [b / a for a, b in zip(byol, hadis, strict=True)]
    quartiles = statistics.quantiles(paired, n=4)
    print(f"turn by turn: {quartiles[0]:.3f} - {quartiles[2]:.3f} x (quartiles)")


if __name__ == "__main__":
    main()
