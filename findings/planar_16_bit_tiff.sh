#!/usr/bin/env bash
# One would guess: a TIFF that stores red, green and blue one after the other (planar
# configuration 2, which microscopes and tifffile write) is read like any other, or refused.
# What happens: 8 bits per channel are read rightly. Of 16 bits per channel,
# uncompressed, Pillow reads both bytes of a value as pixels of their own: every other
# pixel is the low byte. With deflate it is right.
# OpenCV's imread with IMREAD_UNCHANGED has red in all three channels of the upper third, and
# no picture below, with deflate as well; with its default, 8-bit colour, it is right.
# Nobody warns.
# Why a clustering user cares: the pictures become stripes or one channel, without an error,
# and which it is depends on the compression of the file and the library that reads it.
#
# Seen with Pillow 13.0.0, opencv-python-headless 5.0.0.93, tifffile 2026.3.3 and numpy
# 2.4.6, Python 3.11, on an image of one colour, 10000, 20000, 30000 (39, 78, 117 in 8 bits):
#   none Pillow: [[16, 32, 48], [39, 78, 117]]
#   none OpenCV, upper third: [[10000, 10000, 10000]], default: [[39, 78, 117]]
#   deflate Pillow: [[39, 78, 117]]
#   deflate OpenCV, upper third: [[10000, 10000, 10000]], default: [[39, 78, 117]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet pillow==13.0.0 opencv-python-headless==5.0.0.93 \
    tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
cat > "$folder/read.py" <<'PYTHON'
import sys

import cv2
import numpy as np
import tifffile
from PIL import Image

planes = np.empty((3, 36, 60), np.uint16)
planes[:] = np.array([10000, 20000, 30000]).reshape(3, 1, 1)
right, low = planes[:, 0, 0] >> 8, planes[:, 0, 0] & 255


def colours(pixels):
    return np.unique(pixels.reshape(-1, 3), axis=0).tolist()


for compression in (None, "deflate"):
    path = f"{sys.argv[1]}/{compression}.tif"
    rgb = {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(path, planes, compression=compression, **rgb)
    assert np.array_equal(tifffile.imread(path), planes)
    pillow = colours(np.asarray(Image.open(path)))
    upper = colours(cv2.imread(path, cv2.IMREAD_UNCHANGED)[:12])
    default = colours(cv2.imread(path)[..., ::-1])
    print(compression or "none", "Pillow:", pillow)
    name = compression or "none"
    print(name, f"OpenCV, upper third: {upper}, default: {default}")
    stripes = [low.tolist(), right.tolist()]
    assert pillow == (stripes if compression is None else [right.tolist()])
    assert upper == [[10000] * 3] and default == [right.tolist()]
    tifffile.imwrite(path, (planes >> 8).astype(np.uint8), compression=compression, **rgb)
    assert colours(np.asarray(Image.open(path))) == [right.tolist()]
    assert colours(cv2.imread(path, -1)[..., ::-1]) == [right.tolist()]
PYTHON
"$folder/env/bin/python" "$folder/read.py" "$folder"
