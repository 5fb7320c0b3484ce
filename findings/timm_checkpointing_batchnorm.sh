#!/usr/bin/env bash
# One would guess: gradient checkpointing trades time for memory and changes nothing else;
# timm's set_grad_checkpointing(True) leaves a ResNet's training as it was.
# What happens: gradients are the same to the bit, but every BatchNorm layer inside a
# checkpointed block runs twice, forward and again in the backward pass, and moves its
# running statistics twice: one step counts as two, with momentum 0.19 in place of 0.1.
# The stem, which is not checkpointed, counts once.
# Why a clustering user cares: embeddings for k-means are computed in evaluation mode, with
# the running statistics. They follow the last batches twice as closely as in the training
# that one compares with, and networks with and without checkpointing embed differently
# although their weights are equal.
#
# Seen with timm 1.0.31 and torch 2.14.1, Python 3.11:
#   batches counted without: [1]
#   batches counted with:    [1, 2] (stem, blocks)
#   gradients equal: True
#   largest difference of a running variance after one step: 0.099
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cat > "$folder/step.py" <<'PYTHON'
import timm
import torch


def step(checkpointing):
    torch.manual_seed(0)
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).train()
    network.set_grad_checkpointing(checkpointing)
    images = torch.randn(4, 3, 64, 64)
    network(images).square().mean().backward()
    layers = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    return layers, [parameter.grad for parameter in network.parameters()]


plain, plain_gradients = step(False)
layers, gradients = step(True)
counts = [int(layer.num_batches_tracked) for layer in layers]
apart = max(
    float((a.running_var - b.running_var).abs().max()) for a, b in zip(plain, layers)
)
same = all(map(torch.equal, plain_gradients, gradients))
print("batches counted without:", sorted({int(x.num_batches_tracked) for x in plain}))
print("batches counted with:   ", sorted(set(counts)), "(stem, blocks)")
print("gradients equal:", same)
print(f"largest difference of a running variance after one step: {apart:.3f}")
assert counts == [1] + [2] * (len(counts) - 1) and same and apart > 0.01
PYTHON
"$folder/env/bin/python" "$folder/step.py"
