"""An emulated base station with emulated devices: not a radio, and it says so in its S1 SETUP REQUEST.

It stands in for the real ones in a replay and in the lab: it speaks S1AP and NAS as they do, keeps keys and counts as
a device does, discards what is not protected by them, and sends and receives the users' packets over GTP-U.
"""

from ferret_core.enb.context import ImportedBearer, ImportedUe
from ferret_core.enb.enb import Enb, S1State
from ferret_core.enb.esm import EpsBearer
from ferret_core.enb.tunnels import DownlinkPacket, Reply, Tunnels
from ferret_core.enb.ue import EmmState, Ue
from ferret_core.enb.usim import Usim

__all__ = [
    "DownlinkPacket",
    "EmmState",
    "Enb",
    "EpsBearer",
    "ImportedBearer",
    "ImportedUe",
    "Reply",
    "S1State",
    "Tunnels",
    "Ue",
    "Usim",
]
