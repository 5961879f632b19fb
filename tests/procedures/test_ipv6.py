"""Devices with IPv6 on the ims APN: their address, SIP and voice inside GTP-U, packet filters, Gx and Rx."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from ferret.protocols import diameter, sip
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import PdnType
from ferret.protocols.gtpv2.tft import ComponentType
from ferret.records.message import Role
from ferret_core.driver.device import IMS, filters_of
from ferret_core.driver.places import Places
from ferret_core.nf import Received, Send
from ferret_core.ua import Ringing
from ferret_core.ua.packets import Datagram

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Scene

pytestmark = [pytest.mark.sctp, pytest.mark.root]
BOB = "sip:bob@remote.example"


def heard_by(scene: Scene, role: Role) -> list[diameter.Message | sip.Message]:
    """Every Diameter and SIP message that an NF receives from now on."""
    found: list[diameter.Message | sip.Message] = []
    node = scene.core.nfs[role].node
    told = node.tap

    def tapped(event: Received | Send) -> None:
        if told is not None:
            told(event)
        if isinstance(event, Received) and isinstance(event.message, (diameter.Message, sip.Message)):
            found.append(event.message)

    node.tap = tapped
    return found


@pytest.mark.parametrize("kind", [PdnType.IPV6, PdnType.IPV4V6])
def test_a_device_gets_its_prefix_from_the_pgw_and_its_identifier_from_nas(
    play: Play, with_ipv6: Places, kind: PdnType
) -> None:
    async def act(scene: Scene) -> None:
        asked = heard_by(scene, Role.PCRF)
        device = scene.device()
        await device.attach()
        await device.connect_ims()
        default = device.default_bearer(IMS)
        assert default is not None
        prefix = IPv6Network((int(IPv6Address(default.ipv6)) >> 64 << 64, 64))
        assert prefix.subnet_of(IPv6Network(with_ipv6.ipv6_pools["ims"]))
        assert IPv6Address(default.ipv6).packed[8:] == default.identifier
        assert default.address == ("127.0.142.2" if kind == PdnType.IPV4V6 else default.ipv6)
        assert device.sip is not None
        assert device.sip.agent.configuration.proxy == f"[{with_ipv6.address(Role.PCSCF)}]:5060"
        framed = [one.value_of(avp.FRAMED_IPV6_PREFIX) for one in asked if isinstance(one, diameter.Message)]
        assert str(prefix) in framed

    play(act, places=with_ipv6, ims_pdn_type=kind)


@pytest.mark.parametrize("kind", [PdnType.IPV6, PdnType.IPV4V6])
def test_voice_over_ipv6_has_a_dedicated_bearer_of_its_own(play: Play, with_ipv6: Places, kind: PdnType) -> None:
    async def act(scene: Scene) -> None:
        rx, sdp = heard_by(scene, Role.PCRF), heard_by(scene, Role.SCSCF)
        device = await scene.registered()
        assert device.sip is not None
        name = await scene.call(device.sip, scene.remote, BOB)
        (bearer,) = device.dedicated_bearers()
        kinds = {part.type for one in filters_of(bearer) for part in one.components}
        assert kinds & {ComponentType.IPV6_REMOTE_ADDRESS, ComponentType.IPV6_REMOTE_ADDRESS_PREFIX}
        invite = next(one for one in sdp if isinstance(one, sip.Message) and one.method == "INVITE")
        assert f"c=IN IP6 {device.address}".encode() in invite.body
        aar = next(o for o in rx if isinstance(o, diameter.Message) and o.find(avp.MEDIA_COMPONENT_DESCRIPTION))
        assert str(aar.value_of(avp.FRAMED_IPV6_PREFIX)).startswith(device.address)
        remote = with_ipv6.address(Role.REMOTE)
        flows = [text for part in _subs(aar) for text in part.values_of(avp.FLOW_DESCRIPTION)]
        assert any(device.address in text and remote in text for text in flows)
        sent = Datagram((device.address, 49000), (remote, 49000), b"\x80" + bytes(50))
        heard: list[tuple[Datagram, int]] = []
        device.media = lambda datagram, ebi, at: heard.append((datagram, ebi))
        device.send(sent)
        await scene.heard.wait()
        assert scene.media == [(sent.payload, sent.source)]
        assert scene.media_socket is not None
        scene.media_socket.send(b"\x80 answer", sent.source)
        await scene.station.until(lambda: bool(heard))
        assert heard == [(Datagram(sent.destination, sent.source, b"\x80 answer"), bearer.ebi)]
        device.sip.hang_up(name)
        await scene.ended(device.sip, scene.remote)
        await scene.without_bearers(device)

    play(act, places=with_ipv6, ims_pdn_type=kind)


def _subs(aar: diameter.Message) -> list[diameter.Avp]:
    components = aar.all(avp.MEDIA_COMPONENT_DESCRIPTION)
    return [sub for one in components for sub in one.all(avp.MEDIA_SUB_COMPONENT)]


def test_an_idle_device_is_paged_for_a_call_over_ipv6(play: Play, with_ipv6: Places) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        await device.go_idle()
        scene.remote.call(scene.uri())
        await device.sip.wait_for(Ringing)
        assert "Paging" in scene.spoken[Role.MME]
        assert len(device.dedicated_bearers()) == 1

    play(act, places=with_ipv6, ims_pdn_type=PdnType.IPV6)


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_after_a_whole_life_with_ipv6_nothing_is_left(play: Play, with_ipv6: Places, transport: str) -> None:
    async def act(scene: Scene) -> None:
        await scene.whole_life()

    play(act, places=with_ipv6, ims_pdn_type=PdnType.IPV6, sip_transport=transport)
