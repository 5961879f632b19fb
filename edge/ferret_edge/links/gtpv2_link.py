"""GTPv2-C between members: one `Gtpv2Endpoint` on UDP port 2123 (S11 and S5/S8)."""

from __future__ import annotations


