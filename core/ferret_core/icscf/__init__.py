"""The I-CSCF: where a request that reaches the home network finds its S-CSCF."""

from ferret_core.icscf.icscf import Icscf

__all__ = ["Icscf"]
