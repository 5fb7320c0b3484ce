"""Features, weights and cost of backbones for one image; nothing is computed."""

import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from hadis_lightly.models import build_backbone, feature_dim


def main(*names, input_size=224):
    print(f"at {input_size} pixels: features, million weights, billion multiply-adds")
    for name in names:
        with torch.device("meta"):
            backbone = build_backbone(name, 3, input_size).eval()
            image = torch.empty(1, 3, input_size, input_size)
            with FlopCounterMode(display=False) as counter:
                backbone(image)
        n_features = feature_dim(backbone, 3, input_size)
        n_weights = sum(p.numel() for p in backbone.parameters())
        cost = counter.get_total_flops() / 2e9
        print(f"{name:30} {n_features:5} {n_weights / 1e6:6.1f} {cost:6.2f}")


if __name__ == "__main__":
    *names, size = sys.argv[1:]
    main(*names, input_size=int(size))
