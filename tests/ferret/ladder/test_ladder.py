"""Ladder diagrams show every message between the right lanes, in text and as a page."""

from __future__ import annotations

from html.parser import HTMLParser

from ferret.ladder import html_page, ladder_of, text_lines
from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import CapturedMessage, Endpoint, Flaw, Interface, Node, Role, SignallingMessage

MME, SGW, OTHER_SGW = Node(Role.MME, "10.0.0.2"), Node(Role.SGW, "10.0.0.3"), Node(Role.SGW, "10.0.0.33")


def _message(index: int, name: str, sender: Node, receiver: Node, **changes: object) -> SignallingMessage:
    captured = CapturedMessage(
        Protocol.GTPV2, index * 1_000_000, Endpoint(sender.address, 2123), Endpoint(receiver.address, 2123), b""
    )
    kind = Kind.RESPONSE if "Response" in name else Kind.REQUEST
    return SignallingMessage(index, captured, name, kind, Interface.S11, sender, receiver, **changes)  # type: ignore[arg-type]


MESSAGES = (
    _message(1, "Create Session Request", MME, SGW),
    _message(2, "Create Session Response", SGW, MME, accepted=False),
    _message(3, "Modify Bearer Request", MME, OTHER_SGW, retransmissions=2),
    _message(4, "<b>Self & Co</b>", MME, MME),
)


def test_lanes_stand_in_the_order_of_the_standards_and_tell_twins_apart() -> None:
    assert ladder_of("t", MESSAGES).lanes == ("MME", "SGW 10.0.0.3", "SGW 10.0.0.33")


def test_the_text_has_one_line_per_message_with_its_name_and_an_arrow_the_right_way() -> None:
    lines = list(text_lines(ladder_of("t", MESSAGES)))[3:]
    assert len(lines) == len(MESSAGES)
    assert "Create Session Request" in lines[0] and "▶" in lines[0] and "─" in lines[0]
    assert "Create Session Response" in lines[1] and "◀" in lines[1] and "┄" in lines[1]
    assert "[×3]" in lines[2]
    assert "⟲" in lines[3]


def test_a_narrow_terminal_narrows_the_lanes_but_loses_no_name() -> None:
    for line, message in zip(list(text_lines(ladder_of("t", MESSAGES), width=60))[3:], MESSAGES, strict=True):
        assert message.name in line


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_self_contained_and_escapes_what_came_from_the_network() -> None:
    text = html_page("Capture <x>", "<p>two</p>", [ladder_of("a & b", MESSAGES, {1: "<script>alert(1)</script>"})])
    page = _Page()
    page.feed(text)
    assert not [t for t, a in page.tags if t in ("script", "link", "img", "b") or "src" in a or "href" in a]
    assert text.count('class="refused"') >= 1
    assert "prefers-color-scheme: dark" in text


def test_an_empty_ladder_is_drawn_too() -> None:
    assert next(iter(text_lines(ladder_of("nothing", ())))) == "nothing"
    assert "<svg" in html_page("nothing", "", [ladder_of("nothing", ())])


def test_damage_is_shown_at_the_message() -> None:
    from dataclasses import replace

    damaged = replace(MESSAGES[0], captured=replace(MESSAGES[0].captured, flaws=(Flaw.CUT,)))
    assert "[cut]" in "\n".join(text_lines(ladder_of("t", [damaged])))
