"""Views of whole batches: what goes in, what comes out, and where it is the same."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from lightly.transforms import BYOLTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from lightly.transforms.multi_view_transform import MultiViewTransform
from PIL import Image
from scipy import stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as F

from hadis_lightly.settings import ViewSettings
from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    DIGITS_NORMALIZE,
    BatchedViews,
    HaDisCropTransform,
    HaDisTransform,
    view_pipeline,
)

EVERYTHING = {
    "vf_prob": 0.5,
    "rr_prob": 0.5,
    "gaussian_blur": 0.5,
    "sigmas": (1.0, 2.0),  # below 1, torchvision blurs less than it is told to
    "solarization_prob": 0.5,
}
AFFINE = {"affine_degrees": 15.0, "affine_translate": 0.08, "affine_shear": 10.0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_images(
    n: int = 12, height: int = 24, width: int = 20, channels: int = 3, seed: int = 0
) -> Tensor:
    """Smooth random images with a little noise, uint8 ``(n, c, h, w)``."""
    generator = seeded(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    images = images + 0.03 * torch.randn(images.shape, generator=generator)
    return (images.clamp(0, 1) * 255).round().byte()


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    assert all(map(torch.equal, ours, theirs))


def assert_close(ours: list[Tensor], theirs: list[Tensor], atol: float) -> None:
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, atol=atol, rtol=0)


@contextmanager
def seed_of_torch(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


# What goes in and comes out.


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(64, 48, 32), (8, 8, 16), (32, 32, 32), (9, 40, 17), (1, 1, 4), (5, 3, 1)],
)
def test_two_normalised_views_of_images_of_any_size(
    height: int, width: int, size: int
) -> None:
    images = make_images(5, height, width)
    views = BatchedViews(size, generator=seeded(), **EVERYTHING)(images)
    assert isinstance(views, list) and len(views) == 2
    for view in views:
        assert view.shape == (5, 3, size, size)
        assert view.dtype == torch.float32
        assert view.is_contiguous()
        assert view.isfinite().all()
        assert not view.requires_grad
    assert not torch.equal(*views)


def test_without_normalization_pixels_stay_in_unit_range() -> None:
    for settings in (EVERYTHING, AFFINE, {"cj_strength": 2.0}):
        views = BatchedViews(16, normalize=None, generator=seeded(), **settings)
        pixels = torch.cat(views(make_images(50)))
        assert pixels.min() >= 0 and pixels.max() <= 1
        assert pixels.max() > 0.9


@pytest.mark.parametrize("normalize", [DIGITS_NORMALIZE, None])
def test_grey_images(normalize: dict[str, list[float]] | None) -> None:
    images = make_images(6, channels=1)
    views = BatchedViews(16, normalize=normalize, generator=seeded(), **EVERYTHING)
    for view in views(images):
        assert view.shape == (6, 1, 16, 16)
        assert view.isfinite().all()


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("affine", [{}, AFFINE])
def test_batches_of_one_and_of_no_images(n: int, affine: dict[str, float]) -> None:
    images = make_images(3)[:n]
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **affine)(images)
    assert [view.shape for view in views] == [(n, 3, 16, 16)] * 2


def test_image_of_a_batch_is_seen_by_its_own_views_alone() -> None:
    images = make_images(6)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    drawn = views.uniforms(images)
    others = images.clone()
    others[2] = 255 - others[2]
    for x, y in zip(views.make(images, drawn), views.make(others, drawn), strict=True):
        is_same = (x - y).abs().amax(dim=(1, 2, 3)) < 1e-5
        assert is_same.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize(
    "remake",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.mT.contiguous().mT,
        lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
        lambda x: x.repeat_interleave(2, dim=0)[1::2],
    ],
    ids=["channels last", "transposed", "strided columns", "strided images"],
)
def test_layout_of_the_images_does_not_matter(
    remake: Callable[[Tensor], Tensor],
) -> None:
    images = make_images(8)
    other = remake(images)
    assert torch.equal(images, other) and other.stride() != images.stride()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    made = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(other)
    assert_close(made, expected, atol=1e-5)


def test_images_are_not_changed() -> None:
    # Of the size of the views, where a copy could have been spared.
    images = make_images(8, 16, 16)
    before = images.clone()
    BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    assert torch.equal(images, before)


# Where the draws come from.


def test_seed_of_the_generator_decides_the_views() -> None:
    images = make_images()
    first = BatchedViews(16, generator=seeded(1), **EVERYTHING)(images)
    second = BatchedViews(16, generator=seeded(1), **EVERYTHING)(images)
    third = BatchedViews(16, generator=seeded(2), **EVERYTHING)(images)
    assert_equal(first, second)
    assert not torch.equal(first[0], third[0])


def test_seed_of_torch_decides_without_a_generator() -> None:
    images = make_images()
    views = BatchedViews(16, **EVERYTHING)
    with seed_of_torch(1):
        first = views(images)
    with seed_of_torch(1):
        second = views(images)
    with seed_of_torch(2):
        third = views(images)
    assert_equal(first, second)
    assert not torch.equal(first[0], third[0])


def test_global_generators_are_left_alone_when_one_is_given() -> None:
    state = torch.get_rng_state()
    state_of_numpy = np.random.get_state()  # noqa: NPY002 - lightly's steps draw there
    BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(make_images())
    assert torch.equal(torch.get_rng_state(), state)
    after = np.random.get_state()  # noqa: NPY002
    assert all(map(np.array_equal, after, state_of_numpy))


# Where the result stays the same.


@pytest.mark.parametrize("affine", [{}, AFFINE])
@pytest.mark.parametrize("views_at_a_time", [1, 7])
def test_number_of_views_worked_on_at_a_time_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, views_at_a_time: int, affine: dict[str, float]
) -> None:
    images = make_images(20)
    views = BatchedViews(16, normalize=None, generator=seeded(), **EVERYTHING, **affine)
    drawn = views.uniforms(images)
    expected = views.make(images, drawn)
    at_once = view_pipeline.views_at_a_time(images, 16)
    assert at_once > 40
    per_view = view_pipeline._WORKSPACE["cpu"] // at_once
    budget = 1 if views_at_a_time == 1 else (views_at_a_time + 0.5) * per_view
    monkeypatch.setattr(view_pipeline, "_WORKSPACE", {"cpu": int(budget)})
    assert view_pipeline.views_at_a_time(images, 16) == views_at_a_time
    made = views.make(images, drawn)
    # But for single pixels: at the threshold of the solarization, and between two
    # others for the rotation, the last bit of a float decides.
    for x, y in zip(made, expected, strict=True):
        is_same = (x - y).abs() <= 1e-6
        assert is_same.float().mean() > 0.999


def test_random_numbers_alone_decide_the_views() -> None:
    images = make_images()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    uniforms = views.uniforms(images)
    assert uniforms.shape[:2] == (2, len(images))
    for _ in range(2):
        assert_equal(views.make(images, uniforms), expected)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None,
    reason="needs a C++ compiler",
)
def test_compiled_views_are_the_same() -> None:
    images = make_images()
    views = BatchedViews(
        16, normalize=None, generator=seeded(), gaussian_blur=0.5, solarization_prob=0.5
    )
    given = views.uniforms(images)
    compiled = torch.compile(views.make, fullgraph=True)
    for x, y in zip(compiled(images, given), views.make(images, given), strict=True):
        is_same = (x - y).abs() <= 1e-5
        # But for single pixels at the threshold of the solarization.
        assert is_same.float().mean() > 0.999


class NoWaiting(TorchDispatchMode):
    """Fails where the host would wait for a value on the device."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("a value of a tensor was asked for")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("ndim", [4, 5])
def test_no_value_of_a_tensor_is_asked_for(ndim: int) -> None:
    images = make_images(8)
    if ndim == 5:
        images = torch.stack([images, images], dim=1)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    with NoWaiting():
        views(images)
        with pytest.raises(AssertionError, match="a value of a tensor"):
            torch.ones(1).item()


# Against torchvision, one image at a time.


def affine_of_pillow(x: Tensor, drawn: dict[str, Any]) -> Tensor:
    """On floats: torchvision itself mixes the border of those with black."""
    size = x.shape[-1]
    settings = {
        "angle": drawn["angle"],
        "translate": [int(drawn["translate_x"]), int(drawn["translate_y"])],
        "scale": 1.0,
        "shear": [drawn["shear"], 0.0],
    }
    padded = F.pad(x, [size] * 4, padding_mode="edge")
    mapped = F.affine(padded, **settings, interpolation=InterpolationMode.BILINEAR)
    is_inside = F.affine(torch.ones_like(x), **settings)
    return F.center_crop(mapped, [size, size]) * is_inside


def reference(image: Tensor, drawn: dict[str, Any], size: int) -> Tensor:
    """The steps of torchvision with given draws, on floats."""
    place = [int(drawn[name]) for name in ("top", "left", "height", "width")]
    x = F.resized_crop(image.float() / 255, *place, [size, size], antialias=True)
    if any(drawn[name] for name in ("angle", "translate_x", "translate_y", "shear")):
        x = affine_of_pillow(x, drawn)
    x = F.hflip(x) if drawn["horizontal_flip"] else x
    x = F.vflip(x) if drawn["vertical_flip"] else x
    x = F.rotate(x, drawn["rotation"])
    operations = (
        F.adjust_brightness,
        F.adjust_contrast,
        F.adjust_saturation,
        F.adjust_hue,
    )
    for op in drawn["order"]:
        x = operations[op](x, drawn["factors"][op])
    x = F.rgb_to_grayscale(x, 3) if drawn["gray"] else x
    if drawn["sigma"] > 0:
        x = F.gaussian_blur(x, [17, 17], [drawn["sigma"]] * 2)
    return torch.where(x >= drawn["solarize_from"], 1 - x, x)


@pytest.mark.parametrize("affine", [{}, AFFINE], ids=["no affine", "affine"])
def test_all_steps_together_are_those_of_torchvision(affine: dict[str, float]) -> None:
    images = make_images(40)
    views = BatchedViews(16, normalize=None, generator=seeded(), **EVERYTHING, **affine)
    uniforms = views.uniforms(images)
    drawn = views.parameters(images, uniforms)
    made = views.make(images, uniforms)
    for number, view in enumerate(made):
        for i, image in enumerate(images):
            row = {k: x[number, i].tolist() for k, x in drawn._asdict().items()}
            difference = (view[i] - reference(image, row, 16)).abs()
            # A pixel at the threshold of the solarization may go either way.
            assert (difference < 1e-4).float().mean() > 0.99


def test_small_sigmas_change_every_view() -> None:
    images = make_images(40)
    settings = {"normalize": None, "sigmas": (0.1, 0.5)}
    plain = BatchedViews(16, generator=seeded(), **settings)(images)
    made = BatchedViews(16, generator=seeded(), gaussian_blur=1.0, **settings)(images)
    for x, blurred in zip(plain, made, strict=True):
        assert (x - blurred).abs().amax(dim=(1, 2, 3)).min() > 5e-4


def smooth_images(num: int) -> Tensor:
    generator = seeded(5)
    coarse = torch.rand(num, 3, 3, 3, generator=generator)
    # Some dark, some bright, so that the statistics of the views spread.
    coarse = coarse * torch.rand(num, 1, 1, 1, generator=generator).add(0.2).clamp(
        max=1
    )
    images = torch.nn.functional.interpolate(coarse, (40, 32), mode="bilinear")
    return (images * 255).round().byte()


@pytest.mark.parametrize(
    "settings",
    [
        {"cj_strength": 2.0, "gaussian_blur": 0.5, "rr_prob": 0.5, "rr_degrees": 20.0},
        {"solarization_prob": 0.5, "cj_hue": 0.0, **AFFINE},
    ],
    ids=["strong", "affine"],
)
def test_views_are_distributed_like_those_of_single_images(
    settings: dict[str, float],
) -> None:
    images = smooth_images(300)
    transform = HaDisTransform(24, normalize=CIFAR10_NORMALIZE, **settings)
    with seed_of_torch(0):
        np.random.seed(0)  # noqa: NPY002 - lightly's steps draw there
        singles = [
            view
            for image in images
            for view in transform(Image.fromarray(image.permute(1, 2, 0).numpy()))
        ]
    batched = BatchedViews(
        24, normalize=CIFAR10_NORMALIZE, generator=seeded(1), **settings
    )
    ours, theirs = torch.cat(batched(images)), torch.stack(singles)
    assert ours.shape == theirs.shape
    for statistic in (
        lambda x: x.mean(dim=(1, 2, 3)),
        lambda x: x.std(dim=(1, 2, 3)),
        lambda x: x.mean(dim=(2, 3)).std(dim=1),  # colours
        lambda x: x.diff(dim=3).abs().mean(dim=(1, 2, 3)),  # details
    ):
        assert stats.ks_2samp(statistic(ours), statistic(theirs)).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_state_of_torch_plays_no_part_and_dtype_only_rounds(dtype: torch.dtype) -> None:
    images = make_images()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    views = BatchedViews(
        16,
        generator=seeded(),
        dtype=dtype,
        memory_format=torch.channels_last,
        **EVERYTHING,
        **AFFINE,
    )
    precision = torch.get_float32_matmul_precision()
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = views(images)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision(precision)
    assert_equal(made, [view.to(dtype) for view in expected])
    assert made[0].is_contiguous(memory_format=torch.channels_last)


# Made of other transforms.


def test_views_of_byol_have_each_their_own_distribution() -> None:
    transform = BYOLTransform(
        BYOLView1Transform(input_size=16), BYOLView2Transform(input_size=16)
    )
    views = BatchedViews.from_transform(transform, generator=seeded())
    images = make_images(1).expand(2000, -1, -1, -1)
    drawn = views.parameters(images, views.uniforms(images))
    assert (drawn.sigma[0] > 0).all()
    assert (drawn.sigma[1] > 0).float().mean() == pytest.approx(0.1, abs=0.03)
    assert not (drawn.solarize_from[0] <= 1).any()
    is_solarized = (drawn.solarize_from[1] <= 1).float().mean()
    assert is_solarized == pytest.approx(0.2, abs=0.04)
    x0, x1 = views(make_images())
    assert x0.shape == x1.shape == (12, 3, 16, 16)


# Crops that workers made.


def test_crops_are_not_cropped_again() -> None:
    crops = torch.stack([make_images(5, 16, 16), make_images(5, 16, 16, seed=1)], dim=1)
    nothing = {"cj_prob": 0.0, "random_gray_scale": 0.0, "hf_prob": 0.0}
    views = BatchedViews(16, normalize=None, generator=seeded(), **nothing)(crops)
    for number, view in enumerate(views):
        torch.testing.assert_close(
            view, crops[:, number].float() / 255, atol=1e-6, rtol=0
        )


def test_crops_get_all_other_steps() -> None:
    # As if the crops were whole images of one view each.
    crops = torch.stack([make_images(8, 16, 16), make_images(8, 16, 16, seed=1)], dim=1)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    uniforms = views.uniforms(crops)
    whole = torch.ones_like(uniforms[..., :10]) - 2**-24  # the area of the crop
    uniforms = torch.cat([whole, 0.5 + 0 * whole, uniforms[..., 20:]], dim=-1)
    made = views.make(crops, uniforms)
    for number in range(2):
        alone = views.make(crops[:, number], uniforms)[number]
        torch.testing.assert_close(made[number], alone, atol=1e-5, rtol=0)


# Copies.


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_make_the_same_views(copied: Callable[[Any], Any]) -> None:
    images = make_images()
    views = BatchedViews(
        16, dtype=torch.float64, memory_format=torch.channels_last, **EVERYTHING
    )
    with seed_of_torch(0):
        expected = views(images)
    with seed_of_torch(0):
        made = copied(views)(images)
    assert_equal(made, expected)
    assert made[0].is_contiguous(memory_format=torch.channels_last)


# Errors.


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (3, 8, 8),
        (2, 8, 8, 3),
        (2, 3, 0, 8),
        (2, 3, 3, 8, 8),  # three crops for two views
    ],
)
def test_images_must_be_a_batch_of_bytes(shape: tuple[int, ...]) -> None:
    images = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"^images must have shape ") as caught:
        BatchedViews(8)(images)
    assert str(caught.value).endswith(f"got {shape}.")
    with pytest.raises(TypeError, match=r"^images must be uint8 .* got torch.float32"):
        BatchedViews(8)(images.float())


@pytest.mark.parametrize(
    ("normalize", "channels"), [(CIFAR10_NORMALIZE, 1), (DIGITS_NORMALIZE, 3)]
)
def test_channels_must_be_those_of_normalize(
    normalize: dict[str, list[float]], channels: int
) -> None:
    words = rf"normalize has {4 - channels} channel\(s\) but the images have {channels}"
    with pytest.raises(ValueError, match=words):
        BatchedViews(8, normalize=normalize)(make_images(2, channels=channels))


def test_views_must_have_one_normalization() -> None:
    transform = BYOLTransform(
        BYOLView1Transform(input_size=16),
        BYOLView2Transform(input_size=16, normalize=CIFAR10_NORMALIZE),
    )
    with pytest.raises(ValueError, match=r"^all views must have one mean, got "):
        BatchedViews.from_transform(transform)


def test_local_views_are_smaller_and_come_last() -> None:
    settings = ViewSettings(
        input_size=16, n_views=3, n_local_views=2, local_crop_size=6
    )
    singles = HaDisTransform.from_settings(settings)(Image.new("RGB", (20, 24)))
    batched = BatchedViews.from_settings(settings)(make_images(4))
    assert [view.shape[-1] for view in singles] == [16, 16, 16, 6, 6]
    assert [view.shape for view in batched] == [
        (4, 3, view.shape[1], view.shape[2]) for view in singles
    ]


def test_views_of_several_sizes_are_those_that_each_size_alone_has() -> None:
    images = make_images(3)
    steps = {size: HaDisTransform(size).transforms[0] for size in (16, 8)}
    mixed = [steps[16], steps[16], steps[8]]
    views = BatchedViews.from_transform(MultiViewTransform(mixed))
    uniforms = views.uniforms(images)
    x0, x1, small = views.make(images, uniforms)
    large_alone = BatchedViews.from_transform(MultiViewTransform([steps[16]] * 2))
    small_alone = BatchedViews.from_transform(MultiViewTransform([steps[8]]))
    for made, alone in (
        ([x0, x1], large_alone.make(images, uniforms[:2])),
        ([small], small_alone.make(images, uniforms[2:])),
    ):
        torch.testing.assert_close(made, alone)


def test_local_crops_of_workers_are_small_parts_of_the_image() -> None:
    # The brightness of a pixel tells its row.
    rows = np.arange(64, dtype=np.uint8).repeat(64).reshape(64, 64)
    settings = ViewSettings(
        input_size=16,
        min_scale=0.9,
        n_local_views=2,
        local_crop_scale=[0.05, 0.1],
        mean=[0.5],
        std=[0.5],
        cj_prob=0.0,
    )
    crops = HaDisCropTransform.from_settings(settings)(Image.fromarray(rows))
    assert crops.shape == (4, 1, 16, 16)
    heights = (crops.amax((1, 2, 3)).int() - crops.amin((1, 2, 3)).int()).tolist()
    assert min(heights[:2]) > 45 and max(heights[2:]) < 30
    views = BatchedViews.from_settings(settings)(crops.unsqueeze(0))
    assert [view.shape[-1] for view in views] == [16, 16, 8, 8]


@pytest.mark.parametrize(
    "transform", [None, BYOLView1Transform(), v2.Compose([v2.RandomResizedCrop(8)])]
)
def test_only_multi_view_transforms_are_taken(transform: Any) -> None:
    words = rf"^transform must be a multi-view .*, got {type(transform).__name__}"
    with pytest.raises(ValueError, match=words):
        BatchedViews.from_transform(transform)


def test_dtype_of_the_views_must_be_floating_point() -> None:
    words = r"^dtype must be floating point, got torch.uint8"
    with pytest.raises(ValueError, match=words):
        BatchedViews(8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=words):
        BatchedViews.from_transform(HaDisTransform(8), dtype=torch.uint8)
