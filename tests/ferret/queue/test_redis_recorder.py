"""A recorder on Redis: killed, with Redis killed too, and started again, it writes what one that lived would have."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferret.queue import RedisQueue, encode_captured
from ferret.records.journal import Journal
from ferret_agents.live_recording import record_messages
from ferret_agents.offline import agents
from ferret_agents.pipeline import record_file

pytestmark = pytest.mark.redis

EPOCH = 1_700_000_000_000_000_000 & ~0xFF


def start(url: str, journal: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ferret", "record", "--queue", url, "--journal", str(journal)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = ""
    while "recorder_started" not in line:
        line = process.stderr.readline()
        assert line, "the recorder has ended"
    return process


def wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_recorder_that_was_killed_has_everything_once(
    mortal_redis: Any, tmp_path: Path, capture: Callable[[str], Path]
) -> None:
    recorded = record_file(capture("volte-call-full.pcap"))
    messages = [replace(m, epoch=EPOCH, frame=0) for m in agents(recorded.read.messages, recorded.network)]
    url, journal = mortal_redis.url("core"), tmp_path / "journal"
    writer = RedisQueue.attach(url)
    third = len(messages) // 3
    parts = [messages[:third], messages[third : 2 * third], messages[2 * third :]]
    for number, part in enumerate(parts):
        recorder = start(url, journal)
        assert writer.put_many([encode_captured(message) for message in part]) == len(part)
        if number == 0:
            wait(lambda: writer.depth == 0)
        if number < 2:
            recorder.kill()
            recorder.communicate()
        if number == 1:
            mortal_redis.kill()
            mortal_redis.start()
    wait(lambda: writer.depth == 0)
    recorder.terminate()
    out, err = recorder.communicate(timeout=60)
    assert recorder.returncode == 0, err
    wanted = record_messages(messages)
    with Journal(journal) as written:
        found = [written.read(entry.id) for entry in written.recordings()]
    assert [r.id for r in found] == [r.id for r in wanted.recordings]
    assert [[m.octets for m in r.messages] for r in found] == [
        [m.octets for m in r.messages] for r in wanted.recordings
    ]
    assert [r.holes for r in found] == [r.holes for r in wanted.recordings]
    assert len(out.splitlines()) == len(found)
    assert not list(journal.glob("*.spool"))
    writer.unlink()
    writer.close()
