"""The server's secret keys: signing and deriving, with rotation.

The first key signs and derives; all of them verify. A key is named by a short fingerprint, so that a stored row can say
which key it was made under without holding anything of the key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from itsdangerous import BadSignature, Signer


class UnknownKey(LookupError):
    """The key a row was made under is no longer among the configured ones."""


class Keys:
    """The configured secrets, newest first."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets` come from settings, at least one, each at least 32 characters."""
        self._secrets = {
            hashlib.sha256(b"key id" + secret.encode()).hexdigest()[:16]: secret.encode() for secret in secrets
        }
        self.current_id = next(iter(self._secrets))

    def derive(self, purpose: str, material: bytes, *, key_id: str | None = None) -> bytes:
        """32 bytes that only the holder of the key can compute.

        Raises:
            UnknownKey: `key_id` was rotated out.
        """
        try:
            secret = self._secrets[key_id or self.current_id]
        except KeyError:
            raise UnknownKey(key_id) from None
        return hmac.new(secret, purpose.encode() + b"\0" + material, hashlib.sha256).digest()

    def derive_with_each(self, purpose: str, material: bytes) -> list[bytes]:
        """What `derive` gives under each configured key, newest first: to recognise what an older one made."""
        return [self.derive(purpose, material, key_id=key_id) for key_id in self._secrets]

    def signer(self, purpose: str) -> Signer:
        """An itsdangerous signer for one purpose (the purpose is the salt, so that tokens cannot change jobs)."""
        # itsdangerous signs with the last key and verifies with all.
        return Signer(list(reversed(self._secrets.values())), salt=purpose.encode(), digest_method=hashlib.sha256)

    def unsign(self, purpose: str, token: str) -> str | None:
        """The signed value, or None when the token is not ours: garbage dies here, before the database."""
        try:
            return self.signer(purpose).unsign(token).decode("ascii")
        except (BadSignature, UnicodeError):
            return None

    def sign(self, purpose: str, value: str) -> str:
        return self.signer(purpose).sign(value).decode("ascii")

    @property
    def secrets(self) -> list[bytes]:
        """Newest first, for libraries that take the raw keys (session cookie)."""
        return list(self._secrets.values())
