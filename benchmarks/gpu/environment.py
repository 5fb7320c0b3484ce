"""Where and with what the proof runs, and whether it can."""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from omegaconf.errors import OmegaConfBaseException
from recipe_settings import changed, recipe_of

from hadis_lightly.artifacts.results import source_commit
from hadis_lightly.data import load_source
from hadis_lightly.methods.registry import check_run
from hadis_lightly.system import available_cores

PACKAGES = ("torch", "torchvision", "lightly", "pytorch-lightning", "scikit-learn")


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Where and with what this runs."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    told = f"{options.commit} (as told)" if options.commit else None
    found: dict[str, Any] = {
        "commit": told or source_commit() or "unknown",
        "command": shlex.join(["python", "benchmarks/proof.py", *sys.argv[1:]]),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "minutes": options.minutes,
        "tiny": options.tiny,
        "versions": versions | {"torch": str(torch.__version__)},
        "cores": available_cores(),
        "device": f"CPU, {torch.get_num_threads()} threads",
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _driver(),
        }
    return found


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"


def check(options: argparse.Namespace, words: list[str]) -> None:
    """Finds what can be known to be wrong before half an hour is spent.

    Args:
        options: The arguments.
        words: Settings of the training, ``name=value``.

    Raises:
        SystemExit: Says in a line what is wrong.
    """
    if not options.tiny and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --tiny shows the proof on a CPU")
    if options.minutes <= 0 or not 0 <= options.share < 1 or options.margin < 0:
        raise SystemExit("--minutes must be above 0, --share in [0, 1), --margin >= 0")
    if options.pilot_epochs < 3:
        raise SystemExit("--pilot-epochs must be 3 or more")
    try:
        check_run(changed(recipe_of("cifar10_short")["SETTINGS"], words))
        source = load_source("npz", str(options.data))
    except (ValueError, OmegaConfBaseException) as error:
        raise SystemExit(str(error).splitlines()[0]) from None
    if (source.targets < 0).any():
        raise SystemExit(f"{options.data}: some images have no label to score them by")
