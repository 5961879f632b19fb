"""A P-CSCF's habits and context, read from a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Command, avp
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role, SignallingMessage
from ferret_core import rx
from ferret_core.pcscf import signalling_flow
from ferret_core.sip_policy import Way
from ferret_core.sip_profile import History, Hop, Seen, sip_habits


def profile_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Any]:
    """What the P-CSCF of a recording does its own way; for `import_context` as "profile"."""
    everything = tuple(messages)
    history = History(everything, Role.PCSCF)
    profile: dict[str, Any] = {"sip": sip_habits(history)}
    registers = [hop for hop in history.hops if hop.way is Way.REGISTER and hop.received.sip.has("Authorization")]
    if registers:
        profile["integrity_protected"] = any(
            "integrity-protected" in hop.sent.sip.first("Authorization") for hop in registers
        )
    challenges = [hop for hop in history.hops if hop.received.sip.first("WWW-Authenticate").find("ck=") >= 0]
    if challenges:
        profile["keeps_keys"] = not any("ck=" in hop.sent.sip.first("WWW-Authenticate") for hop in challenges)
    asked = _requests_on_rx(everything)
    aars = [one for one in asked if one.command == Command.AA]
    if asked:
        profile["rx"] = rx.habits(asked)
        profile["rx_identity"] = _rx_identity(aars, history)
        profile["rx_registration"] = signalling_flow.habits(aars)
        if not profile["rx"] and aars:
            profile["rx"] = _addresses(aars[0])
    elif any(_answers_with_sdp(hop) for hop in history.hops):
        profile["rx"] = None
    return profile


def _requests_on_rx(messages: Sequence[SignallingMessage]) -> list[diameter.Message]:
    found = []
    for one in messages:
        if one.protocol is Protocol.DIAMETER and one.interface is Interface.RX and not one.captured.flaws:
            try:
                message = diameter.decode(one.octets)
            except DecodeError:
                continue
            if message.is_request and message.command in (Command.AA, Command.SESSION_TERMINATION):
                found.append(message)
    return found


def _addresses(aar: diameter.Message) -> dict[str, Any]:
    """Who speaks Rx with whom, where no AAR for media tells more."""
    fields = (
        ("origin_host", avp.ORIGIN_HOST),
        ("origin_realm", avp.ORIGIN_REALM),
        ("destination_realm", avp.DESTINATION_REALM),
        ("destination_host", avp.DESTINATION_HOST),
    )
    try:
        found: dict[str, Any] = {key: value for key, field in fields if (value := aar.value_of(field))}
    except DecodeError:
        return {}
    return found | {"vendor_specific_application_id": aar.find(avp.VENDOR_SPECIFIC_APPLICATION_ID) is not None}


def _answers_with_sdp(hop: Hop) -> bool:
    return not hop.sent.sip.is_request and hop.sent.sip.first("Content-Type").startswith("application/sdp")


def _rx_identity(aars: Sequence[diameter.Message], history: History) -> dict[str, str]:
    """Which URI of the initial INVITE names the subscriber on Rx, for either half of a call."""
    votes: dict[str, Counter[str]] = {"originating": Counter(), "terminating": Counter()}
    for one in aars:
        group = one.find(avp.SUBSCRIPTION_ID)
        try:
            name = group.value_of(avp.SUBSCRIPTION_ID_DATA) if group is not None else None
            ue = one.value_of(avp.FRAMED_IP_ADDRESS) or one.value_of(avp.FRAMED_IPV6_PREFIX)
        except DecodeError:
            continue
        for hop in history.hops:
            if name and hop.sent.sip.method == "INVITE" and hop.sent.sip.is_request:
                half = "originating" if hop.way is Way.ORIGINATING else "terminating"
                node = hop.received.recorded.from_nf if half == "originating" else hop.sent.recorded.to_nf
                if hop.way in (Way.ORIGINATING, Way.TERMINATING) and str(ue).startswith(node.address):
                    votes[half].update(source for source, uri in _candidates(hop).items() if _names(uri, name))
    return {half: counted.most_common(1)[0][0] for half, counted in votes.items() if counted}


def _candidates(hop: Hop) -> dict[str, str]:
    request = hop.sent.sip
    asserted = request.first("P-Asserted-Identity") or request.first("From")
    return {
        "request_uri": request.request_uri,
        "from": sip.parse_name_addr(request.first("From")).uri,
        "to": sip.parse_name_addr(request.first("To")).uri,
        "asserted": sip.parse_name_addr(asserted).uri,
    }


def _names(uri: str, name: str) -> bool:
    return name in (uri, uri.partition(";")[0])


def context_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Any]:
    """Registrations that later messages imply, for UEs whose own REGISTER the recording does not hold."""
    history = History(messages, Role.PCSCF)
    known = {one.recorded.from_nf.address for one in history.received if one.sip.method == "REGISTER"}
    found: dict[str, dict[str, Any]] = {}
    for hop in history.hops:
        if not hop.sent.sip.is_request:
            continue
        if hop.way is Way.ORIGINATING:
            ue, host = hop.received.recorded.captured.source, hop.received.recorded.from_nf.address
        elif hop.way is Way.TERMINATING and _in_stream(hop.sent):
            ue, host = hop.sent.recorded.captured.destination, hop.sent.recorded.to_nf.address
        else:
            continue
        if host not in known and str(ue) not in found:
            registration = _originating(hop) if hop.way is Way.ORIGINATING else _terminating(hop)
            found[str(ue)] = registration | {"ue_address": str(ue), "transport": _transport_of(history, host)}
    return {"registrations": list(found.values())}


def _originating(hop: Hop) -> dict[str, Any]:
    asserted = hop.sent.sip.first("P-Asserted-Identity") or hop.sent.sip.first("From")
    return {
        "impus": [sip.parse_name_addr(asserted).uri],
        "contact": sip.parse_name_addr(hop.received.sip.first("Contact")).uri,
        "service_route": list(hop.sent.sip.values("Route")),
    }


def _terminating(hop: Hop) -> dict[str, Any]:
    called = hop.sent.sip.first("P-Called-Party-ID") or hop.sent.sip.first("To")
    return {"impus": [sip.parse_name_addr(called).uri], "contact": hop.sent.sip.request_uri}


def _in_stream(seen: Seen) -> bool:
    return sip.parse_via(seen.sip.first("Via")).transport == "TCP"


def _transport_of(history: History, host: str) -> str:
    """What a UE registered over: TCP where no request from it or to it went any other way."""
    requests = [one for one in history.received if one.sip.is_request and one.recorded.from_nf.address == host]
    requests += [one for one in history.sent if one.sip.is_request and one.recorded.to_nf.address == host]
    return "TCP" if all(map(_in_stream, requests)) else "UDP"
