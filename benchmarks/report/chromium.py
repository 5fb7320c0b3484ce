"""A headless Chromium, driven by the chromedriver that is installed beside it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def chromium(downloads: Path | None = None) -> Iterator[Any]:
    """The driver of a browser, which may download into a folder."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise SystemExit("chromium and chromedriver must be installed")
    os.environ["SE_OFFLINE"] = "true"
    settings = webdriver.ChromeOptions()
    settings.binary_location = browser
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        settings.add_argument(f"--{argument}")
    settings.add_argument("--window-size=1400,900")
    page = webdriver.Chrome(options=settings, service=Service(driver))
    try:
        if downloads is not None:
            page.execute_cdp_cmd(
                "Browser.setDownloadBehavior",
                {"behavior": "allow", "downloadPath": str(downloads.resolve())},
            )
        yield page
    finally:
        page.quit()


def open_page(page: Any, path: Path) -> float:
    """Seconds from the start of the navigation until a report is ready."""
    page.get("about:blank")
    page.get(path.resolve().as_uri())
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        ready = page.execute_script("return window.reportReady ?? null")
        if ready is not None:
            return float(ready) / 1000
        time.sleep(0.02)
    raise SystemExit(f"{path} was not ready after two minutes")
