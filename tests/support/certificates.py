"""A certificate for this machine that nobody trusts but who is told to."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Kind = Literal["ec", "rsa"]


def self_signed(
    folder: Path, kind: Kind = "ec", *, name: str = "127.0.0.1", since: datetime | None = None
) -> tuple[Path, Path]:
    """The certificate and the key, in PEM, good for two days since yesterday, or `since`: for 127.0.0.1, or,
    under another name, for nothing here."""
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65_537, 2_048)
    owner = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = timedelta(days=1)
    begins = since or datetime.now(UTC) - day
    builder = (
        x509.CertificateBuilder(owner, owner, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + 2 * day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if name == "127.0.0.1":
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))])
        builder = builder.add_extension(here, critical=False)
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, secret
