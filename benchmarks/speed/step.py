"""One training step of HaDis beside one of BYOL, with the same networks.

    python benchmarks/speed/step.py
    python benchmarks/speed/step.py --backbone small_resnet18 --device cuda --steps 200

BYOL's step is that of lightly's example: momentum update, four forwards, negative
cosine similarity, SGD. HaDis's has the forwards, all three losses, the look-up of
pseudo-labels, the teacher's update and SGD. Neither logs. Both start from the same
weights and take turns; the ratio is that of the medians.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.utils import update_momentum
from measuring import build_parser, describe_machine, in_turns, write_rows
from torch import Tensor

from hadis_lightly.data.key_index import KeyIndex
from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    build_backbone,
    feature_dim,
)
from hadis_lightly.training import HaDis

Step = Callable[[], None]


def byol_step(model: HaDisModel, x0: Tensor, x1: Tensor) -> Step:
    """One step of BYOL, as in lightly's example."""
    student, teacher = model.student, model.teacher.module
    criterion = NegativeCosineSimilarity()
    parameters = [*student.parameters(), *model.prediction_head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.06, momentum=0.9)

    def step() -> None:
        update_momentum(student, teacher, m=0.996)
        p0 = model.prediction_head(student(x0))
        p1 = model.prediction_head(student(x1))
        with torch.no_grad():
            z0, z1 = teacher(x0), teacher(x1)
        loss = 0.5 * (criterion(p0, z1) + criterion(p1, z0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def hadis_step(model: HaDisModel, x0: Tensor, x1: Tensor) -> Step:
    """One step of HaDis with all its terms."""
    module = HaDis(model, HaDisLoss(10), warmup_epochs=0)
    index = KeyIndex([torch.arange(60_000)])
    labels = torch.randint(10, (60_000,), device=x0.device)
    keys = torch.randperm(60_000, device=x0.device)[: len(x0)]
    student = {"params": model.student.parameters()}
    head = {"params": model.prediction_head.parameters(), "lr": 0.5}
    optimizer = torch.optim.SGD([student, head], lr=0.05, momentum=0.9)

    def step() -> None:
        terms = module.symmetric_loss([x0, x1], labels[index.rows(keys, keys.device)])
        optimizer.zero_grad()
        terms.loss.backward()
        model.update_teacher()
        optimizer.step()

    return step


def main() -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    backbone = build_backbone(options.backbone)
    dim = feature_dim(backbone, 3, options.input_size)
    model = HaDisModel(backbone, HaDisProjectionHead(dim), HaDisPredictionHead())
    model = model.to(options.device)
    shape = (2, options.batch_size, 3, options.input_size, options.input_size)
    x0, x1 = torch.randn(shape, device=options.device)
    steps = {
        "BYOL (lightly)": byol_step(copy.deepcopy(model), x0, x1),
        "HaDis": hadis_step(copy.deepcopy(model), x0, x1),
    }
    seconds = in_turns(steps, options.steps, options.device, 2)
    print(
        f"{options.backbone}, batch {options.batch_size}, {options.input_size} px, "
        f"{describe_machine(options)}, median of {options.steps} steps"
    )
    byol, hadis = seconds.values()
    for name, times in seconds.items():
        ratio = statistics.median(times) / statistics.median(byol)
        print(f"{name:15} {1000 * statistics.median(times):9.1f} ms   {ratio:.3f} x")
    quartiles = statistics.quantiles(
        [b / a for a, b in zip(byol, hadis, strict=True)], n=4
    )
    print(f"turn by turn: {quartiles[0]:.3f} - {quartiles[2]:.3f} x (quartiles)")
    rows = [
        {"step": name, "round": i, "seconds": taken}
        for name, times in seconds.items()
        for i, taken in enumerate(times)
    ]
    write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
