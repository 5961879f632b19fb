"""What a P-CSCF does with header fields unless an operator does otherwise (TS 24.229 clause 5.2)."""

from __future__ import annotations

from ferret_core.sip_policy import HeaderRule, Policy, RecordRouteForm, Way

_SECURITY = ("Security-Client", "Security-Verify", "Proxy-Require")
_CHARGING = ("P-Charging-Vector", "icid-value={icid};icid-generated-at={host}")
_LR = (("lr", None),)

DEFAULT = Policy(
    headers={
        # Clause 5.2.2.1: Path, Require: path, the charging vector and the visited network.
        Way.REGISTER: HeaderRule(
            remove=_SECURITY,
            set=(
                ("Path", "<sip:term@{address};lr>"),
                ("Require", "path"),
                _CHARGING,
                ("P-Visited-Network-ID", "{visited_network}"),
            ),
        ),
        # Clause 5.2.6.3: who it is, is what the registration says, not what the UE says.
        Way.ORIGINATING: HeaderRule(
            remove=("P-Preferred-Identity", "P-Asserted-Identity", *_SECURITY),
            set=(_CHARGING, ("P-Asserted-Identity", "<{identity}>")),
        ),
        # Clause 5.2.6.4.3: nothing of the network's charging reaches the UE.
        Way.TERMINATING: HeaderRule(remove=("P-Charging-Vector", "P-Charging-Function-Addresses")),
        Way.IN_DIALOG_FROM_UE: HeaderRule(remove=_SECURITY),
        Way.IN_DIALOG_TO_UE: HeaderRule(remove=("P-Charging-Vector", "P-Charging-Function-Addresses")),
        Way.ORIGINATING_ANSWER: HeaderRule(remove=("P-Charging-Vector", "P-Charging-Function-Addresses")),
        Way.IN_DIALOG_ANSWER_TO_UE: HeaderRule(remove=("P-Charging-Vector", "P-Charging-Function-Addresses")),
    },
    record_route={
        Way.ORIGINATING: RecordRouteForm("mo", params=_LR),
        Way.TERMINATING: RecordRouteForm("mt", params=_LR),
        Way.IN_DIALOG_FROM_UE: RecordRouteForm("mo", params=_LR),
        Way.IN_DIALOG_TO_UE: RecordRouteForm("mt", params=_LR),
    },
)
