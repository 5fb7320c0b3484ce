"""Weights of torchvision, as a file to start from; needs the internet once."""

import sys

import torch
import torchvision


def main(name, file, weights="DEFAULT"):
    network = torchvision.models.get_model(name, weights=weights)
    torch.save(network.state_dict(), file)


if __name__ == "__main__":
    main(*sys.argv[1:])  # resnet18 resnet18.pth
