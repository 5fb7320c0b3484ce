"""Code on the pages comes from files that the tests run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightly.transforms
import pytest
import torch
import torch.nn.functional as F

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


def test_python_of_the_readme() -> None:
    """Each block runs, with what its text takes for granted, on a CPU."""
    torch.manual_seed(0)
    z0, p0, t1 = (torch.randn(6, 8, requires_grad=True) for _ in range(3))
    given: dict[str, Any] = {
        "clean_dataloader": [(torch.rand(6, 3, 8, 8), torch.zeros(6), list("abcdef"))],
        "filenames": list("abcdef"),
        "z0": z0,
        "p0": p0,
        "t1": F.normalize(t1),
        "images": torch.randint(256, (9, 3, 20, 20), dtype=torch.uint8),
        "BYOLTransform": lambda _: lightly.transforms.BYOLTransform(),
    }
    python = [text for language, text in blocks(README) if language == "python"]
    assert python
    for text in python:
        exec(
            text.replace('"cuda"', '"cpu"').replace("batch_size=256", "batch_size=4"),
            given,
        )
