#!/usr/bin/env bash
# One would guess: the queue of negatives of MoCo, and the covariance that TiCo averages
# over steps, are buffers as those of a BatchNorm are, and come back from a checkpoint.
# What happens: lightly's memory bank registers its rows as not persistent, and TiCoLoss
# keeps its matrix as a plain attribute. Both losses have an empty state_dict, which loads
# without a complaint into a new loss whose negatives are random directions, or whose
# covariance is zero: nothing says that the training goes on with another loss.
# Why a clustering user cares: an interrupted training on one GPU is resumed as a matter
# of course. Its loss drops at once, since random negatives are easy and a covariance of
# zero costs little, which looks like progress; until the bank is full again (65,536 rows:
# 256 batches of 256) little holds images apart.
#
# Seen with lightly 1.6.0 and torch 2.14.1, Python 3.11:
#   states: [] []
#   NTXentLoss with a bank of 256, before and after: 5.4 3.67
#   TiCoLoss, before and after: 6.78 0.69
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 lightly==1.6.0
cat > "$folder/queue.py" <<'PYTHON'
import torch
from lightly.loss import NTXentLoss, TiCoLoss

torch.manual_seed(0)
# Embeddings of an encoder that has begun to learn: much alike, and two views of an image
# nearly the same.
middle = torch.ones(16)


def views():
    x = middle + 0.3 * torch.randn(32, 16)
    return (x + 0.05 * torch.randn(32, 16)).requires_grad_(), x


def before_and_after(make):
    """The loss of one batch after 50 steps, and that of its copy from a checkpoint."""
    criterion, resumed = make(), make()
    for _ in range(50):
        criterion(*views())
    resumed.load_state_dict(criterion.state_dict())
    batch = views()
    with torch.no_grad():
        return [round(loss(*batch).item(), 2) for loss in (criterion, resumed)]


def bank():
    return NTXentLoss(memory_bank_size=(256, 16))


print("states:", list(bank().state_dict()), list(TiCoLoss().state_dict()))
queue, covariance = before_and_after(bank), before_and_after(TiCoLoss)
print("NTXentLoss with a bank of 256, before and after:", *queue)
print("TiCoLoss, before and after:", *covariance)
assert queue[1] < queue[0] - 0.5
assert covariance[1] < covariance[0] / 5
PYTHON
"$folder/env/bin/python" "$folder/queue.py"
