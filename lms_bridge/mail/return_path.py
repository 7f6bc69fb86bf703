"""The envelope sender: where mail servers send what they cannot deliver.

With `mail.bounce_address` each mail has its own, signed: a report that arrives there says by its address alone which
mail it is about, whatever its text looks like (VERP). The signature keeps anybody from naming a mail they did not get.
"""

from __future__ import annotations

import hmac
import re

from external_accounts.keys import Keys
from lms_bridge.settings.sections import Mail

_PURPOSE = "mail return path"
_SIGNATURE_BYTES = 8
"""16 letters: with the id there is room left for the name before the `+` (RFC 5321: 64 octets). A guess is worth one
bounce noted for one mail."""
_TAG = re.compile(r"\+b([0-9]{1,18})-([0-9a-f]{16})@", re.IGNORECASE)


def envelope_sender(mail: Mail, keys: Keys, mail_id: int) -> str:
    """The envelope sender of the outbox's mail `mail_id`."""
    if not mail.bounce_address:
        return mail.sender
    local, _, domain = mail.bounce_address.rpartition("@")
    signature = keys.derive(_PURPOSE, str(mail_id).encode())[:_SIGNATURE_BYTES].hex()
    # Lower case: servers on the way may fold the part before the @.
    return f"{local}+b{mail_id}-{signature}@{domain}"


def mail_named_by(keys: Keys, address: str) -> int | None:
    """The mail whose envelope sender `address` is, or None when it is none that we signed."""
    found = _TAG.search(address)
    if found is None:
        return None
    number, signature = found.group(1), found.group(2).lower()
    for known in keys.derive_with_each(_PURPOSE, number.encode()):
        if hmac.compare_digest(known[:_SIGNATURE_BYTES].hex(), signature):
            return int(number)
    return None
