"""An operator's MME configuration, read from what a recorded MME sent.

Only choices that no message could let an MME compute: names, timers, which optional parts it sends. Never an
identifier, a key, a cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2, nas, s1ap
from ferret.protocols.diameter import Command, avp
from ferret.protocols.gtpv2.constants import IeType
from ferret.protocols.nas import MessageType
from ferret.protocols.summary import Protocol
from ferret.records.message import Role, SignallingMessage

# Fields of Attach accept that the operator chooses. T3412 value and TAI list are mandatory and apart.
_CHOSEN: Final = frozenset(
    (
        "T3402 value", "T3423 value", "Equivalent PLMNs", "Emergency number list", "EPS network feature support",
        "T3412 extended value", "Network policy", "T3447 value", "Extended emergency number list",
    )
)  # fmt: skip
_FIRST_EBI: Final = 5


def profile_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Any]:
    """The configuration of the MME of these messages, for `Mme.import_context`; what does not show is left out.

    Messages of others are looked at only to tell why the MME sent what it sent. Damaged ones are passed over.
    """
    reader = _Reader()
    for message in messages:
        if message.captured.flaws:
            continue
        try:
            reader.take(message)
        except DecodeError:
            continue
    found = {"subscriptions": reader.subscriptions(), "radio_capabilities": reader.radio_capabilities()}
    return {**reader.profile, **{name: told for name, told in found.items() if told}}


class _Reader:
    """Takes messages one by one and keeps what they show in `profile`."""

    def __init__(self) -> None:
        self.profile: dict[str, Any] = {}
        self._ebis: dict[int, set[int]] = {}
        self._reported: set[tuple[int, int]] = set()  # bearers that Modify Bearer Request has been sent for
        self._ambrs: set[tuple[int, int]] = set()  # uplink and downlink, as Create Session Request gives them
        self._located: set[str] = set()  # IMSIs whose subscription the MME asked the HSS for
        self._sessions: dict[str, dict[str, Any]] = {}  # by IMSI: what Create Session Requests say of the subscription
        self._ue_ambr: dict[str, int] = {}
        self._last_session: dict[str, Any] = {}
        self._esm_causes: set[int] = set()  # in Activate default EPS bearer context request; 0: none
        self._esm_flag: dict[int, bool] = {}  # by eNB UE S1AP ID: the UE has protected ESM information

    def take(self, message: SignallingMessage) -> None:
        """One message. Raises DecodeError."""
        sent = message.from_nf.role is Role.MME
        match message.protocol:
            case Protocol.S1AP if sent:
                self._s1ap(s1ap.decode(message.octets))
            case Protocol.S1AP:
                self._uplink(s1ap.decode(message.octets))
            case Protocol.GTPV2 if sent:
                self._gtpv2(gtpv2.decode(message.octets))
            case Protocol.DIAMETER if sent:
                self._s6a(diameter.decode(message.octets))
            case _:
                pass

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """What sessions imply of those subscribers whose subscription the recording does not hold, by IMSI."""
        unit = self.profile.get("gtp_kilobit", 1000)
        found = {}
        for imsi, session in self._sessions.items():
            if imsi not in self._located:
                apns = [
                    {**apn, "ambr": {way: rate * unit for way, rate in apn["ambr"].items()}}
                    for apn in session["apns"].values()
                ]
                found[imsi] = {**session, "ambr": self._ue_ambr, "apns": apns}
        return found

    def radio_capabilities(self) -> dict[str, str]:
        """What the MME knew of devices when they attached last, by IMSI: hex."""
        known = {imsi: session.get("radio_capability", "") for imsi, session in self._sessions.items()}
        return {imsi: told for imsi, told in known.items() if told and imsi in self._located}

    # S1-MME

    def _s1ap(self, message: s1ap.Message) -> None:
        if message.name == "S1SetupResponse":
            self._s1_setup(message)
        self._follow_ebis(message)
        self._bit_rates(message)
        ambr = message.ie(s1ap.IeId.UE_AGGREGATE_MAXIMUM_BITRATE)
        if ambr is not None:
            ways = {"uplink": "uEaggregateMaximumBitRateUL", "downlink": "uEaggregateMaximumBitRateDL"}
            self._ue_ambr = {way: ambr[name] for way, name in ways.items()}
        for octets in message.nas_pdus():
            plain = nas.decode(octets).plain
            if plain is None:
                continue
            self._nas(plain, message)
            inner = plain.esm
            if inner is not None:
                self._esm(inner, message)

    def _uplink(self, message: s1ap.Message) -> None:
        """Whether a UE said in its Attach request that it has ESM information to be asked for."""
        for octets in message.nas_pdus():
            plain = nas.decode(octets).plain
            inner = plain.esm if plain is not None and plain.type == MessageType.ATTACH_REQUEST else None
            if inner is not None and message.enb_ue_s1ap_id is not None:
                self._esm_flag[message.enb_ue_s1ap_id] = bool(inner.number("ESM information transfer flag"))

    def _s1_setup(self, message: s1ap.Message) -> None:
        self.profile["mme_name"] = str(message.ie(s1ap.IeId.MME_NAME) or "")
        self.profile["relative_capacity"] = int(message.ie(s1ap.IeId.RELATIVE_MME_CAPACITY) or 0)
        gummeis = [s1ap.ServedGummeis.of(one) for one in message.ie(s1ap.IeId.SERVED_GUMMEIS) or ()]
        self.profile["served_gummeis"] = [
            {"plmns": list(one.plmns), "group_ids": list(one.group_ids), "mme_codes": list(one.mme_codes)}
            for one in gummeis
        ]

    def _follow_ebis(self, message: s1ap.Message) -> None:
        """Whether the MME gives the lowest EBI that is free, or the next one in turn."""
        ue = message.mme_ue_s1ap_id or 0
        if message.name.startswith("InitialContextSetupRequest"):
            self._ebis[ue] = {item["e-RAB-ID"] for item in message.items(s1ap.IeId.ERAB_TO_BE_SETUP_LIST_CTXT_SU_REQ)}
        taken = self._ebis.get(ue)
        if taken is None:
            return
        for item in message.items(s1ap.IeId.ERAB_TO_BE_SETUP_LIST_BEARER_SU_REQ):
            lowest = next(ebi for ebi in range(_FIRST_EBI, 17) if ebi not in taken)
            if item["e-RAB-ID"] > lowest:
                self.profile["cyclic_ebi"] = True
            taken.add(item["e-RAB-ID"])
        if message.name == "E-RABReleaseCommand":
            taken.difference_update(item["e-RAB-ID"] for item in message.items(s1ap.IeId.ERAB_TO_BE_RELEASED_LIST))

    # NAS

    def _nas(self, plain: nas.Plain, message: s1ap.Message) -> None:
        match plain.type:
            case MessageType.ATTACH_ACCEPT:
                self._attach_accept(plain, message)
            case MessageType.EMM_INFORMATION if plain.get("Contents") is None:  # otherwise ciphered: so by chance
                self.profile["emm_information"] = [[one.name, one.octets.hex()] for one in plain.fields]
            case MessageType.SECURITY_MODE_COMMAND:
                self._security_mode_command(plain)
            case _:
                pass

    def _attach_accept(self, plain: nas.Plain, message: s1ap.Message) -> None:
        self.profile["t3412"] = (plain.get("T3412 value") or b"").hex()
        self.profile["allocate_guti"] = self.profile.get("allocate_guti", False) or plain.get("GUTI") is not None
        if plain.number("EPS attach result") == 2:
            self.profile["attach_result_as_asked"] = True
        self.profile["attach_accept"] = [[one.name, one.octets.hex()] for one in plain.fields if one.name in _CHOSEN]
        radio_capability = message.ie(s1ap.IeId.UE_RADIO_CAPABILITY)
        # there: known before the device could tell it, from an earlier attach
        self._last_session["radio_capability"] = radio_capability.hex() if radio_capability else ""
        self.profile["masked_imeisv"] = message.ie(s1ap.IeId.MASKED_IMEISV) is not None
        tai_lists = self.profile.setdefault("tai_lists", [])
        tai_list = (plain.get("TAI list") or b"").hex()
        if tai_list not in tai_lists:
            tai_lists.append(tai_list)
        guti = plain.get("GUTI")
        if guti and "served_gummeis" not in self.profile:
            self._gummei_of(nas.MobileIdentity.decode(guti).guti)

    def _gummei_of(self, guti: nas.Guti | None) -> None:
        if guti is not None:
            gummei = {"plmns": [guti.plmn], "group_ids": [guti.group_id], "mme_codes": [guti.mme_code]}
            self.profile["served_gummeis"] = [gummei]

    def _security_mode_command(self, plain: nas.Plain) -> None:
        algorithms = plain.number("Selected NAS security algorithms") or 0
        self.profile["integrity_preference"] = _first(algorithms & 7, (2, 1, 3))
        self.profile["ciphering_preference"] = _first(algorithms >> 4 & 7, (0, 2, 1, 3))
        self.profile["imeisv_request"] = bool(plain.number("IMEISV request"))
        self.profile["hash_mme"] = "always" if plain.get("HashMME") else "never"

    def _esm(self, plain: nas.Plain, message: s1ap.Message) -> None:
        if plain.type == MessageType.ESM_INFORMATION_REQUEST:
            if self._esm_flag.get(message.enb_ue_s1ap_id or 0) is False:
                self.profile["esm_information"] = "always"
        elif plain.type == MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST:
            self._esm_causes.add(plain.number("ESM cause") or 0)
            self.profile["ipv4_only"] = self._esm_causes == {nas.EsmCause.PDN_TYPE_IPV4_ONLY_ALLOWED}
            self._apn_ambr(plain.get("APN-AMBR") or b"")

    def _apn_ambr(self, octets: bytes) -> None:
        """How the MME counts and rounds, from the rates that it was given and those that it told the UE."""
        for exact in (True, False):
            for unit, gtp_unit in ((1000, 1000), (1000, 1), (1024, 1), (1024, 1000)):
                for uplink, downlink in self._ambrs:
                    rates = nas.ApnAmbr(downlink * gtp_unit // unit, uplink * gtp_unit // unit)
                    if rates.encode(exact=exact) == octets:
                        self.profile |= {"apn_ambr_exact": exact, "kilobit": unit, "gtp_kilobit": gtp_unit}
                        return

    def _bit_rates(self, message: s1ap.Message) -> None:
        """How the MME counts: the same guaranteed rates as S1AP (bit/s) and as NAS (kbit/s) has them."""
        lists = (s1ap.IeId.ERAB_TO_BE_SETUP_LIST_BEARER_SU_REQ, s1ap.IeId.ERAB_TO_BE_MODIFIED_LIST_BEARER_MOD_REQ)
        for erab in (s1ap.Erab.of(item) for which in lists for item in message.items(which)):
            plain = nas.decode(erab.nas_pdu).plain if erab.nas_pdu else None
            octets = (plain.get("EPS QoS") or plain.get("New EPS QoS")) if plain else None
            if erab.qos is None or erab.qos.gbr is None or octets is None:
                continue
            gbr = erab.qos.gbr
            rates = (gbr.mbr_uplink, gbr.mbr_downlink, gbr.gbr_uplink, gbr.gbr_downlink)
            fitting = [
                unit
                for unit in (1000, 1024)
                if nas.EpsQos(erab.qos.qci, *(rate // unit for rate in rates)).encode() == octets
            ]
            if len(fitting) == 1:
                self.profile["kilobit"] = fitting[0]

    # S11

    def _gtpv2(self, message: gtpv2.Message) -> None:
        match message.type:
            case gtpv2.MessageType.CREATE_SESSION_REQUEST:
                self._create_session(message)
            case gtpv2.MessageType.DELETE_SESSION_REQUEST:
                self.profile["delete_session_indication"] = _flags(message)
                self.profile["delete_session_uli"] = message.find(IeType.ULI) is not None
            case (
                gtpv2.MessageType.CREATE_BEARER_RESPONSE
                | gtpv2.MessageType.UPDATE_BEARER_RESPONSE
                | gtpv2.MessageType.DELETE_BEARER_RESPONSE
            ):
                self._bearer_answer(message)
            case gtpv2.MessageType.MODIFY_BEARER_REQUEST:
                self._modify_bearer(message)
            case gtpv2.MessageType.RELEASE_ACCESS_BEARERS_REQUEST:
                node_type = message.view(gtpv2.NodeType)
                self.profile["release_node_type"] = node_type.value if node_type else None
            case gtpv2.MessageType.DOWNLINK_DATA_NOTIFICATION_ACKNOWLEDGEMENT:
                delay = message.view(gtpv2.DelayValue)
                self.profile["notification_delay_value"] = delay.value if delay else None
            case _:
                pass

    def _modify_bearer(self, message: gtpv2.Message) -> None:
        """The first one for a bearer follows its activation, later ones a service request."""
        bearers = {(message.teid or 0, gtpv2.ebi_of(context)) for context in message.bearer_contexts}
        service = bool(bearers & self._reported)
        self._reported |= bearers
        self.profile["service_uli" if service else "activation_uli"] = message.find(IeType.ULI) is not None
        if service:
            delay = message.view(gtpv2.DelayValue)
            self.profile["service_delay_value"] = delay.value if delay else None

    def _create_session(self, message: gtpv2.Message) -> None:
        profile = self.profile
        indication, zone = message.find(IeType.INDICATION), message.view(gtpv2.UeTimeZone)
        profile["create_session_indication"] = _flags(message)
        profile["create_session_indication_length"] = len(indication.octets) if indication else 0
        profile["ue_time_zone"] = [zone.quarters, zone.daylight_saving] if zone else None
        mode, restriction = message.view(gtpv2.SelectionModeIe), message.view(gtpv2.ApnRestriction)
        profile["selection_mode"] = mode.value if mode else 0
        profile["apn_restriction"] = restriction.value if restriction else None
        profile["send_msisdn"] = message.find(IeType.MSISDN) is not None
        charging, ambr = message.find(IeType.CHARGING_CHARACTERISTICS), message.view(gtpv2.Ambr)
        profile["charging_characteristics"] = charging.octets.hex() if charging else ""
        if ambr is not None:
            self._ambrs.add((ambr.uplink, ambr.downlink))
        self._session(message, ambr)

    def _session(self, message: gtpv2.Message, ambr: gtpv2.Ambr | None) -> None:
        imsi, apn, msisdn = message.view(gtpv2.Imsi), message.view(gtpv2.Apn), message.view(gtpv2.Msisdn)
        qos = message.bearer_contexts[0].view(gtpv2.BearerQos) if message.bearer_contexts else None
        if imsi is None or apn is None or qos is None:
            return
        pdn_type, paa, mei = message.view(gtpv2.PdnTypeIe), message.view(gtpv2.Paa), message.view(gtpv2.Mei)
        asked = [paa.ipv4, paa.ipv6] if paa else []
        session = self._sessions.setdefault(imsi.digits, {"msisdn": msisdn.digits if msisdn else "", "apns": {}})
        self._last_session = session
        session["imeisv"] = mei.digits if mei else ""
        session["apns"][apn.name] = {
            "apn": apn.name,
            "pdn_type": pdn_type.value if pdn_type else 1,
            "qci": qos.qci,
            "priority_level": qos.priority_level,
            "may_preempt": not qos.pci,
            "preemptable": not qos.pvi,
            "ambr": {"uplink": ambr.uplink, "downlink": ambr.downlink} if ambr else {},
            "addresses": [one for one in asked if one not in ("", "0.0.0.0", "::")],
        }

    def _bearer_answer(self, message: gtpv2.Message) -> None:
        if not gtpv2.accepted(message):
            return
        self.profile["answer_time_zone"] = message.find(IeType.UE_TIME_ZONE) is not None
        self.profile["answer_uli"] = message.find(IeType.ULI) is not None
        if "ue_time_zone" not in self.profile and (zone := message.view(gtpv2.UeTimeZone)) is not None:
            self.profile["ue_time_zone"] = [zone.quarters, zone.daylight_saving]
        if message.type == gtpv2.MessageType.CREATE_BEARER_RESPONSE:
            contexts = message.bearer_contexts
            self.profile["answer_sgw_f_teid"] = any(one.find(IeType.F_TEID, 1) is not None for one in contexts)

    # S6a

    def _s6a(self, message: diameter.Message) -> None:
        if message.application != diameter.Application.S6A or not message.is_request:
            return
        profile = self.profile
        profile["origin_host"] = message.value_of(avp.ORIGIN_HOST) or ""
        profile["origin_realm"] = message.value_of(avp.ORIGIN_REALM) or ""
        profile["destination_host"] = message.value_of(avp.DESTINATION_HOST) or ""
        profile["destination_realm"] = message.value_of(avp.DESTINATION_REALM) or ""
        profile["vendor_specific_application_id"] = message.find(avp.VENDOR_SPECIFIC_APPLICATION_ID) is not None
        if message.command == Command.AUTHENTICATION_INFORMATION:
            asked = message.find(avp.REQUESTED_EUTRAN_AUTHENTICATION_INFO)
            if asked is not None:
                profile["requested_vectors"] = asked.value_of(avp.NUMBER_OF_REQUESTED_VECTORS) or 1
                profile["immediate_response"] = asked.value_of(avp.IMMEDIATE_RESPONSE_PREFERRED)
        elif message.command == Command.UPDATE_LOCATION:
            self._located.add(message.value_of(avp.USER_NAME) or "")
            profile["ulr_flags"] = message.value_of(avp.ULR_FLAGS) or 0
            profile["ulr_terminal_information"] = message.find(avp.TERMINAL_INFORMATION) is not None
            profile["ulr_ue_srvcc_capability"] = message.value_of(avp.UE_SRVCC_CAPABILITY)
            profile["ulr_sms_register_request"] = message.value_of(avp.SMS_REGISTER_REQUEST)
        elif message.command == Command.PURGE_UE:
            profile["purge"] = True


def _first(chosen: int, others: tuple[int, ...]) -> list[int]:
    return [chosen, *(one for one in others if one != chosen)]


def _flags(message: gtpv2.Message) -> list[str]:
    indication = message.view(gtpv2.Indication)
    return [flag.name for flag in indication.flags] if indication else []
