"""The notebook runs from top to bottom, and stores no output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "photos.ipynb"

# Of the kernel's own packages, not of ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_no_output_is_stored() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, with few epochs and images: a kernel would import for long."""
    monkeypatch.setenv("HADIS_NOTEBOOK_EPOCHS", "2")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: plt.close("all"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in read().cells:
        if cell.cell_type == "code":
            exec(cell.source.replace("600", "150").replace("608", "158"), names)
    check(tmp_path)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read()
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    check(tmp_path)


def check(folder: Path) -> None:
    """Whether the notebook has come to its end."""
    (page,) = folder.glob("*/report/index.html")
    assert page.stat().st_size > 10_000
