#!/usr/bin/env bash
# One would guess: EMPSSLLoss of lightly is EMP-SSL's, which rewards a large coding rate,
# so that embeddings stay apart though there is no teacher, no predictor, no negative.
# What happens: the loss adds the coding rate in place of subtracting it. Embeddings at
# one point cost less than spread ones, and an encoder that learns by it puts all images
# on one line within a few hundred steps. Its parts, tcr_loss and invariance_loss, are
# right: invariance minus rate keeps all directions.
# Why a clustering user cares: the loss falls as it should while every image becomes the
# same, and k-means cuts one line into K pieces.
#
# Seen with lightly 1.6.0 and torch 2.14.1, Python 3.11:
#   loss of rows that are spread: -6.4
#   loss of rows at one point:    -17.8
#   second direction after 400 steps: 0.0
#   with the rate subtracted:         0.724
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 lightly==1.6.0
cat > "$folder/sign.py" <<'PYTHON'
import torch
from lightly.loss import EMPSSLLoss
from lightly.loss.emp_ssl_loss import invariance_loss, tcr_loss
from torch.nn.functional import normalize

criterion = EMPSSLLoss(inv_coef=20)


def as_it_is(views):
    return criterion(views)


def rate_subtracted(views):
    z = torch.stack(views)
    return 20 * invariance_loss(z) - tcr_loss(z, eps=0.2)


def cost(rows):
    return round(criterion([rows, rows]).item(), 1)


def second_direction(loss_of):
    """Singular values of the embeddings after 400 steps, the second over the first."""
    torch.manual_seed(0)
    images, encoder = torch.randn(64, 8), torch.nn.Linear(8, 8)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.02)
    for _ in range(400):
        views = [encoder(images + 0.5 * torch.randn(64, 8)) for _ in range(2)]
        loss = loss_of([normalize(view, dim=1) for view in views])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    values = torch.linalg.svdvals(normalize(encoder(images).detach(), dim=1))
    return round((values[1] / values[0]).item(), 3)


torch.manual_seed(0)
spread = normalize(torch.randn(64, 16), dim=1)
at_one_point = spread[:1].expand(64, 16)
print("loss of rows that are spread:", cost(spread))
print("loss of rows at one point:   ", cost(at_one_point))
print("second direction after 400 steps:", second_direction(as_it_is))
print("with the rate subtracted:        ", second_direction(rate_subtracted))
assert cost(at_one_point) < cost(spread) - 5
assert second_direction(as_it_is) < 0.01 < 0.3 < second_direction(rate_subtracted)
PYTHON
"$folder/env/bin/python" "$folder/sign.py"
