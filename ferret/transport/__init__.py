"""The only sockets of FERRET: datagrams, streams and SCTP associations for asyncio.

Nothing in here knows a signalling protocol: octets in, octets out, and what became of the peer. Everything that waits
is bounded, and whatever a bound refuses is counted.
"""
