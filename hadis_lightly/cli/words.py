"""The words of a command line: flags and settings checked, text taken as typed."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from itertools import takewhile
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from hadis_lightly.cli.error_lines import CommandLineError
from hadis_lightly.fields import text_settings
from hadis_lightly.text import printable

# Hydra's own flags.
_FLAGS = {
    "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r",
    "--multirun", "-m", "--shell-completion", "-sc", "--info", "-i",
}  # fmt: skip
_FLAGS_WITH_VALUE = {
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd",
}  # fmt: skip
# The word that may stand behind --info.
_KIND_OF_INFO = re.compile(r"[a-z][a-z-]*$")
# Functions of Hydra's. A choice(a,b) is no more than a,b, but loses quotes.
_CHOICE = re.compile(r"choice\((.*)\)")
_FUNCTION = re.compile(r"(int|str|bool|float|range|interval|tag|glob|sort|shuffle)\(")
_QUOTED = r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
# A value between commas, or inside brackets too.
_VALUE = re.compile(rf"{_QUOTED}(?=\s*(?:,|$))|(?:\$\{{[^}}]*\}}|\\.|[^,])+")
_LISTED = re.compile(rf"{_QUOTED}|(?:\$\{{[^}}]*\}}|\\.|[^,\[\]])+")
# What is left to Hydra: quotes, interpolations, escapes.
_HYDRAS = re.compile(rf"{_QUOTED}|.*(?:\$\{{|\\[()\[\]{{}}:=, \t]).*")


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags, with the words that belong to them, and settings.

    Raises:
        CommandLineError: If a word is neither.
    """
    flags, settings = [], []
    remaining = list(words)[::-1]
    while remaining:
        word = remaining.pop()
        flag, has_value, _ = word.partition("=")
        if not word.startswith("-"):
            settings.append(word)
        elif flag in _FLAGS_WITH_VALUE:
            if not (has_value or remaining):
                raise CommandLineError(f"{flag} needs a value; see --hydra-help")
            flags += [word] if has_value else [word, remaining.pop()]
        elif word in ("--info", "-i") and _KIND_OF_INFO.match("".join(remaining[-1:])):
            flags += [word, remaining.pop()]
        elif word in _FLAGS:
            flags.append(word)
        else:
            raise CommandLineError(f"there is no option {word!r}; see --help")
    return flags, settings


def check_words(words: Sequence[str], groups: Mapping[str, Any]) -> None:
    """Refuses what no setting of ours allows.

    Args:
        words: Settings, each as ``name=value``.
        groups: What is chosen by one name; see :func:`~.command.run_command`.

    Raises:
        CommandLineError: Names the word.
    """
    pairs = [word.partition("=") for word in words]
    names = [name for name, *_ in pairs]
    for at, (name, equals, value) in enumerate(pairs):
        if name.lstrip("+~").startswith("hydra"):
            continue
        if not equals or name.startswith(("+", "~")):
            raise CommandLineError(
                f"cannot read {name!r}: settings are given as key=value"
                f"{_hint_at_spaces(words, at)}"
            )
        if names.count(name) > 1:
            raise CommandLineError(f"{name} is given twice")
        # Hydra would compose several of a list, one after the other.
        if name in groups and (not value[:1].isalpha() or value == "null"):
            choices = ", ".join(groups[name][1])
            raise CommandLineError(f"{name} must be one of {choices}, got {value!r}")


def _hint_at_spaces(words: Sequence[str], at: int) -> str:
    """What to type if a word that is no setting belongs to the value before it."""
    if at == 0 or "=" in words[at] or "=" not in words[at - 1]:
        return ""
    rest = takewhile(lambda word: "=" not in word, words[at:])
    whole = printable(" ".join([words[at - 1], *rest]))
    return f'; a value with spaces needs quotes: "{whole}"'


def quote_text(
    words: Sequence[str], settings: object, groups: Container[str] = ()
) -> list[str]:
    r"""Quotes the values of settings that are text, for Hydra to take them as typed.

    Its grammar reads ``1.10`` as 1.1 and ``2024_11_06`` as 20241106, and refuses most
    characters beyond ASCII. Commas, lists, quotes, ``${...}`` and escapes keep their
    meaning, and so does null where the setting allows it.

    Args:
        words: Settings, each as ``name=value``.
        settings: The dataclass that has them.
        groups: Names that choose one of a group, whose values are left as they are.

    Example:
        >>> from hadis_lightly.settings import Settings
        >>> words = ["data.path=1.10,Größe", "output_dir=null", "seed=1"]
        >>> quote_text(words, Settings())
        ["data.path='1.10','Größe'", 'output_dir=null', 'seed=1']
    """
    allows_null = text_settings(settings)

    def quoted(word: str) -> str:
        name, _, value = word.partition("=")
        if name in groups or name not in allows_null or _FUNCTION.match(value):
            return word
        value = _CHOICE.sub(r"\1", value)
        pattern = _LISTED if value.startswith("[") else _VALUE
        return f"{name}={pattern.sub(lambda m: one(m[0], allows_null[name]), value)}"

    def one(piece: str, may_be_null: bool) -> str:
        text = piece.strip()
        is_null = may_be_null and text.lower() == "null"
        if not text or is_null or _HYDRAS.fullmatch(text):
            return piece
        return QuotedString(text, Quote.single).with_quotes()

    return [quoted(word) for word in words]
