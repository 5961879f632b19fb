"""freeDiameter (Debian: freediameter, freediameter-extensions): an agent between our NFs, and a peer of its own.

It listens at no loopback address: `addresses` gives the machine others for a while.
"""

from __future__ import annotations

import re
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.interop.peers.process import PeerProcess, program, running

CONFIGURATION: Final = Path(__file__).parents[1] / "data" / "freediameter" / "agent.conf"
# RFC 3526 group 14: to make a group of one's own would take seconds.
_PRIME: Final = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f"
    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b"
    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
    "15728e5a8aacaa68ffffffffffffffff",
    16,
)


@cache
def version() -> str:
    """The version of the freeDiameter that is installed; "" without one."""
    path = program("freeDiameterd")
    if path is None:
        return ""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d[\w.]*)", done.stdout + done.stderr)
    return found.group(1) if found else "?"


@dataclass(frozen=True)
class Neighbour:
    """A node that may connect to the agent, or that the agent connects to."""

    host: str
    address: str
    secure: bool = False


@asynccontextmanager
async def freediameter(
    identity: str, address: str, neighbours: Sequence[Neighbour], directory: Path
) -> AsyncIterator[PeerProcess]:
    """A freeDiameter that has begun to work; it connects to its neighbours as soon as they are there."""
    file = _prepare(identity, address, neighbours, directory)
    path = program("freeDiameterd")
    assert path is not None
    async with running([path, "-c", str(file), "-d"], directory / "log") as process:
        await process.until_said("freeDiameterd daemon initialized")
        yield process


@contextmanager
def addresses(*wanted: str) -> Iterator[None]:
    """IPv4 addresses that the machine itself has meanwhile, on its loopback interface. Needs root."""
    given = []
    try:
        for one in wanted:
            subprocess.run(["ip", "address", "add", f"{one}/32", "dev", "lo"], check=True, capture_output=True)
            given.append(one)
        yield
    finally:
        for one in given:
            subprocess.run(["ip", "address", "del", f"{one}/32", "dev", "lo"], check=True, capture_output=True)


def _prepare(identity: str, address: str, neighbours: Sequence[Neighbour], directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    make_certificates(directory, {"agent": identity})
    (directory / "parameters.pem").write_text(_parameters())
    values = {
        "IDENTITY": identity,
        "REALM": identity.partition(".")[2],
        "ADDRESS": address,
        "SECURE_PORT": "5658" if any(one.secure for one in neighbours) else "0",
        "DIRECTORY": str(directory),
        "PEERS": "\n".join(_peer(one) for one in neighbours),
    }
    text = CONFIGURATION.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    file = directory / "agent.conf"
    file.write_text(text)
    return file


def _parameters() -> str:
    """The group as PKCS #3 has it: a DER sequence of prime and generator."""
    prime = b"\0" + _PRIME.to_bytes(256, "big")
    inner = b"\x02\x82" + len(prime).to_bytes(2, "big") + prime + b"\x02\x01\x02"
    text = b64encode(b"\x30\x82" + len(inner).to_bytes(2, "big") + inner).decode("ascii")
    lines = "\n".join(text[one : one + 64] for one in range(0, len(text), 64))
    return f"-----BEGIN DH PARAMETERS-----\n{lines}\n-----END DH PARAMETERS-----\n"


def _peer(one: Neighbour) -> str:
    tls = "Port = 5658; " if one.secure else "No_TLS; "
    return f'ConnectPeer = "{one.host}" {{ ConnectTo = "{one.address}"; {tls}}};'


def make_certificates(directory: Path, names: dict[str, str]) -> None:
    """Certificates of an authority of our own, by file name; the common name is the node's Diameter identity."""
    key_file, certificate_file = directory / "authority.key", directory / "authority.pem"
    if key_file.exists():
        loaded = serialization.load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        key, issuer = loaded, _name("FERRET tests")
    else:
        key, issuer = ec.generate_private_key(ec.SECP256R1()), _name("FERRET tests")
        _write(directory / "authority", key, _sign(issuer, key, issuer, key, authority=True))
    assert certificate_file.exists()
    for file, common_name in names.items():
        own = ec.generate_private_key(ec.SECP256R1())
        _write(directory / file, own, _sign(_name(common_name), own, issuer, key, authority=False))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _sign(
    subject: x509.Name,
    own: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    return builder.sign(key, hashes.SHA256())


def _write(stem: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    stem.with_suffix(".key").write_bytes(private)
    stem.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
