"""What the launcher makes of a recipe's settings and the words of a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_RECIPE = """
import json
from dataclasses import asdict
from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings.photos import BY_TRAINING, SETTINGS

launch(
    SETTINGS,
    "train",
    "",
    lambda settings: print(json.dumps(asdict(settings.views))),
    by_training=BY_TRAINING,
)
"""


def test_published_weights_describe_what_the_command_line_leaves_open(
    tmp_path: Path,
) -> None:
    """By name; the views of a recipe stay if nobody describes the weights."""
    script = tmp_path / "recipe.py"
    script.write_text(_RECIPE)
    words = [
        *("data.path=.", "n_clusters=2", "model.backbone=googlenet"),
        "model.train=all",
        *("model.weights=pretrained,null", "views.std=[1,1,1]", "--multirun"),
    ]
    made = subprocess.run(
        [sys.executable, script, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    described, plain = (json.loads(line) for line in made.stdout.splitlines())
    assert (described["input_size"], described["mean"]) == (224, [0.5] * 3)
    assert (plain["input_size"], plain["mean"]) == (64, [0.485, 0.456, 0.406])
    assert described["std"] == plain["std"] == [1, 1, 1]
