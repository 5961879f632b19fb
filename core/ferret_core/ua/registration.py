"""Registration of a device with AKA (TS 24.229 clause 5.1.1, RFC 3310): Digest AKAv1-MD5 over its USIM.

There is no security association towards the P-CSCF (TS 33.203 clause 7): every REGISTER is challenged.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols import sip
from ferret_core.enb.usim import Challenge, Usim
from ferret_core.ua.configuration import UaConfiguration
from ferret_core.ua.events import NotRegistered, Registered, UaEvent
from ferret_core.ua.states import RegistrationEvent, RegistrationState

_MAX_CHALLENGES: Final = 3  # in a row: the first, and one after each synchronisation failure
_LONG: Final = 1200  # seconds: longer registrations are refreshed 600 s before they end, others half-way through
_EARLY: Final = 600


class RegistrationAgent(Protocol):
    """What a registration needs of its user agent."""

    configuration: UaConfiguration

    def token(self, bits: int = 64) -> str:
        """Something that nobody guesses, in hexadecimal."""

    def via(self) -> str:
        """A Via with a branch of its own."""

    def send(self, message: sip.Message, destination: str, now: float) -> sip.Message:
        """Send a message; as it is sent."""

    def tell(self, event: UaEvent) -> None:
        """Tell whoever we work for."""

    def refresh_at(self, when: float | None) -> None:
        """When the registration wants to be refreshed; None: it does not."""

    def registered(self, now: float, *, is_registered: bool) -> None:
        """The registration has begun, been refreshed, or ended."""


class Registration:
    """The registration of one user agent."""

    def __init__(self, agent: RegistrationAgent, usim: Usim | None) -> None:
        self.state = RegistrationState.NOT_REGISTERED
        self.service_route: tuple[str, ...] = ()
        self.identities: tuple[str, ...] = ()
        self._agent = agent
        self._usim = usim
        self._call_id = ""
        self._tag = ""
        self._cseq = 0
        self._challenges = 0
        self._expires = 0

    @property
    def is_registered(self) -> bool:
        """Whether the registrar has us."""
        return self.state in (RegistrationState.REGISTERED, RegistrationState.REFRESHING)

    def happen(self, event: RegistrationEvent, now: float, answer: sip.Message | None = None) -> None:
        """Take an order, an answer or the time. Raises LocalMisuseError for an order that does not fit."""
        entry = _TABLE.get((self.state, event))
        if entry is None:
            raise LocalMisuseError(f"{event} while {self.state}")
        self.state, handler = entry
        handler(self, answer, now)

    def answered(self, answer: sip.Message, now: float) -> None:
        """A final answer to our REGISTER."""
        if answer.status < 200 or self.state not in _ASKING:
            return
        event = RegistrationEvent.REFUSED
        if answer.status < 300:
            event = RegistrationEvent.ACCEPTED
        elif answer.status == 401:
            event = RegistrationEvent.CHALLENGED
        self.happen(event, now, answer)

    # ---- what the table does

    def _begin(self, answer: sip.Message | None, now: float) -> None:
        agent = self._agent
        if not self._call_id:
            self._call_id, self._tag = f"{agent.token()}@{agent.configuration.host}", agent.token(32)
        self._challenges, self._expires = 0, agent.configuration.expires
        self._register(self._credentials({}), now)

    def _leave(self, answer: sip.Message | None, now: float) -> None:
        self._challenges, self._expires = 0, 0
        self._agent.refresh_at(None)
        self._register(self._credentials({}), now)

    def _prove(self, answer: sip.Message | None, now: float) -> None:
        """Answer the challenge: RES is the password (RFC 3310 clause 3.3)."""
        challenge = _challenge_of(answer)
        self._challenges += 1
        if answer is None or challenge is None or self._usim is None or self._challenges > _MAX_CHALLENGES:
            self._refused(answer, now)
            return
        try:
            rand, autn = sip.digest.split_aka_nonce(challenge.get("nonce", ""))
            result = self._usim.challenge(rand, autn)
            if result.outcome is Challenge.MAC_FAILURE:
                self._end(403, "the network's MAC is wrong", now)
                return
            self._register(self._proof(challenge, result.res, result.auts), now)
        except DecodeError as error:
            self._end(answer.status, str(error), now)

    def _accepted(self, answer: sip.Message | None, now: float) -> None:
        if answer is None:
            return
        seconds = self._granted(answer)
        self.service_route = answer.values("Service-Route")
        uris = [sip.parse_name_addr(value).uri for value in answer.values("P-Associated-URI")]
        self.identities = tuple(uris) or (self._agent.configuration.identity,)
        self._agent.refresh_at(now + (seconds - _EARLY if seconds > _LONG else seconds / 2))
        self._agent.tell(Registered(self.identities, seconds))
        self._agent.registered(now, is_registered=True)

    def _left(self, answer: sip.Message | None, now: float) -> None:
        self._end(200, "left", now)

    def _taken_away(self, answer: sip.Message | None, now: float) -> None:
        self._end(480, "deregistered by the network", now)

    def _refused(self, answer: sip.Message | None, now: float) -> None:
        self._end(408 if answer is None else answer.status, "" if answer is None else answer.reason, now)

    def _nothing(self, answer: sip.Message | None, now: float) -> None:
        """It is over already."""

    def _end(self, status: int, reason: str, now: float) -> None:
        self.state = RegistrationState.NOT_REGISTERED
        self.service_route, self.identities, self._call_id = (), (), ""
        self._agent.refresh_at(None)
        self._agent.tell(NotRegistered(status, reason))
        self._agent.registered(now, is_registered=False)

    # ---- messages

    def _register(self, authorization: str, now: float) -> None:
        agent, own = self._agent, self._agent.configuration
        self._cseq += 1
        headers = [
            ("Via", agent.via()),
            ("Max-Forwards", "70"),
            ("From", f"<{own.identity}>;tag={self._tag}"),
            ("To", f"<{own.identity}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} REGISTER"),
            ("Contact", f"{contact(own)};expires={self._expires}"),
            ("Authorization", authorization),
            ("Supported", "path"),
            ("Allow", ALLOW),
            ("User-Agent", own.user_agent),
        ]
        if own.access_network:
            headers.append(("P-Access-Network-Info", own.access_network))
        agent.send(sip.request("REGISTER", f"sip:{own.home}", headers), own.proxy, now)

    def _credentials(self, more: dict[str, str]) -> str:
        own = self._agent.configuration
        empty = {"realm": own.home, "nonce": "", "response": ""}  # clause 5.1.1.2.2
        params = {"username": own.private_identity, "uri": f"sip:{own.home}", **empty, **more}
        parts = [f"{name}={text}" if name in _BARE else f'{name}="{text}"' for name, text in params.items()]
        return "Digest " + ", ".join(parts)

    def _proof(self, challenge: dict[str, str], res: bytes, auts: bytes) -> str:
        offered = challenge.get("qop", "")
        chosen: dict[str, str] = {name: challenge[name] for name in _REPEATED if name in challenge}
        if offered:
            chosen |= {"qop": "auth", "cnonce": self._agent.token(), "nc": "00000001"}
        own = self._agent.configuration
        base = {"username": own.private_identity, "uri": f"sip:{own.home}", **chosen}
        chosen["response"] = sip.digest.response(base, method="REGISTER", password=res)
        if auts:
            chosen["auts"] = b64encode(auts).decode("ascii")  # RFC 3310 clause 3.4
        return self._credentials(chosen)

    def _granted(self, answer: sip.Message) -> int:
        """How long we are registered, in seconds: what the answer says of our contact, or else Expires."""
        ours = sip.parse_uri(sip.parse_name_addr(contact(self._agent.configuration)).uri)
        for value in answer.values("Contact"):
            found = sip.parse_name_addr(value)
            uri = sip.parse_uri(found.uri)
            if (uri.user, uri.host, uri.port) == (ours.user, ours.host, ours.port):
                text = found.param("expires") or answer.first("Expires")
                if text.isascii() and text.isdigit() and len(text) < 10:
                    return int(text)
        return self._expires


ALLOW: Final = "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE, OPTIONS, MESSAGE"
_REPEATED: Final = ("realm", "nonce", "opaque", "algorithm")  # of a challenge, in credentials
_BARE: Final = frozenset({"algorithm", "qop", "nc"})
_ASKING: Final = frozenset(
    {
        RegistrationState.REGISTERING,
        RegistrationState.AUTHENTICATING,
        RegistrationState.REFRESHING,
        RegistrationState.LEAVING,
    }
)


def contact(own: UaConfiguration) -> str:
    """Our Contact with the feature tag of multimedia telephony (TS 24.173, TS 24.229 clause 5.1.1.2.1)."""
    user = own.identity.partition(":")[2].partition("@")[0]
    transport = ";transport=tcp" if own.transport == "TCP" else ""
    return f'<sip:{user}@{own.address}{transport}>;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"'


def _challenge_of(answer: sip.Message | None) -> dict[str, str] | None:
    try:
        scheme, params = sip.digest.parse(answer.first("WWW-Authenticate") if answer is not None else "")
    except DecodeError:
        return None
    return params if scheme.lower() == "digest" else None


_Handler: TypeAlias = Callable[[Registration, "sip.Message | None", float], None]
_S, _E = RegistrationState, RegistrationEvent
_TABLE: Final[dict[tuple[RegistrationState, RegistrationEvent], tuple[RegistrationState, _Handler]]] = {
    (_S.NOT_REGISTERED, _E.REGISTER): (_S.REGISTERING, Registration._begin),
    (_S.NOT_REGISTERED, _E.DUE): (_S.NOT_REGISTERED, Registration._nothing),
    (_S.REGISTERING, _E.CHALLENGED): (_S.AUTHENTICATING, Registration._prove),
    (_S.REGISTERING, _E.ACCEPTED): (_S.REGISTERED, Registration._accepted),
    (_S.REGISTERING, _E.REFUSED): (_S.NOT_REGISTERED, Registration._refused),
    (_S.AUTHENTICATING, _E.CHALLENGED): (_S.AUTHENTICATING, Registration._prove),
    (_S.AUTHENTICATING, _E.ACCEPTED): (_S.REGISTERED, Registration._accepted),
    (_S.AUTHENTICATING, _E.REFUSED): (_S.NOT_REGISTERED, Registration._refused),
    (_S.REGISTERED, _E.DUE): (_S.REFRESHING, Registration._begin),
    (_S.REGISTERED, _E.REGISTER): (_S.REFRESHING, Registration._begin),
    (_S.REGISTERED, _E.TAKEN_AWAY): (_S.NOT_REGISTERED, Registration._taken_away),
    (_S.REFRESHING, _E.TAKEN_AWAY): (_S.NOT_REGISTERED, Registration._taken_away),
    (_S.LEAVING, _E.TAKEN_AWAY): (_S.LEAVING, Registration._nothing),
    (_S.NOT_REGISTERED, _E.TAKEN_AWAY): (_S.NOT_REGISTERED, Registration._nothing),
    (_S.REGISTERING, _E.TAKEN_AWAY): (_S.REGISTERING, Registration._nothing),
    (_S.AUTHENTICATING, _E.TAKEN_AWAY): (_S.AUTHENTICATING, Registration._nothing),
    (_S.REGISTERED, _E.DEREGISTER): (_S.LEAVING, Registration._leave),
    (_S.REFRESHING, _E.CHALLENGED): (_S.REFRESHING, Registration._prove),
    (_S.REFRESHING, _E.ACCEPTED): (_S.REGISTERED, Registration._accepted),
    (_S.REFRESHING, _E.REFUSED): (_S.NOT_REGISTERED, Registration._refused),
    (_S.REFRESHING, _E.DUE): (_S.REFRESHING, Registration._nothing),
    (_S.LEAVING, _E.CHALLENGED): (_S.LEAVING, Registration._prove),
    (_S.LEAVING, _E.ACCEPTED): (_S.NOT_REGISTERED, Registration._left),
    (_S.LEAVING, _E.REFUSED): (_S.NOT_REGISTERED, Registration._refused),
    (_S.LEAVING, _E.DUE): (_S.LEAVING, Registration._nothing),
}
