"""The ports that the protocols have of their own."""

from __future__ import annotations

from typing import Final

GTPC_PORT: Final = 2123  # TS 29.281 clause 4.4.2
DIAMETER_PORT: Final = 3868  # RFC 6733 clause 2.1
DIAMETER_TLS_PORT: Final = 5658  # clause 2.1: TLS from the first octet on
SIP_PORT: Final = 5060  # RFC 3261 clause 19.1.2
S1AP_PORT: Final = 36412  # TS 36.412 clause 7
