#!/usr/bin/env bash
# One would guess: a folder data/ with cat.jpg and cat.png beside a labels.json, imported as
# fo.types.FiftyOneImageClassificationDataset, gives two samples.
# What happens: images are known by their name without its suffix. Of two that differ in
# the suffix one is taken, whichever the listing of the folder has last; the other one is
# gone, without a warning, also with include_all_data=True. Labels under the full names end
# in a KeyError.
# Why a clustering user cares: phones and cameras write IMG_1.jpg and IMG_1.png, and a scan
# is kept beside its preview. Clusters that are taken to FiftyOne this way lose images, or
# show the label of one beside the picture of the other. Absolute paths as keys are safe, and
# so is fo.types.FiftyOneDataset, which hadis-lightly-export writes.
#
# Seen with fiftyone 1.22.1, Python 3.11 (its database is not needed for this):
#   labels by stem: 1 sample of 2 images
#   all images: 1 sample of 2 images
#   labels by name: KeyError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet fiftyone==1.22.1
mkdir -p "$folder/set/data" "$folder/home"
cat > "$folder/import.py" <<'PYTHON'
import json
import sys
from pathlib import Path

from fiftyone.utils.data import FiftyOneImageClassificationDatasetImporter
from PIL import Image

folder = Path(sys.argv[1])
Image.new("RGB", (8, 8), "red").save(folder / "data" / "cat.png")
Image.new("RGB", (8, 8), "blue").save(folder / "data" / "cat.jpg")


def read(labels, **options):
    content = {"classes": None, "labels": labels}
    (folder / "labels.json").write_text(json.dumps(content))
    importer = FiftyOneImageClassificationDatasetImporter(str(folder), **options)
    importer.setup()
    return [Path(path).name for path, _, _ in importer]


by_stem = read({"cat": "red"})
everything = read({}, include_all_data=True)
print("labels by stem:", len(by_stem), "sample of 2 images")
print("all images:", len(everything), "sample of 2 images")
try:
    read({"cat.png": "red", "cat.jpg": "blue"})
    raise AssertionError("names are known now")
except KeyError:
    print("labels by name: KeyError")
assert len(by_stem) == len(everything) == 1
PYTHON
HOME="$folder/home" FIFTYONE_DISABLE_SERVICES=1 FIFTYONE_DO_NOT_TRACK=1 \
    "$folder/env/bin/python" "$folder/import.py" "$folder/set"
