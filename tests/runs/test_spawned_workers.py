"""Worker processes that are spawned, as on Windows and macOS, and not forked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import multiprocessing

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=print)
    worker.start()
    worker.join()
else:  # in the worker
    from hadis_lightly.runs import run
    from hadis_lightly.settings import Settings

    run(Settings(output_dir="spawned"))
"""


def test_a_script_that_workers_run_again_starts_no_second_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert 'Put the call below `if __name__ == "__main__":`' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]
