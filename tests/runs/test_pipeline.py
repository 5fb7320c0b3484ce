"""Which pipeline a run takes, and that all of them yield the same images."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hadis_lightly.data import ArraySource, DeviceLoader, ImageSource, load_folder
from hadis_lightly.data.image_source import position_keys
from hadis_lightly.runs.pipeline import build_pipeline
from hadis_lightly.settings import LoaderSettings, Settings, SettingsError

CPU = torch.device("cpu")


def make_settings(**data: object) -> Settings:
    settings = Settings()
    settings.views.input_size = 8
    settings.loader.batch_size = 4
    settings.loader.num_workers = 0
    settings.trainer.precision = "32-true"
    settings.trainer.channels_last = "on"
    for name, value in data.items():
        setattr(settings.data, name, value)
    return settings


def make_source(size: int = 8, n: int = 10) -> ArraySource:
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(n, size, size, 3), dtype=np.uint8)
    return ArraySource("npz", None, np.arange(n) % 3, position_keys(n), "", 3, images)


def make_folder(folder: Path, sizes: list[int]) -> ImageSource:
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.new("RGB", (size, size), (9 * number, 0, 0)).save(
            folder / f"{number}.png"
        )
    return load_folder(folder)


def test_images_that_fit_stay_on_the_device() -> None:
    pipeline = build_pipeline(make_settings(), make_source(), CPU)
    assert pipeline.kind == "device"
    assert pipeline.num_workers == 0
    assert "KiB of uint8 images stay in memory" in pipeline.reason
    assert isinstance(pipeline.train_loader, DeviceLoader)
    assert len(pipeline.train_loader) == 2  # the rest of 10 is dropped
    source = make_source()
    train = torch.from_numpy(source.images).permute(0, 3, 1, 2)
    for images, targets, rows in pipeline.train_loader:
        assert torch.equal(images, train[rows])
        assert torch.equal(targets, rows % 3)
        assert pipeline.views is not None
        x0, x1 = pipeline.views(images)
        assert x0.shape == x1.shape == (4, 3, 8, 8)


@pytest.mark.parametrize("kind", ["device", "workers", "lightly"])
def test_all_pipelines_yield_the_same_plain_images(kind: str) -> None:
    pipeline = build_pipeline(make_settings(pipeline=kind), make_source(size=12), CPU)
    reference = build_pipeline(
        make_settings(pipeline="lightly"), make_source(size=12), CPU
    )
    assert pipeline.kind == kind
    for ours, theirs in zip(pipeline.plain_loader, reference.plain_loader, strict=True):
        difference = (ours[0] - theirs[0]).abs().max()
        assert difference <= 1 / 255 / 0.19 + 1e-5  # one level, as resizing rounds
        assert torch.equal(ours[1], theirs[1])
        assert torch.equal(ours[2], theirs[2])


@pytest.mark.parametrize("kind", ["workers", "lightly"])
def test_workers_yield_views_or_what_becomes_views(kind: str) -> None:
    pipeline = build_pipeline(make_settings(pipeline=kind), make_source(), CPU)
    for images, _, rows in pipeline.train_loader:
        x0, x1 = images if pipeline.views is None else pipeline.views(images)
        assert x0.shape == x1.shape == (4, 3, 8, 8)
        assert x0.dtype == torch.float32
        assert rows.shape == (4,)


def test_images_that_do_not_fit_are_left_to_workers() -> None:
    pipeline = build_pipeline(make_settings(max_resident_gib=1e-6), make_source(), CPU)
    assert pipeline.kind == "workers"
    assert "1.88 KiB, but only 1.05 KiB may be used on cpu" in pipeline.reason
    with pytest.raises(SettingsError, match=r"data.pipeline is device, but the images"):
        build_pipeline(
            make_settings(max_resident_gib=1e-6, pipeline="device"), make_source(), CPU
        )


def test_where_workers_cannot_start_there_are_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hadis_lightly.runs.pipeline.available_cores", lambda: 4)
    settings = make_settings(pipeline="workers")
    settings.loader.num_workers = None
    assert build_pipeline(settings, make_source(), CPU).num_workers == 2
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    monkeypatch.setitem(config, "daemon", True)
    pipeline = build_pipeline(settings, make_source(), CPU)
    assert pipeline.num_workers == 0
    assert pipeline.reason.startswith("as asked for; num_workers 0: this process is da")
    assert len(list(pipeline.train_loader)) == 2
    settings.loader.num_workers = 1
    with pytest.raises(SettingsError, match=r"num_workers is 1, but this process is d"):
        build_pipeline(settings, make_source(), CPU)


def test_large_images_are_left_to_workers_unless_asked_for() -> None:
    pipeline = build_pipeline(make_settings(), make_source(size=40), CPU)
    assert pipeline.kind == "workers"
    assert "workers crop images of 40 x 40 pixels faster" in pipeline.reason
    pipeline = build_pipeline(
        make_settings(pipeline="device"), make_source(size=40), CPU
    )
    assert pipeline.kind == "device"


def test_a_folder_of_images_of_one_size_stays_on_the_device(tmp_path: Path) -> None:
    pipeline = build_pipeline(
        make_settings(), make_folder(tmp_path / "same", [9] * 6), CPU
    )
    assert pipeline.kind == "device"
    (images, _, rows), *_ = list(pipeline.train_loader)
    assert torch.equal(images[:, 0, 0, 0].long(), 9 * rows)


def test_a_folder_of_images_of_many_sizes_is_left_to_workers(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "many", [9, 12, 20, 9, 30])
    pipeline = build_pipeline(make_settings(), source, CPU)
    assert pipeline.kind == "workers"
    assert pipeline.reason.startswith("the images differ in size; ")
    (crops, _, _), *_ = list(pipeline.train_loader)
    assert crops.shape == (4, 2, 3, 8, 8)
    assert crops.dtype == torch.uint8


def test_one_image_of_another_size_is_found_out_later(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "odd", [9] * 70 + [10] + [9] * 29)
    pipeline = build_pipeline(make_settings(), source, CPU)
    assert pipeline.kind == "workers"
    assert "'0.png' is 9 x 9 pixels, '70.png' is 10 x 10" in pipeline.reason


@pytest.mark.parametrize("kind", ["device", "workers", "lightly"])
def test_an_image_has_the_same_views_in_whatever_batch_it_comes(kind: str) -> None:
    """So N processes have the views of one, and a resumed run those of a whole one."""

    def views_by_image(batch_size: int, num_workers: int) -> dict[int, torch.Tensor]:
        settings = make_settings(pipeline=kind)
        settings.loader = LoaderSettings(batch_size, num_workers)
        pipeline = build_pipeline(settings, make_source(), CPU)
        found: dict[int, torch.Tensor] = {}
        pipeline.train_loader.sampler.set_epoch(3)  # type: ignore[attr-defined]
        for images, _, keys in pipeline.train_loader:
            views = images
            if pipeline.views is not None:
                uniforms = pipeline.views.keyed_uniforms(images, keys, seed=0, epoch=3)
                views = pipeline.views.make(images, uniforms)
            for row, key in enumerate(keys.tolist()):
                found[key] = torch.stack([view[row] for view in views])
        return found

    few, many = views_by_image(2, num_workers=0), views_by_image(5, num_workers=1)
    assert few.keys() == many.keys() == set(range(10))
    for key in few:
        torch.testing.assert_close(few[key], many[key], rtol=0, atol=1e-5)
        assert not torch.allclose(few[key][0], few[key][1], atol=0.1)


def test_views_come_in_the_precision_of_the_run() -> None:
    settings = make_settings()
    for precision, dtype in (
        ("bf16-mixed", torch.bfloat16),
        ("64-true", torch.float64),
        ("16-mixed", torch.float32),
    ):
        settings.trainer.precision = precision
        views = build_pipeline(settings, make_source(), CPU).views
        assert views is not None
        assert views.dtype == dtype
        assert views.memory_format == torch.channels_last


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_set_lies_there_and_one_that_is_too_large_does_not() -> None:
    device = torch.device("cuda", 0)
    before = torch.cuda.memory_allocated()
    pipeline = build_pipeline(make_settings(), make_source(size=16, n=4000), device)
    assert pipeline.kind == "device"
    assert torch.cuda.memory_allocated() - before < 1.1 * 4000 * 16 * 16 * 3 + (1 << 20)
    pipeline = build_pipeline(
        make_settings(max_resident_gib=1e-6), make_source(), device
    )
    assert pipeline.kind == "workers"
