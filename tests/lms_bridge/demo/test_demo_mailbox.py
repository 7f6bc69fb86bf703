"""The mailbox of the demo: mail goes in by SMTP and comes out as pages and JSON."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
from datetime import datetime
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
import requests

SENDER = "ne-pas-repondre@univ.example"


def mail(subject: str = "UPdago – accès", to: str = "alice@exemple.test", text: str = "Bonjour,\n\nà bientôt\n"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, to, subject
    message.set_content(text)
    return message


def send(mailbox, *messages) -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.smtp_port, timeout=10) as smtp:
        for message in messages:
            smtp.send_message(message)


def send_raw(mailbox, data: bytes, to: str = "alice@exemple.test") -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.smtp_port, timeout=10) as smtp:
        smtp.sendmail(SENDER, [to], data)


def received(viewer: str) -> list[dict[str, str]]:
    return requests.get(f"{viewer}/api/messages", timeout=10).json()


def test_a_mail_comes_out_decoded_with_exactly_the_agreed_keys(mailbox, viewer, clock):
    message = mail()
    message.add_alternative("<p>à <a href='http://127.0.0.1:8400/x'>bientôt</a></p>", subtype="html")
    send(mailbox, message)
    assert received(viewer) == [
        {
            "id": "1",
            "to": "alice@exemple.test",
            "subject": "UPdago – accès",
            "text": "Bonjour,\n\nà bientôt\n",
            "html": "<p>à <a href='http://127.0.0.1:8400/x'>bientôt</a></p>\n",
            "date": "2026-11-24T08:00:00.000Z",
        }
    ]
    assert datetime.fromisoformat(received(viewer)[0]["date"]) == clock()


def test_the_api_lists_oldest_first_and_the_page_newest_first(mailbox, viewer):
    send(mailbox, mail("premier"), mail("deuxième"))
    assert [message["subject"] for message in received(viewer)] == ["premier", "deuxième"]
    page = requests.get(viewer, timeout=10).text
    assert page.index("deuxième") < page.index("premier")


def test_each_recipient_gets_a_message(mailbox, viewer):
    send(mailbox, mail(to="a@exemple.test, B <b@exemple.test>"))
    assert [(message["id"], message["to"]) for message in received(viewer)] == [
        ("1", "a@exemple.test"),
        ("2", "b@exemple.test"),
    ]


@pytest.mark.parametrize(
    ("encoding", "charset"), [("quoted-printable", "utf-8"), ("base64", "utf-8"), ("8bit", "latin-1")]
)
def test_transfer_encodings_and_charsets_are_decoded(mailbox, viewer, encoding, charset):
    message = mail()
    message.set_content("été – ligne".replace("–", "-"), cte=encoding, charset=charset)
    send(mailbox, message)
    assert received(viewer)[0]["text"] == "été - ligne\n"


def test_long_and_raw_subjects_are_decoded(mailbox, viewer):
    long = "Votre accès à UPdago – " + "très longue ligne d’objet " * 6
    send(mailbox, mail(long.strip()))
    send_raw(mailbox, "Subject: accès brut\r\n\r\nx".encode())
    send_raw(mailbox, b"Subject: =?iso-8859-1?q?=E9t=E9?=\r\n =?utf-8?b?w6k=?=\r\n\r\nx")
    assert [message["subject"] for message in received(viewer)] == [long.strip(), "accès brut", "étéé"]


def test_attachments_are_not_the_text(mailbox, viewer):
    outer = MIMEMultipart("mixed")
    attached = MIMEText("pièce jointe", "plain", "utf-8")
    attached.add_header("Content-Disposition", "attachment", filename="a.txt")
    outer.attach(attached)
    outer.attach(MIMEText("le corps", "plain", "utf-8"))
    send_raw(mailbox, outer.as_bytes())
    assert received(viewer)[0]["text"] == "le corps"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no header at all",
        b"Subject: =?nonsense?b?%%%?=\r\n\r\nx",
        b"Subject: =?utf-8?b?A?=\r\n\r\nx",
        b"Content-Type: text/plain; charset=klingon\r\n\r\n\xff\xfe",
        b'Content-Type: text/plain; charset="\x00"\r\n\r\nx',
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: ;;;\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
        b"Subject: \xff\xfe\x00\r\n\r\n\x00",
        b"Content-Type: text/html; charset*=x''%ff\r\nContent-Disposition: \xff\r\n\r\n<b>",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 666 x\r\n\xff\xff",
    ],
)
def test_a_malformed_mail_is_kept_and_shown(mailbox, viewer, data, caplog):
    send_raw(mailbox, data)
    assert len(received(viewer)) == 1
    for path in ("/", "/messages/1", "/messages/1/html"):
        assert requests.get(viewer + path, timeout=10).status_code in (200, 404)
    assert "Traceback" not in caplog.text


def test_recipients_can_be_refused(mailbox, viewer):
    mailbox.refuse_with = "451 4.7.1 greylisted"
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(mailbox, mail())
    assert refused.value.recipients == {"alice@exemple.test": (451, b"4.7.1 greylisted")}
    mailbox.refuse_with = None
    send(mailbox, mail())
    assert len(received(viewer)) == 1


def test_emptying_forgets_messages_and_never_reuses_ids(mailbox, viewer):
    send(mailbox, mail())
    assert requests.delete(f"{viewer}/api/messages", timeout=10).status_code == 204
    assert received(viewer) == []
    send(mailbox, mail())
    assert [message["id"] for message in received(viewer)] == ["2"]
    assert requests.get(f"{viewer}/messages/1", timeout=10).status_code == 404


def test_the_page_of_a_mail_isolates_its_html(mailbox, viewer):
    message = mail("<script>alert(1)</script>", text="Lien : http://127.0.0.1:8400/a?b=c&d=e\n<script>")
    message.add_alternative("<!doctype html><html><head></head><body><script>x</script></body></html>", subtype="html")
    send(mailbox, message)
    page = requests.get(f"{viewer}/messages/1", timeout=10)
    assert "<script" not in page.text
    assert re.search(r'<iframe [^>]*sandbox="allow-popups allow-popups-to-escape-sandbox"', page.text)
    assert '<a href="http://127.0.0.1:8400/a?b=c&amp;d=e" rel="noopener noreferrer" target="_blank">' in page.text
    inside = requests.get(f"{viewer}/messages/1/html", timeout=10)
    policy = inside.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-popups")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy
    assert inside.text.startswith('<!doctype html><html><head><base target="_blank">')


def test_the_start_page_says_what_to_try_and_refreshes_itself(viewer):
    page = requests.get(viewer, timeout=10)
    assert '<meta http-equiv="refresh" content="5">' in page.text
    assert "refresh" not in requests.get(f"{viewer}/?pause", timeout=10).text
    for expected in ("http://127.0.0.1:8401", "mdupont", "craie-tableau-soleil", "Aucun message", "pas encore choisi"):
        assert expected in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_the_demo_document_is_served_as_given(viewer, demo_document):
    response = requests.get(f"{viewer}/api/demo", timeout=10)
    assert response.json() == demo_document
    assert response.headers["Content-Type"] == "application/json"


def test_the_start_page_bears_an_empty_document(viewer, demo_document):
    demo_document.clear()
    assert requests.get(viewer, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/messages/", "/messages/%00", "/messages/%ff/html", "//", "/api/x", "/messages/" + "9" * 20_000, "/?%ff=%00"],
)
def test_malformed_requests_never_break_the_viewer(viewer, path, caplog):
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "WEIRD"):
        response = requests.request(method, viewer + path, data=b"\xff\x00", headers={"Host": "[\xe9"}, timeout=10)
        assert response.status_code < 500
    assert caplog.text == ""


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xfe\r\n",
        b"EHLO " + b"a" * 100_000 + b"\r\n",
        b"EHLO x\r\nMAIL FROM:<\xff>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<\xc3\x28>\r\nRCPT TO:<a@b>\r\nDATA\r\ncut short",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_malformed_smtp_never_stops_the_sink(mailbox, viewer, data, capfd):
    with socket.create_connection(("127.0.0.1", mailbox.smtp_port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                pass
    send(mailbox, mail("la suite"))
    assert [message["subject"] for message in received(viewer)] == ["la suite"]
    assert "Traceback" not in capfd.readouterr().err


def test_stopping_twice_is_harmless_and_ends_connections(mailbox):
    smtp = smtplib.SMTP("127.0.0.1", mailbox.smtp_port, timeout=10)
    mailbox.stop()
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        smtp.noop()
    smtp.close()
    mailbox.stop()
    with pytest.raises(OSError, match="refused"):
        smtplib.SMTP("127.0.0.1", mailbox.smtp_port, timeout=10)
