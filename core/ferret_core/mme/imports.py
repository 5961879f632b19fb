"""Taking over UE contexts that no message of a recording could build (see `Mme.import_context`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ferret.errors import ConfigError
from ferret.protocols import nas, s1ap
from ferret.protocols.nas import EsmCause
from ferret.records.message import Role
from ferret_core.mme import pdn_connectivity
from ferret_core.mme.context import ApnSubscription, Bearer, PdnConnection, Subscription, UeContext
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import BearerState, EcmState, EmmState
from ferret_core.nf import Peer

_UE_KEYS = frozenset(
    (
        "imsi", "msisdn", "imeisv", "enb", "enb_ue_s1ap_id", "mme_ue_s1ap_id", "tai", "ecgi", "guti", "k_asme", "ksi",
        "nas_counts", "algorithms", "k_enb", "ue_network_capability", "ms_network_capability", "radio_capability",
        "ambr", "subscription", "bearers", "device_has_bearers",
    )
)  # fmt: skip
_BEARER_KEYS = frozenset(
    ("ebi", "linked_ebi", "qci", "priority_level", "may_preempt", "preemptable", "gbr", "apn", "pdn_type", "paa",
     "ambr", "pco", "enb_tunnel")
)  # fmt: skip


def take_over(node: MmeNode, document: Mapping[str, Any]) -> None:
    """One UE context. Raises ConfigError."""
    unknown = sorted(set(document) - _UE_KEYS)
    for bearer in document.get("bearers") or ():
        unknown += [f"bearers.{key}" for key in sorted(set(bearer) - _BEARER_KEYS)]
    if unknown:
        raise ConfigError(f"unknown keys of a UE context: {', '.join(unknown)}")
    if not str(document.get("imsi") or "").isdecimal():
        raise ConfigError("a UE context needs an imsi")
    try:
        _take_over(node, document)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ConfigError(f"UE context of no use: {error!r}") from error


def subscriptions(document: object) -> dict[str, Subscription]:
    """Subscriptions by IMSI. Raises ConfigError."""
    if not isinstance(document, Mapping):
        raise ConfigError("subscriptions is no table")
    try:
        return {str(imsi): subscription_of(one, one.get("msisdn") or "") for imsi, one in document.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"subscription of no use: {error!r}") from error


def subscription_of(
    given: Mapping[str, Any],
    msisdn: str,
    bearers: Sequence[Mapping[str, Any]] = (),
    ambr: Mapping[str, Any] | None = None,
) -> Subscription:
    """A subscription of a document, completed by what default bearers imply."""
    ambr = given.get("ambr") or ambr or {}
    apns = [_apn(number, one) for number, one in enumerate(given.get("apns") or (), 1)]
    known = {one.apn for one in apns}
    for bearer in bearers:
        if bearer.get("apn") and bearer["apn"] not in known:
            known.add(bearer["apn"])
            apns.append(_apn(len(apns) + 1, bearer))
    rates = [int(ambr.get(way) or sum(getattr(one, f"ambr_{way}") for one in apns)) for way in ("uplink", "downlink")]
    imeisv, radio = str(given.get("imeisv") or ""), bytes.fromhex(given.get("radio_capability") or "")
    return Subscription(str(msisdn), rates[0], rates[1], 1, tuple(apns), imeisv=imeisv, radio_capability=radio)


def radio_capabilities(given: Any) -> dict[str, bytes]:
    """Read {IMSI: hex}. Raises ConfigError."""
    try:
        return {str(imsi): bytes.fromhex(told) for imsi, told in given.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"radio_capabilities that cannot be read: {error}") from error


def _take_over(node: MmeNode, document: Mapping[str, Any]) -> None:
    ue = node.new_ue()
    node.identify(ue, str(document["imsi"]))
    if document.get("mme_ue_s1ap_id") is not None:
        node.claim_s1ap_id(ue, int(document["mme_ue_s1ap_id"]))
    ue.emm = EmmState.REGISTERED
    ue.imeisv = str(document.get("imeisv") or "")
    _connect(ue, document)
    _secure(ue, document)
    guti = document.get("guti")
    if guti:
        ue.guti = nas.Guti(str(guti["plmn"]), int(guti["group_id"]), int(guti["mme_code"]), int(guti["m_tmsi"]))
        node.by_m_tmsi[ue.guti.m_tmsi] = ue
    bearers = document.get("bearers") or ()
    given, told = document.get("subscription"), node.subscriptions.get(ue.imsi)
    if given is not None or bearers or told is None:
        msisdn = document.get("msisdn") or ""
        ue.subscription = subscription_of(given or {}, msisdn, bearers, document.get("ambr"))
    else:
        ue.subscription = told
    ue.imeisv = ue.imeisv or ue.subscription.imeisv
    ue.radio_capability = ue.radio_capability or ue.subscription.radio_capability
    ue.device_has_bearers = bool(document.get("device_has_bearers", False))
    for bearer in bearers:
        _take_over_bearer(ue, bearer)
    node.note("context_assumed", imsi=ue.imsi, bearers=sorted((*ue.bearers, *ue.known_bearers)))
    next_session(node, ue)


def _connect(ue: UeContext, document: Mapping[str, Any]) -> None:
    tai, ecgi = document.get("tai"), document.get("ecgi")
    ue.tai = nas.Tai(str(tai["plmn"]), int(tai["tac"])) if tai else None
    ue.ecgi = s1ap.Ecgi(str(ecgi["plmn"]), int(ecgi["cell"])) if ecgi else None
    if document.get("enb") is not None:
        ue.enb, ue.ecm = Peer(Role.ENB, str(document["enb"])), EcmState.CONNECTED
        ue.context_set_up = True
        ue.enb_ue_s1ap_id = int(document.get("enb_ue_s1ap_id") or 0)


def _secure(ue: UeContext, document: Mapping[str, Any]) -> None:
    capability = document.get("ue_network_capability")
    ue.network_capability = bytes.fromhex(capability) if capability else b"\xe0\xe0"
    ue.ms_network_capability = bytes.fromhex(document.get("ms_network_capability") or "")
    ue.radio_capability = bytes.fromhex(document.get("radio_capability") or "")
    ue.ksi = int(document.get("ksi") or 0)
    if not document.get("k_asme"):
        ue.keyless = True
        return
    algorithms, counts = document.get("algorithms") or {}, document.get("nas_counts") or {}
    ue.security = nas.NasSecurityContext(
        bytes.fromhex(document["k_asme"]),
        int(algorithms.get("integrity", 2)),
        int(algorithms.get("ciphering", 0)),
        ue.ksi,
        int(counts.get("uplink", 0)),
        int(counts.get("downlink", 0)),
    )
    ue.secured = True
    ue.k_enb = bytes.fromhex(document["k_enb"]) if document.get("k_enb") else ue.security.k_enb()


_PDN_TYPES = {1: 0, 2: 1, 3: 2}  # NAS -> PDN-Type AVP


def _apn(number: int, document: Mapping[str, Any]) -> ApnSubscription:
    ambr = document.get("ambr") or {}
    return ApnSubscription(
        str(document["apn"]),
        number,
        _PDN_TYPES[int(document.get("pdn_type") or 1)],
        int(document.get("qci") or 9),
        int(document.get("priority_level") or 15),
        bool(document.get("may_preempt", False)),
        bool(document.get("preemptable", False)),
        int(ambr.get("uplink") or 0),
        int(ambr.get("downlink") or 0),
        addresses=tuple(str(one) for one in document.get("addresses") or ()),
    )


def _take_over_bearer(ue: UeContext, document: Mapping[str, Any]) -> None:
    ebi = int(document["ebi"])
    gbr, tunnel = document.get("gbr"), document.get("enb_tunnel")
    qos = s1ap.ErabQos(
        int(document.get("qci") or 9),
        int(document.get("priority_level") or 15),
        bool(document.get("may_preempt", False)),
        bool(document.get("preemptable", False)),
        s1ap.Gbr(*(int(gbr[key]) for key in s1ap.Gbr._fields)) if gbr else None,
    )
    linked = int(document.get("linked_ebi") or ebi)
    enb = s1ap.Tunnel(str(tunnel["address"]), int(tunnel["teid"])) if tunnel else None
    bearer = Bearer(ebi, linked, qos, enb=enb, state=BearerState.ACTIVE)
    if not bearer.is_default:
        ue.known_bearers[ebi] = bearer
        return
    ambr = document.get("ambr") or {}
    pdn_type = int(document.get("pdn_type") or 1)
    pdn = PdnConnection(ebi, str(document["apn"]), pdn_type, pdn_type)
    pdn.subscription = ue.subscription.find(pdn.apn)
    pdn.ambr = (int(ambr.get("uplink") or 0), int(ambr.get("downlink") or 0))
    paa = str(document.get("paa") or "")
    pdn.asked_addresses = (paa,) if paa else ()
    pdn.pco = bytes.fromhex(document.get("pco") or "")
    ue.bearers[ebi], ue.pdns[ebi] = bearer, pdn
    ue.last_ebi = max(ue.last_ebi, ebi)
    ue.assumed.append(pdn)


def next_session(node: MmeNode, ue: UeContext) -> None:
    """Create the next session that the UE is taken to have, and tell the SGW the eNB's end of its bearer."""
    if not ue.assumed:
        node.note("context_ready", imsi=ue.imsi)
        return
    pdn = ue.assumed.pop(0)
    # taking a session over must not undo what is known of the bearer
    kept = ue.bearers[pdn.ebi].qos

    def created(ue: UeContext, pdn: PdnConnection) -> None:
        bearer = ue.bearers[pdn.ebi]
        bearer.qos = kept if bearer.qos.qci == kept.qci else bearer.qos
        if bearer.enb is not None:
            pdn_connectivity.modify_bearers(node, ue, [bearer])
        next_session(node, ue)

    def refused(ue: UeContext, pdn: PdnConnection, cause: EsmCause) -> None:
        node.note("context_not_assumed", imsi=ue.imsi, apn=pdn.apn, esm_cause=int(cause))
        next_session(node, ue)

    pdn_connectivity.create_session(node, ue, pdn, created, refused)
