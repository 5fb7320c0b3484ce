#!/usr/bin/env bash
# One would guess: a training that is resumed with more epochs follows the longer
# schedule, since lightly's CosineWarmupScheduler is built anew with the new length.
# What happens: the length is part of the scheduler's state. load_state_dict, which
# Lightning calls on resuming, puts the old one back. A finished training of 10 steps that
# goes on for 10 more has a learning rate of 0 in all of them; one that had come half way
# still falls to 0 at step 10 and stays there.
# Why a clustering user cares: "200 epochs were too few, go on to 400" trains nothing for
# 200 epochs, and the clusters stand still, which looks like convergence.
#
# Seen with lightly 1.6.0 and torch 2.14.1, Python 3.11:
#   length after loading: 10
#   finished, then longer: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
#   built for 20 steps:    [0.546, 0.454, 0.363, 0.277, 0.199, 0.13, 0.075, 0.034, 0.009, 0.0]
#   half way, then longer: [0.611, 0.389, 0.188, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 lightly==1.6.0
cat > "$folder/resume.py" <<'PYTHON'
import warnings

import torch
from lightly.utils.scheduler import CosineWarmupScheduler

warnings.simplefilter("ignore")  # it warns of steps beyond its length


def build(max_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = {"warmup_epochs": 2, "max_epochs": max_steps, "end_value": 0.0}
    return optimizer, CosineWarmupScheduler(optimizer, **schedule)


def train(optimizer, scheduler, steps):
    rates = []
    for _ in range(steps):
        rates.append(round(optimizer.param_groups[0]["lr"], 3))
        optimizer.step()
        scheduler.step()
    return rates


def resumed(steps_before):
    optimizer, scheduler = build(10)
    train(optimizer, scheduler, steps_before)
    longer_optimizer, longer = build(20)
    longer_optimizer.load_state_dict(optimizer.state_dict())
    longer.load_state_dict(scheduler.state_dict())
    return longer.max_epochs, train(longer_optimizer, longer, 10)


length, finished = resumed(10)
whole = train(*build(20), 20)[10:]
_, half_way = resumed(5)
print("length after loading:", length)
print("finished, then longer:", finished)
print("built for 20 steps:   ", whole)
print("half way, then longer:", half_way)
assert length == 10 and not any(finished) and whole[0] > 0.5
assert half_way[0] > 0.5 and not any(half_way[4:])
PYTHON
"$folder/env/bin/python" "$folder/resume.py"
