"""Features of a frozen backbone on a CPU: milliseconds per image, beside ONNX Runtime.

    python benchmarks/speed/frozen.py
    python benchmarks/speed/frozen.py --backbones resnet18 --rounds 9

Ways that take turns over the same images, of 224 pixels, with random weights: "float32"
is what the embedding pass did before it knew bfloat16 and slices (channels last, all
images of a batch at once), "unfolded" is what it does now, in the precision that agrees
with float32, "folded" is the same with BatchNorm folded into the convolutions, as in
prediction, "folded float32" is that where bfloat16 is refused, and "onnxruntime" runs
the exported network in float32, if onnx and onnxruntime are installed. Folding and the
comparison of the first images are left out.
The cosine is the lowest between "folded" and "float32".
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from measuring import build_parser, in_turns, write_rows
from torch import Tensor, nn

from hadis_lightly.folding import folded
from hadis_lightly.inference import Context, accurate_precision, network_outputs
from hadis_lightly.models import build_backbone
from hadis_lightly.precision import has_native_bfloat16

BACKBONES = ("timm/tf_efficientnet_lite0", "resnet18", "timm/vit_small_patch16_224")


class Network(nn.Module):
    """A backbone as the embedding pass sees it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        backbone = build_backbone(name, 3, 224).eval()
        self.backbone = backbone.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(n, d)``."""
        features: Tensor = self.backbone(images).flatten(1)
        return features

    embed = forward


def in_onnxruntime(
    network: Network, images: Tensor, threads: int
) -> Callable[[], object]:
    """The network, exported, as a function without arguments."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network.backbone,
            (images[:16].contiguous(),),
            path,
            dynamo=False,
            input_names=["images"],
            dynamic_axes={"images": {0: "n"}},
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options)
    parts = [part.contiguous().numpy() for part in images.split(16)]
    return lambda: [session.run(None, {"images": part}) for part in parts]


@torch.no_grad()
def main() -> None:
    """Measures each backbone, and prints medians and quartiles."""
    parser = build_parser(__doc__)
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.randn(options.images, 3, 224, 224)
    images = images.contiguous(memory_format=torch.channels_last)
    half = partial(torch.autocast, "cpu", torch.bfloat16, enabled=has_native_bfloat16())
    rows = []
    for name in options.backbones:
        network = Network(name)
        fast = folded(network, images)
        context = accurate_precision(fast, images, half)

        def passed(network: Network, context: Context = context) -> Tensor:
            with context():
                return network_outputs(network, images)[0]

        def plain(network: Network = network) -> Tensor:
            return nn.functional.normalize(network.embed(images), dim=1)

        cosine = float((passed(fast) * plain()).sum(1).min())
        works: dict[str, Callable[[], object]] = {
            "float32": plain,
            "unfolded": partial(passed, network),
            "folded": partial(passed, fast),
            "folded float32": partial(passed, fast, nullcontext),
        }
        if find_spec("onnxruntime") and find_spec("onnx"):
            works["onnxruntime"] = in_onnxruntime(network, images, options.threads)
        seconds = in_turns(works, options.rounds, "cpu")
        print(f"{name}, lowest cosine {cosine:.5f}")
        for way, values in seconds.items():
            each = 1000 * np.array(values) / options.images
            low, middle, high = np.percentile(each, (25, 50, 75))
            before = float(np.median(seconds["float32"]) / np.median(values))
            print(
                f"  {way:14} {middle:7.2f} ms  [{low:.2f}, {high:.2f}]  {before:.2f}x"
            )
            rows += [{"backbone": name, "way": way, "ms": value} for value in each]
    write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
