"""NAS of EPS (TS 24.301): what an MME and a UE say to each other inside S1AP.

`decode` reads a NAS-PDU without loss, `build_emm` and `build_esm` make plain messages, `security` protects them,
`milenage` authenticates, `values` gives information elements meaning.
"""

from ferret.protocols.nas.grammar import Discriminator, MessageType
from ferret.protocols.nas.identities import Tai
from ferret.protocols.nas.message import (
    Field,
    Message,
    Plain,
    SecurityHeader,
    build_emm,
    build_esm,
    decode,
    decode_plain,
)
from ferret.protocols.nas.milenage import Milenage, derive_opc
from ferret.protocols.nas.security import (
    SUPPORTED,
    Direction,
    NasSecurityContext,
    UnsupportedAlgorithmError,
    derive_k_asme,
    derive_k_enb,
    derive_nh,
    verify,
)
from ferret.protocols.nas.values import (
    ApnAmbr,
    EmmCause,
    EpsQos,
    EsmCause,
    Guti,
    IdentityType,
    MobileIdentity,
    PdnAddress,
    UeNetworkCapability,
    decode_apn,
    decode_tai_list,
    encode_apn,
)

__all__ = [
    "SUPPORTED",
    "ApnAmbr",
    "Direction",
    "Discriminator",
    "EmmCause",
    "EpsQos",
    "EsmCause",
    "Field",
    "Guti",
    "IdentityType",
    "Message",
    "MessageType",
    "Milenage",
    "MobileIdentity",
    "NasSecurityContext",
    "PdnAddress",
    "Plain",
    "SecurityHeader",
    "Tai",
    "UeNetworkCapability",
    "UnsupportedAlgorithmError",
    "build_emm",
    "build_esm",
    "decode",
    "decode_apn",
    "decode_plain",
    "decode_tai_list",
    "derive_k_asme",
    "derive_k_enb",
    "derive_nh",
    "derive_opc",
    "encode_apn",
    "verify",
]
