"""Wrong command lines: one line of reason, a status that is not 0, nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.forked_lines import Ended, Lines
from tests.settings.wrong_lines import WrongLine, settings_of, wrong_lines

NUM_QUICK, NUM_ALL = 40, 420
# Far more than they take, far less than a training.
MAX_SECONDS = 30


def fill(folder: Path) -> None:
    """Results of an earlier run, and data of all kinds, few of them any good."""
    (folder / "results" / "checkpoints").mkdir(parents=True)
    for name in ("settings.yaml", "results.json", "checkpoints/last.ckpt"):
        (folder / "results" / name).write_bytes(b"of an earlier run")
    (folder / "afile").write_text("no npz, no folder, no image")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "small.npz", images=images, labels=np.arange(24) % 2)
    np.savez(folder / "empty.npz")
    np.savez(folder / "floats.npz", images=images / 255)
    np.savez(folder / "short_labels.npz", images=images, labels=np.arange(3))
    np.savez(folder / "objects.npz", images=np.array([None, "a"], dtype=object))
    np.savez(folder / "two_channels.npz", images=images[..., :2])
    np.save(folder / "array.npy", images)
    whole = (folder / "small.npz").read_bytes()
    (folder / "broken.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "broken" / f"{i}.png")
    (folder / "broken" / "0.png").write_bytes(b"not an image")


def contents(folder: Path) -> dict[str, bytes | None]:
    """All files with their bytes, and all folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "cwd").mkdir()
    fill(folder / "cwd")
    lines = Lines(folder, folder / "cwd")
    yield lines
    lines.close()


def complaints(
    ended: Ended, word: str, before: dict[str, bytes | None], cwd: Path
) -> list[str]:
    """What is wrong with the end of a wrong line."""
    found = []
    if ended.status in (0, None):
        found.append(f"status {ended.status}")
    reason = ended.errors
    if reason.count("\n") != 1 or not reason.endswith("\n"):
        found.append("not one line")
    if not reason.rstrip("\n").isprintable():
        found.append("characters that cannot be seen")
    if not reason.startswith("error: ") or len(reason) < 20:
        found.append("no reason")
    if "Traceback" in reason or "Error:" in reason:
        found.append("a traceback")
    if word not in reason:
        found.append(f"no word of {word!r}")
    if ended.output:
        found.append(f"output {ended.output[:80]!r}")
    if ended.seconds > MAX_SECONDS:
        found.append(f"{ended.seconds:.0f} seconds")
    after = contents(cwd)
    if after != before:
        changed = {k for k in before.keys() | after if before.get(k) != after.get(k)}
        found.append(f"files {sorted(changed)[:5]}")
    return found


def check(lines: Lines, wrong: list[WrongLine]) -> None:
    """Runs them all; results of an earlier run are where half of them would write."""
    bad = []
    for number, line in enumerate(wrong):
        arguments = list(line.arguments)
        if number % 2 and not any("output_dir" in a for a in arguments):
            arguments.append("output_dir=results")
        before = contents(lines.cwd)
        ended = lines.run(line.recipe, arguments)
        found = complaints(ended, line.word, before, lines.cwd)
        if found:
            bad.append(f"{line.recipe} {arguments}: {found}\n    {ended.errors[:500]}")
    assert not bad, f"{len(bad)} of {len(wrong)}:\n" + "\n".join(bad)


def test_there_are_lines_enough_and_of_all_kinds() -> None:
    made = wrong_lines(10**6)
    assert len({line.arguments for line in made}) == len(made) >= NUM_ALL >= 300
    quick = Counter(line.kind for line in wrong_lines(NUM_QUICK))
    assert set(quick) == {line.kind for line in made}
    texts = [text for line in made for text in line.arguments]
    for name, _ in settings_of():
        assert any(text.startswith(f"{name}=") for text in texts), name


def test_what_works_would_be_found(lines: Lines) -> None:
    before = contents(lines.cwd)
    ended = lines.run("digits", ["--cfg", "job"])
    found = complaints(ended, "seed", before, lines.cwd)
    assert {"status 0", "no reason", "not one line"} <= set(found)


def test_some_wrong_lines(lines: Lines) -> None:
    check(lines, wrong_lines(NUM_QUICK))


@pytest.mark.slow
def test_all_wrong_lines(lines: Lines) -> None:
    check(lines, wrong_lines(NUM_ALL)[NUM_QUICK:])
