"""`lms-bridge why`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from lms_bridge.cli.operator import fail, running
from lms_bridge.ops.why import accounts_of, facts_about


@click.command()
@click.argument("identifier")
@click.option("--service", "service_name", help="Only this application, by its name in the settings.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def why(context: click.Context, identifier: str, service_name: str | None, as_json: bool) -> None:
    """Say why somebody can or cannot enter, with every fact the decision rests on.

    IDENTIFIER is a user name, an e-mail address, or an account's number written `#12`. Exit code 2: nobody is meant.
    """
    with running(context) as runtime:
        services = [one for one in runtime.registry if service_name in (None, one.name)]
        if service_name is not None and not services:
            known = ", ".join(one.name for one in runtime.registry)
            fail(f"There is no service called `{service_name}` in the settings; there are: {known or 'none'}.")
        with runtime.database.read() as session:
            found = [facts_about(session, runtime, one, services) for one in accounts_of(session, identifier)]
        zone = runtime.settings.zone
    if not found:
        fail(f"No account has the user name, the address or the number `{identifier}`.")
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for facts in found:
        for line in _told(facts, zone):
            click.echo(line)


def _told(facts: dict[str, Any], zone: ZoneInfo) -> Iterator[str]:
    def at(text: str | None) -> str:
        return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M") if text else "never"

    account = facts["account"]
    yield f"{account['username']} (#{account['id']}) {account['name']}, {account['profile']}"
    for one in facts["services"]:
        stands = "yes" if one["admitted"] else f"NO – {'; '.join(one['words'])}"
        yield f"  enters {one['label']}: {stands}"
    yield from (f"  {line}" for line in _state(account, at))
    for one in facts["identities"]:
        yield f"  signs in by {one['issuer']} as {one['subject']}"
    for one in facts["addresses"]:
        state = f"confirmed {at(one['confirmed'])}" if one["confirmed"] else "not confirmed"
        lost = f", lost {at(one['lost_at'])}: {one['lost_reason']}" if one["lost_at"] else ""
        yield f"  address {one['email']} ({one['role']}{', main' if one['primary'] else ''}): {state}{lost}"
    if not facts["addresses"]:
        yield "  no address"
    for one in facts["engagements"]:
        yield f"  accepted {one['document']} {one['version']} on {at(one['accepted_at'])}"
    for one in facts["mirrors"]:
        problem = f", {one['problem']}" if one["problem"] else ""
        due = ", to be written" if one["due"] else ""
        yield f"  in {one['site']}: {one['state']}, user {one['moodle_id']}, seen {at(one['seen_at'])}{due}{problem}"
    for one in facts["sign_ins"]:
        yield f"  {at(one['at'])} {one['event']} {one['outcome']} from {one['network'] or 'unknown'}"
    yield f"  {len(facts['sessions'])} open sessions"
    for one in facts["proofs"]:
        yield f"  waits for “{one['purpose']}”, sent {at(one['sent_at'])}, good until {at(one['expires_at'])}"
    for one in facts["mails"]:
        why_not = one["bounce_status"] or one["last_error"]
        yield f"  mail {one['template']} to {one['to']}, {at(one['created_at'])}: {one['state']} {why_not}".rstrip()


def _state(account: dict[str, Any], at: Any) -> Iterator[str]:
    yield f"activated {at(account['activated_at'])}, last sign-in {at(account['last_sign_in_at'])}"
    if account["suspended_at"]:
        until = f" until {at(account['suspended_until'])}" if account["suspended_until"] else ""
        yield f"suspended since {at(account['suspended_at'])}{until}: {account['suspension_reason']}"
    if account["rights_end_at"]:
        yield f"rights end {at(account['rights_end_at'])}"
    if account["erased_at"]:
        yield f"erased {at(account['erased_at'])}"
    elif account["erasure_due_at"]:
        yield f"will be erased {at(account['erasure_due_at'])}"
