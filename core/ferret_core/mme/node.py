"""What the MME's procedures stand on: contexts, identifiers, and sending to eNB, HSS and SGW."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import TypeAlias

from ferret.errors import PeerViolationError
from ferret.protocols import diameter, gtpv2, nas, s1ap
from ferret.records.message import Interface, Role
from ferret_core.mme.context import EnbContext, Subscription, UeContext
from ferret_core.mme.profile import Profile
from ferret_core.mme.states import EcmState, EmmEvent
from ferret_core.nf import NetworkFunction, Note, Output, Peer, Send

Gtpv2Answer: TypeAlias = "Callable[[UeContext, gtpv2.Message], None]"
DiameterAnswer: TypeAlias = "Callable[[UeContext, diameter.Message], None]"
Unanswered: TypeAlias = "Callable[[UeContext, str], None]"


@dataclass(slots=True)
class Pending:
    """A request that waits for its answer."""

    interface: Interface
    ue: UeContext
    answered: Gtpv2Answer | DiameterAnswer
    unanswered: Unanswered


class MmeNode(NetworkFunction):
    """The MME without its procedures. Outputs are gathered while one event is handled."""

    role = Role.MME

    def __init__(self, *, address: str, random: Random) -> None:
        super().__init__(address=address, random=random)
        self.profile = Profile()
        self.enbs: dict[Peer, EnbContext] = {}
        self.by_s1ap_id: dict[int, UeContext] = {}
        self.by_imsi: dict[str, UeContext] = {}
        self.by_m_tmsi: dict[int, UeContext] = {}
        self.by_s11_teid: dict[int, UeContext] = {}
        self.subscriptions: dict[str, Subscription] = {}  # told by the operator, for want of an HSS
        self.radio_capabilities: dict[str, bytes] = {}  # by IMSI, of devices that were here before
        self.pending: dict[int, Pending] = {}
        self.now = 0.0
        self._outputs: list[Output] = []
        self._s1ap_ids = count(1)
        self._tokens = count(1)
        self._sessions = count(1)

    def happened(self, ue: UeContext, event: EmmEvent, plain: nas.Plain | None = None) -> None:
        """Let the UE's state machine take an event."""
        raise PeerViolationError(f"{event} in {ue.emm}: no procedure takes it")

    # contexts

    def contexts(self) -> Iterator[UeContext]:
        """Every UE, once."""
        seen: set[int] = set()
        for table in (self.by_s1ap_id, self.by_imsi, self.by_s11_teid):
            for ue in table.values():
                if id(ue) not in seen:
                    seen.add(id(ue))
                    yield ue

    def new_ue(self) -> UeContext:
        """A context under a new MME UE S1AP ID."""
        ue = UeContext(next(self._s1ap_ids))
        self.by_s1ap_id[ue.mme_ue_s1ap_id] = ue
        return ue

    def new_connection(self, ue: UeContext) -> None:
        """Give a UE that was idle a new MME UE S1AP ID."""
        self.by_s1ap_id.pop(ue.mme_ue_s1ap_id, None)
        ue.mme_ue_s1ap_id = next(self._s1ap_ids)
        self.by_s1ap_id[ue.mme_ue_s1ap_id] = ue

    def claim_s1ap_id(self, ue: UeContext, number: int) -> None:
        """Let a UE that is taken over keep the MME UE S1AP ID that its eNB knows."""
        self.by_s1ap_id.pop(ue.mme_ue_s1ap_id, None)
        ue.mme_ue_s1ap_id = number
        self.by_s1ap_id[number] = ue
        while next(self._s1ap_ids) < number:
            continue

    def ue_of(self, message: s1ap.Message) -> UeContext:
        """The UE of a message on its connection. Raises PeerViolationError."""
        ue = self.by_s1ap_id.get(message.mme_ue_s1ap_id or 0)
        if ue is None:
            raise PeerViolationError(f"{message.name} for unknown MME UE S1AP ID {message.mme_ue_s1ap_id}")
        return ue

    def identify(self, ue: UeContext, imsi: str) -> None:
        """Now that the IMSI is known, this context is the subscriber's, and an older one is not."""
        old = self.by_imsi.get(imsi)
        if old is not None and old is not ue:
            self.remove(old)
        ue.imsi = imsi
        self.by_imsi[imsi] = ue

    def allocate_guti(self, ue: UeContext) -> nas.Guti:
        """A new GUTI of the first GUMMEI that this MME serves (TS 23.003 clause 2.8)."""
        gummeis = self.profile.served_gummeis
        plmn = ue.tai.plmn if ue.tai else "00101"
        group, code = 1, 1
        if gummeis:
            first = next((one for one in gummeis if plmn in one.plmns), gummeis[0])
            plmn, group, code = (
                first.plmns[0] if plmn not in first.plmns else plmn,
                first.group_ids[0],
                first.mme_codes[0],
            )
        # the two highest bits of an M-TMSI are set, those of a P-TMSI mapped from it too (TS 23.003 clause 2.8.2.1)
        tmsi = 0
        while not tmsi or tmsi in self.by_m_tmsi:
            tmsi = 0xC0000000 | self.random.getrandbits(30)
        self.by_m_tmsi[tmsi] = ue
        return nas.Guti(plmn, group, code, tmsi)

    def confirm_guti(self, ue: UeContext) -> None:
        """The UE has taken its new GUTI; the old one is void."""
        if ue.next_guti is None:
            return
        if ue.guti is not None:
            self.by_m_tmsi.pop(ue.guti.m_tmsi, None)
        ue.guti, ue.next_guti = ue.next_guti, None

    def open_s11(self, ue: UeContext) -> None:
        """Give the UE an S11 TEID, unless it has one."""
        if not ue.mme_s11_teid:
            teid = 0
            while not teid or teid in self.by_s11_teid:
                teid = self.random.getrandbits(32)
            ue.mme_s11_teid = teid
            self.by_s11_teid[teid] = ue

    def close_s11(self, ue: UeContext) -> None:
        """The UE has no session any more."""
        self.by_s11_teid.pop(ue.mme_s11_teid, None)
        ue.mme_s11_teid, ue.sgw = 0, None

    def remove(self, ue: UeContext) -> None:
        """Forget a UE altogether."""
        self.close_s11(ue)
        self.by_s1ap_id.pop(ue.mme_ue_s1ap_id, None)
        if self.by_imsi.get(ue.imsi) is ue:
            del self.by_imsi[ue.imsi]
        for guti in (ue.guti, ue.next_guti):
            if guti is not None and self.by_m_tmsi.get(guti.m_tmsi) is ue:
                del self.by_m_tmsi[guti.m_tmsi]
        for token in [token for token, one in self.pending.items() if one.ue is ue]:
            del self.pending[token]

    # outputs

    def note(self, event: str, **fields: object) -> None:
        """Tell whoever wants to know."""
        self._outputs.append(Note(event, fields))

    def outputs(self) -> list[Output]:
        """What has been gathered; gathering begins anew."""
        gathered, self._outputs = self._outputs, []
        return gathered

    def to_enb(self, peer: Peer, message: s1ap.Message) -> None:
        """Send to a base station."""
        self._outputs.append(Send(Interface.S1_MME, peer, message))

    def to_ue(self, ue: UeContext, message: s1ap.Message) -> None:
        """Send on a UE's connection. Raises PeerViolationError if it has none."""
        if ue.enb is None or ue.ecm is not EcmState.CONNECTED:
            raise PeerViolationError(f"{message.name}: the UE is {ue.ecm}")
        self.to_enb(ue.enb, message)

    def to_sgw(
        self, ue: UeContext, message: gtpv2.Message, answered: Gtpv2Answer, unanswered: Unanswered | None = None
    ) -> None:
        """Send a request to the UE's SGW."""
        peer = ue.sgw_peer or Peer(Role.SGW, self.profile.sgw_address)
        self._request(ue, Interface.S11, peer, message, answered, unanswered)

    def to_hss(
        self, ue: UeContext, message: diameter.Message, answered: DiameterAnswer, unanswered: Unanswered | None = None
    ) -> None:
        """Send a request to the HSS."""
        self._request(ue, Interface.S6A, Peer(Role.HSS), message, answered, unanswered)

    def _request(
        self,
        ue: UeContext,
        interface: Interface,
        peer: Peer,
        message: gtpv2.Message | diameter.Message,
        answered: Gtpv2Answer | DiameterAnswer,
        unanswered: Unanswered | None,
    ) -> None:
        token = next(self._tokens)
        self.pending[token] = Pending(interface, ue, answered, unanswered or self._ignore)
        self._outputs.append(Send(interface, peer, message, token=token))

    def _ignore(self, ue: UeContext, reason: str) -> None:
        self.note("request_unanswered", imsi=ue.imsi, reason=reason)

    def answer(self, interface: Interface, peer: Peer, message: gtpv2.Message | diameter.Message, to: int) -> None:
        """Answer a request; `to` is `Received.transaction`."""
        self._outputs.append(Send(interface, peer, message, reply_to=to))

    def new_session_id(self) -> str:
        """A Session-Id (RFC 6733 clause 8.8)."""
        return f"{self.profile.origin_host};{self.random.getrandbits(32)};{next(self._sessions)};app_s6a"
