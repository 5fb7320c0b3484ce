"""What a command line asks for, looked at before anything is done."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from types import NoneType

from hydra import compose, initialize
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

# What is chosen by one name; a list of several would be taken for all of them.
_BY_NAME = {"data": "a source", "method": "a method"}
_NO_NAME = (int, float, list, dict, NoneType)


class CommandLineError(ValueError):
    """What is wrong with a command line, in one line."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the arguments as Hydra does.

    Args:
        argv: The arguments, without the name of the script.

    Raises:
        CommandLineError: If a flag is unknown or lacks its value.
    """
    with redirect_stderr(io.StringIO()) as said:
        try:
            arguments = get_args_parser().parse_args(argv)
        except SystemExit as end:
            if not end.code:
                raise
            reason = said.getvalue().rpartition("error: ")[2].strip()
            raise CommandLineError(f"{reason}; see --help") from None
    if arguments.experimental_rerun is not None:
        raise CommandLineError("--experimental-rerun is not supported; see --help")
    return arguments


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Reads the settings of a command line.

    Args:
        texts: Each of them, ``key=value``.

    Raises:
        CommandLineError: If one cannot be read, would remove a setting, or comes
            twice.
    """
    parser = OverridesParser.create()
    found: dict[str, Override] = {}
    for text in texts:
        try:
            override = parser.parse_override(text)
        except (HydraException, RecursionError):
            override = None
        if override is None or not override.key_or_group:
            raise CommandLineError(
                f"cannot read {text!r}: settings are given as key=value, and a value "
                "with special characters in quotes, such as 'key=\"a value\"'"
            )
        key = override.key_or_group
        is_ours = not key.startswith(("hydra.", "hydra/"))
        if is_ours and override.is_delete():
            raise CommandLineError(f"{text!r} would remove a setting, or many")
        if key in _BY_NAME and isinstance(override.value(), _NO_NAME):
            what = _BY_NAME[key]
            raise CommandLineError(f"{key} must be the name of {what}, got {text!r}")
        if is_ours and key in found:
            before = found[key].input_line
            raise CommandLineError(f"{key} is given twice: {before!r} and {text!r}")
        found[key] = override
    return list(found.values())


def check_jobs(
    argv: Sequence[str], name: str, check: Callable[[DictConfig], object]
) -> None:
    """Checks all runs that a command line asks for, before the first of them.

    What only Hydra can say, with configurations or launchers of the user's own, is
    left to it.

    Args:
        argv: The arguments, without the name of the script.
        name: Name of the configuration.
        check: Takes what a run would be given, and raises if something is wrong.

    Raises:
        CommandLineError: If the command line itself is wrong.
    """
    arguments = parse_arguments(argv)
    is_other = (
        arguments.help
        or arguments.hydra_help
        or arguments.cfg
        or arguments.info
        or arguments.shell_completion
    )
    if is_other:
        return
    overrides = parse_overrides(arguments.overrides)
    is_users_own = arguments.config_name or arguments.config_path
    if is_users_own or arguments.config_dir or any(map(_needs_hydra, overrides)):
        return
    overrides = [o for o in overrides if not str(o.key_or_group).startswith("hydra.")]
    with initialize(version_base="1.3", config_path=None):
        for job in _jobs(overrides, is_sweep=arguments.multirun):
            check(compose(name, job))


def _needs_hydra(override: Override) -> bool:
    """Whether a plugin takes part, or a value hangs on where a run will be."""
    is_plugin = str(override.key_or_group).startswith("hydra/")
    return is_plugin or "${hydra" in str(override.input_line)


def _jobs(overrides: list[Override], is_sweep: bool) -> Iterator[list[str]]:
    if not is_sweep:
        yield [str(override.input_line) for override in overrides]
        return
    for batch in BasicSweeper.split_arguments(overrides, max_batch_size=None):
        yield from batch
