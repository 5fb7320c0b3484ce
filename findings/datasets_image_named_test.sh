#!/usr/bin/env bash
# One would guess: load_dataset("imagefolder", data_dir=FOLDER) gives the images of a folder,
# with the columns of its metadata.csv, whatever the images are called.
# What happens: a word of a path such as test, train, dev, eval or validation, also of one
# image alone ("steam train 3.png", a folder "dev"), makes that image a split. All images
# of no split are gone, and so is metadata.csv with its columns, without a warning.
# Why a clustering user cares: photos are called what they show. A set that is handed on with
# its clusters comes back as a few images without any. data_files="**" is safe, and so is a
# README.md with data_files in its head, which hadis-lightly-export writes and which
# load_dataset(FOLDER) reads; load_dataset("imagefolder", data_dir=FOLDER) does not.
#
# Seen with datasets 5.2.0, Python 3.11, on folders of three images and a metadata.csv:
#   tram 3.png: {'train': (3, ['image', 'cluster'])}
#   steam train 3.png: {'train': (1, ['image'])}
#   dev/3.png: {'validation': (1, ['image'])}
#   test/3.png: {'test': (1, ['image'])}
#   test/3.png, data_files: {'train': (3, ['image', 'cluster'])}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0
cat > "$folder/load.py" <<'PYTHON'
import sys
from pathlib import Path

from datasets import disable_progress_bars, load_dataset
from PIL import Image

disable_progress_bars()
WHOLE = {"train": (3, ["image", "cluster"])}


def load(last, **options):
    folder = Path(sys.argv[1]) / "-".join([last.replace("/", "-"), *options])
    lines = ["file_name,cluster"]
    for cluster, name in enumerate(["tram 1.png", "tram 2.png", last]):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (80 * cluster, 0, 0)).save(path)
        lines.append(f"images/{name},{cluster}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    found = load_dataset("imagefolder", data_dir=str(folder), **options)
    sizes = {split: (len(part), part.column_names) for split, part in found.items()}
    print(", ".join([last, *options]) + f": {sizes}")
    return sizes


assert load("tram 3.png") == WHOLE
assert load("steam train 3.png") == {"train": (1, ["image"])}
assert load("dev/3.png") == {"validation": (1, ["image"])}
assert load("test/3.png") == {"test": (1, ["image"])}
assert load("test/3.png", data_files="**") == WHOLE
PYTHON
HOME="$folder" HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 \
    "$folder/env/bin/python" "$folder/load.py" "$folder/sets"
