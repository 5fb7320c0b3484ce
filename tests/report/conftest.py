"""A headless Chromium for the tests of the page, one for all of them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hadis_lightly.report import ReportData, write_report
from tests.report.some_data import some_data


class Browser:
    """What a visitor does and sees."""

    def __init__(self, driver: Any, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def open(self, path: Path, hash: str = "", width: int = 1280) -> None:
        """Opens the page and waits until it says that it is ready."""
        self.size(width)
        self._go("about:blank")
        self._go(path.resolve().as_uri() + hash)
        self.until("window.reportReady")

    def _go(self, url: str) -> None:
        from selenium.common.exceptions import TimeoutException

        for _ in range(2):
            # On a busy machine Chromium at times does not say that a page has come.
            with suppress(TimeoutException):
                return self.driver.get(url)
        self.driver.get(url)

    def size(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**metrics, "mobile": width < 500}
        )

    def until(self, expression: str, seconds: float = 8) -> Any:
        """Waits until an expression of JavaScript is true, and returns it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = self.js(f"return {expression}")
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"{expression} is {value!r} after {seconds} s")

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return str(
            self.js("return document.querySelector(arguments[0]).textContent", selector)
        )

    def click(self, selector: str, nth: int = 0) -> None:
        """Clicks where a visitor would, after bringing it in sight."""
        element = self.all(selector)[nth]
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def keys(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def at(self, selector: str, x: float, y: float, click: bool = False) -> None:
        """Moves the mouse to a place in an element, in pixels from its corner."""
        from selenium.webdriver import ActionChains

        element = self.one(selector)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        box = self.js(
            "const b = arguments[0].getBoundingClientRect(); return [b.x, b.y]", element
        )
        actions = ActionChains(self.driver, duration=20)
        actions.w3c_actions.pointer_action.move_to_location(
            round(box[0] + x), round(box[1] + y)
        )
        if click:
            actions.w3c_actions.pointer_action.click()
        actions.perform()

    def complaints(self) -> list[str]:
        """Errors and warnings in the console since the last call."""
        messages = [entry["message"] for entry in self.driver.get_log("browser")]
        # The tests read pixels back, which the page never does.
        return [text for text in messages if "willReadFrequently" not in text]


@pytest.fixture(scope="session")
def session_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary, service = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or service is None:
        pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    from selenium.webdriver.chrome.service import Service

    os.environ["SE_OFFLINE"] = "true"
    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "headless=new", "no-sandbox", "disable-dev-shm-usage", "no-first-run",
        "disable-background-networking", "disable-component-update",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(downloads)}
    )
    driver = webdriver.Chrome(options=options, service=Service(service))
    driver.set_page_load_timeout(20)
    try:
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(downloads)},
        )
        yield Browser(driver, downloads)
    finally:
        driver.quit()


@pytest.fixture
def browser(session_browser: Browser) -> Iterator[Browser]:
    """The browser; the test fails if the console has complaints at its end."""
    session_browser.complaints()
    yield session_browser
    assert session_browser.complaints() == []


Written = Callable[..., tuple[ReportData, Path]]


@pytest.fixture(scope="session")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Writes a report, once for each set of arguments."""
    known: dict[str, tuple[ReportData, Path]] = {}

    def write(max_images: int = 10_000, **changes: Any) -> tuple[ReportData, Path]:
        name = repr((max_images, sorted(changes.items(), key=str)))
        if name not in known:
            data = some_data(**changes)
            folder = tmp_path_factory.mktemp("report")
            known[name] = data, write_report(data, folder, max_images=max_images)
        return known[name]

    return write
