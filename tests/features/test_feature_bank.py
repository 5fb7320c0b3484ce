"""Features computed once: the same however they are computed, interrupted and kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hadis_lightly.data import ArraySource, load_source
from hadis_lightly.data.image_source import position_keys
from hadis_lightly.features import (
    FeatureBank,
    FeatureCache,
    ViewBatches,
    bank_file,
    bank_key,
    views_of_array,
    views_of_source,
)
from hadis_lightly.transforms import (
    BatchedTestTransform,
    BatchedViews,
    HaDisCropTransform,
    HaDisTestTransform,
)

KEY = "0" * 32
N, SIZE = 20, 8


def backbone(scale: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, 3)
    with torch.no_grad():
        conv.weight.mul_(scale)
        conv.bias.mul_(scale)
    return nn.Sequential(conv, nn.Dropout(), nn.AdaptiveAvgPool2d(1))


def pixels(n: int = N) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, 3, 12, 10), generator=generator, dtype=torch.uint8)


def batches(
    n_views: int = 4, seed: int = 0, batch_size: int = 6, n: int = N
) -> ViewBatches:
    return views_of_array(
        pixels(n),
        BatchedTestTransform(SIZE),
        BatchedViews(SIZE),
        n_views,
        seed=seed,
        batch_size=batch_size,
    )


def bank(made: ViewBatches | None = None, n_views: int = 4, **kept: Any) -> FeatureBank:
    made = batches(n_views) if made is None else made
    return FeatureBank.compute(backbone(), made, N, n_views, **kept)


def no_batches(first: int) -> Iterable[Iterable[Tensor]]:
    raise AssertionError("nothing is to be computed")


def ends_after(number: int) -> ViewBatches:
    """Batches that are interrupted."""

    def interrupted(first: int) -> Iterable[Iterable[Tensor]]:
        for count, batch in enumerate(batches()(first)):
            if count == number:
                raise KeyboardInterrupt
            yield batch

    return interrupted


def test_features_are_those_of_plain_images_and_of_views() -> None:
    network = backbone().eval()
    found = bank()
    assert found.features.dtype == torch.float16 and found.path is None
    assert found.plain.shape == (N, 6) and found.views.shape == (N, 4, 6)
    plain = BatchedTestTransform(SIZE)(pixels())
    views, keys = BatchedViews(SIZE), torch.arange(N)
    made = [plain]
    for pair in range(2):
        made += views.make(
            pixels(), views.keyed_uniforms(pixels(), keys, seed=0, epoch=pair)
        )
    with torch.no_grad():
        expected = torch.stack([network(x).flatten(1) for x in made], dim=1)
    torch.testing.assert_close(found.features.float(), expected, rtol=2e-2, atol=2e-3)


def in_files(folder: Path) -> ViewBatches:
    for number, image in enumerate(pixels().permute(0, 2, 3, 1).numpy()):
        cut = image[: 12 - number % 3]  # of several sizes
        Image.fromarray(cut).save(folder / f"{number:02}.png")
    return source_batches(load_source("folder", folder))


def source_batches(
    source: Any, n_views: int = 4, batch_size: int = 6, num_workers: int = 0
) -> ViewBatches:
    return views_of_source(
        source,
        HaDisTestTransform(SIZE),
        HaDisCropTransform(SIZE, num_views=n_views) if n_views else None,
        BatchedViews(SIZE),
        seed=0,
        batch_size=batch_size,
        num_workers=num_workers,
    )


@pytest.mark.parametrize("kind", ["array", "source"])
def test_views_depend_on_seed_image_and_number_alone(kind: str) -> None:
    source = ArraySource(
        name="npz",
        class_names=None,
        targets=np.full(N, -1),
        keys=position_keys(N),
        description="",
        num_channels=3,
        images=pixels().permute(0, 2, 3, 1).numpy(),
    )

    def made(n_views: int, batch_size: int = 6) -> Tensor:
        torch.manual_seed(n_views)
        if kind == "array":
            given = batches(n_views, batch_size=batch_size)
        else:
            given = source_batches(source, n_views, batch_size)
        return bank(given, n_views).features

    four = made(4)
    assert four.float().std(dim=1).min() > 0
    torch.testing.assert_close(made(4, batch_size=7), four, rtol=0, atol=2e-3)
    torch.testing.assert_close(made(3), four[:, :4], rtol=0, atol=2e-3)
    torch.testing.assert_close(made(0), four[:, :1], rtol=0, atol=2e-3)
    if kind == "array":
        other = bank(batches(seed=1)).features
        assert torch.equal(other[:, 0], four[:, 0])
        assert not torch.equal(other[:, 1:], four[:, 1:])


def test_images_of_any_size_are_read_by_workers(tmp_path: Path) -> None:
    here = bank(in_files(tmp_path)).features
    source = load_source("folder", tmp_path)
    torch.random.manual_seed(5)
    assert torch.equal(bank(source_batches(source, num_workers=1)).features, here)


def test_random_numbers_of_the_caller_stay(tmp_path: Path) -> None:
    made, network = in_files(tmp_path), backbone()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    FeatureBank.compute(network, made, N, 4)
    assert torch.equal(torch.rand(1), expected)


def test_a_bank_is_kept(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert FeatureBank.open(cache, KEY) is None
    seen: list[tuple[int, int]] = []
    found = bank(cache=cache, key=KEY, progress=lambda *done: seen.append(done))
    assert seen == [(6, N), (12, N), (18, N), (N, N)]
    assert torch.equal(found.features, bank().features)
    again = bank(no_batches, cache=cache, key=KEY)
    assert again.path == found.path == tmp_path / f"{KEY}.features"
    assert torch.equal(again.features, found.features)
    opened = FeatureBank.open(cache, KEY)
    assert opened is not None and torch.equal(opened.views, found.views)
    with pytest.raises(ValueError, match="20 images in 4 views, not 9 in 4"):
        FeatureBank.compute(backbone(), no_batches, 9, 4, cache=cache, key=KEY)
    with found.path.open("r+b") as file:
        file.truncate(100)  # damaged, it is computed anew
    assert FeatureBank.open(cache, KEY) is None
    assert torch.equal(bank(cache=cache, key=KEY).features, bank().features)


def test_a_bank_that_is_open_stays_as_it_is(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    features = bank(cache=cache, key=KEY).features
    expected = bank().features
    (tmp_path / f"{KEY}.npz").unlink()

    def others(first: int) -> Iterable[Iterable[Tensor]]:
        for batch in batches(seed=1)(first):
            yield batch
            # While the new file is incomplete, nobody takes it for the old one.
            assert FeatureBank.open(cache, KEY) is None

    other = bank(others, cache=cache, key=KEY).features
    assert not torch.equal(other, expected)
    assert torch.equal(features, expected)


def test_an_interrupted_bank_is_continued(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bank(ends_after(2), cache=cache, key=KEY)
    assert FeatureBank.open(cache, KEY) is None
    firsts = []

    def rest(first: int) -> Iterable[Iterable[Tensor]]:
        firsts.append(first)
        return batches()(first)

    found = bank(rest, cache=cache, key=KEY)
    assert firsts == [12]
    torch.testing.assert_close(found.features, bank().features, rtol=0, atol=2e-3)


def slow_bank(folder: Path, answers: Any, seconds: float) -> None:
    """Computes a bank, image by image, and tells which images it has done."""
    bank_file._SECONDS_UNSAVED = 0.0

    def slowly(first: int) -> Iterable[Iterable[Tensor]]:
        for batch in batches(batch_size=1)(first):
            answers.put(os.getpid())
            time.sleep(seconds)
            yield batch

    bank(slowly, cache=FeatureCache(folder), key=KEY)


@pytest.mark.skipif(os.name != "posix", reason="needs fork and its locks")
def test_of_two_processes_one_computes_and_the_next_goes_on(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    first = context.Process(target=slow_bank, args=(tmp_path, answers, 0.1))
    first.start()
    for _ in range(5):
        assert answers.get() == first.pid
    second = context.Process(target=slow_bank, args=(tmp_path, answers, 0.0))
    second.start()
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join(60)
    second.join(60)
    assert second.exitcode == 0
    done = []
    while not answers.empty():
        done.append(answers.get())
    assert N - 5 <= done.count(second.pid) < N
    found = FeatureBank.open(FeatureCache(tmp_path), KEY)
    assert found is not None
    torch.testing.assert_close(found.features, bank().features, rtol=0, atol=2e-3)


def test_without_locks_a_bank_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def flock(*_: Any) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    cache = FeatureCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bank(ends_after(2), cache=cache, key=KEY)
    assert not cache.file(KEY).exists()
    found = bank(cache=cache, key=KEY)
    opened = FeatureBank.open(cache, KEY)
    assert opened is not None and torch.equal(opened.features, found.features)


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("scale", [2.0**24, 2.0**-24])
def test_features_that_float16_cannot_hold_are_float32(
    tmp_path: Path, scale: float, in_file: bool
) -> None:
    cache = FeatureCache(tmp_path) if in_file else None
    network = backbone(scale)
    found = FeatureBank.compute(network, batches(), N, 4, cache=cache, key=KEY)
    assert found.features.dtype == torch.float32
    expected = scale * bank().features.float()
    torch.testing.assert_close(found.features, expected, rtol=1e-3, atol=1e-6 * scale)


def test_bad_batches_and_features(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batches end after 18 of 20 images"):
        bank(batches(n=18))
    with pytest.raises(ValueError, match=r"give 20 images.*18 to 23 came in 4 views"):
        bank(batches(n=24))
    with pytest.raises(ValueError, match=r"each plain and in 4 views.*in 2 views"):
        bank(batches(2))
    broken = nn.Sequential(backbone(), nn.Flatten(), nn.Linear(6, 2))
    nn.init.constant_(broken[2].bias, torch.nan)
    with pytest.raises(ValueError, match="features of image 0 are not finite"):
        FeatureBank.compute(broken, batches(), N, 4)


def test_the_key_is_that_of_all_that_counts() -> None:
    network, views = backbone().train(), {"n_views": 8, "size": 32}
    key = bank_key("a", network, views)
    assert len(key) == 32
    assert bank_key("a", network.eval(), dict(reversed(views.items()))) == key
    others = [
        bank_key("b", network, views),
        bank_key("a", backbone(2.0), views),
        bank_key("a", network, views | {"n_views": 4}),
        bank_key("a", nn.Sequential(network), views),
    ]
    assert len({key, *others}) == 5
    with pytest.raises(TypeError, match="JSON"):
        bank_key("a", network, {"views": object()})
