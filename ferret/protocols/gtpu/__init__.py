"""GTP-U (3GPP TS 29.281): the tunnels that user packets travel in."""

from ferret.protocols.gtpu.codec import (
    PORT,
    ErrorIndication,
    ExtensionHeader,
    ExtensionType,
    GtpuType,
    Packet,
    decode,
    echo_request,
    echo_response,
    end_marker,
    error_indication,
    open_tunnel,
    wrap,
)

__all__ = [
    "PORT",
    "ErrorIndication",
    "ExtensionHeader",
    "ExtensionType",
    "GtpuType",
    "Packet",
    "decode",
    "echo_request",
    "echo_response",
    "end_marker",
    "error_indication",
    "open_tunnel",
    "wrap",
]
