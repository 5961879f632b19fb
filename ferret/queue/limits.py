"""What the kernel lets a POSIX queue be: mq_overview(7), getrlimit(2).

Three limits hold: `msg_max` slots (10 by default), `msgsize_max` octets per slot (8192), and RLIMIT_MSGQUEUE octets
for all queues of a user together (819,200). Every slot costs its octets whether it is used or not, and two small
structures.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

SYSCTL = Path("/proc/sys/fs/mqueue")
SLOT_OVERHEAD = 128  # sizeof(struct msg_msg) + sizeof(struct posix_msg_tree_node), rounded up
DEFAULT_MSG_MAX = 10
DEFAULT_MSGSIZE_MAX = 8192
LINUX_RLIMIT_MSGQUEUE = 12  # Python's resource module has no name for it
SHARE = 4  # one queue takes at most this part of the user's octets, so that others fit beside it


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many slots, and how many octets each."""

    slots: int
    slot_size: int

    @property
    def cost(self) -> int:
        """What such a queue takes of RLIMIT_MSGQUEUE, in octets."""
        return self.slots * (self.slot_size + SLOT_OVERHEAD)


def choose_limits(slots: int | None = None, slot_size: int | None = None) -> QueueLimits:
    """As many slots and octets as asked for, or as are allowed, whichever is less.

    Without `slots` the kernel's `msg_max`, but at most a quarter of the user's octets.
    """
    most_slots = _read_number(SYSCTL / "msg_max", DEFAULT_MSG_MAX)
    most_octets = _read_number(SYSCTL / "msgsize_max", DEFAULT_MSGSIZE_MAX)
    size = max(64, min(slot_size or DEFAULT_MSGSIZE_MAX, most_octets))
    budget = _budget()
    affordable = most_slots if budget is None else max(1, budget // (size + SLOT_OVERHEAD))
    return QueueLimits(max(1, min(slots or most_slots, most_slots, affordable)), size)


def _budget() -> int | None:
    soft, _ = resource.getrlimit(LINUX_RLIMIT_MSGQUEUE)
    return None if soft == resource.RLIM_INFINITY else soft // SHARE


def _read_number(path: Path, default: int) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return default
