"""What the queue's format (`ferret.queue.codec`) puts before a message, ready made: most of it is the same for all
messages of one flow. `encode_captured` makes the same octets of the same message; tests compare them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from ferret.errors import ConfigError
from ferret.queue.codec import PROTOCOLS, TRANSPORTS, VERSION, WITHOUT_EPOCH, encode_captured
from ferret.records.message import CapturedMessage, Endpoint

PLACED: Final = struct.Struct(">IqIQ")
"""Version, protocol, transport and flaws (`Envelope.fixed`), time, ports, number."""
STREAM: Final = struct.Struct(">iqq")
"""Stream, its sequence, TEID: behind `PLACED`; and `Envelope.names` behind that."""
_LENGTHS = struct.Struct(">IBBBB")  # frame, lengths of the names, number of tunnel ends
_EPOCH = struct.Struct(">Q")
_NUMBER = struct.Struct(">Q")
_HEAD_SIZE: Final = PLACED.size + STREAM.size + _LENGTHS.size
_NUMBER_AT: Final = 16  # where in the format the number is, the frame, the lengths of the addresses and of the agent
_FRAME_NUMBER_AT: Final = 44
_SOURCE_LENGTH_AT: Final = 48
_AGENT_LENGTH_AT: Final = 50
_LONGEST_NAME: Final = 255


class Envelope:
    """Of one flow."""

    __slots__ = ("fixed", "names", "plain", "ports")

    def __init__(self, sender: Sender, transport: str, source: Endpoint, destination: Endpoint) -> None:
        number = TRANSPORTS.index(transport)
        self.fixed = {
            protocol: sender.version << 24 | place << 16 | number << 8 for place, protocol in enumerate(PROTOCOLS)
        }
        self.ports = source.port << 16 | destination.port
        addresses = [end.address.encode() for end in (source, destination)]
        self.names = sender.names(addresses)
        self.plain = STREAM.pack(-1, -1, -1) + self.names  # where there is neither stream nor tunnel


class Sender:
    """The agent that messages are sent by."""

    def __init__(self, agent: str, epoch: int = 0) -> None:
        """Raises ConfigError for a name that is too long."""
        self._agent = agent.encode()
        if len(self._agent) > _LONGEST_NAME:
            raise ConfigError(f"an agent's name of {len(self._agent)} octets; {_LONGEST_NAME} are the limit")
        self._epoch = _EPOCH.pack(epoch) if epoch else b""
        self.version = VERSION if epoch else WITHOUT_EPOCH

    def names(self, addresses: Sequence[bytes]) -> bytes:
        """What follows `STREAM`: no frame, the lengths of two addresses and the agent's name, and these."""
        lengths = (*map(len, addresses), len(self._agent), 0)
        return b"".join((_LENGTHS.pack(0, *lengths), self._epoch, *addresses, self._agent))

    def sign(self, message: CapturedMessage, number: int) -> bytes:
        """A dissected message, which has no epoch, as the agent's own: with its name and number, without a frame.

        Raises RecordError where a field does not fit. Quicker than making another message of it first.
        """
        octets = encode_captured(message)
        names_end = _HEAD_SIZE + octets[_SOURCE_LENGTH_AT] + octets[_SOURCE_LENGTH_AT + 1]
        return b"".join(
            (
                bytes((self.version,)),
                octets[1:_NUMBER_AT],
                _NUMBER.pack(number),
                octets[_NUMBER_AT + _NUMBER.size : _FRAME_NUMBER_AT],
                b"\0\0\0\0",
                octets[_SOURCE_LENGTH_AT:_AGENT_LENGTH_AT],
                bytes((len(self._agent),)),
                octets[_AGENT_LENGTH_AT + 1 : _HEAD_SIZE],
                self._epoch,
                octets[_HEAD_SIZE:names_end],
                self._agent,
                octets[names_end + octets[_AGENT_LENGTH_AT] :],
            )
        )
