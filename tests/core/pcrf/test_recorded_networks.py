"""The PCRF is given what recorded PCRFs were given, and has to say what they said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from ferret.errors import DecodeError
from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Command, Message, avp
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role
from ferret_agents.capture import reader
from ferret_core.nf import Peer, Received, Send
from ferret_core.pcrf import Pcrf, policy_from_recording
from ferret_core.pcrf.recording import missing_gx_sessions

ASKS_PCRF = {Command.CREDIT_CONTROL, Command.AA, Command.SESSION_TERMINATION}
ASKED_BY_PCRF = {Command.RE_AUTH, Command.ABORT_SESSION}
Key = tuple[int, int, bool, str]


def gx_and_rx(path: Path) -> list[Message]:
    """The Gx and Rx messages of a capture in its order, each once."""
    found: dict[bytes, Message] = {}
    for one in reader.messages(path):
        if one.protocol is Protocol.DIAMETER:
            try:
                message = diameter.decode(one.octets)
            except DecodeError:
                continue
            if message.application in (Application.GX, Application.RX):
                found.setdefault(one.octets, message)
    return list(found.values())


def shown(message: Message) -> dict[str, object]:
    """What is compared: everything but the identifiers that a hop allocates."""
    return {
        one.path: one.value
        for one in diameter.parameters(message)
        if one.path not in ("header/Hop-by-Hop Identifier", "header/End-to-End Identifier")
    }


class Replay:
    """Feeds a PCRF the recorded messages; what it says is paired with what was recorded, by session, in order."""

    def __init__(self, pcrf: Pcrf, messages: Sequence[Message]) -> None:
        self.pcrf = pcrf
        self.messages = messages
        self.recorded: dict[Key, list[Message]] = defaultdict(list)
        self.tokens: dict[str, list[int]] = defaultdict(list)
        self.pairs: list[tuple[Message, Message | None]] = []
        for message in messages:
            self.recorded[self._key(message)].append(message)

    @staticmethod
    def _key(message: Message) -> Key:
        session_id = message.value_of(avp.SESSION_ID) or ""
        return message.command, message.application, message.is_request, session_id

    def run(self) -> None:
        for count, message in enumerate(self.messages, start=1):
            session_id = message.value_of(avp.SESSION_ID) or ""
            if message.is_request and message.command in ASKS_PCRF:
                self._deliver(message, count)
            elif not message.is_request and message.command in ASKED_BY_PCRF and self.tokens[session_id]:
                self._deliver(message, self.tokens[session_id].pop(0))

    def _deliver(self, message: Message, transaction: int) -> None:
        on_gx = message.application == Application.GX
        interface, peer = (Interface.GX, Peer(Role.PGW)) if on_gx else (Interface.RX, Peer(Role.PCSCF))
        for output in self.pcrf.receive(Received(interface, peer, message, transaction), 0.0):
            assert isinstance(output, Send), output
            said = output.message
            assert isinstance(said, Message)
            if said.is_request:
                self.tokens[said.value_of(avp.SESSION_ID) or ""].append(output.token)
            waiting = self.recorded[self._key(said)]
            self.pairs.append((said, waiting.pop(0) if waiting else None))


def replay(messages: Sequence[Message], context: Mapping[str, object]) -> Replay:
    pcrf = Pcrf(address="127.0.0.9", random=Random(1))
    pcrf.import_context(context, 0.0)
    run = Replay(pcrf, messages)
    run.run()
    return run


CAPTURES = ["volte-call-full.pcap", "volte-multi-6.pcap", "open5gs-volte.pcap", "open5gs-attach.pcap"]


@pytest.mark.parametrize("name", [*CAPTURES, "open5gs-idle-paging.pcap"])
def test_it_says_what_the_recorded_pcrf_said(name: str, own_captures: list[Path]) -> None:
    path = next(one for one in own_captures if one.name == name)
    messages = gx_and_rx(path)
    run = replay(messages, policy_from_recording(messages))
    assert run.pairs
    for said, recorded in run.pairs:
        assert recorded is not None, f"{said} was never recorded"
        assert shown(said) == shown(recorded)
    assert not any(run.pcrf.leftovers().values())


def test_it_says_everything_that_the_recorded_pcrf_said(own_captures: list[Path]) -> None:
    for path in own_captures:
        messages = gx_and_rx(path)
        run = replay(messages, policy_from_recording(messages))
        from_pcrf = [m for m in messages if m.is_request == (m.command in ASKED_BY_PCRF)]
        assert len(run.pairs) == len(from_pcrf)


def test_without_policy_only_what_is_the_operators_choice_comes_out_different(own_captures: list[Path]) -> None:
    policy_decides = (
        "Charging-Rule-Name", "QoS-Information", "Precedence", "Flow-Status", "Auth-Request-Type",
    )  # fmt: skip
    for path in own_captures:
        messages = gx_and_rx(path)
        identity = policy_from_recording(messages).get("identity", {"host": "", "realm": ""})
        for said, recorded in replay(messages, {"identity": identity}).pairs:
            assert recorded is not None
            ours, theirs = shown(said), shown(recorded)
            different = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
            assert all(any(choice in path for choice in policy_decides) for path in different), different


def test_policy_of_a_recording_names_no_result_and_no_session(own_captures: list[Path]) -> None:
    messages = gx_and_rx(next(one for one in own_captures if one.name == "volte-call-full.pcap"))
    text = repr(policy_from_recording(messages))
    sessions = {message.value_of(avp.SESSION_ID) or "?" for message in messages}
    assert not any(one in text for one in sessions)
    assert "Result" not in text
    assert avp.RESULT_CODE(2001).encode().hex() not in text


def test_a_call_that_was_recorded_without_its_attach_is_authorised_all_the_same(own_captures: list[Path]) -> None:
    everything = gx_and_rx(next(one for one in own_captures if one.name == "volte-call-full.pcap"))
    messages = [message for message in everything if message.command != Command.CREDIT_CONTROL]
    sessions = missing_gx_sessions(messages)
    assert sorted(str(one["ue_ip"]) for one in sessions) == ["['10.46.0.2']", "['10.46.0.3']"]
    run = replay(messages, {**policy_from_recording(messages), "gx_sessions": sessions})
    assert len(run.pairs) == 20
    for said, recorded in run.pairs:
        assert recorded is not None
        assert shown(said) == shown(recorded)


def test_every_capture_that_is_to_be_had_runs_without_an_error(all_captures: list[Path]) -> None:
    for path in all_captures:
        messages = gx_and_rx(path)
        if messages:
            sessions = missing_gx_sessions(messages)
            replay(messages, {**policy_from_recording(messages), "gx_sessions": sessions})
