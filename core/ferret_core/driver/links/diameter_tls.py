"""TLS between Diameter nodes (RFC 6733 clauses 2.2 and 13.1): who we are, and whom we believe."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from ferret.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DiameterTls:
    """Files in PEM: a node's certificate and private key, and the operator's authority that signs those of its peers.

    A peer's certificate must be of that authority; which node it is, its Origin-Host says.
    """

    certificate: Path
    key: Path
    authority: Path

    def context(self, *, listens: bool) -> ssl.SSLContext:
        """For connections that are accepted, or for those that are opened. Raises ConfigError."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listens else ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.check_hostname = False  # certificates name Diameter identities, and we connect to addresses
        made.verify_mode = ssl.CERT_REQUIRED
        try:
            made.load_cert_chain(self.certificate, self.key)
            made.load_verify_locations(self.authority)
        except OSError as error:
            raise ConfigError(f"Diameter over TLS: {error.strerror or error} ({self.certificate.parent})") from error
        return made
