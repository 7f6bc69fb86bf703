"""Messages as mail servers send them back. Written after RFC 3464 and what each kind of server is known to write."""

from __future__ import annotations


def postfix(
    message_id: str,
    recipient: str,
    *,
    status: str = "5.1.1",
    words: str = "550 5.1.1 <{0}>: Recipient address rejected: User unknown",
    action: str = "failed",
    to: str = "noreply@univ.example",
    original: str | None = None,
) -> bytes:
    """A delivery status notification with the headers of our message. `original`: what we wrote to, if it differs."""
    was = f"Original-Recipient: rfc822;{original or recipient}\n"
    return f"""\
Return-Path: <>
Delivered-To: {to}
Date: Tue, 24 Nov 2026 10:12:00 +0100 (CET)
From: MAILER-DAEMON@mx.univ.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B/mx"
Message-Id: <20261124091200.4C2F31C0@mx.univ.example>

This is a MIME-encapsulated message.

--B/mx
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.univ.example.

I'm sorry to have to inform you that your message could not be delivered.

<{recipient}>: host mx.mail.example[192.0.2.25] said: {words.format(recipient)} (in reply to RCPT TO command)

--B/mx
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.univ.example
X-Postfix-Queue-ID: 4C2F31C0
X-Postfix-Sender: rfc822; {to}
Arrival-Date: Tue, 24 Nov 2026 10:11:58 +0100 (CET)

Final-Recipient: rfc822; {recipient}
{was}Action: {action}
Status: {status}
Remote-MTA: dns; mx.mail.example
Diagnostic-Code: smtp; {words.format(recipient)}

--B/mx
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: UT <noreply@univ.example>
To: {original or recipient}
Subject: Appli
Message-ID: {message_id}

--B/mx--
""".encode()


def exchange(message_id: str, recipient: str) -> bytes:
    """Exchange Online: a generic status, the exact one in the diagnostic, the whole message in base64 parts."""
    return f"""\
From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>
To: <noreply@univ.example>
Subject: =?utf-8?B?Tm9uIHJlbWlzwqA6IEFwcGxp?=
In-Reply-To: {message_id}
References: {message_id}
Content-Type: multipart/report; report-type=delivery-status; boundary="_EX_"
MIME-Version: 1.0

--_EX_
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: base64

Vm90cmUgbWVzc2FnZSBuJ2EgcGFzIHB1IMOqdHJlIHJlbWlzLg==

--_EX_
Content-Type: message/delivery-status

Reporting-MTA: dns;corp.example

Final-recipient: RFC822; {recipient}
Action: failed
Status: 5.0.0
Diagnostic-code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup

--_EX_
Content-Type: message/rfc822

From: UT <noreply@univ.example>
To: {recipient}
Message-ID: {message_id}
Content-Type: text/plain

Bonjour

--_EX_--
""".encode()


def exim(message_id: str, recipient: str) -> bytes:
    return f"""\
Return-path: <>
X-Failed-Recipients: {recipient}
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.univ.example>
To: noreply@univ.example
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1rAbCd-0001xY-00@mx.univ.example>

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {recipient}
    host mx.mail.example [192.0.2.25]
    SMTP error from remote mail server after RCPT TO:<{recipient}>:
    550 5.1.1 User unknown

------ This is a copy of the message, including all the headers. ------

Message-ID: {message_id}
From: UT <noreply@univ.example>
""".encode()


def qmail(message_id: str, recipient: str) -> bytes:
    return f"""\
Return-Path: <>
From: MAILER-DAEMON@old.example
To: noreply@univ.example
Subject: failure notice

Hi. This is the qmail-send program at old.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{recipient}>:
192.0.2.25 does not like recipient.
Remote host said: 550 5.1.1 unknown user
Giving up on 192.0.2.25.

--- Below this line is a copy of the message.

Return-Path: <noreply@univ.example>
Message-ID: {message_id}
""".encode()


def out_of_office(message_id: str, recipient: str) -> bytes:
    """Somebody is away, and their program quotes what it likes, error codes too."""
    return f"""\
From: {recipient}
To: noreply@univ.example
Subject: Absence du bureau : votre message
Auto-Submitted: auto-replied
Precedence: bulk
In-Reply-To: {message_id}
Content-Type: text/plain; charset=utf-8

Je suis absente jusqu'au 5.1.1 inclus. <{recipient}>
""".encode()


def complaint(message_id: str, recipient: str) -> bytes:
    """A feedback report (RFC 5965): somebody pressed "spam"."""
    return f"""\
From: abuse@mail.example
To: noreply@univ.example
Content-Type: multipart/report; report-type=feedback-report; boundary="_FB_"

--_FB_
Content-Type: text/plain

This is an email abuse report.

--_FB_
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Original-Rcpt-To: {recipient}

--_FB_
Content-Type: message/rfc822

Message-ID: {message_id}

--_FB_--
""".encode()
