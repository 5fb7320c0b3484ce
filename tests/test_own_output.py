"""Names of output are claimed once, whoever asks; own output is known again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hadis_lightly.own_output import is_own, new_file, new_folder

# Claims a name a hundred times, once somebody else is there to do the same.
_CLAIM = """
import sys
from pathlib import Path
from hadis_lightly.own_output import new_file, new_folder
folder, claim = Path(sys.argv[1]), globals()[sys.argv[2]]
print(flush=True)
sys.stdin.readline()
for number in range(100):
    with claim(folder / f"{number}.csv") as new:
        pass
    print(getattr(new, "path", new).name)
"""


@pytest.mark.parametrize("claim", ["new_file", "new_folder"])
def test_two_processes_never_get_the_same_name(tmp_path: Path, claim: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIM, str(tmp_path), claim],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # ready
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    names = [name for p in processes for name in p.communicate()[0].split()]
    expected = [f"{number}{end}" for number in range(100) for end in (".csv", "-2.csv")]
    assert sorted(names) == sorted(expected) == sorted(os.listdir(tmp_path))


@pytest.mark.parametrize("claim", [new_file, new_folder])
def test_a_name_is_free_again_after_an_error(tmp_path: Path, claim: object) -> None:
    assert callable(claim)
    with pytest.raises(KeyboardInterrupt), claim(tmp_path / "below" / "a"):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "below") == []


def test_a_file_has_its_name_once_it_is_complete(tmp_path: Path) -> None:
    with new_file(tmp_path / "a.csv") as file:
        file.unfinished.write_text("whole")
        assert [name[0] for name in os.listdir(tmp_path)] == ["."]
        (tmp_path / "a.csv").write_text("of somebody else")
    assert file.path == tmp_path / "a-2.csv" and file.path.read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == ["a-2.csv", "a.csv"]


def test_disks_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as on exFAT; no disk that is here refuses
    for _ in range(2):
        with new_file(tmp_path / "a.csv") as file:
            file.unfinished.write_text("whole")
        assert file.path.read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == ["a-2.csv", "a.csv"]


def test_what_was_written_before_an_error_stays(tmp_path: Path) -> None:
    with pytest.raises(ValueError), new_folder(tmp_path / "a") as folder:
        (folder / "b.png").touch()
        raise ValueError
    assert (tmp_path / "a" / "b.png").exists() and is_own(tmp_path / "a")
