"""Code on the pages comes from files that the tests run."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.docs.shell_lines import EXAMPLES, PROGRAMS, README, ROOT, blocks

PAGES = sorted((ROOT / "docs").rglob("*.md"))
CODE = {"sh", "shell", "bash", "console", "zsh", "python", "py", "pycon"}
_INCLUDED = re.compile(r"examples/([\w.]+)")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_code_comes_from_tested_files(path: Path) -> None:
    for language, content in blocks(path):
        assert language not in CODE, content
        if not language:  # output alone
            assert not any(map(PROGRAMS.fullmatch, content.splitlines())), content
        if language.startswith("{literalinclude}"):
            for name in _INCLUDED.findall(f"{language}\n{content}"):
                assert (EXAMPLES / name).is_file()


def test_every_example_is_tested_and_shown() -> None:
    tests = "".join(p.read_text(encoding="utf-8") for p in ROOT.glob("tests/**/*.py"))
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = set(_INCLUDED.findall(pages))
    assert shown == {p.name for p in EXAMPLES.iterdir() if p.is_file()}
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.stem}"' in tests


def test_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its block trains as it stands, but on few small images and for two epochs."""
    (text,) = [text for language, text in blocks(README) if language == "python"]
    for natural, quick in (
        ("batch_size=64", "batch_size=8"),
        ("input_size=32", "input_size=8"),
        ("max_epochs=100", "max_epochs=2"),
        ("warmup_epochs=20", "warmup_epochs=1"),
    ):
        assert natural in text
        text = text.replace(natural, quick)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(20):
        pixels = torch.randint(256, (12, 10, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and logging
        exec(text, names)
    assert names["prototypes"].labels_.shape == (20,)
    assert names["hadis"].trainer.current_epoch == 2
