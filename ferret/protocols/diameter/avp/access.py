"""AVPs that Gx and Gy take over from the Gi/SGi reference point."""

from __future__ import annotations

from ferret.protocols.diameter.constants import VENDOR_3GPP
from ferret.protocols.diameter.definition import Section

_gi = Section("TS 29.061 clause 16.4.7", vendor=VENDOR_3GPP)

TGPP_IMSI = _gi.text("3GPP-IMSI", 1)
TGPP_CHARGING_ID = _gi.octets("3GPP-Charging-Id", 2)
TGPP_PDP_TYPE = _gi.enumerated("3GPP-PDP-Type", 3)
TGPP_CG_ADDRESS = _gi.ip_octets("3GPP-CG-Address", 4)
TGPP_GPRS_NEGOTIATED_QOS_PROFILE = _gi.text("3GPP-GPRS-Negotiated-QoS-Profile", 5)
TGPP_SGSN_ADDRESS = _gi.ip_octets("3GPP-SGSN-Address", 6)
TGPP_GGSN_ADDRESS = _gi.ip_octets("3GPP-GGSN-Address", 7)
TGPP_IMSI_MCC_MNC = _gi.text("3GPP-IMSI-MCC-MNC", 8)
TGPP_GGSN_MCC_MNC = _gi.text("3GPP-GGSN-MCC-MNC", 9)
TGPP_NSAPI = _gi.text("3GPP-NSAPI", 10)
TGPP_SESSION_STOP_INDICATOR = _gi.text("3GPP-Session-Stop-Indicator", 11)
TGPP_SELECTION_MODE = _gi.text("3GPP-Selection-Mode", 12)
TGPP_CHARGING_CHARACTERISTICS = _gi.text("3GPP-Charging-Characteristics", 13)
TGPP_CG_IPV6_ADDRESS = _gi.ip_octets("3GPP-CG-IPv6-Address", 14)
TGPP_SGSN_IPV6_ADDRESS = _gi.ip_octets("3GPP-SGSN-IPv6-Address", 15)
TGPP_GGSN_IPV6_ADDRESS = _gi.ip_octets("3GPP-GGSN-IPv6-Address", 16)
TGPP_IPV6_DNS_SERVER = _gi.octets("3GPP-IPv6-DNS-Server", 17)
TGPP_SGSN_MCC_MNC = _gi.text("3GPP-SGSN-MCC-MNC", 18)
TGPP_TEARDOWN_INDICATOR = _gi.octets("3GPP-Teardown-Indicator", 19)
TGPP_IMEISV = _gi.label("3GPP-IMEISV", 20)
TGPP_RAT_TYPE = _gi.octets("3GPP-RAT-Type", 21)
TGPP_USER_LOCATION_INFO = _gi.octets("3GPP-User-Location-Info", 22)
TGPP_MS_TIMEZONE = _gi.octets("3GPP-MS-TimeZone", 23)
TGPP_CAMEL_CHARGING_INFO = _gi.octets("3GPP-CAMEL-Charging-Info", 24)
TGPP_PACKET_FILTER = _gi.octets("3GPP-Packet-Filter", 25)
TGPP_NEGOTIATED_DSCP = _gi.octets("3GPP-Negotiated-DSCP", 26)
TGPP_ALLOCATE_IP_TYPE = _gi.octets("3GPP-Allocate-IP-Type", 27)
TGPP_TWAN_IDENTIFIER = _gi.octets("3GPP-TWAN-Identifier", 29)
