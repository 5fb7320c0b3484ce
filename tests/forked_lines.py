"""Command lines as real processes, without importing everything for each of them.

``python -m tests.forked_lines`` reads command lines as JSON; each runs a
recipe in a fork of its own, as the interpreter would. What is answered is how it ended.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
SECONDS = 60.0


class Ended(NamedTuple):
    """How a command line ended."""

    status: int | None
    """Exit status; None if it had to be stopped."""
    seconds: float
    output: str
    errors: str


def warm_up() -> None:
    """Imports what every line imports, and composes once, so that forks need not."""
    import torch
    from hydra import compose, initialize

    import hadis_lightly.cli.launcher
    import hadis_lightly.report.run_figures
    import hadis_lightly.report.run_report
    import hadis_lightly.runs  # noqa: F401

    torch.set_num_threads(1)
    with initialize(version_base="1.3", config_path=None):
        compose()


def child(recipe: str, argv: list[str], out: str, err: str, encoding: str) -> int:
    """The rest of a process that runs a recipe: returns its exit status."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding=encoding, errors="backslashreplace", closefd=False
    )
    sys.argv = [recipe, *argv]
    status = 0
    try:
        runpy.run_path(recipe, run_name="__main__")
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def script(name: str) -> Path:
    """A recipe by its name, or a command by its path without the suffix."""
    return ROOT / (f"{name}.py" if "/" in name else f"recipes/{name}.py")


def serve() -> None:
    warm_up()
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                os.chdir(asked["cwd"])
                os.environ["HYDRA_FULL_ERROR"] = asked["full_error"]
                status = child(
                    str(script(asked["recipe"])),
                    asked["argv"],
                    asked["out"],
                    asked["err"],
                    asked["encoding"],
                )
            finally:
                os._exit(status)
        ended: int | None = None
        while (waited := os.waitpid(pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > start + SECONDS:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(0.01)
        else:
            ended = os.waitstatus_to_exitcode(waited[1])
        answer = {"status": ended, "seconds": time.monotonic() - start}
        print(json.dumps(answer), flush=True)


class Lines:
    """The server, from outside.

    Args:
        folder: Where output goes.
        cwd: The current folder of all command lines.
    """

    def __init__(self, folder: Path, cwd: Path) -> None:
        self.out, self.err, self.cwd = folder / "out", folder / "err", cwd
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked_lines"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        recipe: str,
        argv: list[str],
        *,
        shows_traceback: bool = False,
        encoding: str = "utf-8",
    ) -> Ended:
        """Runs a recipe, or a command, to its end; its console has an encoding."""
        asked: dict[str, Any] = {"recipe": recipe, "argv": argv}
        asked |= {"cwd": str(self.cwd), "full_error": str(int(shows_traceback))}
        asked |= {"out": str(self.out), "err": str(self.err), "encoding": encoding}
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        output, errors = (
            path.read_text(encoding="utf-8", errors="replace")
            for path in (self.out, self.err)
        )
        return Ended(answer["status"], answer["seconds"], output, errors)

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=60)


if __name__ == "__main__":
    serve()
