"""S1AP between a target MME and the stand-ins for its base stations: an SCTP association for each recorded one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Final

from ferret.errors import ConfigError, DecodeError
from ferret.protocols import s1ap
from ferret.records.message import Endpoint, Interface, Role, SignallingMessage
from ferret.replay.foreign.targets import Target
from ferret.replay.rewrite import Message
from ferret.transport.sctp import PPID_S1AP, SctpAssociation, SctpMessage, SctpTransport
from ferret_core.enb.enb import Enb
from ferret_core.nf import Send
from ferret_deploy.foreign.line import Asked, Hearing, Line, Remarked, Unanswered, unheard

_UE_STREAM: Final = 1  # TS 36.412 clause 7: 0 is for common procedures
_SET_UP: Final = 5.0  # seconds
_ERROR: Final = "ErrorIndication"
"""What an MME says that cannot use a message (TS 36.413 clause 8.7)."""


class S1apLine(Line):
    """S1AP between one target and base stations. `setups`: the recorded ones' S1 SETUP REQUEST, by their address.

    Where none was recorded, PLMN and TAC of `cell` are what the stand-in serves.
    """

    def __init__(
        self,
        target: Target,
        address: str,
        setups: Mapping[str, bytes],
        cell: tuple[str, int],
        sctp: SctpTransport,
    ) -> None:
        self.target = target
        self.hearing: Hearing = unheard
        self._address = address
        self._setups = setups
        self._cell = cell
        self._sctp = sctp
        self._associations: dict[str, SctpAssociation] = {}

    async def start(self) -> None:
        """Connect and set up S1. Raises TransportError, ConfigError where the MME refuses."""
        for place, (recorded, setup) in enumerate(self._setups.items()):
            done: asyncio.Future[s1ap.Message] = asyncio.get_running_loop().create_future()
            association = await self._sctp.connect((self.target.address, self.target.port), local=(self._address, 0))
            self._associations[recorded] = association
            self._listen(recorded, association, done)
            association.send(setup or self._own_setup(place), stream=0, ppid=PPID_S1AP)
            where = Endpoint(self.target.address, self.target.port)
            try:
                answer = await asyncio.wait_for(done, _SET_UP)
            except TimeoutError:
                raise ConfigError(f"MME {where} does not answer S1 SETUP") from None
            if answer.name != "S1SetupResponse":
                plmn, tac = self._cell
                raise ConfigError(f"MME {where} refuses S1 SETUP: does it serve PLMN {plmn} and TAC {tac}?")

    async def stop(self) -> None:
        """End the associations."""
        for association in self._associations.values():
            association.close()
        self._associations.clear()

    def ask(self, recorded: SignallingMessage, message: Message, token: int, destination: str) -> None:
        """Send a message from the stand-in of the recorded base station."""
        association = self._associations.get(recorded.from_nf.address)
        if association is None:
            self.hearing(Unanswered(token, "no SCTP association", unsent=True))
            return
        stream = min(_UE_STREAM, association.streams - 1)
        association.send(message.encode(), stream=stream, ppid=PPID_S1AP)

    def answer(self, interface: Interface, neighbour: Role, message: Message, number: int) -> bool:
        """S1AP answers are sent like everything else."""
        return False

    def _own_setup(self, place: int) -> bytes:
        plmn, tac = self._cell
        enb = Enb(
            address=self._address,
            random=Random(place),
            mme=self.target.address,
            plmn=plmn,
            tac=tac,
            enb_id=place + 1,
        )
        return next(output.message.encode() for output in enb.set_up() if isinstance(output, Send))

    def _listen(self, recorded: str, association: SctpAssociation, done: asyncio.Future[s1ap.Message]) -> None:
        def received(sent: SctpMessage) -> None:
            try:
                message = s1ap.decode(sent.octets)
            except DecodeError as error:
                self.hearing(Remarked(f"discarded: {error}"))
                return
            if message.name.startswith("S1Setup"):
                if not done.done():
                    done.set_result(message)
                return
            self.hearing(Asked(Interface.S1_MME, Role.ENB, message))

        def lost(reason: str) -> None:
            self._associations.pop(recorded, None)
            self.hearing(Remarked(f"SCTP association lost: {reason}"))

        association.received = received
        association.lost = lost
