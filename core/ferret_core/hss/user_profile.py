"""The IMS user profile that an S-CSCF downloads (TS 29.228 annexes B and E)."""

from __future__ import annotations

from xml.sax.saxutils import escape

from ferret_core.hss.subscription import Subscriber

_DISTINCT_PUBLIC_IDENTITY = 0  # IdentityType


def user_profile(subscriber: Subscriber) -> str:
    """IMSSubscription: one service profile with every public identity.

    The temporary identity that is made from the IMSI can register but not call: it is barred (TS 23.003 clause 13.4B).
    """
    barred = f"sip:{subscriber.imsi}@"
    identities = "".join(_public_identity(one, barred=one.startswith(barred)) for one in subscriber.impus)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><IMSSubscription>'
        f"<PrivateID>{escape(subscriber.impi)}</PrivateID>"
        f"<ServiceProfile>{identities}</ServiceProfile></IMSSubscription>"
    )


def _public_identity(identity: str, *, barred: bool) -> str:
    barring = "<BarringIndication>1</BarringIndication>" if barred else ""
    kind = f"<Extension><IdentityType>{_DISTINCT_PUBLIC_IDENTITY}</IdentityType></Extension>"
    return f"<PublicIdentity>{barring}<Identity>{escape(identity)}</Identity>{kind}</PublicIdentity>"
