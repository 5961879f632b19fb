"""What the MME knows of base stations, UEs, PDN connections and bearers (TS 23.401 clause 5.7.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from ferret.errors import PeerViolationError
from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import Cause
from ferret_core.mme.states import BearerEvent, BearerState, EcmState, EmmState, next_bearer_state
from ferret_core.nf import Peer

if TYPE_CHECKING:
    from ferret_core.mme.bearer_procedures import BearerProcedure

FIRST_EBI, LAST_EBI = 5, 15  # TS 24.007 clause 11.2.3.1.5: values 0 to 4 are no bearers


class S1apIds(TypedDict):
    """The two S1AP identifiers of a UE's connection, named as the builders of messages name them."""

    mme_ue_s1ap_id: int
    enb_ue_s1ap_id: int


@dataclass(slots=True)
class EnbContext:
    """A base station that has set up S1."""

    peer: Peer
    name: str = ""
    tais: frozenset[nas.Tai] = frozenset()


@dataclass(frozen=True, slots=True)
class ApnSubscription:
    """An APN-Configuration of the subscription (TS 29.272 clause 7.3.35). Rates in bit/s."""

    apn: str
    context_id: int
    pdn_type: int  # PDN-Type AVP: 0 IPv4, 1 IPv6, 2 both, 3 either
    qci: int
    priority_level: int
    may_preempt: bool
    preemptable: bool
    ambr_uplink: int
    ambr_downlink: int
    addresses: tuple[str, ...] = ()  # Served-Party-IP-Address
    charging_characteristics: bytes = b""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Subscription-Data of an Update-Location-Answer (TS 29.272 clause 7.3.2), as far as the MME uses it."""

    msisdn: str = ""
    ambr_uplink: int = 0  # bit/s
    ambr_downlink: int = 0
    default_context_id: int = 0
    apns: tuple[ApnSubscription, ...] = ()
    network_access_mode: int | None = None
    charging_characteristics: bytes = b""
    imeisv: str = ""  # this and the next where the operator tells them with the subscription
    radio_capability: bytes = b""

    def find(self, apn: str) -> ApnSubscription | None:
        """The configuration for this APN; the one for any APN ("*"); for no APN, the default one."""
        if not apn:
            return next((one for one in self.apns if one.context_id == self.default_context_id), None)
        named = {one.apn.lower(): one for one in self.apns}
        return named.get(apn.lower()) or named.get(apn.lower().partition(".mnc")[0]) or named.get("*")


@dataclass(slots=True)
class Bearer:
    """An EPS bearer. Rates of `qos` in bit/s. Tunnels are those of S1-U."""

    ebi: int
    linked_ebi: int  # of its PDN connection's default bearer; its own if it is that
    qos: s1ap.ErabQos
    tft: bytes = b""
    sgw: s1ap.Tunnel | None = None
    enb: s1ap.Tunnel | None = None
    state: BearerState = BearerState.INACTIVE

    @property
    def is_default(self) -> bool:
        """Whether it is the default bearer of its PDN connection."""
        return self.ebi == self.linked_ebi

    def happen(self, event: BearerEvent) -> None:
        """Move to the next state. Raises PeerViolationError."""
        self.state = next_bearer_state(self.state, event)


@dataclass(slots=True)
class PdnConnection:
    """A PDN connection, known by its default bearer."""

    ebi: int
    apn: str
    pdn_type: int  # as asked and allowed: 1 IPv4, 2 IPv6, 3 both
    asked_type: int = 0  # as asked
    pti: int = 0
    subscription: ApnSubscription | None = None
    ambr: tuple[int, int] = (0, 0)  # uplink, downlink, bit/s
    paa: gtpv2.Paa | None = None
    pco: bytes = b""  # as the UE sent it
    answered_pco: bytes = b""  # as the PGW answered it
    pgw: gtpv2.FTeid | None = None
    created: bool = False  # the SGW has a session for it
    asked_addresses: tuple[str, ...] = ()  # which the UE has already, or always


@dataclass(slots=True)
class UeContext:
    """Everything about one UE. Keys are in it: never log it."""

    mme_ue_s1ap_id: int
    enb_ue_s1ap_id: int | None = None
    enb: Peer | None = None
    tai: nas.Tai | None = None
    ecgi: s1ap.Ecgi | None = None
    imsi: str = ""
    imeisv: str = ""
    guti: nas.Guti | None = None
    next_guti: nas.Guti | None = None  # allocated, not yet confirmed by the UE
    emm: EmmState = EmmState.DEREGISTERED
    ecm: EcmState = EcmState.IDLE
    subscription: Subscription = field(default_factory=Subscription)
    # security
    security: nas.NasSecurityContext | None = field(default=None, repr=False)
    secured: bool = False  # `security` is in use
    keyless: bool = False  # taken over without keys: NAS goes unprotected
    ksi: int = 7
    vector: tuple[bytes, bytes, bytes, bytes] | None = field(default=None, repr=False)  # RAND, XRES, AUTN, K_ASME
    resynchronised: bool = False
    k_enb: bytes = field(default=b"", repr=False)
    next_hop: bytes = field(default=b"", repr=False)
    next_hop_chaining_count: int = 0
    network_capability: bytes = b""
    ms_network_capability: bytes = b""
    additional_security_capability: bytes = b""
    radio_capability: bytes = b""
    # the procedure that is under way
    request: nas.Plain | None = None  # Attach request or Tracking area update request
    request_verified: bool = False
    esm_request: nas.Plain | None = None  # PDN connectivity request of the attach
    context_set_up: bool = False
    deleting: set[int] = field(default_factory=set)  # default EBIs of sessions being deleted
    after_deletion: str = ""
    release_cause: s1ap.Cause | None = None
    procedures: list[BearerProcedure] = field(default_factory=list)
    when_connected: list[Callable[[], None]] = field(default_factory=list)  # what waits for the paged UE
    paging_left: int = 0
    paging_at: float | None = None
    notified: tuple[Peer, gtpv2.Message, int] | None = None  # Downlink Data Notification without its answer
    # sessions
    mme_s11_teid: int = 0
    sgw: gtpv2.FTeid | None = None
    sgw_peer: Peer | None = None
    pdns: dict[int, PdnConnection] = field(default_factory=dict)
    bearers: dict[int, Bearer] = field(default_factory=dict)
    last_ebi: int = FIRST_EBI - 1
    device_has_bearers: bool = False
    moving: set[int] | None = None  # bearers that base station and device have yet to move; None: no move is under way
    not_moved: dict[int, Cause] = field(default_factory=dict)
    known_bearers: dict[int, Bearer] = field(default_factory=dict)  # of the device, waiting for their activation here
    assumed: list[PdnConnection] = field(default_factory=list)  # taken over, still to be created at the SGW

    @property
    def ids(self) -> S1apIds:
        """The pair of identifiers that every message on the UE's connection carries."""
        return {"mme_ue_s1ap_id": self.mme_ue_s1ap_id, "enb_ue_s1ap_id": self.enb_ue_s1ap_id or 0}

    def pdn_of(self, ebi: int) -> PdnConnection:
        """The PDN connection of a bearer. Raises PeerViolationError."""
        bearer = self.bearers.get(ebi)
        pdn = self.pdns.get(bearer.linked_ebi) if bearer else None
        if pdn is None:
            raise PeerViolationError(f"UE has no EPS bearer {ebi}")
        return pdn

    def bearers_of(self, pdn: PdnConnection) -> Sequence[Bearer]:
        """The bearers of a PDN connection, the default one first."""
        return sorted((one for one in self.bearers.values() if one.linked_ebi == pdn.ebi), key=lambda one: one.ebi)

    def free_ebi(self, *, cyclic: bool = False) -> int | None:
        """An EBI that is not in use: the lowest, or with `cyclic` the next one after the last given."""
        order: Iterator[int] | range = range(FIRST_EBI, LAST_EBI + 1)
        if cyclic:
            span = LAST_EBI - FIRST_EBI + 1
            order = (FIRST_EBI + (self.last_ebi + 1 - FIRST_EBI + step) % span for step in range(span))
        ebi = next((one for one in order if one not in self.bearers), None)
        if ebi is not None:
            self.last_ebi = ebi
        return ebi

    def forget(self, pdn: PdnConnection) -> None:
        """Remove a PDN connection and its bearers."""
        for bearer in self.bearers_of(pdn):
            del self.bearers[bearer.ebi]
        self.pdns.pop(pdn.ebi, None)
