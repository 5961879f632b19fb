"""Every AVP that FERRET knows by name, in one flat namespace: `avp.SESSION_ID`, `avp.CHARGING_RULE_NAME`.

The modules below are split by specification; import this package, not them.
"""

from __future__ import annotations

from ferret.protocols.diameter.avp.access import *  # noqa: F403  # a flat namespace is what this package is for
from ferret.protocols.diameter.avp.base import *  # noqa: F403
from ferret.protocols.diameter.avp.charging import *  # noqa: F403
from ferret.protocols.diameter.avp.credit_control import *  # noqa: F403
from ferret.protocols.diameter.avp.cx import *  # noqa: F403
from ferret.protocols.diameter.avp.gx import *  # noqa: F403
from ferret.protocols.diameter.avp.rx import *  # noqa: F403
from ferret.protocols.diameter.avp.s6a import *  # noqa: F403
