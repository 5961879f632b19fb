"""UE addresses: drawn from pools, reserved, or asked for (TS 23.401 clause 5.3.1, TS 29.274 clause 8.14)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import chain

from ferret.protocols.gtpv2 import Cause, Paa, PdnType
from ferret_core.gtp_control import RefusedError
from ferret_core.pgw.configuration import ANY_APN, Network, PgwConfiguration

_FIRST = 2  # ours, and Open5GS's: the first address of a pool is the network, the second the gateway
_INTERFACE_IDENTIFIER = 1


class AddressPools:
    """Every address that is given out. Drawing goes round each pool, so that an address is not soon used again."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[Network, int] = {}

    def take(
        self, configuration: PgwConfiguration, imsi: str, apn: str, asked: Paa, *, dual: bool
    ) -> tuple[Paa, Cause]:
        """The PAA of a new PDN connection, and the Cause that it is accepted with.

        `dual` says whether the UE may have both addresses on one bearer (Dual Address Bearer Flag). Raises RefusedError
        where the APN has no addresses, or none of the type asked for, or no free one.
        """
        pools = configuration.pools.get(apn, configuration.pools.get(ANY_APN))
        if pools is None:
            raise RefusedError(Cause.MISSING_OR_UNKNOWN_APN)
        fixed = configuration.reserved.get((imsi, apn), ())
        kinds = _kinds_that_exist(pools, fixed)
        dual = dual or not configuration.dual_address_flag
        kind, cause = _kind(asked.pdn_type, kinds, dual=dual)
        ipv4 = ipv6 = ""
        if kind in (PdnType.IPV4, PdnType.IPV4V6):
            ipv4 = self._one(configuration, _first(fixed, 4) or _ipv4(asked.ipv4), pools, IPv4Network)
        if kind in (PdnType.IPV6, PdnType.IPV4V6):
            ipv6 = self._one(configuration, _first(fixed, 6) or _ipv6(asked.ipv6), pools, IPv6Network)
        return Paa(kind, ipv4, ipv6, 64 if ipv6 else 0), cause

    def release(self, paa: Paa) -> None:
        """These addresses may be given out again."""
        self._taken.discard(paa.ipv4)
        self._taken.discard(paa.ipv6)

    def _one(self, configuration: PgwConfiguration, fixed: str, pools: Iterable[Network], family: type[Network]) -> str:
        if fixed:
            self._taken.add(fixed)
            return fixed
        reserved = set(chain.from_iterable(configuration.reserved.values()))
        for network in pools:
            if isinstance(network, family) and (drawn := self._draw(network, reserved)):
                self._taken.add(drawn)
                return drawn
        raise RefusedError(Cause.ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED)

    def _draw(self, network: Network, reserved: set[str]) -> str:
        size = network.num_addresses if isinstance(network, IPv4Network) else 1 << max(64 - network.prefixlen, 0)
        last = size - 1 if isinstance(network, IPv4Network) else size  # a broadcast address is no UE's
        start = self._next.get(network, _FIRST)
        for place in chain(range(start, last), range(_FIRST, min(start, last))):
            drawn = _address(network, place)
            if drawn not in self._taken and drawn not in reserved:
                self._next[network] = place + 1
                return drawn
        return ""


def _address(network: Network, place: int) -> str:
    if isinstance(network, IPv4Network):
        return str(network.network_address + place)
    return str(IPv6Address(int(network.network_address) + (place << 64) + _INTERFACE_IDENTIFIER))


def _kinds_that_exist(pools: Iterable[Network], fixed: Iterable[str]) -> set[int]:
    versions = {ip_address(one).version for one in fixed} or {pool.version for pool in pools}
    return {PdnType.IPV4 if version == 4 else PdnType.IPV6 for version in versions}


def _kind(asked: int, kinds: set[int], *, dual: bool) -> tuple[PdnType, Cause]:
    """The PDN type that a UE gets, and the Cause that says why (TS 23.401 clause 5.3.1.1)."""
    if asked == PdnType.IPV4V6 and len(kinds) == 2 and dual:
        return PdnType.IPV4V6, Cause.REQUEST_ACCEPTED
    if asked == PdnType.IPV4V6 and len(kinds) == 2:
        return PdnType.IPV4, Cause.NEW_PDN_TYPE_DUE_TO_SINGLE_ADDRESS_BEARER_ONLY
    if asked == PdnType.IPV4V6 and kinds:
        return PdnType(min(kinds)), Cause.NEW_PDN_TYPE_DUE_TO_NETWORK_PREFERENCE
    if asked in kinds:
        return PdnType(asked), Cause.REQUEST_ACCEPTED
    raise RefusedError(Cause.PREFERRED_PDN_TYPE_NOT_SUPPORTED)


def _first(addresses: Iterable[str], version: int) -> str:
    return next((one for one in addresses if ip_address(one).version == version), "")


def _ipv4(address: str) -> str:
    return "" if ":" in address or address == "0.0.0.0" else address


def _ipv6(address: str) -> str:
    return address if ":" in address and not IPv6Address(address).is_unspecified else ""
