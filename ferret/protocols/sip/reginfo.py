"""The fields of a registration state document (RFC 3680 clause 5), read without an XML parser.

The document comes from the network: entities and declarations are not followed, nesting is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

_TAG = re.compile(r"<(/?)(?:\w+:)?([\w.-]+)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>", re.ASCII)
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(\"[^\"]*\"|'[^']*')", re.ASCII)
_NUMBERS = frozenset({"version", "expires", "retry-after", "duration-registered"})


def add_reginfo(add: Callable[[str, str | int | None], None], text: str) -> None:
    """Give every attribute and value of the document to `add`, under its registration's address of record."""
    path, contact, contacts = "reginfo", "", 0
    for match in _TAG.finditer(text):
        closing, name, rest = match.groups()
        if closing:
            continue
        attributes = {key: unescape(value[1:-1]) for key, value in _ATTRIBUTE.findall(rest)}
        if name == "reginfo":
            _attributes(add, "reginfo", attributes)
        elif name == "registration":
            path, contacts = f"reginfo/registration[{attributes.pop('aor', '')}]", 0
            _attributes(add, path, attributes)
        elif name == "contact":
            contact = f"{path}/contact[{contacts}]"
            contacts += 1
            _attributes(add, contact, attributes)
        elif contact and not rest.endswith("/"):
            key = f"{contact}/{name}" + (f"[{attributes['name']}]" if "name" in attributes else "")
            end = text.find("<", match.end())
            add(key, unescape(text[match.end() : end if end >= 0 else len(text)]).strip() or None)


def _attributes(add: Callable[[str, str | int | None], None], path: str, attributes: dict[str, str]) -> None:
    for name, value in attributes.items():
        if not name.startswith("xmlns"):
            number = name in _NUMBERS and value.isascii() and value.isdigit() and len(value) < 19
            add(f"{path}/{name}", int(value) if number else value)
