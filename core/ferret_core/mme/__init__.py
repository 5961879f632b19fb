"""The Mobility Management Entity."""

from ferret_core.mme.mme import Mme

__all__ = ["Mme"]
