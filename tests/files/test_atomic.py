"""A file is there whole or not at all, whatever kills its writer."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from elspeth_dagster.errors import SinkError
from elspeth_dagster.files import AtomicFile
from elspeth_dagster.files.atomic import sink_error

DIES_MIDWAY = """
import os, sys
from pathlib import Path
from elspeth_dagster.files import open_writer
writer = open_writer("csv", Path(sys.argv[1]))
for number in range(100_000):
    writer.write({"id": number, "text": "half of a file"})
os._exit(9)
"""

DISK_TOO_SMALL = """
import resource, sys
from pathlib import Path
from elspeth_dagster.errors import SinkError
from elspeth_dagster.files import open_writer
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
writer = open_writer("csv", Path(sys.argv[1]))
try:
    for number in range(100_000):
        writer.write({"id": number, "text": "more than there is room for"})
    writer.finish()
except SinkError as error:
    print(error.what, error.hint)
"""

WAITS_HALF_WRITTEN = """
import sys
from pathlib import Path
from elspeth_dagster.files import AtomicFile
file = AtomicFile(Path(sys.argv[1]))
file.write(b"mine" * 1_000_000)
print("ready", flush=True)
sys.stdin.readline()
file.commit()
"""


def _run(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def _commit(path: Path, data: bytes) -> None:
    with AtomicFile(path) as file:
        file.write(data)
        file.commit()


def test_a_file_appears_at_commit_whole_with_its_digest_and_size(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "out.bin"
    with AtomicFile(path) as file:
        file.write(b"abc")
        file.write(b"d" * 1_000_000)
        assert not path.exists()
        file.commit()

    assert path.read_bytes() == b"abc" + b"d" * 1_000_000
    assert file.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert file.size_bytes == 1_000_003
    assert _names(path.parent) == ["out.bin"]


def _write_then_fail(file: AtomicFile) -> None:
    file.write(b"new" * 1_000_000)
    raise TypeError


def test_an_exception_removes_what_was_written_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    with pytest.raises(TypeError), AtomicFile(path) as file:
        _write_then_fail(file)

    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["out.bin"]


def test_a_committed_or_aborted_file_takes_nothing_more(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "out.bin")
    file.commit()
    file.abort()

    with pytest.raises(ValueError, match="already"):
        file.write(b"x")
    with pytest.raises(ValueError, match="already"):
        file.commit()
    assert _names(tmp_path) == ["out.bin"]


def test_a_writer_killed_midway_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    (tmp_path / ".other.csv.1-0123456789ab.part").touch()

    assert _run(DIES_MIDWAY, path).returncode == 9
    left = _names(tmp_path)
    assert path.read_text() == "old"
    assert len(left) == 3

    _commit(path, b"new")
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == [".other.csv.1-0123456789ab.part", "out.csv"]


def test_the_hidden_file_of_a_living_writer_is_never_cleaned_away(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    command = [sys.executable, "-c", WAITS_HALF_WRITTEN, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"

        _commit(path, b"ours")
        assert path.read_bytes() == b"ours"
        other.communicate("go on\n", timeout=60)

    assert other.returncode == 0
    assert path.read_bytes() == b"mine" * 1_000_000
    assert _names(tmp_path) == ["out.bin"]


def test_writers_of_one_target_at_once_never_give_a_half_file(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    contents = [bytes([65 + number]) * 600_000 for number in range(4)]
    failures: list[BaseException] = []
    seen: set[bytes] = set()

    def write(content: bytes) -> None:
        try:
            for _ in range(10):
                _commit(path, content)
                seen.add(path.read_bytes())
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert seen <= set(contents)
    assert _names(tmp_path) == ["out.bin"]


def test_a_full_disk_is_a_sink_error_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    done = _run(DISK_TOO_SMALL, path)

    assert done.stderr == ""
    assert "cannot be written: File too large" in done.stdout
    assert "room on the disk" in done.stdout
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["out.csv"]


def test_a_target_that_cannot_be_a_file_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SinkError, match="is a folder"):
        AtomicFile(tmp_path)
    with pytest.raises(SinkError, match="folder is not a folder"):
        AtomicFile(tmp_path / "file" / "out.csv")
    with pytest.raises(SinkError, match="folder is not a folder"):
        AtomicFile(tmp_path / "file" / "deeper" / "out.csv")
    assert "permission denied" in sink_error(PermissionError(13, "no"), tmp_path).what
    assert "No space left" in sink_error(OSError(28, "No space left on device"), tmp_path).what


def test_a_folder_that_goes_away_before_the_commit_is_a_sink_error(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "out.bin"
    file = AtomicFile(path)
    file.write(b"x")
    for entry in path.parent.iterdir():
        entry.unlink()
    path.parent.rmdir()

    with pytest.raises(SinkError):
        file.commit()


def test_the_new_file_keeps_the_rights_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.touch()
    path.chmod(0o640)

    _commit(path, b"x")

    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["x" * 255, "ā" * 127, ".hidden", "with [brackets]*.csv"])
def test_any_name_that_the_file_system_takes_will_do(tmp_path: Path, name: str) -> None:
    _commit(tmp_path / name, b"x")

    assert _names(tmp_path) == [name]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is all that is needed

    for number in range(5):
        _commit(tmp_path / "out.bin", b"x")
        AtomicFile(tmp_path / f"{number}.bin").abort()

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
