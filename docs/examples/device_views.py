"""Views on the device for a training loop of your own, from a transform of lightly."""

import argparse

import numpy as np
import torch
from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform

from hadis_lightly.data import DeviceLoader
from hadis_lightly.transforms import BatchedViews


def main(file, input_size=32, batch_size=256, max_epochs=1, device="cpu"):
    with np.load(file) as arrays:
        images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)  # uint8, NHWC
    loader = DeviceLoader(
        images, batch_size=batch_size, shuffle=True, drop_last=True, device=device
    )
    transform = BYOLTransform(
        view_1_transform=BYOLView1Transform(input_size=input_size),
        view_2_transform=BYOLView2Transform(input_size=input_size),
    )
    views = BatchedViews.from_transform(
        transform, generator=torch.Generator(device).manual_seed(0)
    )
    for _ in range(max_epochs):
        for batch, _targets, _indices in loader:
            x0, x1 = views(batch)
            # your step: x0 and x1 are float (n, 3, input_size, input_size), normalised
    return x0, x1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="npz with images, uint8 (n, h, w, 3)")
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--max-epochs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    main(**vars(parser.parse_args()))
