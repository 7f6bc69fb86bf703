"""An example of a file of the staff office. In the demo it shows every verdict."""

from __future__ import annotations

EXAMPLE = """\
matricule;nom;prénom;nom de naissance;profil;adresse privée;composante;fin de droits;homonyme vérifié
V2026-001;Fontaine;Chloé;;vacataire;chloe.fontaine@courriel.example;Lettres;30/06/2099;
V2026-002;El Amrani;Yassine;;vacataire;yassine.elamrani@courriel.example;Sciences;2099-08-31;
V2026-003;Dubois-Roy;Anne-Zoé;Roy;vacataire;anne.dubois@courriel.example;Droit;aucune;
V2026-004;Valentin;Nguyen;;vacataire;v.nguyen@autre.example;Sciences;30/06/2099;
V2026-005;Petit;Léa;;vacataire;lea.petit@courriel;Lettres;31/02/2099;
"""
