"""A user's filter expression as a program for the kernel: pcap-filter(7), by libpcap, loaded only when there is one."""

from __future__ import annotations

import ctypes
from typing import Final

from ferret.errors import ConfigError
from ferret_agents.live.bpf import Instruction

_LIBRARIES: Final = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so")
_DLT_RAW: Final = 12  # what libpcap itself calls LINKTYPE_RAW (101)
_LINKTYPE_RAW: Final = 101
_SNAPLEN: Final = 0x40000
_NO_NETMASK: Final = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN
_RETURN_A: Final = 0x16  # BPF_RET|BPF_A: libpcap returns constants only


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


def compile_expression(expression: str, link_type: int) -> tuple[Instruction, ...]:
    """The program for frames of this LINKTYPE_. Raises ConfigError for what is no expression, or without libpcap."""
    library = _libpcap()
    handle = library.pcap_open_dead(_DLT_RAW if link_type == _LINKTYPE_RAW else link_type, _SNAPLEN)
    if not handle:
        raise ConfigError(f"libpcap has no filters for link type {link_type}")
    program = _Program()
    try:
        if library.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, _NO_NETMASK):
            reason = library.pcap_geterr(handle).decode(errors="replace")
            raise ConfigError(f"the filter {expression!r}: {reason}")
        found = [program.instructions[place] for place in range(program.length)]
        code = tuple(Instruction(one.code, one.jt, one.jf, one.k) for one in found)
        library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
    if any(one.code == _RETURN_A for one in code):
        raise ConfigError(f"the filter {expression!r} cannot be used here")
    return code


def _libpcap() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = library.pcap_close.argtypes = (ctypes.c_void_p,)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint,
        )  # fmt: skip
        return library
    raise ConfigError("a filter expression needs libpcap (apt-get install libpcap0.8)")
