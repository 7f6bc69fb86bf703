"""Reading validation answers the strict way: every XML answer is held against the schema of CAS 3.0.3, appendix A."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import requests
from lxml import etree

CAS = "{http://www.yale.edu/tp/cas}"

# Our own wording of appendix A; the attributes of a university follow the three that CAS defines.
SCHEMA = etree.XMLSchema(
    etree.fromstring(
        """
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="http://www.yale.edu/tp/cas"
           targetNamespace="http://www.yale.edu/tp/cas" elementFormDefault="qualified">
  <xs:element name="serviceResponse">
    <xs:complexType>
      <xs:choice>
        <xs:element name="authenticationSuccess" type="Success"/>
        <xs:element name="authenticationFailure" type="Failure"/>
        <xs:element name="proxySuccess">
          <xs:complexType><xs:sequence><xs:element name="proxyTicket" type="xs:string"/></xs:sequence></xs:complexType>
        </xs:element>
        <xs:element name="proxyFailure" type="Failure"/>
      </xs:choice>
    </xs:complexType>
  </xs:element>
  <xs:complexType name="Success">
    <xs:sequence>
      <xs:element name="user" type="xs:string"/>
      <xs:element name="attributes" type="Attributes" minOccurs="0"/>
      <xs:element name="proxyGrantingTicket" type="xs:string" minOccurs="0"/>
      <xs:element name="proxies" minOccurs="0">
        <xs:complexType>
          <xs:sequence><xs:element name="proxy" type="xs:string" maxOccurs="unbounded"/></xs:sequence>
        </xs:complexType>
      </xs:element>
    </xs:sequence>
  </xs:complexType>
  <xs:complexType name="Attributes">
    <xs:sequence>
      <xs:element name="authenticationDate" type="xs:dateTime"/>
      <xs:element name="longTermAuthenticationRequestTokenUsed" type="xs:boolean"/>
      <xs:element name="isFromNewLogin" type="xs:boolean"/>
      <xs:any namespace="##targetNamespace" processContents="skip" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence>
  </xs:complexType>
  <xs:complexType name="Failure">
    <xs:simpleContent>
      <xs:extension base="xs:string"><xs:attribute name="code" type="xs:string" use="required"/></xs:extension>
    </xs:simpleContent>
  </xs:complexType>
</xs:schema>"""
    )
)


@dataclass(frozen=True)
class Told:
    """What a validation answer says. Exactly one of `user`, `code` and `proxy_ticket` is there."""

    user: str | None = None
    attributes: dict[str, list[str]] = field(default_factory=dict)
    grant_iou: str | None = None
    proxies: list[str] = field(default_factory=list)
    code: str | None = None
    text: str | None = None
    proxy_ticket: str | None = None

    @property
    def authenticated_at(self) -> datetime:
        return datetime.fromisoformat(self.attributes["authenticationDate"][0])

    @property
    def from_new_login(self) -> str:
        return self.attributes["isFromNewLogin"][0]


def read(answer: requests.Response) -> Told:
    """What an XML answer says; fails when it is not valid against the schema."""
    assert answer.status_code == 200, (answer.status_code, answer.text[:300])
    assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"
    root = etree.fromstring(answer.content)
    SCHEMA.assertValid(root)
    (outcome,) = root
    match outcome.tag.removeprefix(CAS):
        case "authenticationSuccess":
            return _success(outcome)
        case "proxySuccess":
            return Told(proxy_ticket=outcome.findtext(CAS + "proxyTicket"))
        case _:
            return Told(code=outcome.get("code"), text=outcome.text)


def _success(outcome: etree._Element) -> Told:
    attributes: dict[str, list[str]] = {}
    for element in outcome.iterfind(f"{CAS}attributes/*"):
        attributes.setdefault(element.tag.removeprefix(CAS), []).append(element.text or "")
    return Told(
        user=outcome.findtext(CAS + "user"),
        attributes=attributes,
        grant_iou=outcome.findtext(CAS + "proxyGrantingTicket"),
        proxies=[element.text or "" for element in outcome.iterfind(f"{CAS}proxies/{CAS}proxy")],
    )
