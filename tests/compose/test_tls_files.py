"""Files of [tls] that will not do are told by name, with what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.compose.parts import tls_context
from airboss.config.types import TlsConfig
from airboss.domain.errors import SetupError
from tests.support.certificates import self_signed


def test_each_file_is_told_apart(tmp_path: Path) -> None:
    """One that is not there, one that holds something else, and a key of another certificate."""
    cert, key = map(str, self_signed(tmp_path))
    (tmp_path / "other").mkdir()
    _, other = map(str, self_signed(tmp_path / "other"))
    assert tls_context(TlsConfig(cert=cert, key=key)) is not None
    cases = {
        ("/none.pem", key): r"cert /none\.pem cannot be read: No such file",
        (cert, "/none.pem"): r"key /none\.pem cannot be read: No such file",
        (key, key): "holds no certificate in PEM",
        (cert, cert): "holds no private key in PEM",
        (cert, other): "is not the key of the certificate",
    }
    for (one, two), words in cases.items():
        with pytest.raises(SetupError, match=words):
            tls_context(TlsConfig(cert=one, key=two))
