"""The S-CSCF, split by procedure."""

from ferret_core.scscf.profile import context_from_recording, profile_from_recording
from ferret_core.scscf.scscf import Scscf

__all__ = ["Scscf", "context_from_recording", "profile_from_recording"]
