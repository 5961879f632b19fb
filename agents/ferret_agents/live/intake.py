"""From frames to messages of one NF, numbered and ready for the queue. Sans-IO: frames and times go in."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from ferret.errors import RecordError
from ferret.records.message import CapturedMessage
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record
from ferret_agents.live.catch import Batch, Catch
from ferret_agents.live.envelope import Sender
from ferret_agents.live.filter import ETHERNET
from ferret_agents.live.hotpath import HotPath
from ferret_agents.live.message_types import type_of

_ENCRYPTED: Final = ("esp", "tls", "dtls")  # kinds of ignored frames that nobody can read


class Intake:
    """Takes frames in the order of their capture; `take_batch` gives the messages found so far."""

    def __init__(self, agent: str, addresses: Sequence[str], *, epoch: int = 0) -> None:
        """Raises ConfigError for a name that is too long."""
        self.dissector = Dissector()
        self.unfit = 0  # messages that the queue's format has no room for
        self._catch = Catch()
        self._sender = Sender(agent, epoch)
        self._hot = HotPath(self._catch, self.dissector, self._sender)
        self._addresses: frozenset[str] = frozenset()
        self.use(addresses)

    def use(self, addresses: Sequence[str]) -> None:
        """From now on these are the NF's addresses; none: everybody's."""
        parsed = [ipaddress.ip_address(one) for one in addresses]
        self._addresses = frozenset(one.compressed for one in parsed)
        self._hot.use(frozenset(one.packed for one in parsed))

    def take(self, at_ns: int, frame: bytes, wire_length: int, link_type: int) -> None:
        """A frame, as the kernel gave it."""
        if link_type == ETHERNET and wire_length == len(frame) and self._hot.take(at_ns, frame):
            return
        number = self._catch.frame = self._catch.next_frame
        self._offer(self.dissector.feed(Record(number, at_ns, link_type, frame, wire_length)))

    def lost(self, frames: int) -> None:
        """The kernel dropped frames. Each may have been a message: the hole is at least as wide."""
        self._catch.number += frames
        self.dissector.lost()

    def expire(self, now_ns: int) -> None:
        """Give up what has waited too long in reassembly."""
        self._offer(self.dissector.expire(now_ns))

    def flush(self) -> None:
        """No more frames will come."""
        self._offer(self.dissector.flush())

    def take_batch(self) -> Batch:
        """The messages found since the last time."""
        return self._catch.take_batch()

    @property
    def number(self) -> int:
        """Of the last message, holes included."""
        return self._catch.number

    @property
    def foreign(self) -> int:
        """Messages of others that the filter could not tell apart."""
        return self._catch.foreign.total()

    def messages_by_type(self) -> Counter[tuple[str, str]]:
        """How many messages of which protocol and type were found and are the NF's."""
        return self._catch.by_type()

    def messages_by_protocol(self) -> Counter[str]:
        """How many messages of which protocol were found, those of others among them."""
        found: Counter[str] = Counter({str(one): number for one, number in self._catch.foreign.items()})
        for (protocol, _), number in self.messages_by_type().items():
            found[protocol] += number
        return found

    @property
    def unreadable(self) -> dict[str, int]:
        """Frames that are encrypted, by what with."""
        ignored = self.dissector.ledger.ignored
        return {kind: number for kind, number in ignored.items() if kind.startswith(_ENCRYPTED)}

    def _offer(self, messages: Iterable[CapturedMessage]) -> None:
        catch = self._catch
        for message in messages:
            if self._addresses and not self._is_ours(message):
                catch.refuse(message.protocol)
                continue
            catch.named[message.protocol, type_of(message.protocol, message.octets)] += 1
            catch.number += 1
            try:
                octets = self._sender.sign(message, catch.number)
            except RecordError:
                self.unfit += 1
                continue
            catch.messages.append(octets)
            catch.times.append(message.captured_at_ns)

    def _is_ours(self, message: CapturedMessage) -> bool:
        """Whether it is from or to the NF, or from within a tunnel of its."""
        ours = self._addresses
        return (
            message.source.address in ours
            or message.destination.address in ours
            or any(end.address in ours for end in message.tunnel)
        )
