"""The Mobility Management Entity."""

from ferret_core.mme.mme import Mme
from ferret_core.mme.recorded_profile import profile_from_recording

__all__ = ["Mme", "profile_from_recording"]
