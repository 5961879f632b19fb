"""Logging: set up once at the rim, readable on a terminal and JSON elsewhere, with identities masked.

Events are constant snake_case names; what varies goes into fields.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog

LEVELS: Final = ("debug", "info", "warning", "error")
_IDENTITY_FIELDS: Final = frozenset(
    ("imsi", "msisdn", "imei", "imeisv", "impi", "impu", "subscriber", "caller", "callee", "user_name", "aor")
)
_SECRET_FIELDS: Final = frozenset(
    ("k", "op", "opc", "ck", "ik", "ak", "k_asme", "kasme", "k_enb", "k_nas_int", "k_nas_enc", "nh", "xres", "res")
).union(("key", "keys", "security_key", "password", "secret", "token"))
_SECRET_ENDINGS: Final = ("_key", "_keys", "_secret", "_password", "k_asme")
_DIGITS = re.compile(r"\d{8,}")
_LONG_NUMBER = re.compile(r"(?<![\d.:])\d{14,16}(?!\d)")  # as long as an IMSI, IMEI or IMEISV: masked anywhere
_TEL_URI = re.compile(r"(?<=tel:)\+?\d{8,}|(?<=sip:)\+?\d{8,}")


def mask(digits: str) -> str:
    """Keep the first 5 and the last 2 digits, as much as an operator needs to tell subscribers apart."""
    return f"{digits[:5]}{'*' * (len(digits) - 7)}{digits[-2:]}" if len(digits) > 7 else "*" * len(digits)


def _masked(match: re.Match[str]) -> str:
    text = match.group()
    return "+" + mask(text[1:]) if text.startswith("+") else mask(text)


def _mask_identity(value: Any) -> Any:
    """Mask the numbers of a field that holds an identity."""
    if isinstance(value, str):
        return _DIGITS.sub(_masked, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _DIGITS.sub(_masked, str(value))
    return _walk(value, _mask_identity)


def _mask_text(value: Any) -> Any:
    """Mask what looks like an identity in a field of another kind."""
    if isinstance(value, str):
        return _LONG_NUMBER.sub(_masked, _TEL_URI.sub(_masked, value))
    return _walk(value, _mask_text)


def _walk(value: Any, each: Any) -> Any:
    if isinstance(value, Mapping):
        return mask_fields(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [each(item) for item in value]
    return value


def _hide(value: Any) -> Any:
    return value if value is None or value == "" or isinstance(value, bool) else "[secret]"


def _is_secret(name: str) -> bool:
    return name in _SECRET_FIELDS or name.endswith(_SECRET_ENDINGS)


def hide_secrets(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields without keys and passwords. They are never shown, whoever asks."""
    return {
        name: _hide(value) if _is_secret(name.lower()) else hide_secrets(value) if isinstance(value, Mapping) else value
        for name, value in fields.items()
    }


def mask_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields with identities of subscribers masked."""
    return {
        name: _mask_identity(value) if name.lower() in _IDENTITY_FIELDS else _mask_text(value)
        for name, value in fields.items()
    }


def _hide_processor(_logger: Any, _method: str, event: Any) -> Any:
    return hide_secrets(event)


def _mask_processor(_logger: Any, _method: str, event: Any) -> Any:
    return mask_fields(event)


def configure(
    *,
    level: str = "info",
    show_identities: bool = False,
    json: bool | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set up structlog for this process; logs go to `stream`, by default to stderr.

    `json` None: coloured text on a terminal, JSON elsewhere.
    """
    out = sys.stderr if stream is None else stream
    as_json = not out.isatty() if json is None else json
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # before the masking, for an exception's text may hold an identity
        _hide_processor,
    ]
    if not show_identities:
        processors.append(_mask_processor)
    processors.append(
        structlog.processors.JSONRenderer(sort_keys=False, default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
