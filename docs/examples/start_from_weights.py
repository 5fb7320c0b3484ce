"""A backbone with weights from a file, in a loop of one's own."""

import sys

import torch

from hadis_lightly.models import build_backbone, feature_dim, load_backbone_weights


def main(name, file, num_channels=3, input_size=96):
    backbone = build_backbone(name, num_channels, input_size)
    print(load_backbone_weights(backbone, file))

    images = torch.rand(2, num_channels, input_size, input_size)
    features = backbone(images).flatten(start_dim=1)
    assert features.shape[1] == feature_dim(backbone, num_channels, input_size)
    return features


if __name__ == "__main__":
    main(*sys.argv[1:])  # resnet18 resnet18.pth
