"""Frames of the replay port survive the wire, and nothing else passes for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import PeerViolationError
from ferret.replay.port import (
    MAX_FRAME_OCTETS,
    Ack,
    Begin,
    Deliver,
    Expect,
    Finish,
    Frame,
    MadeOutput,
    Noted,
    Reconfigure,
    Settle,
    Settled,
    decode_frame,
    encode_frame,
)

_NAMES = st.text(max_size=20)
_IDS = st.integers(0, 2**31)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(
        Begin, _IDS, _NAMES, st.lists(_NAMES, max_size=3).map(tuple), st.dictionaries(_NAMES, _NAMES, max_size=3)
    ),
    st.builds(Deliver, _IDS, _NAMES, _NAMES, _NAMES, _NAMES, st.binary(max_size=200)),
    st.builds(Expect, _IDS, _NAMES, _NAMES, _NAMES, _NAMES, st.binary(max_size=200)),
    st.builds(Settle, _IDS),
    st.builds(Settled, _IDS, _IDS, _IDS),
    st.builds(Reconfigure, _IDS, _NAMES),
    st.builds(Finish, _IDS),
    st.builds(Ack, _IDS, _NAMES),
    st.builds(Noted, _NAMES, st.dictionaries(_NAMES, st.integers(), max_size=3)),
    st.builds(
        MadeOutput,
        _IDS,
        _NAMES,
        _NAMES,
        _NAMES,
        _NAMES,
        st.binary(max_size=200),
        st.lists(st.dictionaries(_NAMES, _NAMES, max_size=3), max_size=2).map(tuple),
        st.lists(st.tuples(_NAMES, _IDS, _NAMES), max_size=3).map(tuple),
    ),
)


@given(FRAMES)
def test_a_frame_is_read_as_it_was_written(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"frame":"nonsense"}',
        '{"frame":"ack"}',
        '{"frame":"ack","id":1,"extra":2}',
        '{"frame":"deliver","id":1,"protocol":"sip","interface":"Gm","peer_role":"UE","peer_address":"","octets":"%%"}',
        '{"frame":["ack"],"id":1}',
        "[" * 100_000,
    ],
)
def test_what_is_no_frame_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(PeerViolationError) as refused:
        decode_frame(text)
    assert "\n" not in str(refused.value)


def test_a_frame_beyond_the_limit_is_not_even_parsed() -> None:
    with pytest.raises(PeerViolationError, match="longer than"):
        decode_frame(json.dumps({"frame": "ack", "id": 1, "error": "x" * MAX_FRAME_OCTETS}))
