"""E-mail addresses: one way to read them, one way to compare them.

Canonicalisation (LNK-09), applied identically wherever an address is typed or received:

* blanks around it are dropped, the domain is lower-cased and written in its ASCII (IDNA) form;
* the part before `@` is kept as written, and only ASCII is accepted there, because Moodle refuses anything else;
* two addresses are *the same* when their `key` is equal: the whole address lower-cased. Dots and plus-tags are never
  rewritten (D35): what one provider ignores, another one delivers to somebody else.

Mail is only ever sent to the stored form, never to what was typed now (D34).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from email_validator import EmailNotValidError, validate_email
from sqlalchemy.orm import Session

from external_accounts.proofs import cancel_pending
from external_accounts.schema import Account, Address

MOODLE_EMAIL_LENGTH = 100
"""Moodle's user table holds no more (ground truth §3)."""


class InvalidAddress(ValueError):
    """The text is no address we could write to."""


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An address in its stored form and its compared form."""

    email: str
    key: str


def parse_address(text: str) -> EmailAddress:
    """Read an address as a person types it.

    Raises:
        InvalidAddress: not an address, non-ASCII before the `@`, or longer than Moodle can store.
    """
    try:
        parsed = validate_email(
            text.strip(), check_deliverability=False, allow_smtputf8=False, globally_deliverable=False, strict=True
        )
    except EmailNotValidError as error:
        raise InvalidAddress(str(error)) from None
    email = f"{parsed.local_part}@{parsed.ascii_domain}"
    host, dot, top = parsed.ascii_domain.rpartition(".")
    if len(email) > MOODLE_EMAIL_LENGTH or not host or not dot or top.isdecimal():
        raise InvalidAddress("too long, or a domain without a dot")
    return EmailAddress(email=email, key=email.lower())


def stored_address(email: str) -> EmailAddress:
    """An address that `parse_address` gave its stored form before: reading it once more costs ten times as much."""
    return EmailAddress(email=email, key=email.lower())


def mask_address(email: str) -> str:
    """The address as a screen or a log may show it: first letter and domain."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def primary_address(account: Account) -> Address | None:
    """The address that counts for the gate and receives mail, or None when the account has none."""
    return next((address for address in account.addresses if address.is_primary), None)


def set_primary_address(
    session: Session, account: Account, address: EmailAddress, *, role: str, now: datetime
) -> Address:
    """Make `address` the account's primary one, adding it when it is new. Never touches what is confirmed (I4)."""
    current = primary_address(account)
    if current is not None and current.email_key == address.key:
        return current  # capitals written otherwise are no change: mail goes to the stored form (LNK-09)
    if current is not None:
        current.is_primary = False
        session.flush()
        # What is under way was for the former address (LNK-04).
        cancel_pending(session, account.id, now, address_id=current.id)
    row = next((known for known in account.addresses if known.email_key == address.key), None)
    if row is None:
        row = Address(email=address.email, email_key=address.key, role=role, created_at=now, confirmed_by="")
        account.addresses.append(row)
    row.is_primary = True
    account.note_change()
    session.flush()
    return row
