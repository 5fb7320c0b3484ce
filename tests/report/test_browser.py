"""The page in a real browser, by clicking and typing."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.report import ReportData
from tests.report.conftest import Browser, Written
from tests.report.some_data import some_data, square
from tests.report.test_page import HOSTILE

Report = tuple[ReportData, Path]
ESCAPE, LEFT, RIGHT, DOWN, CONTROL = "\ue00c", "\ue012", "\ue014", "\ue015", "\ue009"


#: Of twelve clusters 0 to 3 join, then 4 to 7, then 8 to 11.
TREE = {
    "levels": [3, 6, 12, 24],
    "merges": [
        (0, 1), (2, 3), (12, 13), (4, 5), (6, 7), (15, 16), (8, 9), (10, 11), (18, 19),
        (14, 17), (20, 21),
    ],
    "links": [3.0, 2.5, 2.0, 1.5, 1.2, 1.0, 0.8, 0.5, 0.3, 0.11, 0.0],
}  # fmt: skip
CHOICE = {
    "n_clusters": 12,
    "description": "12 clusters; 11 is as good\nbest in 5 of 5 repeats",
    "curve": [
        {"n_clusters": k, "score": s, "stability": s, "weakest": s, "silhouette": s}
        for k, s in ((2, 0.4), (11, 0.89), (12, 0.9), (20, 0.5))
    ],
}


@pytest.fixture(scope="module")
def usual(report_of: Written) -> Report:
    return report_of(n=600, k=12, tree=TREE, choice=CHOICE)


@pytest.fixture(scope="module")
def large(report_of: Written) -> Report:
    return report_of(n=2000, k=12)


@pytest.fixture(scope="module")
def unlabelled(report_of: Written) -> Report:
    """Hostile names, a file that vanished, odd shapes; no classes."""

    def read(row: int) -> Image.Image:
        if row == 3:
            raise OSError("vanished")
        return square(row, row % 4, 90).resize((90 + 7 * (row % 9), 90 + row % 5))

    keys = HOSTILE + [f"{row}.jpg" for row in range(60 - len(HOSTILE))]
    return report_of(
        k=4, keys=keys, with_classes=False, read=read,
        left_out=HOSTILE, warnings=["One cluster holds most images."],
        scores={"silhouette": 0.4, "size_entropy": 0.9, "prototype_cosine": 0.8},
    )  # fmt: skip


def shown_names(browser: Browser, selector: str = "#grid") -> list[str]:
    """Names of the images whose tiles are there, from their labels."""
    labels = browser.js(
        "return [...document.querySelectorAll(arguments[0] + ' .pic')]"
        ".map(pic => pic.getAttribute('aria-label'))",
        selector,
    )
    return [label.split(", ")[0] for label in labels]


def test_warnings_come_first_and_scores_fill_their_rows(
    browser: Browser, report_of: Written
) -> None:
    names = "nmi acc ari silhouette size_entropy prototype_cosine size_min size_max"
    scores = dict.fromkeys(names.split(), 0.5)
    browser.open(report_of(scores=scores, warnings=["All are alike"])[1], width=1300)
    boxes = browser.js(
        "return [...document.querySelectorAll('#warnings .note, .score')]"
        ".map(box => box.getBoundingClientRect()).map(box => [box.top, box.right])"
    )
    (top, right), *cards = boxes
    assert top < min(card[0] for card in cards)
    rows = {card[0]: card[1] for card in cards}  # the last of each row
    assert list(rows.values()) == pytest.approx([right] * len(rows), abs=1)


def row_of(name: str) -> int:
    return int(name.removeprefix("img_").removesuffix(".png"))


def test_it_opens_quickly_and_asks_for_nothing(browser: Browser, large: Report) -> None:
    browser.driver.get_log("performance")
    browser.open(large[1])
    assert browser.js("return window.reportReady") < 3000
    assert browser.js("return performance.getEntriesByName('report-ready').length") == 1
    assert large[1].stat().st_size < 8e6
    browser.js("scrollTo(0, document.body.scrollHeight)")
    time.sleep(0.2)
    messages = [
        json.loads(entry["message"])["message"]
        for entry in browser.driver.get_log("performance")
    ]
    requests = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    allowed = ("file://", "about:", "data:", "blob:")
    assert {url for url in requests if not url.startswith(allowed)} == set()
    assert len([url for url in requests if url.startswith("file://")]) == 1


def test_nothing_from_outside_is_let_in(browser: Browser, usual: Report) -> None:
    browser.open(usual[1])
    browser.js(
        "window.refused = [];"
        "addEventListener('securitypolicyviolation',"
        " event => refused.push(event.effectiveDirective));"
        "const code = document.createElement('script');"
        "code.textContent = 'window.hacked = true';"
        "document.body.append(code);"
        "new Image().src = 'http://127.0.0.1:9/x.png';"
        "fetch('http://127.0.0.1:9/').catch(() => null);"
    )
    browser.until("window.refused.length >= 3")
    assert browser.js("return window.hacked ?? null") is None
    assert len(browser.complaints()) >= 3


def test_header_folds_and_names(browser: Browser, unlabelled: Report) -> None:
    browser.open(unlabelled[1])
    assert browser.text("h1") == "Test, 4 clusters"
    assert browser.text("#lead") == "60 images in 4 clusters."
    assert browser.text(".score b") == "0.400"
    assert "own cluster" in browser.text(".score p")
    assert "One cluster holds most images." in browser.text("#warnings")
    fold = browser.one("#folds details")
    assert not fold.find_element("css selector", "li").is_displayed()
    browser.click("#folds summary")
    assert fold.find_element("css selector", "li").is_displayed()
    assert fold.find_element("css selector", "li").text == HOSTILE[0]

    assert len(browser.all("#rankings button")) == 3
    assert not browser.one("#confusion").is_displayed()
    assert not browser.one("#tree").is_displayed()
    assert not browser.one("#numbers").is_displayed()
    assert len(browser.all("#nav a")) == 7

    names = browser.js(
        "return [...document.querySelectorAll('#grid .tile p')].map(p => p.textContent)"
    )
    assert {name.replace("\udcff", "\\udcff") for name in HOSTILE} <= set(names)
    assert browser.all("img") == []


def test_the_right_pixels_are_drawn(browser: Browser, usual: Report) -> None:
    browser.open(usual[1])
    browser.click("#grid .pic")
    browser.keys(ESCAPE)
    browser.until(
        "[...document.querySelectorAll('#grid .pic canvas')].slice(0, 20)"
        ".every(canvas => canvas.width === 24)"
    )
    for nth in range(0, 20, 3):
        pixels = browser.js(
            "const all = document.querySelectorAll('#grid .pic canvas');"
            "const context = all[arguments[0]].getContext('2d');"
            "return [...context.getImageData(0, 3, 24, 1).data]",
            nth,
        )
        row = row_of(shown_names(browser)[nth])
        expected = np.asarray(square(row, row % 12))[3]
        assert np.array_equal(np.array(pixels).reshape(24, 4)[:, :3], expected)


def test_filters(browser: Browser, usual: Report) -> None:
    data, path = usual
    browser.open(path)
    assert browser.text("#count") == "600 images"
    assert len(browser.all("#bars button")) == 12
    browser.click("#bars button[data-cluster='5']")
    assert (
        browser.one("#bars [data-cluster='5']").get_attribute("aria-pressed") == "true"
    )
    assert browser.text("#count") == "50 of 600 images"
    assert len(browser.all("#cards .card")) == 1
    assert {row_of(name) % 12 for name in shown_names(browser)} == {5}
    assert {row_of(name) % 12 for name in shown_names(browser, "#hard-grid")} == {5}
    browser.click("#bars button[data-cluster='7']")
    assert browser.text("#count") == "100 of 600 images"
    assert browser.text("#pill span") == "2 clusters: 100 images"
    assert browser.js("return location.hash") == "#clusters=5.7"
    browser.click("#pill button")
    assert browser.text("#count") == "600 images"
    assert browser.js("return location.hash") == ""

    browser.click("#query")
    browser.keys("G_012")
    assert browser.text("#count") == "10 of 600 images"
    assert shown_names(browser) == [f"img_{row:04d}.png" for row in range(120, 130)]
    browser.keys("nothing")
    assert browser.text("#count") == "0 of 600 images"
    assert "No image fits" in browser.text("#grid")
    assert not browser.one("#copy-names").is_enabled()
    browser.click("#pill button")
    assert browser.one("#query").get_attribute("value") == ""

    browser.click("#cluster-menu summary")
    browser.all("#cluster-list input")[3].click()
    browser.all("#cluster-list input")[4].click()
    assert browser.text("#cluster-choice") == "2 clusters"
    assert browser.text("#count") == "100 of 600 images"
    browser.keys(ESCAPE)
    assert not browser.one("#cluster-list").is_displayed()

    browser.click("#pill button")
    browser.js("document.getElementById('low').focus()")
    browser.keys(*[RIGHT] * 12)
    browser.js("document.getElementById('high').focus()")
    browser.keys(*[LEFT] * 9)
    assert browser.text("#range-text") == "12 to 91 %"
    inside = (data.confidence.round(4) >= 0.12) & (data.confidence.round(4) <= 0.91)
    assert browser.text("#count") == f"{int(inside.sum())} of 600 images"
    # The thumbs do not pass each other.
    browser.js(
        "const high = document.getElementById('high'); high.value = 7;"
        "high.dispatchEvent(new Event('input'))"
    )
    assert browser.text("#range-text") == "7 to 7 %"


def test_sorting(browser: Browser, usual: Report) -> None:
    from selenium.webdriver.support.select import Select

    data, path = usual
    browser.open(path)
    for title, column, sign in (
        ("Lowest confidence", "confidence", 1),
        ("Highest confidence", "confidence", -1),
        ("Largest distance", "distance", -1),
        ("Most isolated", "isolation", -1),
    ):
        Select(browser.one("#sort")).select_by_visible_text(title)
        rows = [row_of(name) for name in shown_names(browser)]
        values = sign * getattr(data, column)
        assert (np.diff(values[rows]) >= -1e-4).all(), title
        assert values[rows[0]] == pytest.approx(values.min()), title


def test_tiles_are_made_as_one_scrolls(browser: Browser, large: Report) -> None:
    browser.open(large[1])
    assert len(browser.all("#grid .tile")) <= 240
    before = browser.js("return document.querySelectorAll('*').length")
    assert before < 5000
    for _ in range(40):
        browser.js("scrollTo(0, document.body.scrollHeight)")
        time.sleep(0.05)
        if browser.js("return document.querySelectorAll('#grid .tile').length") == 2000:
            break
    assert len(set(shown_names(browser))) == 2000
    # Far from sight pixels are given up, and drawn again when they come back.
    browser.until("document.querySelector('#grid .pic canvas').width === 1")
    browser.js("document.querySelector('#grid .pic').scrollIntoView()")
    browser.until("document.querySelector('#grid .pic canvas').width === 24")


def test_images_are_enlarged_one_after_the_other(
    browser: Browser, usual: Report
) -> None:
    data, path = usual
    browser.open(path)
    browser.click("#grid .pic", 3)
    assert browser.one("#viewer").is_displayed()
    assert browser.text("#viewer-name") == "img_0003.png"
    assert browser.text("#viewer-place") == "4 of 600"
    facts = browser.text("#viewer-facts")
    assert "class 3" in facts
    assert f"{data.distance[3]:.3f}" in facts
    assert "24 by 24 pixels" in facts
    assert browser.js("return location.hash") == "#image=3"
    assert (
        browser.js("return document.querySelector('#viewer-canvas').clientWidth") > 300
    )
    browser.keys(RIGHT)
    assert browser.text("#viewer-name") == "img_0004.png"
    browser.keys(LEFT, LEFT)
    assert browser.text("#viewer-name") == "img_0002.png"
    browser.click("#viewer-next")
    assert browser.text("#viewer-name") == "img_0003.png"
    browser.keys(ESCAPE)
    browser.until("!document.querySelector('#viewer').open")
    browser.until("location.hash === ''")
    # Back where one was.
    label = browser.js("return document.activeElement.getAttribute('aria-label')")
    assert label.startswith("img_0003.png")

    browser.click("#grid .pic")
    assert not browser.one("#viewer-back").is_enabled()
    browser.keys(LEFT)
    assert browser.text("#viewer-place") == "1 of 600"
    browser.click("#viewer-cluster")
    assert browser.text("#count") == "50 of 600 images"


def test_a_view_can_be_shared(browser: Browser, usual: Report) -> None:
    browser.open(usual[1], "#clusters=3.4&query=img_0&sort=distance&image=15")
    assert browser.text("#viewer-name") == "img_0015.png"
    browser.keys(ESCAPE)
    assert browser.text("#cluster-choice") == "2 clusters"
    assert browser.one("#sort").get_attribute("value") == "distance"
    assert browser.one("#query").get_attribute("value") == "img_0"
    assert browser.text("#viewer-place").endswith("of 100")


@pytest.mark.parametrize(
    "hash", ["#clusters=99.x.-1&image=1e9&low=400&sort=what", "#sort=constructor", "#x"]
)
def test_a_broken_address_does_no_harm(
    browser: Browser, usual: Report, hash: str
) -> None:
    browser.open(usual[1], hash)
    assert browser.text("#count") == "600 images"
    assert not browser.js("return document.querySelector('#viewer').open")


def test_the_hardest_images_and_cards(browser: Browser, usual: Report) -> None:
    data, path = usual
    browser.open(path)
    names = shown_names(browser, "#hard-grid")
    found = data.isolation[[row_of(name) for name in names]]
    assert found == pytest.approx(np.sort(data.isolation)[::-1][:40], abs=1e-4)
    browser.click("#rankings [data-ranking='confidence']")
    names = shown_names(browser, "#hard-grid")
    least = np.sort(data.confidence)[:40]
    found = data.confidence[[row_of(name) for name in names]]
    assert found == pytest.approx(least, abs=1e-4)
    browser.keys(RIGHT)
    checked = browser.all("#rankings [aria-checked='true']")
    assert [button.text for button in checked] == ["Largest distance"]
    browser.click("#more-hard")
    assert len(shown_names(browser, "#hard-grid")) == 80

    members = np.flatnonzero(data.labels == 2)
    names = shown_names(browser, "#cards [data-cluster='2']")
    typical = members[np.argsort(data.distance[members])][:12]
    assert [row_of(name) for name in names[:12]] == typical.tolist()
    rest = np.setdiff1d(members, typical)
    uncertain = rest[np.argsort(data.confidence[rest])][:12]
    found = data.confidence[[row_of(name) for name in names[12:]]]
    assert found == pytest.approx(data.confidence[uncertain], abs=1e-4)
    assert "class 2" in browser.text("#cards [data-cluster='2'] .makeup li")
    browser.click("#cards [data-cluster='2'] .all")
    assert browser.text("#count") == "50 of 600 images"


def place_on_map(browser: Browser, i: int) -> list[float]:
    """Where the page draws an image, from its own data and the size of the map."""
    return browser.js(
        """
        const { x, y } = JSON.parse(document.getElementById("data").textContent).images;
        const ends = values => [Math.min(...values), Math.max(...values)];
        const [[left, right], [low, high]] = [ends(x), ends(y)];
        const { clientWidth: w, clientHeight: h } = document.getElementById("plane");
        const scale = Math.min((w - 56) / (right - left), (h - 56) / (high - low));
        const i = arguments[0];
        return [w / 2 + (x[i] - (left + right) / 2) * scale,
                h / 2 - (y[i] - (low + high) / 2) * scale];
        """,
        i,
    )


def test_the_map_and_zooming_in_to_pictures(
    browser: Browser, unlabelled: Report
) -> None:
    data, path = unlabelled
    browser.open(path)
    lonely = int(np.argmax(data.points[:, 0]))
    shown = browser.js(
        "return JSON.parse(document.getElementById('data').textContent).images.row"
    )
    x, y = place_on_map(browser, shown.index(lonely))
    browser.at("#plane-canvas", x + 1, y + 1)
    browser.until("!document.querySelector('#plane-tip').hidden")
    name = browser.js("return document.querySelector('#plane-tip strong').textContent")
    assert name == data.keys[lonely].replace("\udcff", "\\udcff")
    browser.at("#plane-canvas", x + 1, y + 1, click=True)
    assert browser.text("#viewer-name") == name
    browser.keys(ESCAPE)
    browser.until("!document.querySelector('#viewer').open")
    browser.click("#zoom-in")
    browser.click("#zoom-in")
    browser.at("#plane-canvas", 3, 3)
    assert browser.js("return document.querySelector('#plane-tip').hidden")
    browser.click("#zoom-reset")
    browser.at("#plane-canvas", x + 1, y + 1)
    browser.until("!document.querySelector('#plane-tip').hidden")

    browser.click("#zoom-reset")
    browser.at("#plane-canvas", 3, 3)
    count = (
        "(() => { const c = document.querySelector('#plane-canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"
    )
    points = browser.until(count)
    browser.js("document.querySelector('#plane-canvas').focus()")
    browser.keys("+", "+")
    browser.until(f"{count} > {1.2 * points}")  # points alone would have become fewer
    browser.keys("0")
    browser.until(f"{count} < {1.2 * points}")


def test_matrices_and_curves(browser: Browser, usual: Report) -> None:
    data, path = usual
    browser.open(path)
    browser.js("document.querySelector('#confusion-matrix canvas').focus()")
    browser.keys(DOWN)
    count = int(((data.targets == 0) & (data.labels == 0)).sum())
    total = int((data.targets == 0).sum())
    line = browser.text("#confusion-matrix p")
    assert line.startswith(f"class 0 in 0 · class 0: {count} of {total}, ")
    assert len(browser.all("#mix-ups li")) == 10

    titles = browser.js(
        "return [...document.querySelectorAll('#curves .chart strong')]"
        ".map(t => t.textContent)"
    )
    assert titles == ["NMI", "Accuracy", "ARI", "Total loss"]
    assert browser.text("#curves .chart span") == "0.800 at epoch 8"
    assert len(browser.all("#curves .chart .warm")) == 4
    browser.at("#curves .chart svg", 45, 50)
    assert browser.text("#curves .chart span") == "0.000 at epoch 0"

    browser.js("document.querySelector('#similarity-matrix canvas').focus()")
    browser.keys(DOWN, DOWN)
    line = browser.text("#similarity-matrix p")
    first, second = (
        int(part.split(" · ")[0]) for part in line.split(": ")[0].split(" and ")
    )
    cosine = float(data.prototypes[first] @ data.prototypes[second])
    assert float(line.split(": ")[1]) == pytest.approx(cosine, abs=1e-3)
    width = browser.js(
        "return document.querySelector('#similarity-matrix').clientWidth"
    )
    browser.at("#similarity-matrix canvas", width - 20, 200, click=True)
    assert browser.text("#pill span").startswith("2 clusters")


def test_the_number_of_clusters(browser: Browser, usual: Report) -> None:
    browser.open(usual[1])
    assert browser.text("#numbers-words").startswith("12 clusters; 11 is as good. The")
    assert len(browser.all("#numbers .cut")) == len(browser.all("#numbers .chart")) == 4
    assert "0.900 at K 12" in browser.text("#numbers .chart")
    browser.at("#numbers .chart svg", 42, 60)
    assert "0.400 at K 2" in browser.text("#numbers .chart")


def test_the_tree(browser: Browser, usual: Report) -> None:
    browser.open(usual[1])
    assert len(browser.all("#tree-leaves li")) == 12
    assert len(browser.all("#tree .join")) == 11
    cuts = browser.js(
        "return [...document.querySelectorAll('#tree .cut')]"
        ".map(line => Number(line.getAttribute('x1')))"
    )
    assert len(cuts) == 2 and cuts[0] > cuts[1]  # level 1 is the coarsest
    browser.js("document.querySelector('#tree svg').focus()")
    browser.keys(DOWN)
    line = browser.text("#tree-line")
    assert line == "0 · class 0 with 1 · class 1: joined at 3.0 \u00d7, 100 images"
    assert len(browser.all("#tree .join.on")) == 1
    browser.keys(DOWN, DOWN)
    assert len(browser.all("#tree .join.on")) == 3
    assert len(browser.all("#tree-leaves .on")) == 4
    browser.keys("\n")
    assert browser.text("#pill span") == "4 clusters: 200 images"

    width = browser.js("return document.querySelector('#tree svg').clientWidth")
    browser.at("#tree svg", width - 12, 260)  # what has no links joins at the end
    assert browser.text("#tree-line").endswith(": joined at 0 \u00d7, 600 images")
    browser.at("#tree svg", width - 2, 5)
    assert browser.text("#tree-line").startswith("Point at a line")
    browser.click("#tree-leaves button", nth=5)
    assert browser.text("#pill span") == "5 · class 5: 50 images"


def test_the_names_are_copied(browser: Browser, usual: Report) -> None:
    browser.open(usual[1])
    browser.click("#query")
    browser.keys("img_010")
    browser.click("#copy-names")
    browser.until("document.querySelector('#copy-names').textContent === 'Copied'")
    browser.js(
        "const area = document.createElement('textarea'); area.id = 'pasted';"
        "document.querySelector('#count').append(area); area.focus()"
    )
    browser.keys(CONTROL + "v")
    pasted = browser.one("#pasted").get_attribute("value")
    assert pasted.split("\n") == [f"img_{row:04d}.png" for row in range(100, 110)]


def test_the_selection_is_saved(browser: Browser, unlabelled: Report) -> None:
    data, path = unlabelled
    browser.open(path)
    browser.click("#save-csv")
    file = browser.downloads / "images.csv"
    deadline = time.monotonic() + 8
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    file.unlink()
    assert list(rows[0]) == [
        "key", "cluster", "confidence", "distance", "isolation",
    ]  # fmt: skip
    found = {row["key"]: row for row in rows}
    assert len(found) == 60
    for row, key in enumerate(data.keys):
        saved = found[key.replace("\udcff", "\\udcff")]
        assert int(saved["cluster"]) == data.labels[row]
        assert float(saved["confidence"]) == pytest.approx(
            data.confidence[row], abs=1e-4
        )


def test_a_file_that_vanished_is_grey(browser: Browser, unlabelled: Report) -> None:
    browser.open(unlabelled[1], "#image=3")
    assert browser.text("#viewer-name") == HOSTILE[3]
    assert browser.one("#viewer-gone").is_displayed()
    assert not browser.one("#viewer-canvas").is_displayed()
    browser.keys(ESCAPE)
    assert len(browser.all("#grid .pic.gone")) == 1


def test_many_clusters(browser: Browser, report_of: Written) -> None:
    chain = [(0, 1), *((150 + i, i + 2) for i in range(148))]
    tree = {"levels": [2, 150, 300], "merges": chain, "links": [1.0] * 149}
    _, path = report_of(n=600, k=150, tree=tree)
    browser.open(path)
    assert len(browser.all("#tree-leaves li")) == 40
    assert browser.text("#tree-leaves .name") == "111 clusters"
    assert len(browser.all("#tree .join")) == 39
    assert len(browser.all("#bars button")) == 150
    assert not browser.one("#similarity-matrix").is_displayed()
    assert len(browser.all("#similarity-pairs li")) == 60
    assert len(browser.all(".card")) == 12
    browser.click("#more-cards")
    assert len(browser.all(".card")) == 24
    assert browser.js("return document.querySelectorAll('*').length") < 8000


def test_a_part_of_the_images(browser: Browser, report_of: Written) -> None:
    _, path = report_of(n=500, max_images=80)
    browser.open(path)
    assert "holds 80 of them" in browser.text("#lead")
    assert "80 of the 500 images" in browser.text("#images-words")
    assert browser.text("#count") == "80 images in this page"
    assert "167 images" in browser.text("#cards .card")


@pytest.mark.parametrize("n, k", [(1, 1), (2, 2), (5, 2)])
def test_hardly_any_images(
    browser: Browser, report_of: Written, n: int, k: int
) -> None:
    _, path = report_of(n=n, k=k)
    browser.open(path)
    assert len(browser.all("#grid .tile")) == n
    assert browser.one("#similarity").is_displayed() == (k > 1)


def test_nothing_sticks_out(
    browser: Browser, usual: Report, unlabelled: Report
) -> None:
    for _, path in (usual, unlabelled):
        browser.open(path)
        for width in (390, 820, 1900):
            browser.size(width)
            browser.until(
                "innerWidth === " + str(width) + " && document.documentElement"
                ".scrollWidth <= document.documentElement.clientWidth"
            )
            browser.click("#grid .pic")
            box = browser.js(
                "const b = document.querySelector('#viewer').getBoundingClientRect();"
                "return [b.left, b.right, b.bottom]"
            )
            assert box[0] >= 0 and box[1] <= width and box[2] <= 900
            browser.keys(ESCAPE)


def test_names_for_screen_readers_the_bar_and_colours(
    browser: Browser, usual: Report
) -> None:
    browser.open(usual[1])
    nameless: list[Any] = browser.js(
        "return [...document.querySelectorAll('button, a, input, select, summary,"
        " canvas[tabindex], svg[role]')].filter(node =>"
        " !(node.getAttribute('aria-label') || node.textContent.trim()"
        " || node.labels?.length)).map(node => node.outerHTML.slice(0, 90))"
    )
    assert nameless == []
    assert len(browser.all("h1")) == 1
    assert browser.js("return document.documentElement.lang") == "en"

    for link in browser.all("#nav a"):
        link.click()
        target = link.get_attribute("href").split("#")[1]
        assert browser.js("return document.activeElement.id") == target
        browser.until(
            f"document.getElementById('{target}').getBoundingClientRect().top < 200"
        )

    def brightness(expected: str) -> float:
        feature = {"name": "prefers-color-scheme", "value": expected}
        browser.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )
        color = browser.js("return getComputedStyle(document.body).backgroundColor")
        return float(np.mean([int(v) for v in color[4:-1].split(",")]))

    assert brightness("dark") < 40
    assert brightness("light") > 240


@pytest.mark.slow
def test_ten_thousand_photos(browser: Browser, tmp_path: Path) -> None:
    from hadis_lightly.report import write_report

    rng = np.random.default_rng(0)
    scenes = [
        Image.fromarray(rng.integers(0, 256, (12, 18, 3)).astype(np.uint8)).resize(
            (300, 200), Image.Resampling.BICUBIC
        )
        for _ in range(50)
    ]
    data = some_data(10_000, 20, read=lambda row: scenes[row % 50])
    path = write_report(data, tmp_path)
    assert path.stat().st_size < 40e6
    browser.open(path)
    assert browser.js("return window.reportReady") < 3000
    assert browser.js("return document.querySelectorAll('*').length") < 8000
