"""The policy and charging rules function: Gx towards the PGW, Rx towards the P-CSCF."""

from __future__ import annotations

from ferret_core.pcrf.pcrf import Pcrf
from ferret_core.pcrf.recording import policy_from_recording

__all__ = ["Pcrf", "policy_from_recording"]
