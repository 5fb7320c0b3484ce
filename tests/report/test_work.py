"""Names, moves and downloads in a real browser, by clicking and typing."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hadis_lightly.artifacts.assignments import Assignments
from hadis_lightly.artifacts.image_labels import labels_by_names
from hadis_lightly.artifacts.names_file import clusters_id, read_names
from hadis_lightly.report import ReportData
from tests.report.conftest import Browser, Written

Report = tuple[ReportData, Path]
ESCAPE, RIGHT, SHIFT, CONTROL = "\ue00c", "\ue014", "\ue008", "\ue009"
RELEASE = "\ue000"
HOSTILE = '<img src=x onerror="alert(1)">, "nine"'
DONE, SAID = "#work-done", "#said span"


@pytest.fixture(scope="module")
def report(report_of: Written) -> Report:
    """48 images in 4 clusters, those of cluster 2 the least certain."""
    labels = np.arange(48) % 4
    confidence = np.where(labels == 2, 0.4, 0.9) - np.arange(48) / 1000
    halves = (np.arange(48) // 4) % 2
    return report_of(
        n=48, k=4, halves=halves, confidence=confidence, with_classes=False,
        outlier=(np.arange(48) % 7 == 0).astype(np.int64),
    )  # fmt: skip


@pytest.fixture
def page(browser: Browser, report: Report) -> Iterator[Browser]:
    browser.open(report[1])
    yield browser
    browser.js("localStorage.clear()")
    for file in browser.downloads.iterdir():
        file.unlink()


def name(browser: Browser, cluster: str, text: str) -> None:
    browser.click(f".rename[data-unit='{cluster}']")
    browser.keys(CONTROL + "a" + RELEASE + text + "\n")


def download(browser: Browser, button: str, name: str) -> str:
    file = browser.downloads / name
    file.unlink(missing_ok=True)
    browser.click(button)
    deadline = time.monotonic() + 8
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return file.read_text(encoding="utf-8")


def labels(browser: Browser) -> dict[str, dict[str, str]]:
    text = download(browser, "#save-labels", "labels.csv")
    return {row["file"]: row for row in csv.DictReader(text.splitlines())}


def test_names_merge_clusters_and_are_downloaded(page: Browser, report: Report) -> None:
    data, _ = report
    cards = page.all("#cards .card")
    assert cards[0].get_attribute("data-cluster") == "2"  # the least certain first
    assert page.text(DONE) == "0 of 4 clusters named"
    page.click(".rename")
    page.keys("nine\n", HOSTILE + "\n")  # Enter goes on to the next
    assert page.text(DONE) == "2 of 4 clusters named"
    assert page.all("img") == []
    second = page.all(".rename")[1].get_attribute("data-unit")
    assert page.text(f"#bars [data-name-of='{second}']") == f"{second} · {HOSTILE}"
    assert page.text(SAID) == f"Cluster {second} is named {HOSTILE}"

    third = page.all(".rename")[2].get_attribute("data-unit")
    name(page, third, "  nine ")  # the same name is one label
    rows = labels(page)
    assert len(rows) == 48
    for row, key in enumerate(data.keys):
        cluster = data.labels[row]
        unnamed = f"cluster {cluster}"
        names = {2: "nine", int(second): HOSTILE, int(third): "nine"}
        assert rows[key]["label"] == names.get(cluster, unnamed)
        assert rows[key]["decided_by"] == "cluster"
        assert float(rows[key]["confidence"]) == pytest.approx(data.confidence[row])

    page.keys(*[CONTROL + "z" + RELEASE] * 3)
    assert page.text(DONE) == "0 of 4 clusters named"
    page.keys(CONTROL + "y")
    page.click("#redo")
    assert page.text(DONE) == "2 of 4 clusters named"

    page.click(f"[data-cluster='{third}'] .twin")  # one click gives it a known name
    assert page.text(DONE) == "3 of 4 clusters named"
    assert page.text(f"[data-name-of='{third}']").split(" · ")[1] in ("nine", HOSTILE)


def test_images_are_moved_and_excluded(page: Browser, report: Report) -> None:
    data, _ = report
    from selenium.webdriver import ActionChains

    pictures = page.all("#grid .pic")
    page.js("arguments[0].scrollIntoView({block: 'center'})", pictures[0])
    for key, picture in ((CONTROL, pictures[1]), (SHIFT, pictures[4])):
        actions = ActionChains(page.driver, duration=20)
        actions.key_down(key).click(picture).key_up(key).perform()
    assert page.text("#tray-count") == "4 selected"
    pictures[3].click()  # while some are selected a click selects
    assert page.text("#tray-count") == "3 selected"
    page.click("#tray-label")
    page.keys("odd one\n")
    assert page.text(DONE) == "0 of 4 clusters named, 3 images moved"
    assert "moved to odd one" in pictures[1].get_attribute("aria-label")

    page.js("arguments[0].focus()", pictures[8])
    page.keys(" ", SHIFT + RIGHT)
    assert page.text("#tray-count") == "2 selected"
    page.keys("x")
    assert page.text(DONE).endswith("3 images moved, 2 images excluded")
    rows = labels(page)
    keys = sorted(data.keys)
    assert set(keys) - set(rows) == {keys[8], keys[9]}
    assert rows[keys[1]] == {
        "file": keys[1], "label": "odd one", "confidence": "1", "decided_by": "hand",
    }  # fmt: skip
    assert rows[keys[3]]["decided_by"] == "cluster"

    page.js("arguments[0].focus()", pictures[1])
    page.keys(" ")
    page.click("#tray-back")
    assert page.text(DONE).endswith("2 images moved, 2 images excluded")
    page.js("arguments[0].focus()", pictures[2])
    page.keys(" ", ESCAPE)
    assert not page.one("#tray").is_displayed()
    pictures[2].click()
    assert page.one("#viewer").is_displayed()
    page.keys(ESCAPE)


def test_clusters_are_accepted_rejected_and_split_by_keys(
    page: Browser, report: Report
) -> None:
    data, _ = report
    page.js("document.body.focus()")
    page.keys("n", "a")
    assert page.text(DONE) == "0 of 4 clusters named, 1 accepted"
    assert page.text("[data-cluster='2'] .mark") == "✓ accepted"
    rejected = int(page.all(".card")[1].get_attribute("data-cluster"))
    page.keys("r")
    assert page.text(DONE) == "0 of 4 clusters named, 1 accepted, 1 rejected"
    page.keys("p", "p", "e")
    page.keys("nine\n")
    assert page.text("[data-name-of='2']") == "2 · nine"
    page.click("[data-cluster='2'] .halve")
    assert page.text(DONE).startswith("0 of 5 clusters named")
    name(page, "2a", "four")
    name(page, "2b", "nine")
    assert page.text("[data-name-of='2']") == "2 · four / nine"
    rows = labels(page)
    for row, key in enumerate(data.keys):
        if data.labels[row] == 2:
            assert rows[key]["label"] == ("four", "nine")[data.halves[row]]  # type: ignore[index]
        assert (key in rows) == (data.labels[row] != rejected)

    page.js("arguments[0].focus()", page.all("#grid .pic")[3])
    page.keys("x")
    page.js("arguments[0].focus()", page.all("#grid .pic")[5])
    page.keys("m")
    page.keys("by hand\n")
    rows = labels(page)
    download(page, "#save-names", "names.json")
    table = Assignments(
        data.keys, data.labels, data.confidence, data.distance, data.isolation,
        levels=(2 * data.labels + data.halves,),
    )  # fmt: skip
    found = labels_by_names(read_names(page.downloads / "names.json"), table)
    for key, label, by_hand in zip(data.keys, found.labels, found.by_hand, strict=True):
        assert label == (rows[key]["label"] if key in rows else None)
        if key in rows:
            assert rows[key]["decided_by"] == ("hand" if by_hand else "cluster")


def test_decisions_outlast_a_visit_and_travel_as_a_file(
    page: Browser, report: Report, tmp_path: Path
) -> None:
    data, path = report
    name(page, "1", "seven")
    page.js("document.querySelector('#grid .pic').focus()")
    page.keys(" ", "m")
    page.keys("two\n")
    first = page.js("return document.activeElement.getAttribute('aria-label')")
    key = first.split(", ")[0]
    page.click("[data-cluster='3'] .reject")
    text = download(page, "#save-names", "names.json")
    names = read_names(page.downloads / "names.json")
    assert names.run == clusters_id(data.prototypes) and names.n_clusters == 4
    assert names.rejected_images == {
        file for file, label in zip(data.keys, data.labels, strict=True) if label == 3
    } - {key}
    row = data.keys.index(key)
    expected = ("two", data.labels[row], data.confidence[row], data.distance[row])
    assert names.images[key] == pytest.approx(expected, abs=1e-4)  # type: ignore[comparison-overlap]
    assert [names.label(c) for c in range(4)] == [
        "cluster 0", "seven", "cluster 2", None,
    ]  # fmt: skip

    page.open(path)
    done = "1 of 4 clusters named, 1 rejected, 1 image moved"
    assert page.text(DONE) == done
    page.js("localStorage.clear()")
    page.open(path)
    assert page.text(DONE) == "0 of 4 clusters named"

    def load(content: str) -> None:
        file = tmp_path / "names.json"
        file.write_text(content, encoding="utf-8")
        page.js("HTMLInputElement.prototype.click = () => null")  # no window of files
        page.click("#load-names")
        page.one("#names-file").send_keys(str(file))
        page.until("!document.querySelector('#names-file')")

    load(text)
    assert page.text(DONE) == done
    for content, message in (
        ("{", "it is not JSON"),
        ("[]", "it is no names.json of a report"),
        (text.replace(names.run, "0"), "it was made with the report of another run"),
        (text.replace('"1": "seven"', '"9": "seven"'), "the name of 9 does not fit"),
    ):
        load(content)
        assert page.text(SAID) == f"names.json was not loaded: {message}."
        assert page.text(DONE) == done
    page.click("#undo")
    assert page.text(DONE) == "0 of 4 clusters named"


def test_a_browser_that_keeps_nothing(browser: Browser, report: Report) -> None:
    refuse = (
        "Object.defineProperty(window, 'localStorage', {get() {throw Error('no')}})"
    )
    command = "Page.addScriptToEvaluateOnNewDocument"
    script: Any = browser.driver.execute_cdp_cmd(command, {"source": refuse})
    try:
        browser.open(report[1])
        assert "keeps nothing between visits" in browser.text("#work-note")
        name(browser, "2", "nine")
        assert browser.text(DONE) == "1 of 4 clusters named"
        browser.click("#undo")
        assert json.loads(download(browser, "#save-names", "names.json"))["names"] == {}
    finally:
        browser.driver.execute_cdp_cmd(
            "Page.removeScriptToEvaluateOnNewDocument", script
        )


def test_a_frame_on_the_map_selects(page: Browser, report: Report) -> None:
    from selenium.webdriver import ActionChains

    canvas = page.one("#plane-canvas")
    page.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width, height = page.js(
        "return [arguments[0].clientWidth, arguments[0].clientHeight]", canvas
    )
    actions = ActionChains(page.driver, duration=20)
    actions.key_down(SHIFT)
    actions.move_to_element_with_offset(canvas, 14 - width // 2, 14 - height // 2)
    actions.click_and_hold().move_to_element_with_offset(canvas, 40, 40)
    actions.move_to_element_with_offset(canvas, width // 2 - 14, height // 2 - 14)
    actions.release().key_up(SHIFT).perform()
    assert page.text("#tray-count") == "48 selected"
    page.click("#tray-exclude")
    assert page.text(DONE) == "0 of 4 clusters named, 48 images excluded"


def test_an_image_gets_its_label_where_it_is_enlarged(
    page: Browser, report: Report
) -> None:
    page.click("#grid .pic")
    page.click("#viewer-label")
    page.keys("two\n")
    assert page.text(DONE).endswith("1 image moved")
    assert page.js("return document.activeElement.id") == "viewer-next"
    page.keys(RIGHT)
    page.click("#viewer-exclude")
    assert page.text(DONE).endswith("1 image moved, 1 image excluded")
    page.keys(ESCAPE)
    page.keys(CONTROL + "z")
    assert page.text(DONE).endswith("1 image moved")


def test_images_become_examples_of_the_name_of_their_cluster(
    page: Browser, report: Report
) -> None:
    _, path = report
    strip = "[data-cluster='1'] .strip .pic"
    page.js("arguments[0].focus()", page.one(strip))
    page.keys("k")
    assert page.text(SAID).startswith("An example needs a name")
    assert page.text(DONE) == "0 of 4 clusters named"
    name(page, "1", "seven")
    page.js("arguments[0].focus()", page.one(strip))
    page.keys("k")
    assert page.text(DONE) == "1 of 4 clusters named, 1 example"
    first = page.one(strip)
    assert "example of seven" in first.get_attribute("aria-label")
    page.keys(" ", SHIFT + RIGHT + RIGHT)
    page.click("#tray-example")  # the first is one already
    assert page.text(SAID) == "2 examples of seven"
    assert page.text(DONE) == "1 of 4 clusters named, 3 examples"
    assert not page.one("#tray").is_displayed()
    page.js("arguments[0].focus()", page.all(strip)[2])
    page.keys("k")  # takes it back
    assert page.text(DONE).endswith("2 examples")
    page.keys(CONTROL + "z")
    assert page.text(DONE).endswith("3 examples")

    name(page, "1", "eight")  # examples go with their cluster
    assert "example of eight" in first.get_attribute("aria-label")
    page.click(strip)
    assert page.one("#viewer-example").get_attribute("aria-pressed") == "true"
    page.click("#viewer-example")
    assert page.text(DONE).endswith("2 examples")
    page.keys("k", ESCAPE)
    assert page.text(DONE).endswith("3 examples")

    rows = labels(page)
    by_hand = {key for key, row in rows.items() if row["decided_by"] == "hand"}
    assert len(by_hand) == 3 and {rows[key]["label"] for key in by_hand} == {"eight"}
    content = json.loads(download(page, "#save-names", "names.json"))
    assert set(content["images"]) == by_hand
    assert {image["label"] for image in content["images"].values()} == {"eight"}
    assert all(image["example"] for image in content["images"].values())
    page.open(path)
    assert page.text(DONE) == "1 of 4 clusters named, 3 examples"
    name(page, "1", "nine")
    assert page.text(".pic[data-by-hand='✓ nine'] .tick") == ""


def test_images_are_filtered_by_label_and_outlier(
    page: Browser, report: Report
) -> None:
    data, _ = report
    name(page, "1", HOSTILE)

    def choose(menu: str, title: str) -> None:
        option = f"[...document.querySelectorAll('{menu} option')]"
        page.js(
            f"const o = {option}.find((o) => o.textContent === arguments[0]);"
            "o.selected = true;"
            "o.parentNode.dispatchEvent(new Event('change', {bubbles: true}))",
            title,
        )

    def count() -> str:
        return page.text("#count").split(" ")[0]

    choose("#label-choice", HOSTILE)
    assert count() == "12"
    choose("#outlier-choice", "Outliers only")
    outlier = data.outlier
    assert outlier is not None
    assert count() == str(int(((data.labels == 1) & (outlier == 1)).sum()))
    assert page.js("return location.hash").count("=") == 2  # a link brings it back
    choose("#outlier-choice", "Without outliers")
    choose("#label-choice", "Without a name")
    assert count() == str(int(((data.labels != 1) & (outlier == 0)).sum()))
    choose("#outlier-choice", "All images")
    page.js("document.querySelector('#grid .pic').focus()")
    page.keys("x")  # what one works on stays in view
    assert count() == "36"
    choose("#label-choice", "Excluded")
    assert count() == "1"
    choose("#label-choice", "Decided by hand")
    assert count() == "1"
    choose("#label-choice", HOSTILE)
    name(page, "1", "seven")  # that label is gone
    assert page.text("#count") == "48 images"
    assert page.complaints() == []


def test_a_run_that_started_from_names_shows_them(
    browser: Browser, report_of: Written
) -> None:
    _, path = report_of(n=12, k=3, prototypes=np.eye(3, 8), with_classes=False)
    assert browser_done(browser, path) == "0 of 3 clusters named"
    place = {"cluster": 1, "confidence": 0.5, "distance": 0.5}
    names = {
        "format": "hadis-lightly names 1",
        "run": clusters_id(np.eye(3, 8)),
        "n_clusters": 3,
        "names": {"0": "zero", "1": "one"},
        "split": [],
        "accepted": [],
        "rejected": [],
        "images": {"img_0001.png": {"label": "one", "example": True, **place}},
    }
    _, path = report_of(
        n=12, k=3, prototypes=np.eye(3, 8), with_classes=False, names=names
    )
    done = "2 of 3 clusters named, 1 example"
    assert browser_done(browser, path) == done
    name(browser, "2", "two")
    assert browser_done(browser, path) == "3 of 3 clusters named, 1 example"
    browser.js("localStorage.clear()")


def browser_done(browser: Browser, path: Path) -> str:
    browser.open(path)
    return browser.text(DONE)
