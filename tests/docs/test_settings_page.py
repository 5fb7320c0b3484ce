"""docs/settings.md has a table for every section of the settings."""

from __future__ import annotations

import re
import runpy

import pytest

from hadis_lightly.fields import field_infos
from hadis_lightly.settings import Settings
from tests.docs.shell_lines import ROOT


def test_the_page_has_every_setting() -> None:
    pytest.importorskip("sphinx")
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    page = [(ROOT / "docs" / "settings.md").read_text(encoding="utf-8")]
    conf["fill_in_settings"](None, "settings", page)
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \| (.+) \|$", page[0], re.MULTILINE)
    assert sorted(row[0] for row in rows) == sorted(
        name for name, _ in field_infos(Settings())
    )
    assert ("model.pcl_weight", "0.1") in {row[:2] for row in rows}
    assert all(meaning.endswith(".") for *_, meaning in rows)
