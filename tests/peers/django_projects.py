"""Minimal Django projects, written out and run: a university's CAS server, and an application that asks ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.programs import reserved_port, running_program

_SETTINGS = """
SECRET_KEY = "only for this test"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": r"{folder}/project.db"}}}}
ROOT_URLCONF = "project_urls"
TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {{
    "context_processors": ["django.template.context_processors.request",
                           "django.contrib.messages.context_processors.messages"]}}}}]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
                  "django.contrib.messages", "django.contrib.staticfiles", "{app}"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware"]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
# Cookies know no ports: each program on 127.0.0.1 needs names of its own.
SESSION_COOKIE_NAME = "{app}-{port}-session"
CSRF_COOKIE_NAME = "{app}-{port}-csrf"
"""

_RUN = """
import os, sys
sys.path.insert(0, r"{folder}")
os.environ["DJANGO_SETTINGS_MODULE"] = "project_settings"
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
{prepare}
call_command("runserver", "127.0.0.1:{port}", use_reloader=False, skip_checks=True, verbosity=0)
"""

_CAS_SERVER_SETTINGS = """
CAS_AUTH_CLASS = "project_people.Person"
CAS_FEDERATE = False
CAS_NEW_VERSION_HTML_WARNING = False
CAS_NEW_VERSION_EMAIL_WARNING = False
CAS_SLO_TIMEOUT = 3
"""
_CAS_SERVER_URLS = """
from django.urls import include, path
urlpatterns = [path("cas/", include("cas_server.urls", namespace="cas_server"))]
"""
_CAS_SERVER_PEOPLE = """
import json
from pathlib import Path
from cas_server.auth import AuthUser

class Person(AuthUser):
    def _row(self):
        return json.loads(Path(__file__).with_name("people.json").read_text()).get(self.username)

    def test_password(self, password):
        row = self._row()
        return row is not None and row["password"] == password

    def attributs(self):
        row = self._row()
        return row["attributes"] if row else {}
"""
_CAS_SERVER_PREPARE = """
from cas_server.models import ServicePattern
pattern = ServicePattern.objects.create(name="bridge", pattern=r"^https?://127\\.0\\.0\\.1:", single_log_out=True)
pattern.attributs.create(name="*", replace="")
"""

_CLIENT_SETTINGS = """
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "django_cas_ng.backends.CASBackend"]
CAS_SERVER_URL = "{cas_url}"
CAS_VERSION = "{version}"
CAS_APPLY_ATTRIBUTES_TO_USER = True
CAS_RENAME_ATTRIBUTES = {{"mail": "email", "familyName": "last_name"}}
CAS_REDIRECT_URL = "/"
CAS_LOGIN_MSG = CAS_LOGGED_MSG = None
CAS_CHECK_NEXT = True
"""
_CLIENT_URLS = """
from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from django.urls import path
from django_cas_ng.views import CallbackView, LoginView, LogoutView

def look(request):
    user = request.user
    return JsonResponse({"user": user.get_username() or None,
                         "email": getattr(user, "email", ""), "last_name": getattr(user, "last_name", "")})

urlpatterns = [
    path("", look),
    path("private", login_required(look, login_url="/login")),
    path("login", LoginView.as_view(), name="cas_ng_login"),
    path("logout", LogoutView.as_view(), name="cas_ng_logout"),
    path("callback", CallbackView.as_view(), name="cas_ng_proxy_callback"),
]
"""


@dataclass
class UniversityCas:
    """A running django-cas-server."""

    url: str
    folder: Path

    def put_person(self, username: str, password: str, **attributes: Any) -> None:
        """Add somebody, or change what the CAS says of them."""
        path = self.folder / "people.json"
        people = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        people[username] = {"password": password, "attributes": attributes}
        path.write_text(json.dumps(people), encoding="utf-8")


@contextmanager
def running_university_cas(folder: Path) -> Iterator[UniversityCas]:
    """A django-cas-server in `folder`, nobody in it yet."""
    files = {"project_people.py": _CAS_SERVER_PEOPLE, "people.json": "{}"}
    with _running(folder, "cas_server", _CAS_SERVER_SETTINGS, _CAS_SERVER_URLS, files, _CAS_SERVER_PREPARE) as url:
        yield UniversityCas(f"{url}/cas", folder)


@contextmanager
def running_django_application(folder: Path, port: int, *, cas_url: str, version: str) -> Iterator[None]:
    """An application with django-cas-ng on `port`; `version` is django-cas-ng's own word for the protocol."""
    settings = _CLIENT_SETTINGS.format(cas_url=cas_url, version=version)
    with _running_on(port, folder, "django_cas_ng", settings, _CLIENT_URLS, {}, ""):
        yield


@contextmanager
def _running(folder: Path, app: str, settings: str, urls: str, files: Mapping[str, str], prepare: str) -> Iterator[str]:
    with reserved_port() as port, _running_on(port, folder, app, settings, urls, files, prepare):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running_on(
    port: int, folder: Path, app: str, settings: str, urls: str, files: Mapping[str, str], prepare: str
) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "project_settings.py": _SETTINGS.format(folder=folder, app=app, port=port) + settings,
        "project_urls.py": urls,
        "run.py": _RUN.format(folder=folder, port=port, prepare=prepare),
        **files,
    }
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    with running_program([sys.executable, folder / "run.py"], port=port, folder=folder):
        yield
