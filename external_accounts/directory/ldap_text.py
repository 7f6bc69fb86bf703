"""What is written into an LDAP name or filter, and what a password policy's answer says. Functions over values."""

from __future__ import annotations

from external_accounts.directory import Refusal

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")

PASSWORD_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"  # noqa: S105 (the control's number: draft-behera-ldap-password-policy)

_REFUSALS = {
    3: Refusal.NOT_ALLOWED,
    4: Refusal.NOT_ALLOWED,
    5: Refusal.TOO_SIMPLE,
    6: Refusal.TOO_SHORT,
    7: Refusal.TOO_SOON,
    8: Refusal.USED_BEFORE,
    9: Refusal.TOO_LONG,  # OpenLDAP's addition
}


def escaped(text: str) -> str:
    """`text` for an attribute value in a name (RFC 4514) or in a filter (RFC 4515).

    Every byte but ASCII letters and digits is written in hexadecimal: what needs no thought cannot be thought wrongly,
    and the form is the same in both.
    """
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:02x}" for byte in text.encode("utf-8", "replace"))


def policy_refusal(control: bytes) -> Refusal | None:
    """The `error` of a password policy's response control, or None when it has none.

    `PasswordPolicyResponseValue ::= SEQUENCE { warning [0] … OPTIONAL, error [1] ENUMERATED … OPTIONAL }`, in BER. A
    control that is cut short or of another form has none.
    """
    if len(control) < 2 or control[0] != 0x30:
        return None
    rest = control[2:]
    while len(rest) >= 2:
        tag, length = rest[0], rest[1]
        value = rest[2 : 2 + length]
        if tag == 0x81 and len(value) == 1:
            return _REFUSALS.get(value[0], Refusal.OTHER)
        rest = rest[2 + length :]
    return None


def said(message: str, *, secret: str) -> str:
    """A server's own words, fit for a page: one short line that does not repeat what was typed."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in message).split())
    return "" if secret and secret in line else line[:200]
