"""Weights of timm, as a file to start from; needs the internet once."""

import sys

import timm
import torch


def main(name, file, image_size=None, pretrained=True):
    # timm fits position embeddings to the size that it builds a network for.
    options = {"img_size": int(image_size)} if image_size else {}
    network = timm.create_model(name, pretrained=pretrained, **options)
    torch.save(network.state_dict(), file)


if __name__ == "__main__":
    main(*sys.argv[1:])  # vit_small_patch16_224.dino vit.pth 96
