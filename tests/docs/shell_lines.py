"""Command lines out of docs/: read, checked, and run with settings that are quick."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple

from tests.forked_lines import Ended, Lines

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
README = ROOT / "README.md"
PROGRAMS = re.compile(r"(hadis-lightly-\w+|python|pip|make|torchrun|tensorboard) .*")
#: Of the small backbone in TINY.
WEIGHTS = "small_convnet.pth"
# What makes a training end in seconds; the page shows what is natural.
TINY = {
    "trainer.max_epochs": "1",
    "trainer.accelerator": "cpu",
    "trainer.progress_bar": "false",
    "trainer.logger": "none",
    "views.input_size": "16",
    "model.backbone": "small_convnet",
    "model.hidden_dim": "16",
    "model.output_dim": "8",
    "loader.batch_size": "16",
    "loader.num_workers": "0",
    "clustering.n_init": "1",
    # A recipe's own would last longer than this run.
    "optimizer.warmup_epochs": "null",
    "clustering.warmup_epochs": "null",
}
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"[A-Z_]+=.*")


class ShellLine(NamedTuple):
    """One command, without its line breaks and comments."""

    program: str
    """``hadis-lightly-train``, ``python recipes/digits.py``, ``make``, ..."""
    argv: list[str]


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """Language and content of every fenced block of a page."""
    for language, content in _FENCE.findall(path.read_text(encoding="utf-8")):
        yield language.strip(), content


def shell_lines(text: str) -> Iterator[ShellLine]:
    """The commands of a script or of a block on a page."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and _VARIABLE.fullmatch(words[0]):
            words.pop(0)
        if not words:
            continue
        program, *argv = words
        if program == "torchrun":
            assert argv.pop(0) == "--nproc-per-node" and argv.pop(0).isdecimal()
            program = "python"
        if program == "python":
            program = f"python {argv.pop(0)}"
        yield ShellLine(program, argv)


def script_of(line: ShellLine) -> str | None:
    """The command of ours or the recipe that a line runs, as ``Lines`` names them."""
    commands = entry_points()
    if line.program in commands:
        return commands[line.program].replace(".", "/")
    found = re.fullmatch(r"python recipes/(\w+)\.py", line.program)
    return found and found[1]


def entry_points() -> dict[str, str]:
    """The commands that are installed with the package, and their modules."""
    lines = _setup()["options.entry_points"]["console_scripts"].split("\n")
    pairs = (line.split("=") for line in lines if line)
    return {name.strip(): place.split(":")[0].strip() for name, place in pairs}


def compose(lines: Lines, line: ShellLine) -> None:
    """Checks names, types and ranges of all settings of a command, as it stands."""
    script = script_of(line)
    if script is None:
        check_other(line)
        return
    argv = [word for word in line.argv if word != "--multirun"]
    if len(argv) < len(line.argv):
        argv = [word.split(",")[0] for word in argv]
    done = lines.run(script, [*argv, "--cfg", "job"])
    assert (done.status, done.errors) == (0, ""), line


def run(lines: Lines, line: ShellLine) -> Ended:
    """Runs a command of ours; a training with settings that make it short."""
    script = script_of(line)
    assert script is not None
    is_training = "/" not in script or script.endswith("/train")
    if is_training:
        return lines.run(script, _tiny(line.argv, "/" in script))
    return lines.run(script, line.argv)


def _tiny(argv: list[str], trains_heads: bool) -> list[str]:
    settings = {word.partition("=")[0]: word for word in argv}
    wanted = dict(TINY)
    if is_own := settings.get("model.weights", "").endswith("=resnet18.pth"):
        wanted["model.backbone"] = "resnet18"
    is_random = settings.get("model.weights") == "model.weights=null"
    if trains_heads and not is_own and not is_random:
        wanted["model.weights"] = WEIGHTS
    settings |= {name: f"{name}={value}" for name, value in wanted.items()}
    if "--multirun" in settings:  # two of its runs are enough
        settings = {name: ",".join(w.split(",")[:2]) for name, w in settings.items()}
    return list(settings.values())


def check_other(line: ShellLine) -> None:
    """Checks a command that is none of ours: what it names exists."""
    if line.program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert line.argv
        assert all(f"\n{target}:" in makefile for target in line.argv)
    elif line.program == "pip":
        setup = _setup()
        action, *packages = line.argv
        assert action == "install"
        extras = " ".join(setup["options.extras_require"].values())
        for package in packages:
            # This checkout, as it is not on PyPI, or a package of an extra.
            assert package == "." or re.search(rf"\b{re.escape(package)}\b", extras)
    elif line.program == "tensorboard":
        assert line.argv[0] == "--logdir"
        assert "tensorboard" in _setup()["options"]["install_requires"]
    elif line.program.startswith(("python docs/examples/", "python benchmarks/")):
        assert (ROOT / line.program.split()[1]).is_file()  # others test what it does
    else:
        raise AssertionError(f"nobody checks {line.program!r}")


def _setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser
