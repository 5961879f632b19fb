"""What the network sent does nothing to a terminal, and never stops the output."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.commands.output import encodable, print_json, printable


def test_what_a_terminal_would_act_upon_is_spelled_out() -> None:
    assert printable("INVITE\x1b[2J\x07") == r"INVITE\x1b[2J\x07"
    assert printable("a\r\nb\tc") == "a\\r\nb\tc"
    assert printable("evil\u202egnp") == r"evil\u202egnp"
    assert printable("Müller ✓ 東京") == "Müller ✓ 東京"


def test_octets_that_are_no_utf_8_are_spelled_out() -> None:
    assert printable(b"OPT\xffIONS".decode("utf-8", "surrogateescape")) == r"OPT\udcffIONS"


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_printed(text: str) -> None:
    printable(text).encode("utf-8")
    encodable(text).encode("utf-8")
    assert "\x1b" not in printable(text)


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(["\udc80", "\udcff"])))
def test_json_stays_json_and_says_the_same(text: str) -> None:
    assert json.loads(encodable(json.dumps({"name": text}, ensure_ascii=False))) == {"name": text}


def test_json_is_printed_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "OPTIONS \udcff é"})
    assert json.loads(capsys.readouterr().out) == {"name": "OPTIONS \udcff é"}
