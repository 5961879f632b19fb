"""Editing list fields of a SIP header so that a line in which nothing changes keeps its octets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ferret.protocols import sip

_TAG = re.compile(r"(;\s*tag\s*=\s*)([^;\s,>]+)", re.IGNORECASE)
_TO_TAG = re.compile(r";\s*tag\s*=\s*[^;\s,>]+", re.IGNORECASE)


def with_values(message: sip.Message, name: str, values: Sequence[str]) -> sip.Message:
    """The message in which the field of that name has exactly these values, in this order.

    Where there are as many as before, every line in which nothing changed stays as it was; otherwise they are written
    one to a line where the first one was.
    """
    old = message.values(name)
    if tuple(values) == old:
        return message
    same_number = len(values) == len(old)
    lines: list[sip.HeaderLine] = []
    rest = list(values)
    for line in message.headers:
        if line.canonical != name:
            lines.append(line)
            continue
        count = len(line.values) if same_number else len(rest)
        mine, rest = rest[:count], rest[count:]
        if same_number and tuple(mine) == line.values:
            lines.append(line)
        elif same_number:
            lines.append(sip.header_line(line.name, ", ".join(mine), message.line_end))
        else:
            lines += [sip.header_line(line.name, value, message.line_end) for value in mine]
    made = replace(message, headers=tuple(lines))
    for value in rest:  # the message had no line of that name
        made = made.append(name, value)
    return made


def with_each_value(message: sip.Message, name: str, change: Callable[[str], str]) -> sip.Message:
    """The message with every value of the field of that name replaced by what `change` makes of it."""
    return with_values(message, name, [change(value) for value in message.values(name)])


def tag_of(value: str) -> str:
    """The tag of a From or To value; "" where it has none."""
    return sip.parse_name_addr(value).param("tag") or ""


def with_tag(value: str, tag: str) -> str:
    """A From or To value with this tag in place of its own, or added; without one where `tag` is empty."""
    end = value.rfind(">") + 1
    head, tail = value[:end], value[end:]
    if not tag:
        return head + _TO_TAG.sub("", tail)
    if _TAG.search(tail):
        return head + _TAG.sub(lambda match: match[1] + tag, tail, count=1)
    return f"{value};tag={tag}"
