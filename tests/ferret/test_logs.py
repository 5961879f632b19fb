"""Nothing that identifies a subscriber, and no key, reaches a log unless asked for."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ferret import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def logged(show_identities: bool = False, level: str = "info", **fields: object) -> dict[str, object]:
    stream = io.StringIO()
    logs.configure(stream=stream, show_identities=show_identities, level=level)
    structlog.get_logger().info("subscriber_attached", **fields)
    return json.loads(stream.getvalue()) if stream.getvalue() else {}


def test_identities_keep_their_first_five_and_last_two_digits() -> None:
    line = logged(imsi="999700000000020", msisdn=491700000020, impu="tel:+491700000020")
    assert line["imsi"] == "99970********20"
    assert line["msisdn"] == "49170*****20"
    assert line["impu"] == "tel:+49170*****20"
    assert (line["event"], line["level"]) == ("subscriber_attached", "info")


def test_identities_are_masked_in_other_fields_and_inside_containers() -> None:
    line = logged(
        reason="no answer of 999700000000020",
        peers=[{"subscriber": "imsi 999700000000020"}, "sip:491700000020@ims.example"],
    )
    text = json.dumps(line)
    assert "999700000000020" not in text
    assert "491700000020" not in text


def test_other_numbers_stay_as_they_are() -> None:
    line = logged(captured_at_ns=1700000000123456789, teid="0x0000000a", peer="127.0.0.1:36412", count=12)
    assert line["captured_at_ns"] == 1700000000123456789
    assert (line["teid"], line["peer"], line["count"]) == ("0x0000000a", "127.0.0.1:36412", 12)


def test_identities_are_shown_when_asked_for_but_keys_never() -> None:
    line = logged(show_identities=True, imsi="999700000000020", k_asme=b"\x01" * 32, context={"ck": "00ff"})
    assert line["imsi"] == "999700000000020"
    assert line["k_asme"] == "[secret]"
    assert line["context"] == {"ck": "[secret]"}


def test_a_level_is_kept() -> None:
    assert logged(level="warning") == {}


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_is_logged_with_identities_masked(as_json: bool) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, json=as_json)
    try:
        raise ValueError("imsi 999700000000020 is unknown")
    except ValueError:
        structlog.get_logger().exception("lookup_failed")
    assert "ValueError" in stream.getvalue()
    assert "999700000000020" not in stream.getvalue()


def test_on_a_terminal_it_is_text_with_colours() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    logs.configure(stream=stream)
    structlog.get_logger().info("subscriber_attached", imsi="999700000000020")
    assert "\x1b[" in stream.getvalue()
    assert "99970********20" in stream.getvalue()


@given(st.from_regex(r"[0-9]{15}", fullmatch=True))
def test_no_imsi_survives(imsi: str) -> None:
    masked = logs.mask_fields({"imsi": imsi, "text": f"for {imsi}", "list": [imsi]})
    for value in (masked["imsi"], masked["text"], masked["list"][0]):
        assert imsi not in value
        assert value.endswith(imsi[-2:])
