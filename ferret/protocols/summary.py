"""What every protocol can say of one of its messages: its name, its transaction, whose it is, what it carries.

Each protocol package has the same four doors, so that recording, inspection and the output check need not know
which protocol a message is of:

    peek(octets) -> Peek | None            the hot path: a few slices, no decoding, never raises
    decode(octets) -> Message              raises DecodeError; lossless
    Message.encode() -> bytes              Message.encode(decode(octets)) == octets, always
    summarise(message) -> Summary          name, kind, transaction, identifiers, state transitions
    parameters(message) -> list[Parameter] every field, flat, with a stable path
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Protocol(StrEnum):
    """The four protocols that FERRET records. The value is the name that files and JSON use."""

    GTPV2 = "gtpv2"
    DIAMETER = "diameter"
    SIP = "sip"
    S1AP = "s1ap"


class Kind(StrEnum):
    """What part a message plays in its transaction."""

    REQUEST = "request"
    RESPONSE = "response"
    INDICATION = "indication"  # nothing answers it: S1AP class 2 procedures, SIP ACK


class IdKind(StrEnum):
    """The identifiers that lead from a message to its subscriber and its service."""

    IMSI = "imsi"  # digits
    MSISDN = "msisdn"  # digits, no plus sign
    IMPU = "impu"  # a SIP or tel URI without parameters: "sip:001@ims.example", "tel:+49..."
    IMPI = "impi"  # "001010000000001@ims.example"
    UE_IP = "ue_ip"  # PAA, Framed-IP-Address, or the address in a UE's Contact; compressed text form
    APN = "apn"  # lower case, without the operator identifier's "mnc…gprs"
    TEID = "teid"  # an F-TEID of the control plane: "address/0x0000000a"
    TEID_U = "teid_u"  # an F-TEID of the user plane: "address/0x0000000a"
    HEADER_TEID = "header_teid"  # TEID in the header: "0x0000000a"; the receiver's address makes it a TEID
    SESSION_ID = "session_id"  # Diameter
    CALL_ID = "call_id"
    ICID = "icid"
    MME_UE_S1AP_ID = "mme_ue_s1ap_id"  # decimal
    ENB_UE_S1AP_ID = "enb_ue_s1ap_id"  # decimal
    M_TMSI = "m_tmsi"  # "0x0123abcd"
    EBI = "ebi"  # decimal


class Identifier(NamedTuple):
    """One identifier of a message."""

    kind: IdKind
    value: str


class Parameter(NamedTuple):
    """One field of a message.

    `path` names it from the outside in, parts joined by "/", each part the specification's own name; the n-th of
    several parts of one name, or the one with a key, is marked in brackets:
    "Bearer Context[5]/F-TEID[0]/TEID", "Media-Component-Description[1]/Media-Type", "Route[0]".
    """

    path: str
    value: str | int | None  # None: the part itself is the information (a flag, an empty group)


@dataclass(frozen=True, slots=True)
class Peek:
    """What the hot path sees of a message without decoding it."""

    kind: Kind
    type: str  # the protocol's own: GTPv2-C message type, Diameter command code, SIP method or status, S1AP procedure
    correlation: str  # sequence number, hop-by-hop identifier, Call-ID + CSeq, S1AP IDs where cheap; "" if none
    length: int  # of this message in octets; shorter than the datagram where others follow


@dataclass(frozen=True, slots=True)
class Summary:
    """What a message is, in the words of its specification."""

    name: str  # "Create Session Request", "CCR-Initial", "INVITE", "183 (INVITE)", "InitialUEMessage (Attach request)"
    kind: Kind
    transaction: str  # equal in a request and its answers; not unique between peers or for ever; "" if none
    identifiers: tuple[Identifier, ...] = ()
    application: str = ""  # Diameter: "Gx", "Rx", "S6a", "Cx", "Gy", "" (base); others ""
    accepted: bool | None = None  # an answer: whether it says yes; None: not an answer, or provisional
    state_transitions: int = 0  # state transitions that the specification has for this message at sender and receiver
