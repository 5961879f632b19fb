"""What FERRET asks of the network beside which it stands: the IMS, the core, the base station and the routers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ferret.fallback.messages import Call, NasCounts, WayBack


class CoreNetwork(Protocol):
    """A network whose calls are moved. Everything raises FerretError or TimeoutError where it fails."""

    async def hold(self, call: Call) -> None:
        """Put the call on hold through the core's IMS, and wait until its bearers are quiet again."""

    async def resume(self, call: Call, routes: tuple[str, ...]) -> None:
        """Let the media flow again, by a re-INVITE along these Route values; none: through the core's IMS."""

    def share(self, subscriber: str, mme_ue_s1ap_id: int) -> None:
        """Let the edge's MME signal with the device, under this ID of its."""

    def unshare(self, subscriber: str) -> None:
        """The edge's MME signals with the device no longer."""

    async def arrive(self, call: Call) -> None:
        """The device's bearers lead to the edge: so must its downlink. Raises FallbackError if they do not."""

    def counted(self, subscriber: str, counts: NasCounts) -> None:
        """The edge's MME has signalled with the device: the core's goes on with these COUNTs."""

    async def move_back(self, call: Call, way: WayBack, counts: NasCounts | None) -> None:
        """Base station, device and downlink back to the core, done as well where they never left."""

    async def end_call(self, call: Call, call_ids: Sequence[str]) -> None:
        """Release what the core holds of a call that has ended at the edge."""
