"""Draws for batches are distributed like those of torchvision for one image.

All are seeded: a test that passes once passes always.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision import transforms as v1

from hadis_lightly.transforms import HaDisTransform
from hadis_lightly.transforms.view_distribution import (
    ViewDistribution,
    read_distribution,
)
from hadis_lightly.transforms.view_parameters import (
    NUM_UNIFORMS,
    ViewParameters,
    draw_parameters,
)

NUM = 20_000
# torchvision draws for one image after the other, which takes longer.
NUM_OF_TORCHVISION = 2_000
# Of each test, were it not seeded: how often it would fail in vain.
ALPHA = 1e-3
LARGEST_BELOW_1 = 1 - 2**-24
EVERYTHING = {
    "gaussian_blur": 0.3,
    "solarization_prob": 0.4,
    "vf_prob": 0.35,
    "rr_prob": 0.6,
    "rr_degrees": 20.0,
    "affine_degrees": 15.0,
    "affine_translate": 0.08,
    "affine_shear": 10.0,
}


def make_uniforms(num_views: int, num: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((num_views, num, NUM_UNIFORMS), generator=generator)


def draw(
    view: ViewDistribution,
    size: tuple[int, int] = (32, 32),
    num: int = NUM,
    seed: int = 0,
) -> ViewParameters:
    """The draws of one view of each of many images; the fields are ``(num, ...)``."""
    drawn = draw_parameters((view,), make_uniforms(1, num, seed), *size)
    return ViewParameters(*(field[0] for field in drawn))


def distribution_of(**settings: object) -> ViewDistribution:
    return read_distribution(HaDisTransform(**settings).transforms[0])


def draws_of_torchvision(make: Callable[[], object], seed: int = 0) -> Tensor:
    """A few thousand draws; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.tensor([make() for _ in range(NUM_OF_TORCHVISION)])


def crops_of_torchvision(
    size: tuple[int, int], scale: tuple[float, float], seed: int = 0
) -> Tensor:
    """Top, left, height and width of each crop, ``(num, 4)``."""
    image = torch.empty(3, *size)
    return draws_of_torchvision(
        lambda: v1.RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]),
        seed,
    ).float()


def crops_of(drawn: ViewParameters) -> Tensor:
    return torch.stack([drawn.top, drawn.left, drawn.height, drawn.width], dim=-1)


def crop_statistics(crops: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    top, left, height, width = crops.double().unbind(dim=-1)
    down, right = size[0] - height, size[1] - width
    return {
        "area": height * width / (size[0] * size[1]),
        "log_ratio": (width / height).log(),
        "vertical": (top / down)[down > 0],
        "horizontal": (left / right)[right > 0],
    }


def assert_same_distribution(ours: Tensor, theirs: Tensor) -> None:
    assert stats.ks_2samp(ours.numpy(), theirs.numpy()).pvalue > ALPHA


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
    expected = stats.uniform(low, high - low)
    assert stats.kstest(values.double().numpy(), expected.cdf).pvalue > ALPHA


def assert_same_counts(ours: Tensor, theirs: Tensor) -> None:
    """Of rows of whole numbers: each as frequent in the one as in the other."""
    both, inverse = torch.cat([ours, theirs]).unique(dim=0, return_inverse=True)
    samples = inverse.split([len(ours), len(theirs)])
    counts = np.stack([x.bincount(minlength=len(both)).numpy() for x in samples])
    rare = counts.sum(axis=0) < 50  # too few for a chi-square test, so put together
    together = counts[:, rare].sum(axis=1, keepdims=True)
    counts = np.concatenate([counts[:, ~rare], together], axis=1)
    counts = counts[:, counts.sum(axis=0) > 0]
    assert counts.shape[1] > 1
    assert stats.chi2_contingency(counts).pvalue > ALPHA


# Square, large, oblong, tiny; where few or none of the crops fit.
SIZES = [(32, 32), (224, 224), (48, 64), (8, 64), (100, 10), (8, 8)]


@pytest.mark.parametrize(
    ("size", "min_scale"), [((32, 32), 0.08), ((48, 64), 0.6), ((8, 64), 0.3)]
)
def test_crops_are_distributed_as_in_torchvision(
    size: tuple[int, int], min_scale: float
) -> None:
    drawn = draw(ViewDistribution(size=32, crop_scale=(min_scale, 1.0)), size)
    ours = crop_statistics(crops_of(drawn), size)
    theirs = crop_statistics(crops_of_torchvision(size, (min_scale, 1.0)), size)
    for name, values in ours.items():
        assert (len(values) == 0) == (len(theirs[name]) == 0)
        if len(values) > 0:
            assert_same_distribution(values, theirs[name])


def fallback_of_torchvision(size: tuple[int, int]) -> Tensor:
    """The one crop that is left when none may fit."""
    image = torch.empty(3, *size)
    none_fits = [2.0, 2.0]
    with torch.random.fork_rng(devices=[]):
        crop = v1.RandomResizedCrop.get_params(image, none_fits, [3 / 4, 4 / 3])
    return torch.tensor(crop).float()


@pytest.mark.parametrize(
    "size", [*SIZES, (1, 1), (1, 9), (9, 1), (3, 4), (4, 3), (2, 3), (101, 11), (7, 30)]
)
def test_fallback_is_that_of_torchvision(size: tuple[int, int]) -> None:
    view = ViewDistribution(size=32, crop_scale=(2.0, 2.0))  # larger than the image
    crops = crops_of(draw(view, size, num=50))
    assert (crops == fallback_of_torchvision(size)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (8, 64), (333, 31)])
def test_crops_lie_within_the_image(size: tuple[int, int]) -> None:
    uniforms = make_uniforms(1, 300)
    uniforms[:, 0] = 0.0
    uniforms[:, 1] = LARGEST_BELOW_1
    # At the end of the longest way, whatever the crop.
    uniforms[:, 2:150, 20:22] = LARGEST_BELOW_1
    for min_scale in (1e-4, 0.08, 0.9):
        view = ViewDistribution(size=32, crop_scale=(min_scale, 1.0))
        crops = crops_of(draw_parameters((view,), uniforms, *size))
        top, left, height, width = crops.unbind(dim=-1)
        assert (crops == crops.round()).all()
        assert (top >= 0).all() and (left >= 0).all()
        assert (height >= 1).all() and (width >= 1).all()
        assert (top + height <= size[0]).all()
        assert (left + width <= size[1]).all()


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("strength", [0.4, 1.5])
def test_factors_of_the_jitter_are_uniform(place: int, strength: float) -> None:
    hue = 0.1 * strength
    view = distribution_of(
        cj_prob=1.0,
        cj_bright=0.5,
        cj_contrast=0.6,
        cj_sat=0.8,
        cj_hue=0.1,
        cj_strength=strength,
    )
    s = strength * (0.5, 0.6, 0.8, 0.0)[place]
    low, high = (-hue, hue) if place == 3 else (max(0.0, 1 - s), 1 + s)
    values = draw(view).factors[:, place]
    assert_uniform(values, low, high)
    theirs = draws_of_torchvision(
        lambda: v1.ColorJitter.get_params(*map(list, view.jitter))[1 + place]
    )
    assert_same_distribution(values, theirs)


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_probabilities_of_zero_and_one_are_certain(prob: float) -> None:
    view = ViewDistribution(
        size=8,
        horizontal_flip_prob=prob,
        vertical_flip_prob=prob,
        rotation_prob=prob,
        rotation_degrees=(90.0, 90.0),
        jitter_prob=prob,
        jitter=((0.5, 0.7), None, None, None),
        gray_prob=prob,
        blur_prob=prob,
        solarize_prob=prob,
    )
    uniforms = make_uniforms(1, NUM)
    uniforms[:, 0] = 0.0
    uniforms[:, 1] = LARGEST_BELOW_1
    drawn = draw_parameters((view,), uniforms, 8, 8)
    for mask in (
        drawn.horizontal_flip,
        drawn.vertical_flip,
        drawn.rotation != 0,
        drawn.factors[..., 0] < 1,
        drawn.gray,
        drawn.sigma > 0,
        drawn.solarize_from <= 1,
    ):
        assert (mask == bool(prob)).all()


def test_solarization_begins_at_half() -> None:
    values = draw(distribution_of(solarization_prob=0.5)).solarize_from
    from_half = values[values <= 1].unique()
    assert len(from_half) == 1
    # Between the level that stays and the one that is inverted.
    assert 127 / 255 < from_half.item() < 128 / 255


def test_affine_maps_are_distributed_as_in_torchvision() -> None:
    view = distribution_of(
        input_size=40, affine_degrees=15.0, affine_translate=0.08, affine_shear=10.0
    )
    drawn = draw(view)
    assert_uniform(drawn.angle, -15, 15)
    assert_uniform(drawn.shear, -10, 10)

    def make() -> tuple[float, ...]:
        angle, shift, _, shear = v1.RandomAffine.get_params(
            [-15.0, 15.0], [0.08, 0.08], None, [-10.0, 10.0], [40, 40]
        )
        return (angle, *shift, shear[0])

    angle, right, down, shear = draws_of_torchvision(make).unbind(dim=1)
    assert_same_distribution(drawn.angle, angle)
    assert_same_distribution(drawn.shear, shear)
    shifts = torch.stack([drawn.translate_x, drawn.translate_y], dim=1)
    assert (shifts == shifts.round()).all()
    assert_same_counts(shifts, torch.stack([right, down], dim=1))


def test_every_step_comes_with_its_probability_and_independently() -> None:
    names = ("gaussian_blur", "solarization_prob", "hf_prob", "vf_prob", "rr_prob")
    prob = dict.fromkeys((*names, "cj_prob", "random_gray_scale"), 0.3)
    drawn = draw(distribution_of(**prob))
    is_jittered = (drawn.factors != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(dim=1)
    masks = [
        is_jittered,
        drawn.gray,
        drawn.horizontal_flip,
        drawn.vertical_flip,
        drawn.rotation == 90,
        drawn.sigma > 0,
        (drawn.solarize_from > 127 / 255) & (drawn.solarize_from < 128 / 255),
    ]
    for mask in masks:
        assert stats.binomtest(int(mask.sum()), NUM, 0.3).pvalue > ALPHA
    columns = torch.stack([*(mask.float() for mask in masks), drawn.height, drawn.top])
    between = torch.corrcoef(columns)[: len(masks)].abs()
    between.fill_diagonal_(0)
    assert between.max() < 4.5 / NUM**0.5  # far above the noise
    assert_uniform(drawn.sigma[drawn.sigma > 0], 0.1, 2.0)
    orders, counts = drawn.order.unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert stats.chisquare(counts.numpy()).pvalue > ALPHA


def test_different_views_draw_from_their_own_distribution() -> None:
    one = distribution_of(**EVERYTHING)
    other = distribution_of(min_scale=0.5, cj_prob=0.2, random_gray_scale=0.9)
    uniforms = make_uniforms(3, 500)
    mixed = draw_parameters((one, other, one), uniforms, 20, 30)
    for number, view in enumerate((one, other, one)):
        alone = draw_parameters((view,) * 3, uniforms, 20, 30)
        for field, expected in zip(mixed, alone, strict=True):
            assert torch.equal(field[number], expected[number])
