"""A folder with all that the pages speak of, shared by the tests of the pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from hadis_lightly.models import build_backbone
from tests.docs.shell_lines import EXAMPLES, TINY, WEIGHTS, run, shell_lines
from tests.forked_lines import Lines

NUM_PHOTOS, NUM_NEW = 60, 11


@pytest.fixture(scope="session", autouse=True)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lines | None]:
    """What runs commands, if any test asks for it: it imports while others run."""
    ours = [i for i in request.session.items if i.path.parent == Path(__file__).parent]
    if not any("lines" in getattr(item, "fixturenames", ()) for item in ours):
        yield None
        return
    folder = tmp_path_factory.mktemp("shell")
    (folder / "cwd").mkdir()
    lines = Lines(folder, folder / "cwd")
    yield lines
    lines.close()


@pytest.fixture(scope="session")
def lines(server: Lines) -> Lines:
    """Runs commands where images, weights and one trained run lie."""
    cwd = server.cwd
    digits = load_digits()
    for i in range(NUM_PHOTOS + NUM_NEW):
        pixels = (digits.images[i] * 15.9).astype(np.uint8)
        sub_folder = f"my_photos/digit_{digits.target[i]}"
        place = cwd / (sub_folder if i < NUM_PHOTOS else "new_photos")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((20, 24)).save(place / f"{i}.png")
    (cwd / "new_photos" / "broken.png").write_bytes(b"not an image")
    place = {"cluster": 0, "confidence": 0.5, "distance": 0.5}
    names = {"format": "hadis-lightly names 1", "run": "", "n_clusters": 12}
    names |= {"names": {}, "split": [], "accepted": [], "rejected": []}
    names["images"] = {
        f"digit_{digits.target[i]}/{i}.png": {"label": f"a {digits.target[i]}", **place}
        for i in range(20)
    }
    (cwd / "names.json").write_text(json.dumps(names), encoding="utf-8")
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), cwd / "resnet18.pth")
    torch.save(build_backbone(TINY["model.backbone"]).state_dict(), cwd / WEIGHTS)
    for line in shell_lines((EXAMPLES / "quickstart.sh").read_text(encoding="utf-8")):
        if line.program == "hadis-lightly-train":
            done = run(server, line)
            assert done.status == 0, done.errors
    return server
