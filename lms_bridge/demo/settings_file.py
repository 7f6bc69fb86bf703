"""The demo's `lms-bridge.toml`: a small, complete example of the real thing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from lms_bridge.demo.accounts import CANARY, DOMAIN


def settings_text(urls: Mapping[str, str], folder: Path, *, smtp_port: int, moodle_token: str) -> str:
    """The file's text. Everything in it is made for this run."""
    return f'''# Settings of the demo. See docs/reference/settings.md for every name.
public_url = "{urls["bridge"]}"
secret_keys = ["{secrets.token_hex(32)}"]
database_url = "sqlite:///{folder}/lms-bridge.db"
log_level = "warning"
log_format = "console"

[institution]
name = "Université de démonstration"
short_name = "Univ. Démo"
accent = "#1d4f73"
help_email = "assistance@{DOMAIN}"
help_phone = "+33 5 00 00 00 00"

[mail]
host = "127.0.0.1"
port = {smtp_port}
security = "none"
sender = "ne-pas-repondre@{DOMAIN}"
bounce_folder = "{folder}/returned"  # put a report here as a file, and the bridge reads it

[local]
username_pattern = 'ext\\.[a-z0-9._-]{{1,90}}'

[registration]
rights_months = 12
sponsors = ["staff"]
deciders = ["helene.bernard@{DOMAIN}"]

[[help_desk.members]]
role = "administrator"
usernames = ["hbernard"]

[[help_desk.members]]
role = "agent"
usernames = ["yroche"]

[charter]
version = "2026-09"
url = "{urls["sel"]}/charte"

[mailbox.text]
fr = "Les messages de l’université et de vos étudiant·es y arrivent."
en = "What the university and your students write arrives there."

[[mailbox.antispam_levels]]
name = "mild"
label = {{ fr = "Souple : peu de messages écartés", en = "Mild: few messages are held back" }}

[[mailbox.antispam_levels]]
name = "strict"
label = {{ fr = "Strict : à relire de temps en temps", en = "Strict: look through what is held back at times" }}

[mfa.text]
fr = "Un second facteur protège votre compte SEL, même si quelqu’un devine votre mot de passe."
en = "A second factor protects your SEL account, even when somebody guesses your password."

[[profiles]]
name = "staff"
label = {{ fr = "Personnel", en = "Staff" }}
mailbox = "box"
listing = true
antispam = true
whom_to_see = {{ fr = "le service des ressources humaines", en = "the staff office" }}
retention_months = 12
extension_months = 12

[[profiles]]
name = "student"
label = {{ fr = "Étudiant·e", en = "Student" }}
mailbox = "forward"
whom_to_see = {{ fr = "la scolarité", en = "the student office" }}

[[profiles]]
name = "vacataire"
label = {{ fr = "Vacataire", en = "Adjunct teacher" }}
issuer = "sel"
directory = "sel"
retention_months = 6
extension_months = 6
whom_to_see = {{ fr = "la scolarité de votre composante", en = "the office of your department" }}

[[profiles]]
name = "library_reader"
label = {{ fr = "Lecteur·rice de la bibliothèque", en = "Library reader" }}

[[profiles]]
name = "technical"
label = {{ fr = "Compte technique", en = "Technical account" }}
issuer = "sel"
directory = "sel"

[[directories]]
name = "sel"
kind = "embedded"

[[profiles]]
name = "hosted"
label = {{ fr = "Hébergé·e éducation nationale", en = "Hosted, national education" }}
retention_months = 6
extension_months = 6

[[profiles]]
name = "other_staff"
label = {{ fr = "Autre personnel", en = "Other staff" }}
retention_months = 3
extension_months = 3

[[profiles]]
name = "learner"
label = {{ fr = "Apprenant·e extérieur·e", en = "External learner" }}
retention_months = 6
extension_months = 6

[lifecycle]
nightly = 03:30:00

[[upstreams]]
issuer = "sel"
cas_url = "{urls["sel"]}/cas"
title = {{ fr = "Enseignant·es, étudiant·es", en = "Teaching staff, students" }}
text = {{ fr = "J’ai un compte SEL de l’université.", en = "I have a SEL account of the university." }}
keep = ["eduPersonAffiliation"]
profile = "staff"
trusted_domains = ["{DOMAIN}"]

[[upstreams.profile_rules]]
attribute = "eduPersonAffiliation"
value = "student"
profile = "student"

[[upstreams.profile_rules]]
attribute = "eduPersonAffiliation"
value = "affiliate"
profile = "vacataire"

[[sites]]
name = "updago"
url = "{urls["moodle"]}"
token = "{moodle_token}"
canary = "{CANARY}"
registration = "moderated"

[[services]]
name = "updago"
label = {{ fr = "UPdago", en = "UPdago" }}
url = "{urls["moodle"]}/login/index.php"
home_url = "{urls["moodle"]}/login/index.php"
anonymous_url = "{urls["moodle"]}/course/view.php?id=4"
site = "updago"
attributes = {{ mail = "mail", displayName = "displayName" }}
'''
