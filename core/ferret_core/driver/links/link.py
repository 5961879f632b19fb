"""What every link of an NF is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

from ferret_core.nf import Input, Send

Arrived: TypeAlias = Callable[[Input], None]
"""Called with what another NF has sent, or with the news that it did not answer."""


class Link(ABC):
    """One protocol engine with its sockets."""

    @abstractmethod
    async def start(self) -> None:
        """Open the sockets. Raises TransportError."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the sockets."""

    @abstractmethod
    def send(self, output: Send) -> None:
        """Send a message to the NF that it is for."""
