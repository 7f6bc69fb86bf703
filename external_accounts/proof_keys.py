"""The two keys of a proof, derived from its nonce under the server's secret and stored nowhere: the link, the code.

`external_accounts.proofs` says what they open.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from external_accounts.keys import Keys, UnknownKey
from external_accounts.schema import Proof

CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ23456789"
"""No vowels (no words), nothing that looks like something else. 8 of 28 letters are 38 bits (TOK-03 asks for 20)."""
CODE_LENGTH = 8

LINK = "proof link"
HANDLE = "proof handle"


@dataclass(frozen=True, slots=True)
class ProofKeys:
    """What the mail shows: never stored, derived when the mail is written."""

    link_token: str
    code: str


def proof_keys(keys: Keys, proof: Proof) -> ProofKeys:
    """The link token and the code of a proof, for the mail.

    Raises:
        UnknownKey: the key it was made under was rotated out.
    """
    return ProofKeys(
        link_token=keys.sign(LINK, link_secret(keys, proof.purpose, proof.nonce, proof.key_id)),
        code=code_of(keys, proof),
    )


def handle_token(keys: Keys, proof: Proof) -> str:
    """The name of the proof for the waiting page's address: shows the page, opens nothing."""
    return keys.sign(HANDLE, proof.handle)


def link_secret(keys: Keys, purpose: str, nonce: bytes, key_id: str) -> str:
    return keys.derive(f"{LINK} {purpose}", nonce, key_id=key_id)[:20].hex()


def code_of(keys: Keys, proof: Proof) -> str:
    purpose = f"proof code {proof.purpose} {proof.code_round}"
    number = int.from_bytes(keys.derive(purpose, proof.nonce, key_id=proof.key_id))
    letters = []
    for _ in range(CODE_LENGTH):
        number, index = divmod(number, len(CODE_ALPHABET))
        letters.append(CODE_ALPHABET[index])
    return "".join(letters)


def still_ours(keys: Keys, proof: Proof) -> bool:
    try:
        keys.derive("", b"", key_id=proof.key_id)
    except UnknownKey:
        return False
    return True


def stored_form(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def read_code(typed: str) -> str:
    """What a person meant: blanks and dashes from copying dropped, capitals restored."""
    return "".join(letter for letter in typed.upper() if letter.isalnum())[:64]


def format_code(code: str) -> str:
    """The code as the mail shows it, in two groups of four."""
    return f"{code[:4]}-{code[4:]}"
