"""The lab's network: one operator, its subscribers, and what each NF is told of them (`import_context`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ferret.protocols.gtpv2 import PdnType
from ferret.protocols.nas import Milenage
from ferret.protocols.nas.milenage import derive_opc
from ferret.records.message import Role
from ferret_core.driver.links.diameter_link import TC_SECONDS, host_of
from ferret_core.driver.links.diameter_tls import DiameterTls
from ferret_core.driver.places import Places
from ferret_core.driver.ports import SIP_PORT

_SIP_ROLES: Final = (Role.PCSCF, Role.ICSCF, Role.SCSCF)
_SUBSCRIBED: Final = {PdnType.IPV4: 0, PdnType.IPV6: 1, PdnType.IPV4V6: 2}  # TS 29.272 clause 7.3.62
_MTU: Final = 1400  # octets, told to UEs in protocol configuration options


@dataclass(frozen=True, slots=True)
class LabSubscriber:
    """A subscriber of the lab. Keys are of nobody else: they are made from the IMSI."""

    imsi: str
    msisdn: str

    @property
    def key(self) -> bytes:
        """K (16 octets)."""
        return bytes.fromhex(self.imsi.rjust(32, "f"))

    @property
    def opc(self) -> bytes:
        """OPc (16 octets)."""
        return derive_opc(self.key, b"FERRET lab OP   ")

    @property
    def milenage(self) -> Milenage:
        """The functions of the subscriber's USIM."""
        return Milenage(self.key, self.opc)


@dataclass(frozen=True, slots=True)
class LabNetwork:
    """The operator. `remotes`: domains beyond the operator's own, and the transport address of each."""

    places: Places
    subscribers: tuple[LabSubscriber, ...] = (
        LabSubscriber("001010000000001", "491700000001"),
        LabSubscriber("001010000000002", "491700000002"),
    )
    remotes: Mapping[str, str] = field(default_factory=dict)
    mcc: str = "001"
    mnc: str = "01"
    tac: int = 1
    ciphering: tuple[int, ...] = (2, 0)  # EEA in order of preference
    integrity: tuple[int, ...] = (2,)  # EIA
    ims_pdn_type: PdnType = PdnType.IPV4  # that devices ask for on the ims APN
    diameter_tc: float = TC_SECONDS  # between attempts to reach a Diameter peer that is gone
    gtp_echo: float = (
        0.0  # seconds between Echo Requests to a peer, 60 at least (TS 23.007 clause 20); 0: none are sent
    )
    restart_counter: int = 0  # of the NFs that are started: one more each time
    diameter_tls: Mapping[Role, DiameterTls] = field(default_factory=dict)  # NFs that speak Diameter over TLS only
    esm_timer: float = 8.0  # s until a device is told again that a bearer goes
    sip_transport: str = "UDP"  # between CSCFs, and of devices: "UDP" or "TCP"
    sip_stream_above: int = 0  # octets: a longer request goes over TCP (RFC 3261 clause 18.1.1 has 1300); 0: none does

    @property
    def plmn(self) -> str:
        """MCC and MNC."""
        return self.mcc + self.mnc

    @property
    def realm(self) -> str:
        """The Diameter realm of every NF (TS 23.003 clause 19.2)."""
        return f"epc.mnc{self.mnc:0>3}.mcc{self.mcc}.3gppnetwork.org"

    @property
    def ims_domain(self) -> str:
        """The home network domain of the IMS (TS 23.003 clause 13.2)."""
        return f"ims.mnc{self.mnc:0>3}.mcc{self.mcc}.3gppnetwork.org"

    @property
    def scscf_uri(self) -> str:
        """The S-CSCF's SIP URI, under which the HSS knows it."""
        return f"sip:scscf.{self.ims_domain}:{SIP_PORT}"

    def sip_address(self, role: Role) -> str:
        """The transport address of a CSCF or the remote party."""
        host = self.places.address(role)
        return f"[{host}]:{SIP_PORT}" if ":" in host else f"{host}:{SIP_PORT}"

    def host(self, role: Role) -> str:
        """The Diameter identity of an NF."""
        return host_of(role, self.realm)

    def remote_domains(self) -> Mapping[str, str]:
        """The domains of remote parties; one of the remote party's place where none is given."""
        return self.remotes or {"remote.example": self.sip_address(Role.REMOTE)}

    def context_of(self, role: Role) -> Mapping[str, Any]:
        """What the NF of this role is told."""
        return _CONTEXTS[role](self)


def _mme(lab: LabNetwork) -> dict[str, Any]:
    return {
        "mme_name": "FERRET MME",
        "served_gummeis": [{"plmns": [lab.plmn], "group_ids": [2], "mme_codes": [1]}],
        "sgw_address": lab.places.address(Role.SGW),
        "pgw_address": lab.places.address(Role.PGW),
        **_diameter(lab, Role.MME, Role.HSS),
        "integrity_preference": list(lab.integrity),
        "ciphering_preference": list(lab.ciphering),
        "purge": True,
        "esm_timer_s": lab.esm_timer,
    }


def _diameter(lab: LabNetwork, role: Role, peer: Role) -> dict[str, Any]:
    return {
        "origin_host": lab.host(role),
        "origin_realm": lab.realm,
        "destination_host": lab.host(peer),
        "destination_realm": lab.realm,
    }


def _nothing(lab: LabNetwork) -> dict[str, Any]:
    return {}


def _pgw(lab: LabNetwork) -> dict[str, Any]:
    return {
        "pools": _pools(lab.places),
        "pcscf": [lab.places.address(Role.PCSCF)],
        "mtu": _MTU,
        "origin_host": lab.host(Role.PGW),
        "origin_realm": lab.realm,
        "destination_realm": lab.realm,
    }


def _pools(places: Places) -> dict[str, list[str]]:
    apns = dict.fromkeys((*places.pools, *places.ipv6_pools))
    return {apn: [pools[apn] for pools in (places.pools, places.ipv6_pools) if apn in pools] for apn in apns}


def _pcrf(lab: LabNetwork) -> dict[str, Any]:
    return {"identity": {"host": lab.host(Role.PCRF), "realm": lab.realm}}


def _hss(lab: LabNetwork) -> dict[str, Any]:
    ims = {"apn": "ims", "qci": 5, "priority_level": 1, "pdn_type": _SUBSCRIBED[lab.ims_pdn_type]}
    apns = [{"apn": "internet"}, ims]
    return {
        "identity": {"host": lab.host(Role.HSS), "realm": lab.realm},
        "ims_domain": lab.ims_domain,
        "scscf": lab.scscf_uri,
        "subscribers": [
            {"imsi": one.imsi, "msisdn": one.msisdn, "k": one.key.hex(), "opc": one.opc.hex(), "apns": apns}
            for one in lab.subscribers
        ],
    }


def _sip(lab: LabNetwork) -> dict[str, Any]:
    names = {
        lab.ims_domain: lab.sip_address(Role.ICSCF),
        **{f"{str(role).replace('-', '').lower()}.{lab.ims_domain}": lab.sip_address(role) for role in _SIP_ROLES},
        **lab.remote_domains(),
    }
    peers = {lab.sip_address(role): str(role) for role in _SIP_ROLES}
    peers |= {one: str(Role.REMOTE) for one in lab.remote_domains().values()}
    return {"names": names, "peers": peers}


def _sip_habits(lab: LabNetwork) -> dict[str, Any]:
    return {"sip": {"transport": lab.sip_transport, "stream_above": lab.sip_stream_above}}


def _pcscf(lab: LabNetwork) -> dict[str, Any]:
    rx = {"origin_host": lab.host(Role.PCSCF), "origin_realm": lab.realm, "destination_realm": lab.realm}
    return {**_sip(lab), "profile": {"rx": rx, "visited_network_id": lab.ims_domain, **_sip_habits(lab)}}


def _icscf(lab: LabNetwork) -> dict[str, Any]:
    profile = {"cx": _diameter(lab, Role.ICSCF, Role.HSS), **_sip_habits(lab)}
    return {**_sip(lab), "profile": profile, "scscfs": [lab.scscf_uri]}


def _scscf(lab: LabNetwork) -> dict[str, Any]:
    cx = {**_diameter(lab, Role.SCSCF, Role.HSS), "server_name": lab.scscf_uri}
    return {**_sip(lab), "profile": {"cx": cx, **_sip_habits(lab)}}


_CONTEXTS: Final[Mapping[Role, Callable[[LabNetwork], dict[str, Any]]]] = {
    Role.MME: _mme,
    Role.SGW: _nothing,
    Role.PGW: _pgw,
    Role.PCRF: _pcrf,
    Role.HSS: _hss,
    Role.PCSCF: _pcscf,
    Role.ICSCF: _icscf,
    Role.SCSCF: _scscf,
}
