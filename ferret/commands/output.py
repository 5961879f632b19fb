"""Text from the network on its way to a terminal, a file or another program.

Names and identities that a capture holds are whatever somebody sent: octets that are no UTF-8 (kept as surrogates, PEP
383), escape sequences that would move the cursor or ring the bell. Shown, they are spelled out.
"""

from __future__ import annotations

import json
import re

import click

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot say (lone surrogates) spelled out as escapes, as JSON writes them."""
    return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """The text with everything spelled out that would do something to a terminal; tabs and line ends stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), encodable(text))


def print_json(value: object) -> None:
    """Print one JSON value, indented, on standard output."""
    click.echo(encodable(json.dumps(value, indent=2, ensure_ascii=False)))
