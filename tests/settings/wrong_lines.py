"""Wrong command lines, made from the settings that there are, from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, get_args, get_type_hints

from hadis_lightly.settings import Settings
from hadis_lightly.settings import validate as setting_ranges


class WrongLine(NamedTuple):
    """A command line that cannot be right."""

    kind: str
    arguments: tuple[str, ...]
    word: str
    """What the reason has to say."""
    recipe: str = "digits"


def settings_of(section: Any = Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and type of every setting."""
    hints = get_type_hints(section)
    for name in (field.name for field in fields(section)):
        if is_dataclass(hints[name]):
            yield from settings_of(hints[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", hints[name]


# Values that no setting of a type takes. (A text takes almost any.)
_WRONG: dict[Any, tuple[str, ...]] = {
    int: ("abc", "1.5", "true", "", "[1]", "{a:1}", "1e2", "0x10", "1_0.0", "nan"),
    float: ("abc", "[0.5]", "{a:1}", "", "nan", "inf", "-inf", "1e300", "0,5", "50%"),
    bool: ("maybe", "2", "[true]", "", "{a:true}", "tru", "0.5"),
    str: ("[a]", "{a:b}", "[1,2]", "", "[]"),
    list[float]: ("abc", "0.5", "[a]", "[nan]", "[]", "[0.1,0.2]", "[[0.5]]", "null"),
}
_BELOW_0 = ("views.", "model.", "optimizer.", "clustering.", "loader.")


def _types() -> Iterator[WrongLine]:
    for name, hint in settings_of():
        parts = [part for part in get_args(hint) if part is not type(None)]
        is_list = hint == list[float]
        plain = hint if is_list or not parts else parts[0]
        for value in _WRONG[plain]:
            yield WrongLine("type", (f"{name}={value}",), name)
        if not parts and plain is not str:
            yield WrongLine("null", (f"{name}=null",), name)


def _ranges() -> Iterator[WrongLine]:
    for name, (low, high) in setting_ranges._RANGES.items():
        if low is not None:
            for value in (low - 1, -(10**9), -(10**30)):
                yield WrongLine("range", (f"{name}={value}",), name)
        if high is not None:
            for value in (high + 1, 10**30):
                yield WrongLine("range", (f"{name}={value}",), name)
    for name, hint in settings_of():
        if hint is float and name.startswith(_BELOW_0):
            yield WrongLine("range", (f"{name}=-0.5",), name)
        if hint is int:
            yield WrongLine("range", (f"{name}={2**70}",), name)


def _choices() -> Iterator[WrongLine]:
    for name, choices in setting_ranges._CHOICES.items():
        for value in ("nonsense", choices[0].upper(), f"{choices[-1]}x", "'a b'"):
            yield WrongLine("choice", (f"{name}={value}",), name)
    for name in ("data", "hydra/launcher"):
        yield WrongLine("choice", (f"{name}=nonsense",), name)


def _misspelt(names: list[str], rng: random.Random) -> Iterator[WrongLine]:
    sections = {name.partition(".")[0] for name in names if "." in name}
    for name in names:
        at = rng.randrange(name.rfind(".") + 1, len(name))
        for wrong in (
            name[:at] + name[at + 1 :],
            name[:at] + "x" + name[at:],
            name.replace(".", "_") if "." in name else f"{name}s",
            f"data.{name}",
            name.upper(),
        ):
            if wrong not in names and not wrong.endswith("."):
                # Of a.b.c no more is named than is wrong.
                parts = wrong.split(".")[:2]
                word = ".".join(parts) if parts[0] in sections else parts[0]
                yield WrongLine("misspelt", (f"{wrong}=1",), word)


def _unreadable(names: list[str], rng: random.Random) -> Iterator[WrongLine]:
    for name in names:
        value = rng.choice(["1", "a", "0.5"])
        for text in (
            name, f"{name}==1", f'{name}="{value}', f"{name}='{value}",
            f"{name}=[{value}", f"{name}={{{value}", f"{name}={value}]",
            f"={value}", f".{name}={value}", f"{name}.={value}", f"{name}:{value}",
            f"{name}={value}\x1b[31m", f"{name}={value}\x07", f"{name}=\u2028",
            f"{name}={value}\r\nerror: all is well", f"{name}=é", f"é{name}={value}",
            f"{name}=\U0001f642", f"{name}=${{now:%Y", f"{name}={'[' * 300}",
            f"{name}={value}\udcff", "", " ", "=",
        ):  # fmt: skip
            word = ascii(text)[1:9] if text.isascii() and text.isprintable() else ""
            yield WrongLine("unreadable", (text,), word)


def _composition(names: list[str], rng: random.Random) -> Iterator[WrongLine]:
    for name in names:
        yield WrongLine("removed", (f"~{name}",), name)
        yield WrongLine("twice", (f"{name}=1", f"{name}=2"), name)
        yield WrongLine("interpolation", (f"{name}=${{nothing}}",), "nothing")
        yield WrongLine(
            "interpolation", (f"{name}=${{oc.env:NOTHING_9}}",), "NOTHING_9"
        )
        yield WrongLine("sweep without --multirun", (f"{name}=1,2",), name)
        section, _, last = name.rpartition(".")
        new = f"{section}.new_{last}" if section else f"new_{last}"
        yield WrongLine("added", (f"+{new}={rng.randrange(9)}",), new)
        yield WrongLine("added", (f"++{new}={rng.randrange(9)}",), new)
    for section in ("data", "model", "views", "trainer", "loader"):
        yield WrongLine("removed", (f"~{section}",), section)
        yield WrongLine("section", (f"{section}=3",), section)
        yield WrongLine("section", (f"{section}=null",), section)
        yield WrongLine("section", (f"{section}.nothing.at_all=3",), section)
    yield WrongLine("twice", ("data=digits", "data=npz"), "data")


def _flags() -> Iterator[WrongLine]:
    for flag in (
        "--foo", "-x", "--epochs=3", "--n_clusters", "-n", "--cfg", "--cfg=nothing",
        "--info=nothing", "--config-dir=nowhere", "--config-name=nothing",
        "--config-path=nowhere", "--experimental-rerun=afile", "--package",
    ):  # fmt: skip
        word = flag.rpartition("=")[2] if "config" in flag else flag.partition("=")[0]
        yield WrongLine("flag", (flag,), word.lstrip("-"))


def _sweeps(rng: random.Random) -> Iterator[WrongLine]:
    for wrong in _ranges():
        name, _, value = wrong.arguments[0].partition("=")
        if rng.random() < 0.2 and "seed" not in name:
            yield WrongLine(
                "sweep", ("--multirun", "seed=0,1", f"{name}={value}"), name
            )
    for name, value in (
        ("seed", "0,1,-1"), ("seed", "0,a"), ("n_clusters", "10,1"),
        ("model.pcl_weight", "0.1,-0.1"), ("model.backbone", "small_convnet,resnet19"),
        ("views.cj_hue", "0.1,0.9"), ("trainer.max_epochs", "1,0"),
    ):  # fmt: skip
        yield WrongLine("sweep", ("--multirun", f"{name}={value}"), name)
    yield WrongLine("sweep", ("-m", "data=digits,nothing"), "data/nothing")
    yield WrongLine("sweep", ("-m", "data=npz", "data.path=afile,nowhere"), "afile")


def _conflicts() -> Iterator[WrongLine]:
    for arguments, word in (
        (("loader.batch_size=1798",), "loader.batch_size"),
        (("data.limit=50",), "loader.batch_size"),
        (("data.limit=9",), "n_clusters"),
        (("n_clusters=1798",), "n_clusters"),
        (("trainer.devices=40",), "loader.batch_size"),
        (("views.mean=[0.5,0.5,0.5]",), "views.mean"),
        (("views.std=[0.5,0.5,0.5]",), "views.std"),
        (("views.std=[0.0]",), "views.std"),
        (("views.std=[-1]",), "views.std"),
        (("views.cj_strength=10", "views.cj_hue=0.1"), "cj_hue"),
        (("data.num_channels=3",), "num_channels"),
        (("data.num_channels=2",), "data.num_channels"),
        (("data.path=somewhere",), "somewhere"),
        (("model.backbone=maxvit_t",), "multiple of 224"),
        (("model.backbone=timm/resnet19",), "model.backbone"),
        (("model.weights=''",), "model.weights"),
        (("model.weights=afile",), "model.weights"),
        (("model.weights=nowhere",), "no file 'nowhere'"),
        (("model.backbone=resnet19",), "model.backbone"),
        (("model.backbone=../resnet18",), "model.backbone"),
        (("trainer.accelerator=gpu", "trainer.devices=1000000"), "trainer."),
        (("trainer.devices=-1",), "trainer.devices"),
        (("trainer.devices=1.0",), "trainer.devices"),
        (("trainer.devices='2,3'",), "trainer.devices"),
        (("trainer.strategy=fsdp",), "trainer.strategy"),
        (("trainer.max_steps=0",), "trainer.max_steps"),
        (("views.input_size=4096", "data.limit=64"), "not enough memory"),
    ):
        yield WrongLine("conflict", arguments, word)


def _paths() -> Iterator[WrongLine]:
    deep = "/".join(["a" * 200] * 30)
    for path in (
        "afile",
        "afile/below",
        "''",
        "/dev/null",
        "/dev/null/x",
        deep,
        "a" * 999,
    ):
        yield WrongLine("output", (f"output_dir={path}",), "output_dir")
    for path in (
        "nowhere", "afile", "results", "broken.npz", "empty.npz", "floats.npz",
        "short_labels.npz", "objects.npz", "two_channels.npz", "array.npy", "/dev/null",
        "''", "a" * 999, "'a\\tb'", "..", "'*.npz'",
    ):  # fmt: skip
        word = path if path[0].isalpha() and len(path) < 99 else ""
        yield WrongLine("npz", ("data=npz", f"data.path={path}"), word, "cifar10")
    yield WrongLine("npz", ("data=npz",), "data.path", "cifar10")
    for path in (
        "nowhere",
        "afile",
        "empty",
        "broken",
        "/dev/null",
        "''",
        "'~nobody/x'",
    ):
        word = "0.png" if path == "broken" else path if path.isalpha() else ""
        few = ("n_clusters=2", "loader.batch_size=2")
        arguments = ("data=folder", f"data.path={path}", *few)
        yield WrongLine("folder", arguments, word, "cifar10")
    yield WrongLine("folder", ("data=folder",), "data.path", "cifar10")
    local = ("data=npz", "data.path=small.npz")
    for more, word in (
        ("loader.batch_size=25", "loader.batch_size"),
        ("n_clusters=25", "n_clusters"),
        ("data.num_channels=1", "num_channels"),
        ("views.mean=[0.5]", "views.mean"),
    ):
        least = () if "batch" in more else ("loader.batch_size=8",)
        yield WrongLine("npz", (*local, *least, more), word, "cifar10")
    for more in ("data.path=nowhere", "data.path=afile"):
        arguments = ("data.download=false", more)
        yield WrongLine("download", arguments, more[10:], "cifar10")


def wrong_lines(count: int) -> list[WrongLine]:
    """So many different wrong lines, of all kinds alike as far as there are enough."""
    rng = random.Random(0)
    names = [name for name, _ in settings_of()]
    some = rng.sample(names, 12)
    made = [
        *_types(), *_ranges(), *_choices(), *_misspelt(names, rng),
        *_unreadable(some[:6], rng), *_composition(some, rng), *_flags(),
        *_sweeps(rng), *_conflicts(), *_paths(),
    ]  # fmt: skip
    by_kind: dict[str, list[WrongLine]] = {}
    for line in {line.arguments: line for line in made}.values():
        by_kind.setdefault(line.kind, []).append(line)
    for lines in by_kind.values():
        rng.shuffle(lines)
    chosen: list[WrongLine] = []
    while len(chosen) < count and any(by_kind.values()):
        for lines in by_kind.values():
            if lines and len(chosen) < count:
                chosen.append(lines.pop())
    return chosen
