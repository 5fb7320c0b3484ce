"""Checkpoints: whole or not there, plain data, and what is wrong with a wrong one."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchvision
from PIL import Image
from torch import nn

from hadis_lightly import __version__
from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.checkpoint import (
    KEY,
    Checkpoint,
    CheckpointError,
    CheckpointIO,
    backbone_state_dict,
    load_checkpoint,
    stamp,
)
from hadis_lightly.atomic import atomic_write, disk_full_error, remove_unfinished
from hadis_lightly.data import (
    ArraySource,
    FolderSource,
    ImageSource,
    load_folder,
    load_npz,
)
from hadis_lightly.models.weight_files import LAST, PREVIOUS
from hadis_lightly.runs import run
from hadis_lightly.settings import Settings
from hadis_lightly.settings.errors import SettingsError
from tests.docs.test_examples import load
from tests.runs.small_run import small_settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with torchvision's own ResNet-18."""
    settings = small_settings(tmp_path_factory.mktemp("checkpoint") / "run")
    settings.data.num_channels = None
    settings.trainer.max_steps = 2
    settings.trainer.checkpoint_every_n_minutes = 0
    run(settings)
    return Path(settings.output_dir or "")


@pytest.fixture
def checkpoint(folder: Path) -> dict[str, Any]:
    return load_checkpoint(folder).content


def test_it_says_what_it_was_made_with(checkpoint: dict[str, Any]) -> None:
    made = checkpoint[KEY]
    assert made["version"] == __version__
    assert made["settings"]["trainer"]["max_steps"] == 2
    assert made["images"] == 200 and "digits" in made["description"]


class TestAtomic:
    def test_what_was_there_stays_until_all_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("before")
        with pytest.raises(RuntimeError), atomic_write(path) as file:
            file.write("half")
            file.flush()
            assert path.read_text() == "before"
            raise RuntimeError
        assert path.read_text() == "before"
        assert os.listdir(tmp_path) == ["file"]
        with atomic_write(path) as file:
            file.write("after")
        assert path.read_text() == "after"

    def test_a_full_disk(self, tmp_path: Path) -> None:
        """A limit on the size of files stands in for the end of the disk."""
        io, path = CheckpointIO(), tmp_path / LAST
        io.save_checkpoint({KEY: {"format": 1}, "weights": torch.zeros(10)}, path)
        before = path.read_bytes()
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(OSError, match=r"File too large: .*next\.ckpt"):
                io.save_checkpoint({"weights": torch.zeros(100_000)}, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == [LAST]

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_disk_is_found_below_the_error_of_pytorch(self) -> None:
        with pytest.raises(OSError), open("/dev/full", "wb") as file:
            with pytest.raises(RuntimeError) as caught:
                torch.save(torch.zeros(100_000), file)
            full = disk_full_error(caught.value)
            assert full is not None and full.errno == errno.ENOSPC
        assert disk_full_error(RuntimeError("anything else")) is None

    def test_a_process_that_dies_while_it_writes(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, sys\n"
            "from hadis_lightly.atomic import atomic_write\n"
            "with atomic_write(sys.argv[1]) as file:\n"
            "    file.write('half')\n"
            "    file.flush()\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        path = tmp_path / "file"
        path.write_text("before")
        done = subprocess.run([sys.executable, "-c", code, str(path)])
        assert done.returncode == -signal.SIGKILL
        assert path.read_text() == "before"
        with atomic_write(path) as file:
            file.write("after")
        assert path.read_text() == "after"
        remove_unfinished(tmp_path)
        assert os.listdir(tmp_path) == ["file"]

    def test_two_writers_of_one_file(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        with atomic_write(path) as outer:
            outer.write("outer")
            with atomic_write(path) as inner:
                inner.write("the inner one")
            assert path.read_text() == "the inner one"
        assert path.read_text() == "outer"
        assert os.listdir(tmp_path) == ["t.csv"]


def test_the_one_before_is_kept_and_used_if_the_last_is_damaged(
    folder: Path, checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    there = tmp_path / "checkpoints"
    with pytest.raises(CheckpointError, match="not the folder of a run"):
        load_checkpoint(tmp_path)
    io = CheckpointIO()
    for step in (1, 2):
        io.save_checkpoint(checkpoint | {"global_step": step}, there / LAST)
    for path in (tmp_path, there, there / LAST):
        assert load_checkpoint(path).path == there / LAST
    assert load_checkpoint(there / PREVIOUS).content["global_step"] == 1
    whole = (there / LAST).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], bytes(flipped)):
        (there / LAST).write_bytes(damaged)
        assert load_checkpoint(tmp_path).path == there / PREVIOUS
    (there / LAST).unlink()  # killed between the two renamings
    assert load_checkpoint(tmp_path).path == there / PREVIOUS
    (there / PREVIOUS).write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match=r"previous.ckpt' cannot be read"):
        load_checkpoint(tmp_path)


class Malicious:
    def __reduce__(self) -> Any:
        return os.mkdir, ("code-has-run",)


class TestForeign:
    @pytest.fixture(autouse=True)
    def in_tmp_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_code_is_not_run(self) -> None:
        torch.save({KEY: {"format": 1}, "x": Malicious()}, "code.ckpt")
        with pytest.raises(CheckpointError, match=r"'code.ckpt' holds more than"):
            load_checkpoint("code.ckpt")
        Path("plain.pkl").write_bytes(pickle.dumps(Malicious()))
        with pytest.raises(CheckpointError, match=r"'plain.pkl' cannot be read"):
            load_checkpoint("plain.pkl")
        assert not Path("code-has-run").exists()

    def test_of_something_else(self) -> None:
        for content in ({"weight": torch.zeros(1)}, {KEY: [1]}, {KEY: {"format": 1}}):
            torch.save(content, "odd.ckpt")
            with pytest.raises(CheckpointError, match="is not a checkpoint of a run"):
                load_checkpoint("odd.ckpt")
        with pytest.raises(CheckpointError, match=r"no checkpoint and no run at 'y'"):
            load_checkpoint("y")
        trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=0
        )
        module = pl.LightningModule()
        trainer.strategy.connect(module)
        trainer.save_checkpoint("lightning.ckpt")
        with pytest.raises(CheckpointError, match="of Lightning, but not of a run"):
            load_checkpoint("lightning.ckpt")

    def test_of_a_later_version(self, checkpoint: dict[str, Any]) -> None:
        later = checkpoint[KEY] | {"format": 99, "version": "9.9"}
        torch.save(checkpoint | {KEY: later}, "later.ckpt")
        with pytest.raises(CheckpointError, match=r"made by hadis-lightly 9\.9, which"):
            load_checkpoint("later.ckpt")


class TestFit:
    def resumed(self, folder: Path, tmp_path: Path) -> Settings:
        settings = small_settings(tmp_path / "other")
        settings.trainer.max_steps = 2
        settings.trainer.resume = str(folder)
        return settings

    def test_other_images(self, folder: Path, tmp_path: Path) -> None:
        settings = self.resumed(folder, tmp_path)
        settings.data.limit = 199
        with pytest.raises(
            CheckpointError, match=r"does not fit: it was made from other .*200.*199"
        ):
            run(settings)

    def test_other_networks(self, folder: Path, tmp_path: Path) -> None:
        settings = self.resumed(folder, tmp_path)
        settings.model.output_dim += 1
        with pytest.raises(
            CheckpointError,
            match=r"not fit: model.output_dim: 16 -> 17; its .* is \(16,.*here \(17",
        ):
            run(settings)
        assert not (tmp_path / "other").exists()

    def test_no_checkpoint_there(self, tmp_path: Path) -> None:
        settings = self.resumed(tmp_path / "nothing", tmp_path)
        with pytest.raises(CheckpointError, match=r"no run at '.*nothing'"):
            run(settings)
        settings.trainer.resume = str(tmp_path)
        with pytest.raises(CheckpointError, match="it has no checkpoint"):
            run(settings)
        assert not (tmp_path / "other").exists()

    def test_other_settings(self, folder: Path, tmp_path: Path) -> None:
        settings = self.resumed(folder, tmp_path)
        settings.trainer.max_steps = 4
        settings.optimizer.momentum = 0.5
        with pytest.raises(
            CheckpointError,
            match=r"does not fit: optimizer.momentum: 0.9 -> 0.5; trainer.max_steps: 2",
        ):
            run(settings)

    def test_a_checkpoint_without_clusters(
        self, folder: Path, tmp_path: Path, checkpoint: dict[str, Any]
    ) -> None:
        torch.save(checkpoint | {"callbacks": {}}, tmp_path / "no.ckpt")
        settings = self.resumed(tmp_path / "no.ckpt", tmp_path)
        with pytest.raises(CheckpointError, match=r"no\.ckpt' has no clusters yet"):
            run(settings)
        assert not (tmp_path / "other").exists()

    def test_a_finished_run_is_prolonged(self, tmp_path: Path) -> None:
        settings = small_settings(tmp_path / "short")
        settings.clustering.pixel_baseline = False
        run(settings)
        settings.output_dir = str(tmp_path / "long")
        settings.trainer.max_epochs = 4
        settings.trainer.resume = str(tmp_path / "short")
        with pytest.raises(
            SettingsError,
            match=r"max_epochs is 4, but the run to resume had 2\. .* give "
            r"optimizer\.warmup_epochs=0 clustering\.warmup_epochs=0\.$",
        ):
            run(settings)
        assert not (tmp_path / "long").exists()
        settings.optimizer.warmup_epochs = settings.clustering.warmup_epochs = 0
        result = run(settings)
        assert (result.epochs, result.num_resumed) == (4, 1)
        [schedule] = load_checkpoint(result.output_dir).content["lr_schedulers"]
        assert schedule["max_epochs"] == schedule["last_epoch"] == 4 * 3
        settings.trainer.max_epochs = 3  # an end that has passed
        with pytest.raises(CheckpointError, match=r"trainer\.max_epochs: 4 -> 3"):
            settings.trainer.resume = str(result.output_dir)
            run(settings)

    def test_another_machine(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A finished run, resumed elsewhere: nothing but its results is left to do."""
        settings = self.resumed(folder, tmp_path)
        settings.data.pipeline = "lightly"
        result = run(settings)
        said = capsys.readouterr().out
        assert "resumed from" in said
        assert "(changed: data.pipeline: auto -> lightly)" in said
        assert result.num_resumed == 1 and result.output_dir.name == "other"
        there, here = read_assignments(result.output_dir), read_assignments(folder)
        assert there.keys == here.keys
        assert np.array_equal(there.labels, here.labels)
        for name in ("confidence", "distance", "isolation"):
            values = getattr(there, name), getattr(here, name)
            np.testing.assert_allclose(*values, atol=2e-4)  # they have four decimals


def test_the_backbone_alone(tmp_path: Path) -> None:
    """Into torchvision's network, and into what lightly's examples make of it."""
    settings = small_settings(tmp_path / "run")
    settings.model.backbone = "resnet18"
    settings.data.source, settings.data.path = "npz", str(tmp_path / "images.npz")
    images = np.random.default_rng(0).integers(256, size=(40, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    settings.views.mean = settings.views.std = [0.5, 0.5, 0.5]
    settings.loader.batch_size, settings.trainer.max_steps = 20, 2
    run(settings)
    path = tmp_path / "run" / "checkpoints" / LAST
    exported = backbone_state_dict(path)
    plain = torchvision.models.resnet18()
    missing, unexpected = plain.load_state_dict(exported, strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"} and not unexpected
    state = load_checkpoint(path).content["state_dict"]
    assert torch.equal(
        plain.layer4[1].conv2.weight,
        state["model.teacher.module.backbone.layer4.1.conv2.weight"],
    )
    student = backbone_state_dict(path, "student")
    assert not torch.equal(student["conv1.weight"], exported["conv1.weight"])
    with pytest.raises(ValueError, match="network must be teacher or student, got 'x'"):
        backbone_state_dict(path, "x")

    # The page's example: as in lightly's examples, the children but the last.
    backbone = load("export_backbone").main(path, tmp_path / "backbone.pt")
    ours = torchvision.models.resnet18()
    ours.fc = nn.Identity()
    ours.load_state_dict(exported)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(backbone.eval()(x).flatten(1), ours.eval()(x))


class TestOtherImages:
    """Other images under the same names, found before anything is continued."""

    def source(self, folder: Path, kind: str) -> ImageSource:
        """Three images, as files or in one file."""
        folder.mkdir()
        pixels = np.arange(3 * 16 * 16, dtype=np.uint8).reshape(3, 16, 16)
        if kind == "npz":
            np.savez(folder / "a.npz", images=pixels)
            return load_npz(folder / "a.npz")
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(folder / f"{number}.bmp")
        return load_folder(folder)

    def saved(self, source: ImageSource) -> Checkpoint:
        made = stamp(Settings(), source, "", "32-true", {})
        content = {"state_dict": {}, "callbacks": {"PrototypeKMeans": {"scores": {}}}}
        return Checkpoint(Path("a.ckpt"), content, made, Settings())

    def refused(self, saved: Checkpoint, source: ImageSource) -> str:
        with pytest.raises(CheckpointError) as caught:
            saved.check_fits(Settings(), source, torch.nn.Identity())
        return str(caught.value)

    def test_an_earlier_version_decoded_in_full(self, tmp_path: Path) -> None:
        source = self.source(tmp_path / "p", "folder")
        assert isinstance(source, FolderSource)
        saved = self.saved(source)
        del saved.stamp["decode_size"]
        saved.check_fits(Settings(), source, torch.nn.Identity())
        sizes = np.full((3, 2), 8, dtype=np.int32)
        reduced = replace(source, min_side=8, sizes=sizes)
        assert "set data.decode_size=0" in self.refused(saved, reduced)

    def test_replaced_files(self, tmp_path: Path) -> None:
        source = self.source(tmp_path / "p", "folder")
        saved = self.saved(source)
        saved.check_fits(Settings(), source, torch.nn.Identity())
        path = tmp_path / "p" / "1.bmp"
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"?")
        assert "('1.bmp' has other contents)" in self.refused(saved, source)
        path.write_bytes(content + b"?")
        said = self.refused(saved, source)
        size = len(content)
        assert f"('1.bmp' had {size:,} bytes and now has {size + 1:,})" in said
        path.rename(tmp_path / "p" / "4.bmp")
        said = self.refused(saved, load_folder(tmp_path / "p"))
        assert "other images ('4.bmp' is new)" in said
        (tmp_path / "p" / "4.bmp").unlink()
        said = self.refused(saved, load_folder(tmp_path / "p"))
        assert "('1.bmp' is missing; folder p: 3 images" in said

    def test_other_pixels(self, tmp_path: Path) -> None:
        source = self.source(tmp_path / "p", "npz")
        saved = self.saved(source)
        saved.check_fits(Settings(), source, torch.nn.Identity())
        assert isinstance(source, ArraySource)
        source.images[2, 3, 4] += 1
        assert "('000002' has other contents)" in self.refused(saved, source)

    def test_an_earlier_version_knew_names_and_classes(self, tmp_path: Path) -> None:
        source = self.source(tmp_path / "p", "folder")
        saved = self.saved(source)
        del saved.stamp["contents"]
        (tmp_path / "p" / "1.bmp").write_bytes(b"anything")
        saved.check_fits(Settings(), source, torch.nn.Identity())
        (tmp_path / "p" / "1.bmp").unlink()
        said = self.refused(saved, load_folder(tmp_path / "p"))
        assert "other names or classes; folder p: 3 images" in said
