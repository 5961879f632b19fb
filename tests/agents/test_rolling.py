"""A recording that goes on keeps what is of use, and a gap in numbers stays what it is: a hole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import CapturedMessage, Endpoint, Interface, Node, Role, SignallingMessage
from ferret_agents.rolling import RollingRecorder

_HERE, _THERE = Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2)


def _captured(agent: str, number: int, octets: bytes) -> CapturedMessage:
    return CapturedMessage(Protocol.SIP, number, _HERE, _THERE, octets, agent=agent, number=number)


def _messages(captured: Iterable[CapturedMessage]) -> list[SignallingMessage]:
    ends = Node(Role.UE, _HERE.address), Node(Role.PCSCF, _THERE.address)
    return [SignallingMessage(n, one, "BYE", Kind.REQUEST, Interface.GM, *ends) for n, one in enumerate(captured)]


def test_every_agents_copy_of_a_dropped_message_goes() -> None:
    recorder = RollingRecorder()
    for agent in ("a", "b"):
        for number, octets in enumerate((b"kept", b"gone", b"kept too"), start=1):
            recorder.take(_captured(agent, number, octets))
    recorder.drop(_messages([_captured("a", 2, b"gone")]))
    assert [(one.agent, one.octets) for one in recorder.messages()] == [
        ("a", b"kept"),
        ("a", b"kept too"),
        ("b", b"kept"),
        ("b", b"kept too"),
    ]


def test_a_later_message_with_the_same_octets_stays() -> None:
    recorder = RollingRecorder()
    first = replace(_captured("a", 1, b"same"), captured_at_ns=0)
    recorder.take(first)
    recorder.take(replace(first, number=2, captured_at_ns=1_000_000_000))
    recorder.drop(_messages([first]))
    assert [one.captured_at_ns for one in recorder.messages()] == [1_000_000_000]


def test_the_oldest_message_makes_room_and_is_counted() -> None:
    recorder = RollingRecorder(most=2)
    for number in (1, 2, 3):
        recorder.take(_captured("a", number, bytes((number,))))
    assert [one.number for one in recorder.messages()] == [2, 3]
    assert (recorder.taken, recorder.let_go, len(recorder)) == (3, 1, 2)


@given(
    st.lists(st.sampled_from(("take", "lose", "drop")), max_size=40),
    st.lists(st.integers(0, 39), max_size=10),
)
def test_only_messages_that_were_lost_leave_holes_in_an_agents_numbers(events: list[str], chosen: list[int]) -> None:
    recorder, number, lost = RollingRecorder(), 0, 0
    for place, event in enumerate(events):
        if event == "drop":
            present = recorder.messages()
            recorder.drop(_messages(replace(present[at], number=0) for at in chosen if at < len(present)))
            continue
        number += 1
        if event == "lose":
            lost += 1
        else:
            recorder.take(_captured("a", number, str(place).encode()))
    numbers = [one.number for one in recorder.messages()]
    assert numbers == sorted(set(numbers))
    holes = sum(after - before - 1 for before, after in zip([0, *numbers], numbers, strict=False))
    assert holes <= lost
