"""Header field names: compact forms, the canonical long name, and which fields are comma-separated lists."""

from __future__ import annotations

from functools import lru_cache

# https://www.iana.org/assignments/sip-parameters, compact forms (RFC 3261 clause 7.3.3 and later ones)
COMPACT_FORMS = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

# Fields whose value is a comma-separated list in which a comma outside quotes and angle brackets separates values.
LIST_FIELDS = frozenset(
    {
        "Accept",
        "Accept-Contact",
        "Accept-Encoding",
        "Accept-Language",
        "Alert-Info",
        "Allow",
        "Allow-Events",
        "Call-Info",
        "Contact",
        "Diversion",
        "Error-Info",
        "Feature-Caps",
        "Geolocation",
        "History-Info",
        "In-Reply-To",
        "P-Access-Network-Info",
        "P-Asserted-Identity",
        "P-Associated-URI",
        "P-Early-Media",
        "P-Preferred-Identity",
        "P-Visited-Network-ID",
        "Path",
        "Proxy-Require",
        "Reason",
        "Record-Route",
        "Recv-Info",
        "Reject-Contact",
        "Request-Disposition",
        "Require",
        "Route",
        "Security-Client",
        "Security-Server",
        "Security-Verify",
        "Service-Route",
        "Supported",
        "Unsupported",
        "Via",
        "Warning",
    }
)

# Spelling that capitalising each part does not give.
_OTHERS = (
    "Authentication-Info",
    "Authorization",
    "CSeq",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Type",
    "Date",
    "Event",
    "Expires",
    "From",
    "Identity",
    "Identity-Info",
    "MIME-Version",
    "Max-Forwards",
    "Min-Expires",
    "Min-SE",
    "P-Asserted-Service",
    "P-Called-Party-ID",
    "P-Charging-Function-Addresses",
    "P-Charging-Vector",
    "P-Preferred-Service",
    "P-Served-User",
    "P-User-Database",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "RAck",
    "RSeq",
    "Refer-To",
    "Referred-By",
    "Replaces",
    "SIP-ETag",
    "SIP-If-Match",
    "Server",
    "Session-Expires",
    "Session-ID",
    "Subject",
    "Subscription-State",
    "Timestamp",
    "To",
    "User-Agent",
    "WWW-Authenticate",
    "Call-ID",
)

_CANONICAL = {name.lower(): name for name in (*LIST_FIELDS, *_OTHERS)} | COMPACT_FORMS


@lru_cache(maxsize=1024)
def canonical(name: str) -> str:
    """The long name of a header field in its usual spelling: "v" and "VIA" give "Via"."""
    lower = name.lower()
    return _CANONICAL.get(lower) or "-".join(part.capitalize() for part in lower.split("-"))
