"""Whatever the bytes of a file: it is read as an image, or refused by name."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadis_lightly.data import MAX_PIXELS, ImageReadError, read_image
from tests.data.image_files import SAMPLES

NAMES = sorted(SAMPLES)
STARTS = [b"", *{content[:size] for content in SAMPLES.values() for size in (4, 16)}]
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Counts what became of the files; shown by ``pytest -s``."""
    counter: Counter[str] = Counter()
    yield counter
    print(f"\n{dict(counter)}")


def read_or_refuse(path: Path, content: bytes, tally: Counter[str]) -> None:
    path.write_bytes(content)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for num_channels, mode in ((3, "RGB"), (1, "L")):
            try:
                image = read_image(path, num_channels)
            except ImageReadError as error:
                message = str(error)
                assert repr(str(path)) in message
                assert message.isprintable()
                assert error.reason
                tally["refused"] += 1
                break
            assert image.mode == mode
            width, height = image.size
            assert 0 < width * height <= MAX_PIXELS
            assert len(image.tobytes()) == width * height * num_channels
        else:
            tally["read"] += 1
    assert caught == []
    assert time.perf_counter() - start < PATIENCE_SECONDS


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=400))
def test_random_bytes(
    tmp_path: Path, tally: Counter[str], start: bytes, rest: bytes
) -> None:
    read_or_refuse(tmp_path / "random.png", start + rest, tally)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_flipped_bits(
    tmp_path: Path, tally: Counter[str], name: str, data: st.DataObject
) -> None:
    content = bytearray(SAMPLES[name])
    # Half of them in the header, which decides most.
    places = st.integers(0, min(99, len(content) - 1)) | st.integers(
        0, len(content) - 1
    )
    flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=6)
    for place, bits in data.draw(flips):
        content[place] ^= bits
    read_or_refuse(tmp_path / "flipped.png", bytes(content), tally)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_cut_out_doubled_or_mixed_up(
    tmp_path: Path, tally: Counter[str], name: str, data: st.DataObject
) -> None:
    content = SAMPLES[name]
    places = st.integers(0, len(content))
    first, second = sorted(data.draw(st.tuples(places, places)))
    other = SAMPLES[data.draw(st.sampled_from(NAMES))]
    change = data.draw(st.sampled_from(["cut", "out", "double", "random", "other"]))
    inner = content[first:second]
    damaged = {
        "cut": lambda: content[:second],
        "out": lambda: content[:first] + content[second:],
        "double": lambda: content[:second] + inner + content[second:],
        "random": lambda: (
            content[:first] + data.draw(st.binary(max_size=64)) + content[second:]
        ),
        "other": lambda: content[:first] + other[first:],
    }[change]()
    read_or_refuse(tmp_path / "damaged.png", damaged, tally)
