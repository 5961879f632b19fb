"""The Serving Gateway."""

from ferret_core.sgw.nf import Sgw

__all__ = ["Sgw"]
