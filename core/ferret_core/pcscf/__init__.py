"""The P-CSCF, split by procedure."""

from ferret_core.pcscf.pcscf import Pcscf
from ferret_core.pcscf.profile import context_from_recording, profile_from_recording

__all__ = ["Pcscf", "context_from_recording", "profile_from_recording"]
