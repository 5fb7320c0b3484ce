"""Every command that docs/ and the README show: its settings exist, and it runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from hadis_lightly import ImageClusterer
from tests.docs.shell_lines import (
    EXAMPLES,
    PROGRAMS,
    README,
    ROOT,
    TINY,
    WEIGHTS,
    ShellLine,
    blocks,
    compose,
    run,
    script_of,
    shell_lines,
)
from tests.forked_lines import Lines

# Run in the quick tests; the others are only composed there.
QUICK = ("quickstart", "photos_baseline", "predict", "figures")
FILES = sorted(EXAMPLES.glob("*.sh"))
NEED_PACKAGES = {"wandb", "mlflow"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_settings_exist(path: Path, lines: Lines) -> None:
    found = list(shell_lines(path.read_text(encoding="utf-8")))
    assert found
    for line in found:
        compose(lines, line)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[] if path.stem in QUICK else pytest.mark.slow)
        for path in FILES
    ],
    ids=lambda path: path.stem,
)
def test_commands_run(path: Path, lines: Lines) -> None:
    if path.stem == "export":
        pytest.importorskip("onnxscript")
    for line in shell_lines(path.read_text(encoding="utf-8")):
        if script_of(line) is None or line.program.startswith("python recipes"):
            continue  # none of ours; recipes are trained by the tests of training
        words = dict(word.split("=", 1) for word in line.argv if "=" in word)
        if NEED_PACKAGES & {words.get("trainer.logger")}:
            continue
        weights = words.get("model.weights", "resnet18.pth")
        if weights not in ("resnet18.pth", "null"):
            continue  # of another backbone: tests of the backbones load these
        if path.stem == "quickstart" and line.program == "hadis-lightly-train":
            continue  # the fixture has run it
        done = run(lines, line)
        assert done.status == 0, (line, done.errors)


def test_commands_of_the_readme(lines: Lines) -> None:
    found: list[ShellLine] = []
    for language, content in blocks(README):
        if language in {"", "sh", "bash"}:
            found += [
                line
                for line in shell_lines(_commands(content))
                if not line.program.startswith("python docs")
            ]
    assert found
    for line in found:
        compose(lines, line)


def _commands(content: str) -> str:
    """The commands of a block, without the output between them."""
    whole = content.replace("\\\n", " ").splitlines()
    return "\n".join(line for line in whole if PROGRAMS.fullmatch(line))


def test_what_the_quickstart_leaves(lines: Lines) -> None:
    """Every file that the page lists, and no other."""
    folder = lines.cwd / "runs" / "photos"
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    listed = {line.split("`")[1] for line in page.splitlines() if line[:3] == "| `"}
    assert {name.rstrip("/") for name in listed} == found | {"tensorboard"}


def test_in_python(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder = lines.cwd / "runs" / "photos"
    files = sorted(map(str, (lines.cwd / "new_photos").glob("6*.png")))
    found = load("predict").main(run_folder, *files)
    assert found.labels.shape == (len(files),)
    assert capsys.readouterr().out.count("cluster") == len(files)

    assignments = load("read_a_run").main(run_folder, 5)
    assert len(assignments) == 60
    shown = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert shown == sorted(shown, reverse=True) and len(shown) == 5


def test_a_run_in_python(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def make_tiny(settings: object) -> None:
        weights = str(lines.cwd / WEIGHTS)
        for name, value in {**TINY, "model.weights": weights}.items():
            *sections, last = name.split(".")
            section = settings
            for part in sections:
                section = getattr(section, part)
            known = {"false": False, "null": None}
            number = int(value) if value.isdecimal() else None
            setattr(
                section, last, known.get(value, value) if number is None else number
            )

    result = load("start_a_run").main(str(lines.cwd / "my_photos"), 3, make_tiny)
    assert {"nmi", "acc", "ari"} <= set(result.scores)
    assert (result.output_dir / "results.json").is_file()


def test_an_estimator(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = {"hidden_dim": 16, "output_dim": 8}
    clusterer, labels = load("notebook").main(
        lines.cwd / "my_photos",
        sorted((lines.cwd / "new_photos").glob("6*.png")),
        n_clusters=3,
        backbone="small_convnet",
        weights=lines.cwd / WEIGHTS,
        input_size=16,
        max_epochs=1,
        settings={f"model.{name}": value for name, value in tiny.items()},
        device="cpu",
    )
    assert set(labels) <= set(clusterer.labels_) and len(labels) == 10
    assert ImageClusterer.load("photos.ckpt").keys_ == clusterer.keys_


def load(name: str):  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location(
        f"docs_{name}", EXAMPLES / f"{name}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
