"""The home subscriber server: S6a towards the MME, Cx towards I-CSCF and S-CSCF."""

from __future__ import annotations

from ferret_core.hss.hss import Hss

__all__ = ["Hss"]
