"""The backbone of a run, alone, for torchvision's networks and lightly's modules."""

import sys

import torch
import torchvision

from hadis_lightly.artifacts import backbone_state_dict


def main(checkpoint, file):
    torch.save(backbone_state_dict(checkpoint, network="teacher"), file)

    resnet = torchvision.models.resnet18()  # model.backbone=resnet18
    missing, _ = resnet.load_state_dict(torch.load(file), strict=False)
    print("not in the checkpoint:", *missing)  # its classifier, fc
    # As in lightly's examples: all but the classifier.
    return torch.nn.Sequential(*list(resnet.children())[:-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
