"""Labels the clusters of a run in its report by clicking and typing, as a person would.

    python benchmarks/report/labelling.py --checkpoint runs/digits14 \
        --images half0 --new half1 --classes classes.csv

The person knows the class of an image when it is on the screen, from ``--classes``
(file, class), and does this: in every card, types the class of most of the first 12
images and presses Enter; sorts all images by confidence; moves the first ``--moves``
of those that are in the wrong place, one class at a time, by Ctrl and click.
``labels.csv`` is downloaded before and after the moves, and ``names.json`` labels the
images of ``--new``.
Accuracy is the share of images whose label is their class.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from chromium import chromium, open_page

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.cli.predict import ImagesToPredict, PredictSettings, predict_images
from hadis_lightly.cli.report import ImagesOfTheRun, ReportSettings, report_on_run
from hadis_lightly.cluster import clustering_scores

CONTROL = "\ue009"


class Person:
    """Clicks and types, and counts both."""

    def __init__(self, page: Any, classes: dict[str, str], downloads: Path) -> None:
        self.page, self.classes, self.downloads = page, classes, downloads
        self.clicks = self.keys = 0

    def click(self, element: Any, holding: str | None = None) -> None:
        from selenium.webdriver import ActionChains

        script = "arguments[0].scrollIntoView({block: 'center'})"
        self.page.execute_script(script, element)
        actions = ActionChains(self.page, duration=0)
        if holding:
            actions.key_down(holding)
        actions.click(element)
        if holding:
            actions.key_up(holding)
        actions.perform()
        self.clicks += 1

    def type(self, text: str) -> None:
        self.page.switch_to.active_element.send_keys(text)
        self.keys += len(text)

    def all(self, selector: str) -> list[Any]:
        return list(self.page.find_elements("css selector", selector))

    def files(self, selector: str) -> list[str]:
        """The files of the images that a selector finds."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".map(pic => pic.getAttribute('aria-label').split(', ')[0])"
        )
        return list(self.page.execute_script(script, selector))

    def name_clusters(self) -> dict[int, str]:
        names = {}
        while more := [b for b in self.all("#more-cards") if b.is_displayed()]:
            self.click(more[0])
        cards = [int(c.get_attribute("data-cluster")) for c in self.all(".card")]
        self.click(self.all(".rename")[0])
        for cluster in cards:
            seen = self.files(f".card[data-cluster='{cluster}'] .pic")[:12]
            names[cluster] = Counter(map(self.classes.get, seen)).most_common(1)[0][0]
            self.type(f"{names[cluster]}\n")
        return names  # type: ignore[return-value]

    def move_images(self, clusters: dict[str, str], most: int) -> int:
        """Moves images whose label, by file, is wrong; returns how many."""
        self.page.execute_script("document.getElementById('sort').focus()")
        self.type("Lowest")
        wrong: dict[str, list[Any]] = defaultdict(list)
        tiles = dict(zip(self.files("#grid .pic"), self.all("#grid .pic"), strict=True))
        files = [file for file in tiles if clusters[file] != self.classes[file]][:most]
        for file in files:
            wrong[self.classes[file]].append(tiles[file])
        for label, pictures in wrong.items():
            for picture in pictures:
                self.click(picture, CONTROL)
            field = self.all("#tray-label")[0]
            field.clear()
            self.click(field)
            self.type(f"{label}\n")
        return len(files)

    def download(self, selector: str, name: str) -> Path:
        path = self.downloads / name
        path.unlink(missing_ok=True)
        self.click(self.all(selector)[0])
        while not path.exists():
            time.sleep(0.02)
        return path


def labels_in(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["label"] for row in csv.DictReader(file)}


def accuracy(labels: dict[str, str], classes: dict[str, str]) -> str:
    right = sum(classes[file] == label for file, label in labels.items())
    return f"{right / len(labels):.4f} ({right:,} of {len(labels):,})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True)
    for name in ("--images", "--new", "--classes"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("labelled"))
    parser.add_argument("--moves", type=int, default=30)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with options.classes.open(encoding="utf-8", newline="") as file:
        classes = dict(csv.reader(file))
    table = read_assignments(Path(options.checkpoint))
    targets = np.array([int(classes[key]) for key in table.keys])
    scores = clustering_scores(targets, table.labels)
    print(f"clusters: ACC {scores['acc']:.4f}, one cluster for each class")
    page_settings = ReportSettings(
        checkpoint=options.checkpoint,
        out=str(options.out / "report.html"),
        data=ImagesOfTheRun(path=str(options.images)),
    )
    report = report_on_run(page_settings)
    with chromium(options.out) as page:
        open_page(page, report)
        person = Person(page, classes, options.out)
        start = time.perf_counter()
        names = person.name_clusters()
        used = person.clicks, person.keys, time.perf_counter() - start
        print("names: {} clicks, {} keys, {:.0f} s".format(*used), names)
        before = labels_in(person.download("#save-labels", "labels.csv"))
        print("labels.csv, named:", accuracy(before, classes))
        start, person.clicks, person.keys = time.perf_counter(), 0, 0
        moved = person.move_images(before, options.moves)
        used = person.clicks, person.keys, time.perf_counter() - start
        print("{} moved: {} clicks, {} keys, {:.0f} s".format(moved, *used))
        after = labels_in(person.download("#save-labels", "labels.csv"))
        print("labels.csv, moved:", accuracy(after, classes))
        print(page.execute_script("return document.all['work-done'].textContent"))
        names_file = person.download("#save-names", "names.json")
    for what, folder in (("run", options.images), ("new", options.new)):
        out = options.out / f"{what}.csv"
        out.unlink(missing_ok=True)
        images = ImagesToPredict(path=str(folder))
        predict_images(
            PredictSettings(
                checkpoint=options.checkpoint,
                out=str(out),
                names=str(names_file),
                quiet=True,
                data=images,
            )
        )
        print(f"hadis-lightly-predict, {what}:", accuracy(labels_in(out), classes))


if __name__ == "__main__":
    main()
