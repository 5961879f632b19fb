"""Diameter over TLS: both ends show certificates of the operator's authority, and nobody else is let in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ferret.errors import ConfigError
from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Command, avp
from ferret.records.message import Interface, Role
from ferret.transport.endpoint import TransportError
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.driver.links.diameter_tls import DiameterTls
from ferret_core.nf import Input, Peer, Received, Send
from tests.interop.peers.freediameter import make_certificates

PGW, PCRF = "127.0.159.4", "127.0.159.9"


def _tls(directory: Path, name: str) -> DiameterTls:
    directory.mkdir(exist_ok=True)
    make_certificates(directory, {name: f"{name}.example"})
    return DiameterTls(directory / f"{name}.pem", directory / f"{name}.key", directory / "authority.pem")


def _links(server: DiameterTls | None, client: DiameterTls | None, heard: list[Input]) -> tuple[DiameterLink, ...]:
    gx = Interface.GX
    pcrf = DiameterLink(Role.PCRF, PCRF, {PGW: (Role.PGW, gx)}, heard.append, listens=True, tls=server)
    pgw = DiameterLink(Role.PGW, PGW, {PCRF: (Role.PCRF, gx)}, heard.append, listens=False, tls=client)
    return pcrf, pgw


def test_two_nodes_of_one_authority_speak(tmp_path: Path) -> None:
    heard: list[Input] = []

    async def scenario() -> None:
        pcrf, pgw = _links(_tls(tmp_path, "pcrf"), _tls(tmp_path, "pgw"), heard)
        await pcrf.start()
        await pgw.start()
        message = diameter.request(Command.CREDIT_CONTROL, Application.GX, avp.SESSION_ID("s"))
        pgw.send(Send(Interface.GX, Peer(Role.PCRF), message, token=1))
        async with asyncio.timeout(5):
            while not heard:  # noqa: ASYNC110 - a list has no event
                await asyncio.sleep(0.001)
        assert isinstance(heard[0], Received)
        await pgw.stop()
        await pcrf.stop()

    asyncio.run(scenario())


def test_a_node_that_believes_another_authority_does_not_connect(tmp_path: Path) -> None:
    async def scenario() -> None:
        pcrf, pgw = _links(_tls(tmp_path / "one", "pcrf"), _tls(tmp_path / "other", "pgw"), [])
        await pcrf.start()
        with pytest.raises(TransportError, match="certificate verify failed"):
            await pgw.start()
        await pcrf.stop()

    asyncio.run(scenario())


def test_files_that_are_no_certificates_are_a_fault_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Diameter over TLS"):
        _links(DiameterTls(tmp_path / "a", tmp_path / "b", tmp_path / "c"), None, [])
