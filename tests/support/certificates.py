"""A certificate for this machine that nobody trusts but who is told to."""

from __future__ import annotations

import subprocess
from pathlib import Path

EC = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def self_signed(folder: Path, kind: tuple[str, ...] = EC) -> tuple[Path, Path]:
    """The certificate and the key, in PEM, for 127.0.0.1. `kind` of key: EC, or `("rsa:2048",)`."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key
