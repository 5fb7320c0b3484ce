"""The photos, the labelling and the pictures of docs/tutorial.md, made anew.

    python benchmarks/report/tutorial.py photos --data c10.npz
    (the commands of docs/examples/tutorial_train.sh)
    python benchmarks/report/tutorial.py label --checkpoint runs/photos
    (the commands of docs/examples/tutorial_new.sh)
    python benchmarks/report/tutorial.py score

``photos`` writes 2,048 photos of CIFAR-10 to ``my_photos``, 1,024 others to
``new_photos``, all in a row and without a word of what they show, and their classes to
``classes.csv``. ``label`` does in Chromium what the page tells: names clusters as the
person of ``labelling.py``, moves the 30 least certain wrong images, and downloads
``labels.csv`` and ``names.json``. ``score`` compares ``labels.csv`` and ``new.csv``
with the classes, and draws new photos by their label.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from chromium import chromium, open_page
from labelling import Person, accuracy, labels_in
from PIL import Image, ImageDraw

from hadis_lightly.cli.report import ReportSettings, report_on_run

NUM_PHOTOS, NUM_NEW, NUM_MOVES = 2048, 1024, 30
CLASSES = Path("classes.csv")


def write_photos(data: Path) -> None:
    arrays = np.load(data)
    rows = []
    for i in range(NUM_PHOTOS + NUM_NEW):
        folder = Path("my_photos" if i < NUM_PHOTOS else "new_photos")
        folder.mkdir(exist_ok=True)
        name = f"IMG_{i:04}.png"
        Image.fromarray(arrays["images"][i]).save(folder / name)
        rows.append((name, arrays["class_names"][arrays["labels"][i]]))
    with CLASSES.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def classes() -> dict[str, str]:
    with CLASSES.open(encoding="utf-8", newline="") as file:
        return dict(csv.reader(file))


def label(checkpoint: str, pictures: Path) -> None:
    report = report_on_run(ReportSettings(checkpoint=checkpoint))
    with chromium(Path()) as page:
        page.set_window_size(1180, 860)
        open_page(page, report)
        person = Person(page, classes(), Path())
        start = time.perf_counter()
        print(person.name_clusters())
        before = labels_in(person.download("#save-labels", "labels.csv"))
        print("named:", accuracy(before, person.classes))
        take_picture(page, ".card", pictures / "tutorial_cards.webp")
        moved = person.move_images(before, NUM_MOVES)
        after = labels_in(person.download("#save-labels", "labels.csv"))
        print(f"{moved} moved:", accuracy(after, person.classes))
        print(f"{person.clicks} clicks, {person.keys} keys, ", end="")
        print(f"{time.perf_counter() - start:.0f} s")
        take_picture(page, "#plane", pictures / "tutorial_map.webp")
        person.download("#save-names", "names.json")


def take_picture(page: Any, selector: str, path: Path) -> None:
    """The window with an element at its top."""
    page.execute_script(
        "document.activeElement.blur();"
        "document.getElementById('said').style.display = 'none';"
        "document.querySelector(arguments[0]).scrollIntoView();"
        "scrollBy(0, -64)",  # below the bar
        selector,
    )
    time.sleep(0.5)  # the page draws what comes into view
    picture = Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB")
    picture.save(path, quality=80, method=6)


def draw_labels(labels: dict[str, str], path: Path) -> None:
    """A row for each label: its first photos by name, right or wrong."""
    side, gap, n_columns, width = 48, 4, 16, 110
    by_label: dict[str, list[str]] = {}
    for file, found in sorted(labels.items()):
        by_label.setdefault(found, []).append(file)
    step = side + gap
    size = width + n_columns * step, len(by_label) * step
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for row, found in enumerate(sorted(by_label)):
        middle = row * step + side // 2
        draw.text((8, middle), found, "black", font_size=16, anchor="lm")
        for column, file in enumerate(by_label[found][:n_columns]):
            photo = Image.open(Path("new_photos") / file).resize((side, side))
            picture.paste(photo, (width + column * step, row * step))
    picture.save(path, quality=80, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("photos").add_argument("--data", type=Path, required=True)
    label_step, score_step = steps.add_parser("label"), steps.add_parser("score")
    label_step.add_argument("--checkpoint", required=True)
    for step in (label_step, score_step):
        step.add_argument("--pictures", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    if options.step == "photos":
        write_photos(options.data)
    elif options.step == "label":
        label(options.checkpoint, options.pictures)
    else:
        for name in ("labels.csv", "new.csv"):
            print(f"{name}:", accuracy(labels_in(Path(name)), classes()))
        draw_labels(labels_in(Path("new.csv")), options.pictures / "tutorial_new.webp")


if __name__ == "__main__":
    main()
