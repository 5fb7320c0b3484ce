"""Pickles of arrays are read, and none can run anything."""

from __future__ import annotations

import functools
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hadis_lightly.data import DataError, load_cifar20
from hadis_lightly.data.sets.plain_pickle import read_pickled_dict
from tests.data.public_stand_ins import dump, write_cifar100


class Calls:
    """Is pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def write(path: Path, content: object, protocol: int = 2) -> Path:
    dump(path, content, protocol)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<u2", "<i1"])
def test_arrays_come_back(tmp_path: Path, protocol: int, dtype: str) -> None:
    array = np.arange(24).astype(dtype).reshape(2, 3, 4)
    content = {
        b"plain": array,
        "fortran": np.asfortranarray(array),
        "view": array[:, ::2],
        "empty": array[:0],
        "numbers": [np.int64(3), np.uint8(200), 5],
        "rest": (None, True, 1.5, "text", {"a": [1]}),
        7: "no name",
    }
    found = read_pickled_dict(write(tmp_path / "file", content, protocol))
    assert list(found) == ["plain", "fortran", "view", "empty", "numbers", "rest"]
    np.testing.assert_array_equal(found["plain"], array)
    np.testing.assert_array_equal(found["fortran"], array)
    np.testing.assert_array_equal(found["view"], array[:, ::2])
    assert found["plain"].dtype == np.dtype(dtype)
    assert found["empty"].shape == (0, 3, 4)
    assert found["numbers"] == [3, 200, 5]
    assert found["rest"] == content["rest"]


def test_as_python_2_writes_it(tmp_path: Path) -> None:
    """The opcodes of the official files: their texts are bytes of no encoding."""
    pixels = bytes(range(256)) * 12
    content = b"".join(
        [
            b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03",
            b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x01M\x00\x0c\x86",
            b"cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNN",
            b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
            struct.pack("<i", len(pixels)) + pixels,
            b"tbU\rcoarse_labels]K\x03aU\tfilenames]U\x03\xe9.pau.",
        ]
    )
    (tmp_path / "train").write_bytes(content)
    found = read_pickled_dict(tmp_path / "train")
    assert found["data"].shape == (1, 3072)
    assert found["data"].tobytes() == pixels
    assert found["coarse_labels"] == [3]
    assert found["filenames"] == [b"\xe9.p"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')"
    reconstruct = np.empty(0).__reduce__()[0]
    calls = [
        Calls(os.system, f"touch {marker}"),
        Calls(eval, code),
        Calls(exec, code),
        Calls(open, str(marker), "w"),
        Calls(os.mkdir, str(marker)),
        Calls(functools.partial, os.mkdir, str(marker)),
        Calls(np.save, str(marker), 1),
        Calls(np.load, str(marker)),
        Calls(Path, str(marker)),
        Calls(OrderedDict, []),
        Calls(reconstruct, Calls(os.mkdir, str(marker)), (0,), b"b"),
    ]
    for call in calls:
        for content in ({b"data": call}, [call], {call: 1}):
            try:
                write(tmp_path / "file", content, protocol)
            except (TypeError, AttributeError):
                continue  # not hashable
            marker.unlink(missing_ok=True)
            with pytest.raises(DataError, match=r"'.*file' is damaged: ") as caught:
                read_pickled_dict(tmp_path / "file")
            assert not marker.exists()
            assert str(caught.value).isprintable()


def test_the_refused_name_is_told(tmp_path: Path) -> None:
    root = write_cifar100(tmp_path, range(3), range(3))
    file = root / "cifar-100-python" / "train"
    marker = tmp_path / "ran"
    dump(file, {b"data": Calls(os.system, f"touch {marker}")})
    with pytest.raises(DataError) as caught:
        load_cifar20(root, download=False)
    assert not marker.exists()
    name = f"{os.system.__module__}.system"
    assert str(caught.value) == (
        f"data file {str(file)!r} is damaged: it asks for {name}, which is not run"
    )


@pytest.mark.parametrize(
    "content",
    [
        {"data": np.array([None, "a"], dtype=object)},
        {"data": np.array([1.5])},
        {"data": np.array(["text"])},
        {"data": np.zeros(2, dtype=[("a", "u1"), ("b", "i4")])},
        {"data": {1, 2}},
        [1, 2],
        np.zeros(3),
        None,
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    write(tmp_path / "file", content)
    with pytest.raises(DataError, match=r"file' is damaged: "):
        read_pickled_dict(tmp_path / "file")


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"no pickle", b".", b"\x80\x02.", b"\x80\x63}.", b"}",
        # An array that claims a terabyte; and one without content.
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85U\x01b\x87R(K\x01\x8a\x06\x00\x00\x00\x00"
        b"\x00\x01\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R\x89U\x01atbu.",
        # State for one of the functions.
        b"\x80\x02}(U\x04datacnumpy\ndtype\nN}U\x08__code__K\x01s\x86bu.",
        # A persistent id, an extension code, text of 4 GB that is not there.
        b"\x80\x02}(U\x04dataK\x01Qu.", b"\x80\x02}(U\x04data\x82\x01u.",
        b"\x80\x04}(U\x04dataX\xff\xff\xff\xffu.",
    ],
)  # fmt: skip
def test_damaged_pickles_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "file").write_bytes(raw)
    with pytest.raises(DataError, match=r"file' is damaged: ") as caught:
        read_pickled_dict(tmp_path / "file")
    assert str(caught.value).isprintable()


def test_any_damage_ends_in_one_line(tmp_path: Path) -> None:
    """A byte changed, somewhere: it is read, or refused by name."""
    write(tmp_path / "file", {b"data": np.arange(9, dtype=np.uint8), b"a": [1, "b"]})
    whole = (tmp_path / "file").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        (tmp_path / "file").write_bytes(damaged)
        try:
            read_pickled_dict(tmp_path / "file")
        except DataError as error:
            assert str(error).isprintable() and "file" in str(error)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot open data file .*none': No such"):
        read_pickled_dict(tmp_path / "none")
    with pytest.raises(DataError, match="is no file"):
        read_pickled_dict(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe' is no file"):
        read_pickled_dict(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(DataError, match="2,147,483,648 bytes, more than"):
        read_pickled_dict(tmp_path / "huge")
