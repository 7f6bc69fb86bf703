"""`lms-bridge mail …`"""

from __future__ import annotations

import getpass
import json
import secrets
import smtplib
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, outbox
from external_accounts.addresses import InvalidAddress, mask_address, parse_address
from external_accounts.schema import OutboxMail
from lms_bridge import i18n
from lms_bridge.cli import settings as cli_settings
from lms_bridge.mail.compose import write
from lms_bridge.mail.delivery import connection, describe
from lms_bridge.mail.figures import DAY, WEEK, Domain, by_domain, flags, total
from lms_bridge.runtime import Runtime, build_runtime, utc_now
from lms_bridge.settings import Settings

LISTED = 25
REFUSED = 4
STATES = ("sent", "bounced", "failed", "expired")


@click.group()
def mail() -> None:
    """See whether mails arrive, send what was refused once more, try the mail server."""


@mail.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines: every domain, two periods.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show what waits and what became of the mails of the last days, by the domain they go to.

    Flags: `refuses` (a tenth or more sent back), `stuck` (tried in vain for an hour), `like gmail.com` (probably a
    slip of the finger).
    """
    runtime = build_runtime(cli_settings.read(context))
    try:
        now = runtime.clock()
        with runtime.database.read() as session:
            periods = {"24h": by_domain(session, since=now - DAY), "7d": by_domain(session, since=now - WEEK)}
    finally:
        runtime.close()
    if as_json:
        answer = {"now": now.isoformat(), **{period: _as_json(domains, now) for period, domains in periods.items()}}
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(periods, now, runtime.settings)


def _as_json(domains: Sequence[Domain], now: datetime) -> dict[str, Any]:
    return {"all": _figures(total(domains), now), "domains": {one.name: _figures(one, now) for one in domains}}


def _figures(domain: Domain, now: datetime) -> dict[str, Any]:
    return {
        "waiting": domain.waiting,
        "deferred": domain.deferred,
        "oldest_waiting": domain.oldest_waiting.isoformat() if domain.oldest_waiting else None,
        **{state: domain.counts.get(state, 0) for state in STATES},
        "last_error": domain.last_error,
        "flags": flags(domain, now) if domain.name else [],
    }


def _print(periods: dict[str, Sequence[Domain]], now: datetime, settings: Settings) -> None:
    everything = total(periods["7d"])
    since = ""
    if everything.oldest_waiting is not None:
        since = f", the oldest since {everything.oldest_waiting.astimezone(settings.zone):%Y-%m-%d %H:%M}"
    click.echo(f"Waiting: {everything.waiting}, of them tried in vain: {everything.deferred}{since}")
    for period, domains in periods.items():
        counts = total(domains).counts
        click.echo(f"Last {period}: " + ", ".join(f"{counts.get(state, 0)} {state}" for state in STATES))
    shown = periods["7d"][:LISTED]
    if not shown:
        return
    width = max(len(one.name) for one in shown)
    click.echo(f"\n{'last 7d':<{width}}  waiting  deferred     sent  bounced   failed")
    for one in shown:
        numbers = (one.waiting, one.deferred, *(one.counts.get(state, 0) for state in STATES[:3]))
        marks = "  ".join(flags(one, now))
        click.echo(
            f"{one.name:<{width}}" + "".join(f"{number:>9}" for number in numbers) + (f"  {marks}" if marks else "")
        )
        if one.last_error and (one.refused or one.deferred):
            click.echo(f"{'':<{width}}    {one.last_error}")
    if len(periods["7d"]) > LISTED:
        click.echo(f"… and {len(periods['7d']) - LISTED} more domains; --json has all")


@mail.command()
@click.argument("mail_id", metavar="[ID]", type=int, required=False)
@click.option("--domain", help="Every mail to this domain that waits or was refused at once.")
@click.pass_context
def retry(context: click.Context, mail_id: int | None, domain: str | None) -> None:
    """Send mails now that were refused or wait for their next try, when the cause is mended.

    Either the mail with this ID (`mail=…` in the log), or all to a domain. What has become of no use is not sent.
    """
    if (mail_id is None) == (domain is None):
        _fail("Name either a mail by its ID, or --domain.")
    runtime = build_runtime(cli_settings.read(context))
    try:
        with runtime.database.begin() as session:
            mails = _chosen(session, mail_id, domain)
            for one in mails:
                _send_again(session, one, runtime)
    finally:
        runtime.close()
    if not mails:
        _fail("There is no such mail that waits or was refused.")
    click.echo(f"{len(mails)} to be sent again, by the next round of the background work.")


def _chosen(session: Session, mail_id: int | None, domain: str | None) -> Sequence[OutboxMail]:
    query = select(OutboxMail).with_for_update()
    if domain is not None:
        ending = "@" + domain.strip().lower().replace("%", "").replace("_", "")
        query = query.where(OutboxMail.state.in_(("pending", "failed")), OutboxMail.recipient.like(f"%{ending}"))
        return session.scalars(query.order_by(OutboxMail.id)).all()
    return session.scalars(
        query.where(OutboxMail.id == mail_id, OutboxMail.state.in_(("pending", "failed", "bounced")))
    ).all()


def _send_again(session: Session, one: OutboxMail, runtime: Runtime) -> None:
    now, origin = runtime.clock(), audit.Origin(actor=f"cli:{getpass.getuser()}")
    before = one.state
    outbox.retry(session, one, now)
    audit.record(
        session,
        "mail.retried",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=one.account_id,
        mail=one.id,
        was=before,
    )


@mail.command()
@click.argument("address")
@click.option("--lang", type=click.Choice(i18n.LOCALES), help="Language of the mail. Default: default_language.")
@click.pass_context
def test(context: click.Context, address: str, lang: str | None) -> None:
    """Send a test mail to ADDRESS, now, and say what the mail server said.

    Exit codes: 0 the server took it, 4 it did not.
    """
    settings = cli_settings.read(context)
    try:
        recipient = parse_address(address).email
    except InvalidAddress as error:
        _fail(f"`{address}` is not an address we could write to: {error}")
    row = OutboxMail(
        template="test",
        recipient=recipient,
        locale=lang or settings.default_language,
        message_id=f"<{secrets.token_hex(16)}@{settings.public_host}>",
        created_at=utc_now(),
    )
    try:
        with connection(settings.mail) as smtp:
            smtp.ehlo_or_helo_if_needed()
            answer = _offer(
                smtp, settings.mail.bounce_address or settings.mail.sender, recipient, bytes(write(settings, row, {}))
            )
    except (OSError, smtplib.SMTPException) as error:
        click.echo(f"{settings.mail.host}:{settings.mail.port} did not take it: {describe(error)}", err=True)
        sys.exit(REFUSED)
    click.echo(f"{settings.mail.host}:{settings.mail.port} took the mail to {mask_address(recipient)}: {answer}")
    click.echo(f"Message-ID: {row.message_id}")


def _offer(smtp: smtplib.SMTP, sender: str, recipient: str, message: bytes) -> str:
    """Say it step by step: `sendmail` keeps the server's last word to itself."""
    code, words = smtp.mail(sender)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, words, sender)
    code, words = smtp.rcpt(recipient)
    if code not in (250, 251):
        raise smtplib.SMTPRecipientsRefused({recipient: (code, words)})
    code, words = smtp.data(message)
    if code != 250:
        raise smtplib.SMTPDataError(code, words)
    return f"{code} {words.decode('utf-8', 'replace')}"


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(2)
