#!/usr/bin/env bash
# One would guess: under bfloat16 autocast on a CPU the gradient of a convolution is that of
# float32 with three digits; images that have shrunk to one pixel are no special case.
# What happens: for a 3x3 convolution with stride 2 and padding 1 over 1x1 images, PyTorch's
# gradient of the weights is right at the centre of the kernel, the one tap that meets the
# image, and arbitrary at the eight others, which must be 0: numbers up to infinity that
# change from call to call. No error, no warning; outputs and the gradient of the images are
# right, float32 is right, and so are larger images and stride 1.
# Why a clustering user cares: a ResNet-18 halves its images five times, so that its last
# stage does this with images of up to 16 pixels, and small images are what people cluster
# on CPUs. With trainer.precision=bf16-mixed on a CPU that has avx512_bf16 a training
# diverges in the first step, or worse does not, and learns from noise.
#
# Seen with torch 2.14.1, Python 3.11, on an AMD EPYC with avx512_bf16:
#   float32:  centre 0.000, other taps 0 (largest error, relative to float64)
#   bfloat16: centre 0.004, other taps inf
#   bfloat16, images of 2x2: 0.003
set -euo pipefail
if ! grep -qw avx512_bf16 /proc/cpuinfo; then
    echo "this CPU has no avx512_bf16: nothing to show here"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 numpy
cat > "$folder/gradient.py" <<'PYTHON'
import torch
import torch.nn.functional as F

torch.manual_seed(0)


def errors(dtype, side):
    """Largest error of the gradient, at the centre and elsewhere, in 20 attempts."""
    centre = others = 0.0
    for _ in range(20):
        images, weight = torch.randn(16, 64, side, side), torch.randn(128, 64, 3, 3)
        images, weight = images.bfloat16().float(), weight.bfloat16().float()
        exact = weight.double().requires_grad_()
        output = F.conv2d(images.double(), exact, stride=2, padding=1)
        direction = torch.randn(output.shape).bfloat16().float()
        output.backward(direction.double())
        rounded = weight.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            output = F.conv2d(images, rounded, stride=2, padding=1)
        output.float().backward(direction)
        apart = ((rounded.grad - exact.grad).abs() / exact.grad.abs().max()).nan_to_num(
            float("inf"), float("inf")
        )
        centre = max(centre, float(apart[..., 1, 1].max()))
        apart[..., 1, 1] = 0
        others = max(others, float(apart.max()))
    return centre, others


for name, dtype in (("float32: ", torch.float32), ("bfloat16:", torch.bfloat16)):
    centre, others = errors(dtype, 1)
    print(f"{name} centre {centre:.3f}, other taps {others:.3g}")
larger = max(errors(torch.bfloat16, 2))
print(f"bfloat16, images of 2x2: {larger:.3f}")
assert centre < 0.05 and larger < 0.05
assert others > 0.1 and max(errors(torch.float32, 1)) < 1e-3
PYTHON
"$folder/env/bin/python" "$folder/gradient.py"
