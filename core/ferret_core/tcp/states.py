"""The states of a TCP connection and what leads from one to the other (RFC 9293 clause 3.3.2, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class TcpState(StrEnum):
    """Where a connection stands."""

    CLOSED = "closed"
    SYN_SENT = "SYN sent"
    SYN_RECEIVED = "SYN received"
    ESTABLISHED = "established"
    FIN_WAIT_1 = "FIN sent"
    FIN_WAIT_2 = "FIN acknowledged"
    CLOSING = "both have sent FIN, ours is not acknowledged"
    TIME_WAIT = "waiting for what comes late"
    CLOSE_WAIT = "FIN received"
    LAST_ACK = "FIN received, then sent"


class TcpEvent(StrEnum):
    """What changes a connection's state."""

    SYN_ACCEPTED = "our SYN is answered"
    SYN_ACKNOWLEDGED = "our answer to a SYN is acknowledged"
    FIN_RECEIVED = "the peer has nothing more to send"
    FIN_ACKNOWLEDGED = "the peer knows that we have nothing more"
    CLOSE = "order to close"
    WAITED = "nothing comes late any more"
    RESET = "reset, or given up"


_S, _E = TcpState, TcpEvent
TABLE: Final[Mapping[tuple[TcpState, TcpEvent], TcpState]] = {
    (_S.SYN_SENT, _E.SYN_ACCEPTED): _S.ESTABLISHED,
    (_S.SYN_SENT, _E.CLOSE): _S.SYN_SENT,  # once it is established, and what waits is sent
    (_S.SYN_RECEIVED, _E.SYN_ACKNOWLEDGED): _S.ESTABLISHED,
    (_S.SYN_RECEIVED, _E.CLOSE): _S.SYN_RECEIVED,  # once it is established
    (_S.ESTABLISHED, _E.FIN_RECEIVED): _S.CLOSE_WAIT,
    (_S.ESTABLISHED, _E.CLOSE): _S.FIN_WAIT_1,
    (_S.FIN_WAIT_1, _E.FIN_ACKNOWLEDGED): _S.FIN_WAIT_2,
    (_S.FIN_WAIT_1, _E.FIN_RECEIVED): _S.CLOSING,
    (_S.FIN_WAIT_2, _E.FIN_RECEIVED): _S.TIME_WAIT,
    (_S.CLOSING, _E.FIN_ACKNOWLEDGED): _S.TIME_WAIT,
    (_S.CLOSE_WAIT, _E.CLOSE): _S.LAST_ACK,
    (_S.LAST_ACK, _E.FIN_ACKNOWLEDGED): _S.CLOSED,
    (_S.TIME_WAIT, _E.WAITED): _S.CLOSED,
    **{(state, _E.RESET): _S.CLOSED for state in TcpState},
    # Orders that come after others change nothing.
    **{
        (state, _E.CLOSE): state
        for state in (_S.CLOSED, _S.FIN_WAIT_1, _S.FIN_WAIT_2, _S.CLOSING, _S.TIME_WAIT, _S.LAST_ACK)
    },
}
SENDS: Final = frozenset({_S.ESTABLISHED, _S.CLOSE_WAIT, _S.FIN_WAIT_1, _S.CLOSING, _S.LAST_ACK})
"""States in which octets, or the FIN behind them, are sent and sent again."""
RECEIVES: Final = frozenset({_S.ESTABLISHED, _S.FIN_WAIT_1, _S.FIN_WAIT_2})
"""States in which the peer may still send."""
