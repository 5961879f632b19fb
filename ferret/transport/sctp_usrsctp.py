"""SCTP by libusrsctp, driven by the event loop: over raw IP where permitted, else over UDP (RFC 6951).

Every pair of hosts is an address of its own to the library, which knows neither IP nor UDP: what one host says to
another goes out through the carrier (a raw or UDP socket) of the local address. A raw socket bound to one address sees
only that address's packets, and those for ports that are not ours are left to whoever has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from ferret.transport import usrsctp_library
from ferret.transport.endpoint import Address, Counters, TransportError, family_of, open_failed, plain, text
from ferret.transport.sctp import (
    DEFAULT_OPTIONS,
    ENCAPSULATION_PORT,
    SctpAssociation,
    SctpListener,
    SctpMessage,
    SctpOptions,
    SctpTransport,
    _ignore_lost,
    _ignore_message,
)
from ferret.transport.sctp_packets import PacketSocket
from ferret.transport.usrsctp_library import UsrsctpLibrary

_TICK: Final = 0.01  # s between looks at the library's timers
_LINGER: Final = 1.0  # s that a SHUTDOWN may take
_SECOND_LOOK: Final = 0.05  # s after which a peer that an ICMP error called unreachable is asked again
_PAIR_LIMIT: Final = 1024  # remote hosts per local address
_INIT: Final = 1  # chunk type (RFC 9260 clause 3.2)


def load() -> str:
    """Where libusrsctp is. Raises ConfigError that names the Debian package."""
    return usrsctp_library.find()


class _Pair:
    """Two hosts that talk: an address to the library."""

    __slots__ = ("carrier", "identity", "key", "listeners", "tags", "unreachable", "users")

    def __init__(self, identity: int, carrier: _Carrier, key: Address) -> None:
        self.identity = identity
        self.carrier = carrier
        self.key = key  # remote host, remote UDP port (0: raw IP)
        self.listeners: dict[int, _PairListener] = {}  # by local port
        self.users: set[UsrsctpAssociation] = set()
        self.tags: dict[bytes, bytes] = {}  # ports -> verification tag of the last packet that we sent
        self.unreachable: dict[bytes, float] = {}  # ports -> when an ICMP error came; nothing has come from there since

    def close(self) -> None:
        for listener in self.listeners.values():
            listener.close()
        self.carrier.stack.forget(self)
        self.carrier.pairs.pop(self.key, None)


class _Carrier:
    """The socket of one local address; shared by all who use that address, and closed with the last."""

    def __init__(self, stack: _Stack, host: str, udp_port: int | None) -> None:
        self.stack = stack
        self.host = host
        self.raw = udp_port is None
        self.pairs: dict[Address, _Pair] = {}
        self.listeners: dict[int, UsrsctpListener] = {}
        self.ports: dict[int, int] = {}  # local SCTP port -> how many use it
        self.users = 0
        self.counters = Counters()
        self._packets = PacketSocket(host, udp_port, self._take, self._unreachable)
        stack.loop.add_reader(self._packets.fileno(), self._readable)

    def free_port(self) -> int:
        """A local SCTP port that nobody here uses (RFC 6335 clause 6: dynamic ports)."""
        while (port := random.randrange(49152, 65536)) in self.ports:
            continue
        return port

    def take_port(self, port: int) -> None:
        """Use a local SCTP port."""
        self.ports[port] = self.ports.get(port, 0) + 1

    def give_port(self, port: int) -> None:
        """Use it no longer."""
        self.ports[port] -= 1
        if not self.ports[port]:
            del self.ports[port]

    def pair_with(self, key: Address) -> _Pair:
        """The pair of this address and a remote host. Raises TransportError where there are too many."""
        pair = self.pairs.get(key)
        if pair is not None:
            return pair
        if len(self.pairs) >= _PAIR_LIMIT:
            idle = next((one for one in self.pairs.values() if not one.users), None)
            if idle is None:
                raise TransportError(f"{self.host} already talks SCTP to {_PAIR_LIMIT} hosts")
            idle.close()
        pair = self.stack.new_pair(self, key)
        self.pairs[key] = pair
        return pair

    def release(self) -> None:
        """One user less."""
        self.users -= 1
        if self.users:
            return
        for pair in list(self.pairs.values()):
            pair.close()
        self.stack.forget_carrier(self)
        if not self.stack.loop.is_closed():
            self.stack.loop.remove_reader(self._packets.fileno())
        self._packets.close()

    def transmit(self, pair: _Pair, packet: bytes) -> None:
        """Send a packet; what the kernel will not take is lost, as packets may be."""
        pair.tags[packet[:4]] = packet[4:8]
        if self._packets.send(packet, pair.key):
            self.counters.sent += 1
        else:
            self.counters.lost += 1

    def _readable(self) -> None:
        self._packets.read()
        self.stack.pump()

    def _take(self, packet: bytes, key: Address) -> None:
        port = int.from_bytes(packet[2:4], "big")
        if len(packet) < 16 or port not in self.ports:
            self.counters.refused += 1
            return
        pair = self.pairs.get(key)
        if packet[12] == _INIT and port in self.listeners:
            try:
                pair = self.pair_with(key)
                if port not in pair.listeners:
                    pair.listeners[port] = _PairListener(self.stack, pair, self.listeners[port])
            except TransportError:
                pair = None
        if pair is None:
            self.counters.refused += 1
            return
        if pair.unreachable:
            pair.unreachable.pop(packet[2:4] + packet[:2], None)
        self.counters.received += 1
        self.stack.library.input(pair.identity, packet)

    def _unreachable(self, start: bytes, key: Address) -> None:
        """An ICMP error that answers a packet of ours and is no guess (RFC 9260 clause 10).

        One alone proves nothing: Linux also sends it when the receive buffer of the peer's raw socket is full. The
        second one ends the association, unless something has come from the peer in between.
        """
        pair = self.pairs.get(key)
        ports, tag = start[:4], start[4:8]
        if pair is None or pair.tags.get(ports) != tag:
            return
        now = self.stack.loop.time()
        first = pair.unreachable.setdefault(ports, now)
        for association in list(pair.users):
            if association.ports != ports:
                continue
            if first == now:
                self.stack.loop.call_later(_SECOND_LOOK, association.look_again)
            elif now - first > _SECOND_LOOK / 2:
                association.end("nobody speaks SCTP there", abort=True)


class _PairListener:
    """The library's listening socket for one pair and port."""

    def __init__(self, stack: _Stack, pair: _Pair, listener: UsrsctpListener) -> None:
        self._stack = stack
        self._pair = pair
        self._listener = listener
        self._owner = stack.new_owner(self)
        where = (pair.carrier.host, listener.address[1])
        try:
            self._handle = stack.library.open(self._owner, pair.identity, where[1], listener.options, where)
            stack.library.listen(self._handle)
        except TransportError:
            stack.forget_owner(self._owner)
            raise

    def close(self) -> None:
        self._stack.forget_owner(self._owner)
        self._stack.library.close(self._handle)

    def progress(self) -> None:
        """Take the associations that have been set up."""
        while (accepted := self._stack.library.accept(self._handle)) is not None:
            handle, peer_port = accepted
            port = self._listener.address[1]
            association = UsrsctpAssociation(self._stack, self._pair, port, peer_port, self._listener.options, handle)
            self._listener.accepted(association)
            association.progress()


class UsrsctpAssociation(SctpAssociation):
    """An association on one of the library's sockets."""

    def __init__(
        self, stack: _Stack, pair: _Pair, port: int, peer_port: int, options: SctpOptions, handle: int = 0
    ) -> None:
        """`handle`: a socket that was accepted; 0: open one."""
        super().__init__((pair.carrier.host, port), (pair.key[0], peer_port))
        self.ports = port.to_bytes(2, "big") + peer_port.to_bytes(2, "big")
        self.up: asyncio.Future[None] | None = None
        self._stack = stack
        self._pair = pair
        self._options = options
        self._waiting: deque[tuple[bytes, int, int]] = deque()
        self._waiting_octets = 0
        self._part = bytearray()
        self._ended = False
        self._closing = False
        self._owner = stack.new_owner(self)
        if handle:
            self._handle = handle
            stack.library.adopt(handle, self._owner)
            self.streams = options.streams
        else:
            try:
                self._handle = stack.library.open(self._owner, pair.identity, port, options, self.local)
            except TransportError:
                stack.forget_owner(self._owner)
                raise
        pair.carrier.take_port(port)
        pair.carrier.users += 1
        pair.users.add(self)

    def connect(self) -> asyncio.Future[None]:
        """Send INIT; the future says what came of it."""
        self.up = self._stack.loop.create_future()
        self._stack.library.connect(self._handle, self._pair.identity, self.peer[1])
        return self.up

    def send(self, octets: bytes, *, stream: int = 0, ppid: int = 18) -> bool:
        """Queue one message (see the interface)."""
        too_much = self._waiting_octets + len(octets) > self._options.send_limit
        if self._ended or self._closing or too_much or not octets:
            self.counters.refused += 1
            return False
        if self._waiting or not self._transmit(octets, stream, ppid):
            self._waiting.append((octets, stream, ppid))
            self._waiting_octets += len(octets)
        return True

    def close(self) -> None:
        """Send what waits, then shut down."""
        if self._ended or self._closing:
            return
        self._closing = True
        self._stack.loop.call_later(_LINGER, self._release)
        if not self._waiting:
            self._stack.library.shut_down(self._handle)

    def abort(self) -> None:
        """End it at once."""
        if not self._ended:
            self._closing = True
            self._release(abort=True)

    def end(self, reason: str, *, abort: bool = False) -> None:
        """The peer has gone."""
        if self._ended:
            return
        told = self._closing
        self._release(abort=abort)
        if self.up is not None and not self.up.done():
            self.up.set_exception(TransportError(f"cannot connect SCTP {text(self.peer)}: {reason}"))
        elif not told:
            self.lost(reason)

    def look_again(self) -> None:
        """Ask a peer that an ICMP error called unreachable for a sign of life."""
        connecting = self.up is not None and not self.up.done()
        if not self._ended and not connecting and self.ports in self._pair.unreachable:
            self._stack.library.heartbeat(self._handle)

    def progress(self) -> None:
        """The library has something for us, or room."""
        while not self._ended:
            item = self._stack.library.receive(self._handle)
            if item is None:
                break
            if isinstance(item, str):
                self.end(item)
                return
            octets, flags, stream, ppid = item
            if flags & usrsctp_library.MSG_NOTIFICATION:
                self._notified(octets)
            else:
                self._take(octets, bool(flags & usrsctp_library.MSG_EOR), stream, ppid)
        while self._waiting and not self._ended:
            octets, stream, ppid = self._waiting[0]
            if not self._transmit(octets, stream, ppid):
                return
            self._waiting.popleft()
            self._waiting_octets -= len(octets)
            if self._closing and not self._waiting:
                self._stack.library.shut_down(self._handle)

    def _transmit(self, octets: bytes, stream: int, ppid: int) -> bool:
        """Whether the library took it, or will never take it."""
        done = self._stack.library.send(self._handle, octets, stream, ppid)
        if done is None:
            self.counters.lost += 1
            return True
        self.counters.sent += done
        return done

    def _take(self, octets: bytes, whole: bool, stream: int, ppid: int) -> None:
        if len(self._part) + len(octets) > self._options.largest_message:
            self.end(f"peer sent a message of more than {self._options.largest_message} octets", abort=True)
            return
        if not whole:
            self._part += octets
            return
        if self._part:
            octets = bytes(self._part) + octets
            self._part.clear()
        self.counters.received += 1
        if not self._closing:
            self.received(SctpMessage(octets, stream, ppid))

    def _notified(self, octets: bytes) -> None:
        """An association change (RFC 6458 clause 6.1.1)."""
        if len(octets) < 16:
            return
        kind, _, _, state, error, outbound, _ = struct.unpack_from("=HHIHHHH", octets)
        if kind != usrsctp_library.ASSOC_CHANGE:
            return
        if state == usrsctp_library.COMM_UP:
            self.streams = outbound
            if self.up is not None and not self.up.done():
                self.up.set_result(None)
        elif state == usrsctp_library.SHUTDOWN_COMP:
            self.end("shut down by peer")
        elif state in (usrsctp_library.COMM_LOST, usrsctp_library.CANT_STR_ASSOC):
            self.end(f"aborted by peer (cause {error})" if error else "peer does not answer")
        elif state == usrsctp_library.RESTART:
            self.end("restarted by peer", abort=True)

    def _release(self, *, abort: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        self.counters.lost += len(self._waiting)
        self._waiting.clear()
        self._stack.forget_owner(self._owner)
        self._stack.library.close(self._handle, abort=abort)
        self._pair.users.discard(self)
        self._pair.tags.pop(self.ports, None)
        self._pair.unreachable.pop(self.ports, None)
        self._pair.carrier.give_port(self.local[1])
        self._pair.carrier.release()


class UsrsctpListener(SctpListener):
    """A listening endpoint: at one address, for whoever comes."""

    def __init__(
        self,
        carriers: list[_Carrier],
        address: Address,
        accepted: Callable[[SctpAssociation], None],
        options: SctpOptions,
    ) -> None:
        self.address = address
        self.accepted = accepted
        self.options = options
        self._carriers = carriers
        for carrier in carriers:
            carrier.take_port(address[1])
            carrier.listeners[address[1]] = self

    def close(self) -> None:
        """Stop listening."""
        carriers, self._carriers = self._carriers, []
        for carrier in carriers:
            port = self.address[1]
            del carrier.listeners[port]
            carrier.give_port(port)
            for pair in list(carrier.pairs.values()):
                listener = pair.listeners.pop(port, None)
                if listener is not None:
                    listener.close()
            carrier.release()


class _Stack:
    """The library and all that uses it, in one event loop."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.library = UsrsctpLibrary(path, self._output, self._wakened)
        self._pairs: dict[int, _Pair] = {}
        self._owners: dict[int, _PairListener | UsrsctpAssociation] = {}
        self._carriers: dict[tuple[str, bool], _Carrier] = {}
        self._ready: dict[int, None] = {}
        self._pumping = False
        self._number = 0  # of the last pair or owner: never used twice
        self._last_tick = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def carrier(self, host: str, *, raw: bool) -> _Carrier:
        """The carrier of a local address; whoever asks is a user of it. Raises TransportError."""
        carrier = self._carriers.get((host, raw))
        if carrier is None:
            carrier = _Carrier(self, host, None if raw else ENCAPSULATION_PORT)
            self._carriers[host, raw] = carrier
        carrier.users += 1
        if self._timer is None:
            self._last_tick = self.loop.time()
            self._timer = self.loop.call_later(_TICK, self._tick)
        return carrier

    def forget_carrier(self, carrier: _Carrier) -> None:
        """It has been closed."""
        self._carriers.pop((carrier.host, carrier.raw), None)
        if not self._carriers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def new_pair(self, carrier: _Carrier, key: Address) -> _Pair:
        """An address for the library."""
        self._number += 1
        pair = _Pair(self._number, carrier, key)
        self._pairs[pair.identity] = pair
        self.library.register(pair.identity)
        return pair

    def forget(self, pair: _Pair) -> None:
        """Nobody uses it any more."""
        self._pairs.pop(pair.identity, None)
        self.library.deregister(pair.identity)

    def new_owner(self, owner: _PairListener | UsrsctpAssociation) -> int:
        """A number by which the library calls back."""
        self._number += 1
        self._owners[self._number] = owner
        self._ready[self._number] = None
        return self._number

    def forget_owner(self, number: int) -> None:
        """Call back no more."""
        self._owners.pop(number, None)
        self._ready.pop(number, None)

    def pump(self) -> None:
        """Let everyone whom the library has woken make progress."""
        self._pumping = True
        try:
            while self._ready:
                number = next(iter(self._ready))
                del self._ready[number]
                owner = self._owners.get(number)
                if owner is not None:
                    owner.progress()
        finally:
            self._pumping = False

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve another loop. Raises TransportError while the present one still uses the library."""
        if loop is self.loop:
            return
        if self._carriers and not self.loop.is_closed():
            raise TransportError("libusrsctp serves one event loop per process, and another one uses it")
        for owner in list(self._owners.values()):
            if isinstance(owner, UsrsctpAssociation):
                owner.abort()
        for carrier in list(self._carriers.values()):
            carrier.users = 1
            carrier.release()
        self._timer = None
        self.loop = loop

    def _tick(self) -> None:
        now = self.loop.time()
        elapsed = int(1000 * (now - self._last_tick))
        self._last_tick += elapsed / 1000
        self.library.advance(elapsed)
        self.pump()
        if self._carriers:
            self._timer = self.loop.call_later(_TICK, self._tick)

    def _output(self, identity: int, packet: bytes) -> None:
        pair = self._pairs.get(identity)
        if pair is not None:
            pair.carrier.transmit(pair, packet)

    def _wakened(self, owner: int) -> None:
        if not self._ready and not self._pumping:
            self.loop.call_soon(self.pump)
        self._ready[owner] = None


_the_stack: _Stack | None = None  # the library's state is global to the process, so this is too


def _stack(path: str) -> _Stack:
    global _the_stack
    loop = asyncio.get_running_loop()
    if _the_stack is None:
        _the_stack = _Stack(path, loop)
    _the_stack.move_to(loop)
    return _the_stack


class Usrsctp(SctpTransport):
    """SCTP by libusrsctp."""

    def __init__(self, library: str, *, over_udp: bool = False) -> None:
        """`library`: where it is (`load`)."""
        self.name = "libusrsctp over UDP" if over_udp else "libusrsctp over raw IP"
        self._library = library
        self._over_udp = over_udp

    async def listen(
        self,
        address: str,
        port: int,
        accepted: Callable[[SctpAssociation], None],
        *,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpListener:
        """Listen (see the interface). Over raw IP, peers that come over UDP are served as well."""
        stack = _stack(self._library)
        carriers = [stack.carrier(address, raw=not self._over_udp)]
        if not self._over_udp:
            with contextlib.suppress(TransportError):  # somebody else has that UDP port; nobody asked for it
                carriers.append(stack.carrier(address, raw=False))
        if any(port in carrier.listeners for carrier in carriers):
            for carrier in carriers:
                carrier.release()
            raise TransportError(f"cannot listen on SCTP {text((address, port))}: address already in use")
        port = port or carriers[0].free_port()
        return UsrsctpListener(carriers, (address, port), accepted, options)

    async def connect(
        self,
        peer: Address,
        *,
        local: Address | None = None,
        received: Callable[[SctpMessage], None] = _ignore_message,
        lost: Callable[[str], None] = _ignore_lost,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpAssociation:
        """Set up an association (see the interface)."""
        stack = _stack(self._library)
        host, port = local if local is not None else (_source_for(peer), 0)
        carrier = stack.carrier(host, raw=not self._over_udp)
        port = port or carrier.free_port()
        try:
            pair = carrier.pair_with((peer[0], ENCAPSULATION_PORT if self._over_udp else 0))
            association = UsrsctpAssociation(stack, pair, port, peer[1], options)
        finally:
            carrier.release()
        association.received, association.lost = received, lost
        try:
            async with asyncio.timeout(options.connect_timeout):
                await association.connect()
        except TimeoutError:
            association.abort()
            raise TransportError(
                f"cannot connect SCTP {text(peer)}: no answer in {options.connect_timeout:g} s"
            ) from None
        except BaseException:
            association.abort()
            raise
        return association


def _source_for(peer: Address) -> str:
    """The local address from which packets to `peer` leave."""
    with socket.socket(family_of(peer[0]), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer[0], peer[1] or 1))
        except OSError as error:
            raise open_failed("cannot reach", peer, error) from error
        return plain(probe.getsockname())[0]
