"""One NF of FERRET's core in a process of its own, its neighbours elsewhere: in place of an NF that others wrote.

    python lone_nf.py SGW 127.99.1.0/24 127.46.1.0/24      the NF is in the first network, its neighbours in the second

It says "started" at once and "ready" when it is connected; it knows only the addresses that it was told.
"""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Network

from ferret.records.message import Role
from ferret.transport.endpoint import TransportError
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.places import Places

MCC, MNC = "999", "70"  # the network of the recordings


async def serve(role: Role, own: str, neighbours: str) -> None:
    """Run until the process is ended."""
    around, here = Places.loopback(neighbours), Places.loopback(own)
    addresses = {**around.addresses, role: here.address(role)}
    pools = {"internet": str(IPv4Network("10.45.0.0/16")), "ims": str(IPv4Network("10.46.0.0/16"))}
    lab = LabNetwork(Places(addresses, pools), mcc=MCC, mnc=MNC)
    sys.stdout.write("started\n")
    sys.stdout.flush()
    while True:
        nf = CoreSet(lab, [role])
        try:
            await nf.start()
        except (TransportError, TimeoutError):
            await asyncio.sleep(0.1)  # its PCRF or HSS is not there yet: try again, as freeDiameter does
        else:
            break
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Role(sys.argv[1]), sys.argv[2], sys.argv[3]))
