"""Endpoint secrets at rest: AES-256-GCM, with keys that can be rotated. Pure but for the nonce.

A sealed secret is ``sealed.1.KEY.DATA``: the first four bytes of the key's SHA-256 in hex, and the
nonce with the ciphertext in base64. It is bound to its endpoint: copied to another, it does not
open. Without keys, secrets are stored as they are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX: Final = "sealed.1."
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Unreadable(Exception):
    """The secret was sealed with a key that is not among TTV_SECRETS_KEY, or is damaged."""


class Keyring:
    """Keys that open secrets; the first one seals."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = {_name(key): AESGCM(key) for key in keys}
        self._first = next(iter(self._keys), None)

    @classmethod
    def of(cls, text: str) -> Keyring:
        """From the setting: keys of 32 bytes in base64, with commas between.

        Raises:
            ValueError: a key is none; it is not quoted.
        """
        keys = []
        for part in text.split(","):
            if not part.strip():
                continue
            try:
                key = base64.b64decode(part.strip(), validate=True)
            except binascii.Error:
                raise ValueError("TTV_SECRETS_KEY: a key is not base64") from None
            if len(key) != _KEY_BYTES:
                raise ValueError(f"TTV_SECRETS_KEY: a key is not of {_KEY_BYTES} bytes")
            keys.append(key)
        return cls(keys)

    def seal(self, secret: str, owner: str) -> str:
        """``secret`` as it is stored for ``owner``."""
        if self._first is None:
            return secret
        nonce = os.urandom(_NONCE_BYTES)
        data = nonce + self._keys[self._first].encrypt(nonce, secret.encode(), owner.encode())
        return f"{_PREFIX}{self._first}.{base64.b64encode(data).decode()}"

    def open(self, stored: str, owner: str) -> str:
        """The secret that is stored for ``owner``.

        Raises:
            Unreadable: no key opens it.
        """
        if not stored.startswith(_PREFIX):
            return stored
        name, _, text = stored.removeprefix(_PREFIX).partition(".")
        key = self._keys.get(name)
        if key is None:
            raise Unreadable(f"no key {name}")
        try:
            data = base64.b64decode(text, validate=True)
            return key.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], owner.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Unreadable("damaged, or another endpoint's") from error

    def fresh(self) -> str | None:
        """What everything begins with that the first key sealed; None without keys."""
        return None if self._first is None else f"{_PREFIX}{self._first}."


def _name(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:8]
