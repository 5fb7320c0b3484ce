"""The speed benchmarks run and print their tables; the figures are not checked."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.benchmarks.conftest import BENCHMARKS

TINY = {
    "kmeans": "--samples 300 --dim 8 --clusters 3 --restarts 2 --repeats 2",
    "losses": "--sizes 8 16 --dim 8 --clusters 3 20 --repeats 2",
    "profile_step": "--backbone small_convnet --batch-size 4 --input-size 16 "
    "--images 16 --steps 1",
    "step": "--backbone small_convnet --batch-size 4 --input-size 16 --steps 2",
    "throughput": "--backbone resnet18 --batch-size 4 --images 16 --steps 1 --rounds 1 "
    "--workers 0 --kmeans-rows 100",
    "views": "--size 16 --batch-size 4 --seconds 0.01 --rounds 2",
}
# A number as tables have it: 1,234 or 0.5 or 1.2e-05.
NUMBER = re.compile(r"-?[\d,]+(?:\.\d+)?(?:e[+-]\d+)?")


def run(name: str, *options: str) -> list[str]:
    """The lines that a benchmark prints with tiny settings, on one core of a CPU."""
    script = [sys.executable, str(BENCHMARKS / "speed" / f"{name}.py")]
    tiny = [*TINY[name].split(), "--threads", "1", "--device", "cpu"]
    done = subprocess.run([*script, *tiny, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def numbers(lines: list[str], start: str) -> list[float]:
    """The numbers of the one row that begins so, spaces apart."""
    squeezed = [" ".join(line.split()) for line in lines]
    rows = [line for line in squeezed if line.startswith(start + " ")]
    assert len(rows) == 1, f"{start}: {rows}"
    rest = rows[0].removeprefix(start)
    return [float(found.replace(",", "")) for found in NUMBER.findall(rest)]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_kmeans(tmp_path: Path) -> None:
    file = tmp_path / "new" / "kmeans.csv"

    lines = run("kmeans", "--skip", "faiss", "--csv", str(file))

    for data in ("clear", "overlapping"):
        _, ratio, above_best = numbers(lines, f"{data} hadis_lightly")
        assert ratio == 1
        assert above_best >= 0
        assert len(numbers(lines, f"{data} scikit-learn")) == 3
    assert not any("faiss" in line for line in lines)
    rows = read(file)
    assert len(rows) == 8  # data, methods, repeats
    assert all(float(row["seconds"]) > 0 < float(row["inertia"]) for row in rows)


@pytest.mark.slow
def test_throughput(tmp_path: Path) -> None:
    file = tmp_path / "throughput.csv"

    lines = run("throughput", "--csv", str(file))

    names = ("lightly's BYOL, its DataLoader", "HaDis, the same DataLoader")
    rates = [numbers(lines, name) for name in (*names, "HaDis, all options auto")]
    assert rates[0][-3] == 1
    assert all(rate[0] > 0 for rate in rates)
    stages = ("data", "views", "student", "teacher", "losses", "backward", "optimiser")
    shares = [numbers(lines, name)[1] for name in stages]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert len(read(file)) == 3 + 9


@pytest.mark.slow
def test_losses(tmp_path: Path) -> None:
    file = tmp_path / "losses.csv"

    lines = run("losses", "--csv", str(file))

    for n in (8, 16):
        assert numbers(lines, f"{n} NegativeCosineSimilarity")[1] == 1
        assert numbers(lines, f"{n} NTXentLoss")[2] == 1
        for name in ("DSALoss", "HSDLoss", "PCLLoss, K 20", "HaDisLoss, K 3"):
            assert len(numbers(lines, f"{n} {name}")) == 3
    rows = read(file)
    assert len(rows) == 2 * 8 * 2  # sizes, losses, repeats
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_step() -> None:
    lines = run("step")

    assert numbers(lines, "BYOL (lightly)")[1] == 1
    assert min(numbers(lines, "HaDis")) > 0


@pytest.mark.slow
def test_profile_step(tmp_path: Path) -> None:
    file = tmp_path / "new" / "profile.csv"

    variants = ["--variants", "", "loader.batch_size=8"]
    lines = run("profile_step", *variants, "--csv", str(file))

    rows = read(file)
    found = {(row["settings"], row["batch"]) for row in rows}
    assert found == {("", "4"), ("loader.batch_size=8", "8")}
    kinds = ("convolution", "batch norm", "matrix product", "everything else")
    for start in (0, lines.index("loader.batch_size=8, batch 8")):
        part = lines[start : start + 20]
        shares = [numbers(part, kind)[1] for kind in kinds]
        assert 0 < sum(shares) <= 100.5
        assert shares[0] > 0
    assert all(float(row["ms"]) > 0 < float(row["calls"]) for row in rows)
    assert lines[-2].split()[1] == "1.00"  # against itself


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


def test_annotations_that_span_kernels_are_not_counted() -> None:
    from profile_step import is_counted

    cpu, cuda = torch.autograd.DeviceType.CPU, torch.autograd.DeviceType.CUDA
    operation = SimpleNamespace(device_type=cpu, is_user_annotation=False)
    kernel = SimpleNamespace(device_type=cuda, is_user_annotation=False)
    optimiser_step = SimpleNamespace(device_type=cuda, is_user_annotation=True)

    events = (operation, kernel, optimiser_step)
    on_gpu = [is_counted(event, torch.device("cuda")) for event in events]
    on_cpu = [is_counted(event, torch.device("cpu")) for event in events]

    assert on_gpu == [False, True, False]
    assert on_cpu == [True, False, False]


@pytest.mark.slow
def test_views(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(9, 20, 24, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    file = tmp_path / "views.csv"

    lines = run("views", "--data", str(tmp_path / "images.npz"), "--csv", str(file))

    assert "images of 20 x 24" in lines[0]
    single = [
        numbers(lines, "BYOL BYOLTransform, this process"),
        numbers(lines, "BYOL BYOLTransform, 1 worker"),
    ]
    # Cores, images per second, the lowest and the highest, ratio to the best of them.
    assert max(row[4] for row in single) == 1
    for method in ("BYOL BatchedViews", "HaDis BatchedViews"):
        cores, rate, low, high, ratio = numbers(lines, method)
        assert cores == 1
        assert low <= rate <= high
        assert ratio > 0
    rows = read(file)
    assert {row["round"] for row in rows} == {"0", "1"}
    assert all(int(row["images"]) % 4 == 0 for row in rows)
