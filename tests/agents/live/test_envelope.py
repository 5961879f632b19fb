"""An agent's name and number on messages that the dissector has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ferret.errors import ConfigError
from ferret.queue import decode_captured
from ferret.records.message import Flaw
from ferret_agents.capture.reader import read
from ferret_agents.live.envelope import Sender

AGENT = "192.0.2.1"
EPOCH = 1_700_000_000_123_456_768


def test_a_dissected_message_is_signed_with_name_and_number(capture: Callable[[str], Path]) -> None:
    sender = Sender(AGENT, EPOCH)
    for message in read(capture("volte-call-full.pcap")).messages:
        for before in (message, replace(message, agent="somebody else", number=3, flaws=(Flaw.CUT,))):
            after = decode_captured(sender.sign(before, 7))
            assert after == replace(before, agent=AGENT, number=7, frame=0, epoch=EPOCH)


def test_a_name_that_the_queue_has_no_room_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="256 octets; 255 are the limit"):
        Sender("é" * 128)
