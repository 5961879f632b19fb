"""Every error that FERRET raises on purpose.

A peer's refusal (a Cause, a Result-Code, a SIP 4xx) is an event of the protocol, never an exception.
"""


class FerretError(Exception):
    """The root of FERRET's errors. Its text is one line that an operator can act on."""

    exit_status = 2


class ConfigError(FerretError):
    """Configuration or command line that cannot be used; lists every fault found."""


class RecordError(FerretError):
    """A capture, recording or journal that cannot be used."""


class ProtocolError(FerretError):
    """Something about a protocol message or exchange is wrong."""


class DecodeError(ProtocolError):
    """Octets that are not a message of the protocol. It is the sender's fault, never ours.

    `offset` is where in the message, in octets from its start, reading stopped.
    """

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(f"{text} (at octet {offset})")
        self.offset = offset


class PeerViolationError(ProtocolError):
    """A well-formed message that the protocol does not allow in this state."""


class LocalMisuseError(ProtocolError):
    """Our own code asked a protocol engine for something that the protocol does not allow."""
