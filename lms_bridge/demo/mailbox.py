"""The mailbox of the demo: every mail the bridge sends, on a page for people and as JSON for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from lms_bridge.demo.mail_sink import Mail, MailSink
from lms_bridge.demo.pages import guard, page, refusal, style_sheet

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

REFRESH_SECONDS = 5
MOST_LISTED = 200

_ZONE = ZoneInfo("Europe/Paris")

# What a mail may do in its frame: show its own styles and pictures it carries. Links open outside, in a new tab.
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

_SERVERS = (
    ("bridge", "LMS Bridge", "la passerelle : connexion et état de mon accès"),
    ("moodle", "UPdago (simulé)", "la plateforme de cours, protégée par la passerelle"),
    ("sel", "SEL (simulé)", "le serveur CAS de l’université"),
    ("mailbox", "Boîte aux lettres", "cette page : tous les messages envoyés"),
)
_DOORS = {"sel": "Enseignant·es, étudiant·es (SEL)", "local": "Extérieurs"}
_CASES = {
    "teacher": "Enseignante ou enseignant : entre dans UPdago par SEL.",
    "student": "Étudiante ou étudiant : entre dans UPdago par SEL.",
    "learner_confirmed": "Apprenant·e extérieur·e, adresse confirmée : entre dans UPdago.",
    "learner_unconfirmed": "Apprenant·e extérieur·e, adresse non confirmée : doit d’abord ouvrir le message reçu ici.",
    "learner_suspended": "Apprenant·e extérieur·e suspendu·e : n’entre pas, et apprend pourquoi.",
    "learner_ending": "Accès qui prend fin dans une semaine : demande une prolongation sur la page de son compte.",
    "learner_ended": "Accès terminé : n’entre plus dans UPdago, la page du compte reste ouverte.",
    "sponsor": "Répond des deux précédents : décide par le lien du message, sans se connecter.",
    "student_before": "Le compte que l’étudiante avait avant de s’inscrire : après SEL, elle peut les réunir.",
    "library_reader": "Lectrice de la bibliothèque : retrouve ses identifiants par son adresse privée.",
    "technical": "Compte technique : son courrier d’identifiants part à la personne de l’assistance, qui en répond.",
    "vacataire": "Vacataire : passe par SEL, mot de passe tenu par l’annuaire.",
    "learner_bounced": "Son adresse a été mal tapée, nos messages reviennent : l’assistance la corrige, à deux.",
    "not_activated": "Compte annoncé par l’université, pas encore activé : il n’a pas de mot de passe.",
    "helpdesk": "Une personne de l’assistance, qui se connecte comme tout le monde.",
    "helpdesk_second": "Sa ou son collègue : la seconde personne qu’il faut pour corriger une adresse.",
}


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _when(moment: datetime) -> str:
    pattern = "EEEE d MMMM y 'à' H 'h' mm 'min' ss 's'"
    day, _, hour = format_datetime(moment.astimezone(_ZONE), pattern, locale="fr").partition(" à ")
    return f"{day} à " + hour.replace(" ", "\N{NO-BREAK SPACE}")


def _opening_new_tabs(html: str) -> str:
    """The mail with a base element that sends its links to a new tab, put where it leaves the doctype first."""
    for pattern in (r"<head(?:\s[^>]*)?>", r"<html(?:\s[^>]*)?>", r"<!doctype[^>]*>"):
        head = re.search(pattern, html, re.IGNORECASE)
        if head:
            return html[: head.end()] + '<base target="_blank">' + html[head.end() :]
    return '<base target="_blank">' + html


class Mailbox:
    """The SMTP server (from construction on, its port is known) and the viewer.

    `demo_document` gives the document served at /api/demo; `now` returns an aware time, used as date of arrival.
    """

    def __init__(self, demo_document: Callable[[], dict[str, Any]], now: Callable[[], datetime] = _utc_now) -> None:
        self._demo_document = demo_document
        self._sink = MailSink(now)
        self._routes = Map(
            [
                Rule("/", methods=["GET"], endpoint=self._list),
                Rule("/mailbox.css", methods=["GET"], endpoint=lambda _: style_sheet("mailbox.css")),
                Rule("/messages/<id>", methods=["GET"], endpoint=self._show),
                Rule("/messages/<id>/html", methods=["GET"], endpoint=self._show_html),
                Rule("/api/messages", methods=["GET"], endpoint=self._api_list),
                Rule("/api/messages", methods=["DELETE"], endpoint=self._api_clear),
                Rule("/api/demo", methods=["GET"], endpoint=self._api_demo),
            ],
            merge_slashes=False,
        )

    @property
    def smtp_port(self) -> int:
        """The port on 127.0.0.1 that takes mail."""
        return self._sink.port

    @property
    def refuse_with(self) -> str | None:
        """The SMTP answer given to every recipient, such as "451 4.7.1 greylisted"; None accepts them."""
        return self._sink.refuse_with

    @refuse_with.setter
    def refuse_with(self, answer: str | None) -> None:
        self._sink.refuse_with = answer

    def messages(self) -> list[Mail]:
        """Every mail, oldest first."""
        return self._sink.mails()

    def start(self) -> None:
        """Accept mail. Raises: RuntimeError when started a second time."""
        self._sink.start()

    def stop(self) -> None:
        """Stop accepting mail. May be called twice."""
        self._sink.stop()

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The viewer as a WSGI application."""
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        # Bound to a fixed name: routing does not depend on the Host header, whatever it holds.
        try:
            view, arguments = self._routes.bind("mailbox").match(request.path, request.method)
            response: Response = view(request, **arguments)
        except MethodNotAllowed as error:
            return refusal(error)
        except HTTPException as error:
            return refusal(error) if request.path.startswith("/api/") else page("mailbox_missing.html", 404)
        return response

    # Pages

    def _list(self, request: Request) -> Response:
        document = self._demo_document()
        paused = "pause" in request.args
        mails = self.messages()
        return page(
            "mailbox_list.html",
            mails=[(mail, _when(mail.date)) for mail in reversed(mails[-MOST_LISTED:])],
            total=len(mails),
            servers=[
                (label, about, document["urls"][key])
                for key, label, about in _SERVERS
                if key in document.get("urls", {})
            ],
            accounts=[_account(account) for account in document.get("accounts", [])],
            refresh=None if paused else REFRESH_SECONDS,
        )

    def _show(self, request: Request, id: str) -> Response:  # noqa: A002 (the contract's word)
        mail = self._find(id)
        if mail is None:
            return page("mailbox_missing.html", 404)
        return page("mailbox_message.html", mail=mail, when=_when(mail.date))

    def _show_html(self, request: Request, id: str) -> Response:  # noqa: A002
        mail = self._find(id)
        if mail is None or not mail.html:
            return page("mailbox_missing.html", 404)
        response = guard(Response(_opening_new_tabs(mail.html), mimetype="text/html"))
        response.headers["Content-Security-Policy"] = _MAIL_POLICY
        return response

    def _find(self, id: str) -> Mail | None:  # noqa: A002
        return next((mail for mail in self.messages() if mail.id == id), None)

    # For programs

    def _api_list(self, request: Request) -> Response:
        return _json([mail.as_json() for mail in self.messages()])

    def _api_clear(self, request: Request) -> Response:
        self._sink.clear()
        return guard(Response(status=204))

    def _api_demo(self, request: Request) -> Response:
        return _json(self._demo_document())


def _account(account: Mapping[str, str]) -> dict[str, str]:
    case, door = account.get("case", ""), account.get("door", "")
    return {
        "about": _CASES.get(case, case),
        "door": _DOORS.get(door, door),
        "identifier": account.get("identifier") or "",
        "password": account.get("password") or "",
        "email": account.get("email") or "",
    }


def _json(document: object) -> Response:
    return guard(Response(json.dumps(document, ensure_ascii=False, indent=1) + "\n", mimetype="application/json"))
