"""The server as a command and as a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing import (
    FakeModelServer,
    FakeModelSettings,
    Fault,
    Rule,
    fake_model_process,
    preset,
)
from elspeth_dagster.testing.fake_model import add_arguments, chosen_settings, main

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
COMMAND = [sys.executable, "-W", "error", "-m", "elspeth_dagster.testing.fake_model", "--port", "0"]


@contextmanager
def _command(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def _status(base_url: str) -> int:
    request = urllib.request.Request(f"{base_url}/chat/completions", data=BODY)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return int(answer.status)


def _place(process: subprocess.Popen[bytes]) -> dict[str, object]:
    assert process.stdout is not None
    place: dict[str, object] = json.loads(process.stdout.readline())
    return place


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_and_ends_quietly(how: signal.Signals) -> None:
    with _command("--preset", "calm", "--seed", "7", "--latency-ms", "1") as process:
        place = _place(process)
        assert _status(str(place["base_url"])) == 200
        process.send_signal(how)
        _, said = process.communicate(timeout=10)

    assert process.returncode == 0
    assert said.decode().count("\n") == 1
    assert str(place["base_url"]) in said.decode()


def test_the_process_is_given_its_settings_and_shows_its_stats() -> None:
    with fake_model_process(preset="busy", latency_ms=0, seed=3, api_key=None) as server:
        assert [_status(server.base_url) for _ in range(3)] == [200, 200, 200]
        stats = server.stats()
        server.reset()
        after = server.stats()

    assert (stats.answered, stats.bodies_answered, stats.repeated) == (3, 1, 1)
    assert after.requests == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_the_weather_of_a_process_can_change() -> None:
    with fake_model_process(always=500) as server:
        server.change(always=None, rules=[Rule("hi", Fault.HTTP_529, times=1)])
        with pytest.raises(urllib.error.HTTPError, match="529") as overloaded:
            _status(server.base_url)
        overloaded.value.close()

        assert _status(server.base_url) == 200
        with pytest.raises(LaunchError, match="Did you mean 'burst'"):
            server.change(bursts=3)
        assert server.stats().requests == 2


def test_a_process_that_cannot_start_says_why() -> None:
    with (
        FakeModelServer() as taken,
        pytest.raises(LaunchError, match="did not start") as refused,
        fake_model_process(port=taken.port),
    ):
        pass

    assert refused.value.where is not None
    assert str(taken.port) in refused.value.where


def test_the_server_ends_when_its_parent_dies() -> None:
    parent_program = (
        "import subprocess, sys, time;"
        f"p = subprocess.Popen({[*COMMAND, '--die-with-parent']!r}, stdout=subprocess.PIPE);"
        "print(p.stdout.readline().decode(), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", parent_program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        _place(parent)
        parent.kill()
        assert parent.stderr is not None
        # The server inherited this pipe: its end comes when the server is gone.
        assert b"Traceback" not in parent.stderr.read()


def test_options_change_the_preset_and_add_to_its_faults() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    line = "--preset busy --rate 30 --concurrency 4 --fault hang=0.5 --rate-step 10=5 --model a --charge-rejected"

    settings = chosen_settings(parser.parse_args(line.split()))

    assert settings == preset(
        "busy",
        rate_per_s=30.0,
        concurrency_max=4,
        faults={"http_500": 0.002, "hang": 0.5},
        rate_steps=[(10, 5)],
        models=["a"],
        charge_rejected=True,
    )


def test_settings_come_from_a_file_and_options_go_on_top(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    file = tmp_path / "weather.json"
    file.write_text('{"latency_ms": 5, "seed": 1}')

    settings = chosen_settings(parser.parse_args(["--settings", str(file), "--seed", "2"]))

    assert settings == FakeModelSettings(latency_ms=5, seed=2)


@pytest.mark.parametrize(
    ("options", "what", "following"),
    [
        (["--preset", "strom"], "no preset 'strom'", "'storm'"),
        (["--fault", "http_5=0.1"], "no fault 'http_5'", "'http_5"),
        (["--fault", "hang"], "has no probability", "hang=0.01"),
        (["--rate", "5", "--rate-step", "x"], "not two numbers", "--rate-step"),
        (["--retry-after", "sometimes"], "no retry_after", "seconds"),
        (["--latency-ms", "-3"], "latency_ms is -3.0", "from 0"),
        (["--settings", "/does/not/exist.json"], "cannot be read", "JSON"),
        (["--port", "99999999"], "cannot listen", "port"),
    ],
)
def test_a_mistake_is_one_line_what_and_one_line_next(
    capsys: pytest.CaptureFixture[str], options: list[str], what: str, following: str
) -> None:
    status = main(options)

    output = capsys.readouterr()
    first, second = output.err.splitlines()
    assert status == 2
    assert what in first
    assert following in second
    assert output.out == ""


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, elspeth_dagster.testing.fake_model;"
        "print([n for n in ('dagster', 'openai', 'pandas', 'aiohttp', 'sqlalchemy', 'pydantic') if n in sys.modules])"
    )

    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout

    assert output.decode().strip() == "[]"
