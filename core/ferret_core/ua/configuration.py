"""Who a user agent is, and how it behaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ferret.errors import ConfigError
from ferret.protocols.sip import UE_TIMINGS, Timings
from ferret_core.ua.session_description import CODECS, CodecOffer

DEFAULT_ACCESS: Final = "3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010000101"


@dataclass(frozen=True, slots=True)
class UaConfiguration:
    """A user agent's own data. Transport addresses are "host:port", an IPv6 host in brackets."""

    address: str  # where we are reached
    proxy: str  # where initial requests go: a device's P-CSCF, a remote party's way into the IMS
    identity: str  # public identity: sip: URI
    private_identity: str = ""  # IMPI, of one that registers
    domain: str = ""  # home network domain; "": that of the identity
    media_port: int = 49000  # the first call's; each further one has its own, two higher
    codecs: tuple[CodecOffer, ...] = CODECS
    resources_at_once: bool = False  # no bearer has to be reserved: a party on a fixed line
    max_calls: int = 1  # beyond it a caller hears that we are busy
    ringing_seconds: float | None = None  # how long a call may ring, either way; None: as long as it likes
    expires: int = 600000  # seconds of a registration that is asked for (TS 24.229 clause 5.1.1.2.1)
    watches_registration: bool = False  # subscribe to our own registration state (TS 24.229 clause 5.1.1.3)
    access_network: str = DEFAULT_ACCESS  # P-Access-Network-Info; "": left out
    user_agent: str = "FERRET emulated UE"
    timings: Timings = UE_TIMINGS
    transport: str = "UDP"  # of our requests: "UDP" or "TCP"
    stream_above: int = 0  # octets: a longer request goes over TCP (RFC 3261 clause 18.1.1 has 1300); 0: none does

    def __post_init__(self) -> None:
        faults = [
            f"{name} {value!r} is not host:port"
            for name, value in (("address", self.address), ("proxy", self.proxy))
            if not value.rpartition(":")[0] or not value.rpartition(":")[2].isdigit()
        ]
        if not self.identity.startswith(("sip:", "sips:")) or "@" not in self.identity:
            faults.append(f"identity {self.identity!r} is no SIP URI of a user")
        if self.transport not in ("UDP", "TCP"):
            faults.append(f"transport {self.transport!r} is neither UDP nor TCP")
        if faults:
            raise ConfigError(f"user agent: {'; '.join(faults)}")

    @property
    def host(self) -> str:
        """Our address without port, as SDP has it."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def home(self) -> str:
        """The home network domain."""
        return self.domain or self.identity.partition("@")[2].partition(";")[0].partition(":")[0]
