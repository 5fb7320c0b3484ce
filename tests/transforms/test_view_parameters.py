"""What is drawn for batches has the law of what torchvision draws for one image.

Where the law is known, draws are tested against it; elsewhere against torchvision's own
draws. All are seeded: a test that passes once passes always.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision import transforms as v1

from hadis_lightly.transforms import BatchedViews, HaDisTransform
from hadis_lightly.transforms.view_parameters import (
    NUM_UNIFORMS,
    ViewParameters,
    draw_parameters,
)
from hadis_lightly.transforms.view_settings import ViewSettings, view_settings

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
    view: ViewSettings,
    size: tuple[int, int] = (32, 32),
    num: int = NUM,
    seed: int = 0,
) -> ViewParameters:
    """The draws of one view of each of many images; the fields are ``(num, ...)``."""
    drawn = draw_parameters((view,), make_uniforms(1, num, seed), *size)
    return ViewParameters(*(field[0] for field in drawn))


def settings_of(**settings: object) -> ViewSettings:
    return view_settings(HaDisTransform(**settings).transforms[0])


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


def assert_same_law(ours: Tensor, theirs: Tensor) -> None:
    assert stats.ks_2samp(ours.numpy(), theirs.numpy()).pvalue > ALPHA


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
    law = stats.uniform(low, high - low)
    assert stats.kstest(values.double().numpy(), law.cdf).pvalue > ALPHA


def assert_probability(mask: Tensor, prob: float) -> None:
    assert stats.binomtest(int(mask.sum()), mask.numel(), prob).pvalue > ALPHA


def assert_same_counts(ours: Tensor, theirs: Tensor) -> None:
    """Of rows of whole numbers: each as frequent in the one as in the other."""
    both, inverse = torch.cat([ours, theirs]).unique(dim=0, return_inverse=True)
    samples = inverse.split([len(ours), len(theirs)])
    counts = np.stack([x.bincount(minlength=len(both)).numpy() for x in samples])
    rare = counts.sum(axis=0) < 50  # too few for the chi-square law, so put together
    together = counts[:, rare].sum(axis=1, keepdims=True)
    counts = np.concatenate([counts[:, ~rare], together], axis=1)
    counts = counts[:, counts.sum(axis=0) > 0]
    assert counts.shape[1] > 1
    assert stats.chi2_contingency(counts).pvalue > ALPHA


# Square, large, oblong, tiny; where few or none of the crops fit.
SIZES = [(32, 32), (224, 224), (48, 64), (8, 64), (100, 10), (8, 8)]


@pytest.mark.parametrize("min_scale", [0.08, 0.6])
@pytest.mark.parametrize("size", SIZES)
def test_crops_have_the_law_of_torchvision(
    size: tuple[int, int], min_scale: float
) -> None:
    drawn = draw(ViewSettings(size=32, crop_scale=(min_scale, 1.0)), size)
    ours = crop_statistics(crops_of(drawn), size)
    theirs = crop_statistics(crops_of_torchvision(size, (min_scale, 1.0)), size)
    for name, values in ours.items():
        assert (len(values) == 0) == (len(theirs[name]) == 0)
        if len(values) > 0:
            assert_same_law(values, theirs[name])


@pytest.mark.parametrize("size", [(8, 8), (3, 5), (2, 9)])
def test_small_crops_are_as_frequent_one_by_one(size: tuple[int, int]) -> None:
    # The images are so small that every crop comes often enough to be counted.
    crops = crops_of(draw(ViewSettings(size=32), size))
    theirs = crops_of_torchvision(size, (0.08, 1.0))
    assert_same_counts(crops[:, 2:], theirs[:, 2:])
    assert_same_counts(crops, theirs)


@pytest.mark.parametrize("size", [(8, 64), (100, 10), (32, 32)])
def test_crops_fall_back_as_often_as_those_of_torchvision(
    size: tuple[int, int],
) -> None:
    scale = (0.3, 1.0)
    crops = crops_of(draw(ViewSettings(size=32, crop_scale=scale), size))
    theirs = crops_of_torchvision(size, scale)
    fallback = fallback_of_torchvision(size)
    counts = np.array(
        [
            [int(is_fallback.sum()), int((~is_fallback).sum())]
            for is_fallback in ((x == fallback).all(dim=1) for x in (crops, theirs))
        ]
    )
    if size != (32, 32):
        assert counts[0, 0] > 0.05 * NUM  # there are some to be compared
    assert stats.fisher_exact(counts).pvalue > ALPHA


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
    view = ViewSettings(size=32, crop_scale=(2.0, 2.0))  # larger than the image
    crops = crops_of(draw(view, size, num=50))
    assert (crops == fallback_of_torchvision(size)).all()


def test_whole_oblong_images_never_fit() -> None:
    drawn = draw(settings_of(min_scale=1.0), (8, 64), num=1000)
    assert (crops_of(drawn) == torch.tensor([0.0, 26.0, 8.0, 11.0])).all()


def test_crops_are_not_bound_to_the_default_ratios() -> None:
    size, scale, ratio = (24, 40), (0.2, 0.9), (0.5, 3.0)
    view = ViewSettings(size=32, crop_scale=scale, crop_ratio=ratio)
    image = torch.empty(3, *size)
    theirs = draws_of_torchvision(
        lambda: v1.RandomResizedCrop.get_params(image, list(scale), list(ratio))
    )
    expected = crop_statistics(theirs.float(), size)
    for name, values in crop_statistics(crops_of(draw(view, size)), size).items():
        assert_same_law(values, expected[name])


@pytest.mark.parametrize(
    "size", list(itertools.product([1, 2, 3, 8, 31, 64, 333, 5000], repeat=2))
)
def test_crops_lie_within_the_image(size: tuple[int, int]) -> None:
    uniforms = make_uniforms(1, 300)
    uniforms[:, 0] = 0.0
    uniforms[:, 1] = LARGEST_BELOW_1
    # At the end of the longest way, whatever the crop.
    uniforms[:, 2:150, 20:22] = LARGEST_BELOW_1
    for min_scale in (1e-4, 0.08, 0.9):
        view = ViewSettings(size=32, crop_scale=(min_scale, 1.0))
        crops = crops_of(draw_parameters((view,), uniforms, *size))
        top, left, height, width = crops.unbind(dim=-1)
        assert (crops == crops.round()).all()
        assert (top >= 0).all() and (left >= 0).all()
        assert (height >= 1).all() and (width >= 1).all()
        assert (top + height <= size[0]).all()
        assert (left + width <= size[1]).all()


def test_crops_reach_every_border() -> None:
    drawn = draw(ViewSettings(size=32), (16, 12))
    for start, length, side in (
        (drawn.top, drawn.height, 16),
        (drawn.left, drawn.width, 12),
    ):
        some = length < side
        assert (start[some] == 0).any()
        assert ((start + length)[some] == side).any()


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("strength", [0.4, 1.5])
def test_factors_of_the_jitter_are_uniform(place: int, strength: float) -> None:
    hue = 0.1 * strength
    view = settings_of(
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
    assert_same_law(values, theirs)


def test_part_of_the_jitter_that_is_off_has_the_neutral_factor() -> None:
    factors = draw(settings_of(cj_prob=1.0, cj_contrast=0.0, cj_hue=0.0)).factors
    assert (factors[:, 1] == 1).all() and (factors[:, 3] == 0).all()
    assert_uniform(factors[:, 0], 0.6, 1.4)
    assert_uniform(factors[:, 2], 0.6, 1.4)


def test_all_orders_of_the_jitter_are_equally_likely() -> None:
    orders = draw(settings_of()).order
    assert (orders.sort(dim=1).values == torch.arange(4)).all()
    assert orders.dtype == torch.int64
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > ALPHA


@pytest.mark.parametrize("prob", [0.03, 0.5, 0.8])
def test_every_step_comes_with_its_probability(prob: float) -> None:
    view = settings_of(
        cj_prob=prob,
        random_gray_scale=prob,
        hf_prob=prob,
        vf_prob=prob,
        rr_prob=prob,
        gaussian_blur=prob,
        solarization_prob=prob,
    )
    drawn = draw(view)
    is_jittered = (drawn.factors != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(dim=1)
    for mask in (
        is_jittered,
        drawn.gray,
        drawn.horizontal_flip,
        drawn.vertical_flip,
        drawn.rotation != 0,
        drawn.sigma > 0,
        drawn.solarize_from <= 1,
    ):
        assert mask.shape == (NUM,)
        assert_probability(mask, prob)
    for op in range(4):  # all of them are jittered, or none
        low, high = (0.6, 1.4) if op < 3 else (-0.1, 0.1)
        assert_uniform(drawn.factors[is_jittered, op], low, high)


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_probabilities_of_zero_and_one_are_certain(prob: float) -> None:
    view = ViewSettings(
        size=8,
        horizontal_flip_prob=prob,
        vertical_flip_prob=prob,
        rotation_prob=prob,
        rotation_degrees=(90.0, 90.0),
        jitter_prob=prob,
        brightness=(0.5, 0.7),
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


@pytest.mark.parametrize("sigmas", [(0.1, 2.0), (1.0, 1.5)])
def test_sigma_of_the_blur_is_uniform(sigmas: tuple[float, float]) -> None:
    sigma = draw(settings_of(gaussian_blur=0.5, sigmas=sigmas)).sigma
    assert_uniform(sigma[sigma > 0], *sigmas)


def test_solarization_begins_at_half() -> None:
    values = draw(settings_of(solarization_prob=0.5)).solarize_from
    from_half = values[values <= 1].unique()
    assert len(from_half) == 1
    # Between the level that stays and the one that is inverted.
    assert 127 / 255 < from_half.item() < 128 / 255


@pytest.mark.parametrize(
    ("degrees", "limits"), [(30.0, (-30.0, 30.0)), ((10.0, 40.0), (10.0, 40.0))]
)
def test_angle_of_the_rotation_is_uniform(
    degrees: float | tuple[float, float], limits: tuple[float, float]
) -> None:
    angle = draw(settings_of(rr_prob=0.5, rr_degrees=degrees)).rotation
    assert_uniform(angle[angle != 0], *limits)


def test_rotation_by_default_is_a_quarter_turn() -> None:
    angle = draw(settings_of(rr_prob=0.5)).rotation
    assert angle.unique().tolist() == [0.0, 90.0]


def test_affine_maps_have_the_law_of_torchvision() -> None:
    view = settings_of(
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
    assert_same_law(drawn.angle, angle)
    assert_same_law(drawn.shear, shear)
    shifts = torch.stack([drawn.translate_x, drawn.translate_y], dim=1)
    assert (shifts == shifts.round()).all()
    assert_same_counts(shifts, torch.stack([right, down], dim=1))


@pytest.mark.parametrize("size", [16, 32, 40])
def test_shifts_are_uniform_before_they_are_rounded(size: int) -> None:
    drawn = draw(settings_of(input_size=size, affine_translate=0.08))
    reach = 0.08 * size
    values = np.arange(-round(reach), round(reach) + 1)
    edges = np.clip([values - 0.5, values + 0.5], -reach, reach)
    probs = (edges[1] - edges[0]) / (2 * reach)
    for shift in (drawn.translate_x, drawn.translate_y):
        counts = np.array([int((shift == value).sum()) for value in values])
        assert counts.sum() == NUM
        assert stats.chisquare(counts, NUM * probs).pvalue > ALPHA


def test_nothing_is_drawn_of_what_is_off() -> None:
    drawn = draw(settings_of(cj_prob=0.0, random_gray_scale=0.0, hf_prob=0.0), num=1000)
    for name in ("angle", "translate_x", "translate_y", "shear", "rotation", "sigma"):
        assert (getattr(drawn, name) == 0).all()
    for name in ("horizontal_flip", "vertical_flip", "gray"):
        assert not getattr(drawn, name).any()
    assert (drawn.factors == torch.tensor([1.0, 1.0, 1.0, 0.0])).all()
    assert (drawn.solarize_from > 1).all()


def columns_of(drawn: ViewParameters, size: tuple[int, int]) -> dict[str, Tensor]:
    """All that is drawn, as numbers ``(v, n)``; places relative to the room."""
    is_jittered = drawn.factors[..., 0] != 1
    place_of = drawn.order.argsort(dim=-1)
    return {
        "area": drawn.height * drawn.width,
        "log_ratio": (drawn.width / drawn.height).log(),
        "vertical": drawn.top / (size[0] - drawn.height).clamp(min=1),
        "horizontal": drawn.left / (size[1] - drawn.width).clamp(min=1),
        "angle": drawn.angle,
        "translate_x": drawn.translate_x,
        "translate_y": drawn.translate_y,
        "shear": drawn.shear,
        "horizontal_flip": drawn.horizontal_flip.float(),
        "vertical_flip": drawn.vertical_flip.float(),
        "rotation": drawn.rotation,
        "is_rotated": (drawn.rotation != 0).float(),
        **{f"factor_{op}": drawn.factors[..., op] for op in range(4)},
        "is_jittered": is_jittered.float(),
        **{f"place_{op}": place_of[..., op].float() for op in range(4)},
        "gray": drawn.gray.float(),
        "sigma": drawn.sigma,
        "is_blurred": (drawn.sigma > 0).float(),
        "solarize_from": drawn.solarize_from,
    }


def stacked(columns: dict[str, Tensor], view: int = 0) -> np.ndarray:
    return torch.stack([values[view] for values in columns.values()]).double().numpy()


# Far above the noise of 20,000 independent draws, 1 / sqrt(20,000), 0.007.
INDEPENDENT = 4.5 / math.sqrt(NUM)


def test_draws_of_a_view_are_independent_of_each_other() -> None:
    size = (256, 256)  # so large that the places are nearly continuous
    drawn = draw_parameters((settings_of(**EVERYTHING),), make_uniforms(1, NUM), *size)
    columns = columns_of(drawn, size)
    correlation = np.corrcoef(stacked(columns))
    names = list(columns)
    largest = 0.0
    for i, j in itertools.combinations(range(len(names)), 2):
        pair = names[i], names[j]
        if pair == ("sigma", "is_blurred"):
            assert correlation[i, j] > 0.5  # a dependence is seen where there is one
        elif pair[0].startswith("place") and pair[1].startswith("place"):
            # Four places that add up to a constant.
            assert correlation[i, j] == pytest.approx(-1 / 3, abs=INDEPENDENT)
        else:
            largest = max(largest, abs(correlation[i, j]))
    assert 0 < largest < INDEPENDENT


def test_what_comes_or_not_is_independent_of_the_sizes() -> None:
    # Correlations see means alone: here is the whole law, given the other.
    drawn = draw(settings_of(**EVERYTHING), (256, 256))
    area = drawn.height * drawn.width
    masks = {
        "flip": drawn.horizontal_flip,
        "jitter": drawn.factors[:, 0] != 1,
        "gray": drawn.gray,
        "blur": drawn.sigma > 0,
        "solarize": drawn.solarize_from <= 1,
    }
    for mask in masks.values():
        assert_same_law(area[mask], area[~mask])
        assert_same_law(drawn.top[mask], drawn.top[~mask])
    for first, second in itertools.combinations(masks.values(), 2):
        counts = [
            [int((first & second).sum()), int((first & ~second).sum())],
            [int((~first & second).sum()), int((~first & ~second).sum())],
        ]
        assert stats.chi2_contingency(counts).pvalue > ALPHA


def test_two_views_of_an_image_are_independent() -> None:
    size = (256, 256)
    images = torch.empty(1, 3, *size, dtype=torch.uint8).expand(NUM, 3, *size)
    views = BatchedViews(generator=torch.Generator().manual_seed(0), **EVERYTHING)
    columns = columns_of(views.draw(images), size)
    first, second = stacked(columns, view=0), stacked(columns, view=1)
    between = np.corrcoef(first, second)[: len(first), len(first) :]
    assert np.abs(between).max() < INDEPENDENT
    for values in columns.values():
        assert values.shape == (2, NUM)
        assert_same_law(*values)


def test_neighbours_in_a_batch_are_independent() -> None:
    drawn = draw_parameters(
        (settings_of(**EVERYTHING),), make_uniforms(1, NUM), 256, 256
    )
    columns = stacked(columns_of(drawn, (256, 256)))
    between = np.corrcoef(columns[:, :-1], columns[:, 1:])
    assert np.abs(between[: len(columns), len(columns) :]).max() < INDEPENDENT


def test_no_two_views_of_a_batch_share_their_draws() -> None:
    size = (2000, 2000)
    images = torch.empty(1, 3, *size, dtype=torch.uint8).expand(1000, 3, *size)
    generator = torch.Generator().manual_seed(0)
    views = BatchedViews(cj_prob=1.0, affine_degrees=5.0, generator=generator)
    drawn = views.draw(images)
    for rows in (crops_of(drawn), drawn.factors):
        assert len(rows.flatten(0, 1).unique(dim=0)) == 2 * len(images)
    assert drawn.angle.unique().numel() > 0.999 * 2 * len(images)


def test_batch_after_batch_is_drawn_anew() -> None:
    images = torch.empty(1, 3, 64, 64, dtype=torch.uint8).expand(1000, 3, 64, 64)
    views = BatchedViews(cj_prob=1.0, generator=torch.Generator().manual_seed(0))
    first, second = views.draw(images), views.draw(images)
    rows = torch.cat([first.factors, second.factors]).flatten(0, 1)
    assert len(rows.unique(dim=0)) == len(rows)


def test_views_of_different_laws_are_drawn_each_from_its_own() -> None:
    one = settings_of(**EVERYTHING)
    other = settings_of(min_scale=0.5, cj_prob=0.2, random_gray_scale=0.9)
    uniforms = make_uniforms(3, 500)
    mixed = draw_parameters((one, other, one), uniforms, 20, 30)
    for number, view in enumerate((one, other, one)):
        alone = draw_parameters((view,) * 3, uniforms, 20, 30)
        for field, expected in zip(mixed, alone, strict=True):
            assert torch.equal(field[number], expected[number])


def test_shapes_and_types_of_the_draws() -> None:
    drawn = draw_parameters((settings_of(),) * 2, make_uniforms(2, 5), 20, 30)
    for name, field in drawn._asdict().items():
        assert field.shape == ((2, 5, 4) if name in ("factors", "order") else (2, 5))
        if name == "order":
            assert field.dtype == torch.int64
        elif name in ("horizontal_flip", "vertical_flip", "gray"):
            assert field.dtype == torch.bool
        else:
            assert field.dtype == torch.float32
