"""A captured message as octets, for the queue and the journal: compact, versioned, quick.

Big-endian. Version 2:

    octet 0      version
    octet 1      protocol (index into PROTOCOLS)
    octet 2      transport (index into TRANSPORTS)
    octet 3      flaws, one bit each (bit n: FLAWS[n])
    octets 4-11  captured_at_ns, signed
    12-15        source port, destination port
    16-23        number within the agent
    24-27        stream, signed
    28-35        stream sequence, signed
    36-43        tunnel TEID, signed
    44-47        frame
    48           length of the source address, 49 of the destination address, 50 of the agent's name
    51           number of tunnel endpoints; each follows the names as port (2), length (1), address
    52-59        epoch of the agent's run (`CapturedMessage.epoch`)
    then         source address, destination address, agent (UTF-8), tunnel endpoints, and the message to the end

Version 1 lacks the epoch; it is read, and written where there is none (a capture file).
"""

from __future__ import annotations

from struct import Struct, error

from ferret.errors import RecordError
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Flaw

VERSION = 2
WITHOUT_EPOCH = 1
PROTOCOLS = (Protocol.GTPV2, Protocol.DIAMETER, Protocol.SIP, Protocol.S1AP)
TRANSPORTS = ("none", "udp", "tcp", "sctp")
FLAWS = (Flaw.CUT, Flaw.HOLE_BEFORE, Flaw.UNDECODABLE)

_HEAD = Struct(">BBBBqHHQiqqIBBBB")
_EPOCH = Struct(">Q")
_TUNNEL_END = Struct(">HB")
_PROTOCOL_NUMBERS = {protocol: number for number, protocol in enumerate(PROTOCOLS)}
_TRANSPORT_NUMBERS = {transport: number for number, transport in enumerate(TRANSPORTS)}
_FLAW_SETS = tuple(tuple(flaw for bit, flaw in enumerate(FLAWS) if flags >> bit & 1) for flags in range(8))


def encode_captured(message: CapturedMessage) -> bytes:
    """The message as octets. Raises RecordError where a field does not fit (a port of 70000, a name of 300 octets)."""
    try:
        source = message.source.address.encode()
        destination = message.destination.address.encode()
        agent = message.agent.encode()
        head = _HEAD.pack(
            VERSION if message.epoch else WITHOUT_EPOCH,
            _PROTOCOL_NUMBERS[message.protocol],
            _TRANSPORT_NUMBERS[message.transport],
            _flaw_bits(message.flaws) if message.flaws else 0,
            message.captured_at_ns,
            message.source.port,
            message.destination.port,
            message.number,
            message.stream,
            message.stream_sequence,
            message.tunnel_teid,
            message.frame,
            len(source),
            len(destination),
            len(agent),
            len(message.tunnel),
        )
        if message.epoch:
            head += _EPOCH.pack(message.epoch)
        tunnel = _encode_tunnel(message.tunnel) if message.tunnel else b""
    except (error, KeyError, UnicodeEncodeError) as fault:
        raise RecordError(f"a captured message does not fit the queue's format: {fault}") from fault
    return b"".join((head, source, destination, agent, tunnel, message.octets))


def decode_captured(octets: bytes) -> CapturedMessage:
    """The message again. Raises RecordError for octets that `encode_captured` has not made, or a newer version."""
    try:
        return _decode(octets)
    except (error, IndexError, UnicodeDecodeError) as fault:
        raise RecordError(f"a queued message is damaged: {fault}") from fault


def _decode(octets: bytes) -> CapturedMessage:
    fields = _HEAD.unpack_from(octets)
    if fields[0] not in (VERSION, WITHOUT_EPOCH):
        raise RecordError(f"a queued message has format version {fields[0]}; this FERRET reads {VERSION}")
    _, protocol, transport, flaws, at, source_port, destination_port, number, stream, ssn, teid, frame = fields[:12]
    begin, epoch = _HEAD.size, 0
    if fields[0] == VERSION:
        (epoch,) = _EPOCH.unpack_from(octets, begin)
        begin += _EPOCH.size
    source_end = begin + fields[12]
    destination_end = source_end + fields[13]
    position = destination_end + fields[14]
    if position > len(octets):
        raise RecordError("a queued message is damaged: it ends within its names")
    agent = octets[destination_end:position].decode()
    tunnel: tuple[Endpoint, ...] = ()
    if fields[15]:
        tunnel, position = _decode_tunnel(octets, position, fields[15])
    return CapturedMessage(
        protocol=PROTOCOLS[protocol],
        captured_at_ns=at,
        source=Endpoint(octets[begin:source_end].decode(), source_port),
        destination=Endpoint(octets[source_end:destination_end].decode(), destination_port),
        octets=octets[position:],
        agent=agent,
        number=number,
        transport=TRANSPORTS[transport],
        stream=stream,
        stream_sequence=ssn,
        tunnel=tunnel,
        tunnel_teid=teid,
        frame=frame,
        flaws=_FLAW_SETS[flaws],
        epoch=epoch,
    )


def _flaw_bits(flaws: tuple[Flaw, ...]) -> int:
    return sum({1 << FLAWS.index(flaw) for flaw in flaws})


def _encode_tunnel(tunnel: tuple[Endpoint, ...]) -> bytes:
    encoded = bytearray()
    for end in tunnel:
        address = end.address.encode()
        encoded += _TUNNEL_END.pack(end.port, len(address)) + address
    return bytes(encoded)


def _decode_tunnel(octets: bytes, position: int, count: int) -> tuple[tuple[Endpoint, ...], int]:
    ends = []
    for _ in range(count):
        port, length = _TUNNEL_END.unpack_from(octets, position)
        start = position + _TUNNEL_END.size
        position = start + length
        if position > len(octets):
            raise RecordError("a queued message is damaged: it ends within its tunnel")
        ends.append(Endpoint(octets[start:position].decode(), port))
    return tuple(ends), position
