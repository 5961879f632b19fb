"""The PDN Gateway with its policy enforcement function."""

from ferret_core.pgw.nf import Pgw

__all__ = ["Pgw"]
