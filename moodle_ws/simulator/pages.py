"""The few pages of the simulated UPdago: plain, in French, readable without style or script."""

from html import escape

from moodle_ws.simulator.options import Course
from moodle_ws.simulator.site import Session, Site
from moodle_ws.simulator.user_table import User

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --paper: #fff; --soft: #f2f4f8; --line: #c9cfdb; --accent: #a3341c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebf2; --paper: #161a22; --soft: #222836; --line: #414a5e; --accent: #ff9c7d; }
}
* { box-sizing: border-box; }
body { margin: 0; font: 1.05rem/1.6 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
header { border-bottom: 4px solid var(--accent); background: var(--soft); padding: 1rem clamp(1rem, 5vw, 3rem); }
header p { margin: 0; font-weight: 700; }
header small { font-weight: 400; }
main { max-width: 46rem; padding: 1.5rem clamp(1rem, 5vw, 3rem); }
h1 { line-height: 1.25; margin-top: 0; }
.card { border: 1px solid var(--line); border-radius: .6rem; background: var(--soft); margin: 1rem 0;
  padding: 1rem 1.25rem; }
.error { border-left: 6px solid #c0281c; }
label { display: block; font-weight: 600; margin-top: .75rem; }
input { width: 100%; font: inherit; padding: .6rem; border: 1px solid var(--line); border-radius: .4rem; }
button, .button { display: inline-block; font: inherit; font-weight: 600; padding: .6rem 1.1rem;
  margin: 1rem .5rem 0 0; border: 1px solid var(--accent); border-radius: .4rem; background: var(--paper);
  color: var(--accent); cursor: pointer; text-decoration: none; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
nav a { margin-right: 1rem; }
"""


def page(site: Site, title: str, body: str) -> str:
    """A whole page; `title` is text, `body` is HTML."""
    name = escape(site.options.sitename)
    return (
        '<!doctype html>\n<html lang="fr"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} | {name}</title><style>{_STYLE}</style></head>"
        f"<body><header><p>{name} <small>– plateforme de démonstration</small></p></header>"
        f'<main id="main"><h1>{escape(title)}</h1>{body}</main></body></html>\n'
    )


def front(site: Site, session: Session, user: User | None) -> str:
    """The front page."""
    if user is None:
        links = '<p><a class="button" href="/login/index.php">Se connecter</a></p>'
    else:
        links = _signed_in_as(session, user)
    return page(site, "Accueil", f"<p>Bienvenue sur UPdago.</p>{links}{_courses(site)}")


def dashboard(site: Site, session: Session, user: User) -> str:
    """`/my/`: who is signed in, and where to go."""
    greeting = f'<div class="card"><p>Bonjour <strong>{escape(_name(user))}</strong>, vous êtes dans UPdago.</p></div>'
    return page(site, "Tableau de bord", greeting + _courses(site) + _signed_in_as(session, user))


def course(site: Site, session: Session, user: User, place: Course) -> str:
    """A course somebody may enter."""
    body = f'<div class="card"><p>Vous suivez ce cours en tant que <strong>{escape(_name(user))}</strong>.</p></div>'
    back = '<p><a href="/my/">Retour au tableau de bord</a></p>'
    return page(site, place.fullname, body + back + _signed_in_as(session, user))


def enrol(site: Site, session: Session, user: User, place: Course) -> str:
    """A course somebody is not enrolled in."""
    body = '<div class="card"><p>Vous n’êtes pas inscrit à ce cours.</p></div>'
    return page(site, place.fullname, body + _signed_in_as(session, user))


def login(site: Site, session: Session, *, error: str | None, cas_button: str | None) -> str:
    """The login page: the CAS button when it is offered, the local form, and the guest's way in."""
    notice = (
        f'<div class="card error" role="alert" id="loginerrormessage"><p>{escape(error)}</p></div>' if error else ""
    )
    button = (
        f'<p><a class="button" href="{escape(cas_button)}">Se connecter avec le compte de l’université</a></p>'
        if cas_button
        else ""
    )
    form = (
        '<form method="post" action="/login/index.php" id="login" class="card"><h2>Compte local</h2>'
        f'<input type="hidden" name="logintoken" value="{session.login_token}">'
        '<input type="hidden" name="anchor" value="">'
        '<label for="username">Nom d’utilisateur</label>'
        '<input id="username" name="username" autocomplete="username" autocapitalize="none">'
        '<label for="password">Mot de passe</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password">'
        '<button type="submit" id="loginbtn">Connexion</button></form>'
    )
    guest = (
        '<form method="post" action="/login/index.php" id="guestlogin">'
        f'<input type="hidden" name="logintoken" value="{session.login_token}">'
        '<input type="hidden" name="username" value="guest"><input type="hidden" name="password" value="guest">'
        '<button type="submit">Accès anonyme</button></form>'
    )
    return page(site, "Se connecter", notice + button + form + guest)


def confirm_logout(site: Site, session: Session) -> str:
    """Asked when the sign-out link lacks its key."""
    return page(site, "Confirmer", "<p>Voulez-vous vraiment vous déconnecter ?</p>" + _logout_form(session))


def incomplete_profile(site: Site, session: Session, user: User) -> str:
    """Where people without a name or an address are held (`firstlogin-unknown-user-autocreated`)."""
    body = (
        f'<div class="card"><p>Le compte <strong>{escape(user.username)}</strong> n’a ni nom ni adresse : '
        "Moodle demande de les saisir avant d’aller plus loin.</p></div>"
    )
    return page(site, "Modifier le profil", body + _signed_in_as(session, user))


def must_confirm(site: Site, user: User) -> str:
    """Shown to people whose Moodle account is not confirmed."""
    body = f'<div class="card"><p>Un message a dû être envoyé à {escape(user.email)}.</p></div>'
    return page(site, "Votre compte doit être confirmé", body)


def policy(site: Site, session: Session, user: User) -> str:
    """Shown until the site's policy is agreed to."""
    body = '<div class="card"><p>La charte du site doit être acceptée.</p></div>'
    return page(site, "Charte du site", body + _signed_in_as(session, user))


def error(site: Site, message: str) -> str:
    """Moodle's error page; the message is shown as it is, also to the person (ground truth §7)."""
    body = f'<div class="card error" role="alert"><p class="errormessage">{escape(message)}</p></div>'
    return page(site, "Erreur", body + '<p><a class="button" href="/">Continuer</a></p>')


def maintenance(site: Site) -> str:
    """Maintenance mode."""
    return page(site, "Maintenance", '<div class="card"><p>Le site est en maintenance.</p></div>')


def _name(user: User) -> str:
    return user.fullname.strip() or user.username


def _courses(site: Site) -> str:
    items = "".join(
        f'<li><a href="/course/view.php?id={place.id}">{escape(place.fullname)}</a></li>'
        for place in site.options.courses
    )
    return f"<h2>Cours</h2><ul>{items}</ul>"


def _signed_in_as(session: Session, user: User) -> str:
    who = (
        "Vous visitez le site de façon anonyme."
        if user.username == "guest"
        else (f"Connecté : {escape(_name(user))} ({escape(user.username)})")
    )
    return f'<div class="card"><p>{who}</p>{_logout_form(session)}</div>'


def _logout_form(session: Session) -> str:
    return (
        '<form method="post" action="/login/logout.php">'
        f'<input type="hidden" name="sesskey" value="{session.sesskey}">'
        '<button type="submit" id="logout">Se déconnecter</button></form>'
    )
