"""The speed benchmarks run and write their tables; the figures are not checked."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.conftest import BENCHMARKS

# Smallest settings, and rows of the CSV.
TINY = {
    "embedding": ("--samples 100 --dim 8 --processes 2 --batch-size 10", 2 * 2),
    "kmeans": (
        "--samples 300 --dim 8 --clusters 3 --restarts 2 --repeats 2 "
        "--skip faiss superkmeans",
        2 * 2 * 2,  # data, methods, repeats
    ),
    "losses": ("--sizes 8 16 --dim 8 --clusters 3 20 --repeats 2", 2 * 8 * 2),
    "step": ("--backbone small_convnet --batch-size 4 --input-size 16 --steps 2", 4),
    "throughput": (
        "--backbone resnet18 --batch-size 4 --images 16 --steps 1 --rounds 1 "
        "--workers 0 --kmeans-rows 100",
        3 + 9,  # trainings, stages
    ),
    "views": ("--size 16 --batch-size 4 --seconds 0.01 --rounds 2 --data {data}", 14),
}


def run(name: str, *options: str) -> list[dict[str, str]]:
    """Runs a benchmark on one core of a CPU; the last option is its CSV file."""
    script = [sys.executable, str(BENCHMARKS / "speed" / f"{name}.py")]
    words = [*options[:-1], "--threads", "1", "--device", "cpu", "--csv", options[-1]]
    done = subprocess.run([*script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(options[-1], newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_script(name: str, tmp_path: Path) -> None:
    if name == "views":
        pytest.importorskip("kornia")
    images = np.random.default_rng(0).integers(256, size=(9, 20, 24, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    options, num_rows = TINY[name]
    words = options.format(data=tmp_path / "images.npz").split()

    rows = run(name, *words, str(tmp_path / "new" / "table.csv"))

    assert len(rows) == num_rows
    measured = "value" if name == "throughput" else "seconds"
    assert all(float(row[measured]) >= 0 for row in rows)


@pytest.mark.slow
def test_profile_step(tmp_path: Path) -> None:
    tiny = "--backbone small_convnet --batch-size 4 --input-size 16 --images 16 --steps"
    variants = ["--variants", "", "loader.batch_size=8"]

    rows = run("profile_step", *tiny.split(), "1", *variants, str(tmp_path / "p.csv"))

    found = {(row["settings"], row["batch"]) for row in rows}
    assert found == {("", "4"), ("loader.batch_size=8", "8")}
    assert {"convolution", "batch norm"} < {row["kind"] for row in rows}
    assert all(float(row["ms"]) > 0 < float(row["calls"]) for row in rows)


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc", "convolution"),
        ("void cudnn::bn_bw_1C11_kernel_new<float>", "batch norm"),
        ("nvjet_tst_128x256_64x4_2x1_v_bz_TNT", "matrix product"),
        ("triton_poi_fused_convolution_backward_relu_1", "fused by the compiler"),
        ("triton_tem_fused_convolution_2", "convolution"),
        ("void cudnn::nchwToNhwcKernel<bf16>", "copy"),
        ("multi_tensor_apply_kernel<FusedSgdMathFunctor>", "optimiser, teacher"),
        ("at::native::vectorized_elementwise_kernel<4, add>", "everything else"),
    ],
)
def test_kernels_are_sorted_by_name(kernel: str, kind: str) -> None:
    from profile_step import Kernel

    assert Kernel(kernel, 1.0, 1.0).kind == kind
