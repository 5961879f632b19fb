"""A small assembler for the kernel's packet filters: classic BPF (linux/filter.h, McCanne and Jacobson 1993).

A program looks at one frame and returns how many octets of it are wanted; 0 rejects it. A load beyond the frame's end
rejects it too. Jumps only go forward. The machine has an accumulator A, an index X and 16 words of memory.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from ferret.errors import ConfigError

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")


class Op(IntEnum):
    """Instructions, by the octets of their code (linux/bpf_common.h)."""

    LD_WORD = 0x20  # A = word at k; at `ANCILLARY` + n what the kernel knows of the packet
    LD_WORD_X = 0x40  # A = word at X + k
    LD_HALF_X = 0x48
    LD_BYTE_X = 0x50
    LD_MEMORY = 0x60
    LDX_IMMEDIATE = 0x01
    LDX_MEMORY = 0x61
    STORE = 0x02
    STORE_X = 0x03
    ADD = 0x04
    ADD_X = 0x0C
    AND = 0x54
    SHIFT_LEFT = 0x64
    SHIFT_RIGHT = 0x74
    JUMP = 0x05
    JUMP_EQUAL = 0x15
    JUMP_GREATER_OR_EQUAL = 0x35
    JUMP_ANY_BIT = 0x45
    RETURN = 0x06
    X_FROM_A = 0x07
    A_FROM_X = 0x87


ANCILLARY = 0xFFFFF000  # SKF_AD_OFF: loads from here on are not of the frame
PACKET_TYPE = ANCILLARY + 4  # SKF_AD_PKTTYPE: PACKET_HOST, PACKET_OUTGOING, ...
INTERFACE_INDEX = ANCILLARY + 8  # SKF_AD_IFINDEX


class Instruction(NamedTuple):
    """One instruction; `true` and `false` are how many to skip."""

    code: int
    true: int
    false: int
    k: int


class _Jump(NamedTuple):
    """An unconditional jump to a label that may not have its place yet."""

    label: str


class Assembler:
    """Collects instructions and labels. A conditional jump may go any distance: it is made of two instructions."""

    def __init__(self) -> None:
        self._code: list[Instruction | _Jump] = []
        self._labels: dict[str, int] = {}
        self._fresh = 0

    def fresh(self, name: str) -> str:
        """A label that nobody else has."""
        self._fresh += 1
        return f"{name} {self._fresh}"

    def label(self, name: str) -> None:
        """The next instruction is what `name` means."""
        self._labels[name] = len(self._code)

    def emit(self, op: Op, k: int = 0) -> None:
        """An instruction that does not jump."""
        self._code.append(Instruction(op, 0, 0, k & 0xFFFFFFFF))

    def jump(self, label: str) -> None:
        """Go on at a label."""
        self._code.append(_Jump(label))

    def jump_if(self, op: Op, k: int, label: str) -> None:
        """Go on at a label where the comparison of A with k holds, else with the next instruction."""
        self._code.append(Instruction(op, 0, 1, k & 0xFFFFFFFF))
        self.jump(label)

    def jump_unless(self, op: Op, k: int, label: str) -> None:
        """Go on at a label where the comparison of A with k does not hold."""
        self._code.append(Instruction(op, 1, 0, k & 0xFFFFFFFF))
        self.jump(label)

    def include(self, program: Sequence[Instruction], accept: str, reject: str) -> None:
        """Another whole program; where it would return, it goes on at `accept` or `reject`.

        Its conditional jumps reach as far as before: a return takes one instruction here as well.
        """
        for one in program:
            if one.code == Op.RETURN:
                self.jump(accept if one.k else reject)
            else:
                self._code.append(one)

    def program(self) -> tuple[Instruction, ...]:
        """The finished program. Raises ConfigError where it is longer than the kernel takes."""
        if len(self._code) > MAX_INSTRUCTIONS:
            raise ConfigError(
                f"the kernel filter would have {len(self._code)} instructions, {MAX_INSTRUCTIONS} are the limit: "
                "give the agent fewer addresses and ports"
            )
        return tuple(
            one if isinstance(one, Instruction) else Instruction(Op.JUMP, 0, 0, self._labels[one.label] - place - 1)
            for place, one in enumerate(self._code)
        )


REJECT_ALL = (Instruction(Op.RETURN, 0, 0, 0),)


def attach(sock: socket.socket, program: tuple[Instruction, ...]) -> None:
    """Make a program the filter of a socket, at once and in place of any earlier one. Raises OSError."""
    code = b"".join(_INSTRUCTION.pack(*one) for one in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer)))
