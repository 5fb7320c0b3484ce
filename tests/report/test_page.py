from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.report import ReportData, write_report
from tests.report.some_data import some_data

HOSTILE = [
    "<script>alert(1)</script>.png",
    "</script><img src=x onerror=alert(1)>",
    "<!-- <script>",
    "\"quoted\" 'name'.jpg",
    "line\u2028separator\u2029.png",
    "猫 café\n.png",
    "half \udcff surrogate.png",
    "{{script}} {{data}}",
    "&amp;.png",
]


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def written(data: ReportData, folder: Path, **options: Any) -> str:
    return write_report(data, folder, **options).read_text(encoding="utf-8")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    keys = HOSTILE + [f"{row}.png" for row in range(60 - len(HOSTILE))]
    page = written(
        some_data(
            keys=keys,
            title=HOSTILE[1],
            class_names=HOSTILE[:3],
            left_out=HOSTILE,
            warnings=HOSTILE,
            summary=[(HOSTILE[0], HOSTILE[6])],
            settings={HOSTILE[0]: {"a": HOSTILE[1], "path": Path("x")}},
        ),
        tmp_path,
    )
    assert "<img" not in page
    assert "alert(1)</script>" not in page
    # Data, one sheet, and the script of the page itself.
    assert page.count("<script") == page.count("</script") == 3
    assert "<title>&lt;/script&gt;&lt;img" in page
    content = data_in(page)
    shown = dict(zip(content["images"]["row"], content["images"]["key"], strict=True))
    for row, key in enumerate(HOSTILE):
        assert shown[row] == key.replace("\udcff", "\\udcff")


def test_the_policy_allows_the_page_and_nothing_from_outside(tmp_path: Path) -> None:
    page = written(some_data(), tmp_path)
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found is not None
    policy = found[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    # An address in the page would be a request or a link that leaves it.
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", page))
    assert addresses <= {"http://www.w3.org", "//www.w3.org"}


def test_the_file_is_the_same_again(tmp_path: Path) -> None:
    assert written(some_data(), tmp_path / "a") == written(some_data(), tmp_path / "b")


def test_a_folder_or_a_file_may_be_named(tmp_path: Path) -> None:
    assert write_report(some_data(), tmp_path) == tmp_path / "index.html"
    assert write_report(some_data(), tmp_path / "r" / "x.html").is_file()


def test_what_was_there_stays_if_it_fails(tmp_path: Path) -> None:
    page = written(some_data(), tmp_path)

    def read(row: int) -> Image.Image:
        raise RuntimeError("a bug, no bad file")

    with pytest.raises(RuntimeError):
        write_report(some_data(read=read), tmp_path)
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


@pytest.mark.parametrize("n, k", [(2, 2), (2, 1), (1, 1), (300, 150)])
def test_few_images_and_many_clusters(tmp_path: Path, n: int, k: int) -> None:
    content = data_in(written(some_data(n, k), tmp_path))
    assert len(content["clusters"]) == k
    assert len(content["images"]["key"]) == n
    assert (content["similarity"]["matrix"] is None) == (k > 100)


def test_neither_classes_nor_map(tmp_path: Path) -> None:
    data = some_data(
        with_classes=False,
        points=np.full((60, 2), np.nan),
        scores={"silhouette": float("nan")},
        history=[],
        losses={"loss": ([1.0], [float("nan")])},
    )
    content = data_in(written(data, tmp_path))
    assert content["classNames"] is None
    assert content["confusion"] is None
    assert content["images"]["target"] is None
    assert set(content["images"]["x"]) == {None}


def test_more_images_than_the_page_may_hold(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    page = written(
        some_data(500),
        tmp_path,
        max_images=100,
        progress=lambda done, total: told.append((done, total)),
    )
    content = data_in(page)
    assert content["total"] == 500
    assert len(content["images"]["key"]) == 100
    assert told == [(64, 100), (100, 100)]


@pytest.mark.parametrize("max_images", [0, -1])
def test_no_images_at_all_are_refused(tmp_path: Path, max_images: int) -> None:
    with pytest.raises(ValueError, match="max_images must be at least 1"):
        write_report(some_data(), tmp_path, max_images=max_images)


def test_numbers_are_short(tmp_path: Path) -> None:
    page = written(some_data(), tmp_path)
    assert re.search(r'"confidence":\[0\.\d{1,4},', page)
    assert "NaN" not in page.split('id="data">')[1].split("</script>")[0]
