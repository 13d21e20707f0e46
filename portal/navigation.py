"""Which pages a visitor finds in the menu: those that the role may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.role import Role
from portal.access import GRANTS, Permission


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the menu. ``label`` is English; the catalogue has the Indonesian."""

    path: str
    label: str
    permission: Permission


def _(text: str) -> str:
    """Mark a label for the catalogue; the template translates it."""
    return text


ENTRIES: Final = (
    Entry("/today", _("Today"), Permission.READ_REVIEW),
    Entry("/review", _("Review"), Permission.READ_REVIEW),
    Entry("/funds", _("Funds"), Permission.READ_FUNDS),
    Entry("/enrolment", _("Enrolment"), Permission.READ_FUNDS),
    Entry("/offers", _("Offers"), Permission.READ_FUNDS),
    Entry("/imports", _("Import"), Permission.CHANGE_FUNDS),
    Entry("/unfunded", _("Unfunded"), Permission.READ_UNFUNDED),
    Entry("/what-if", _("What if"), Permission.ASK_WHAT_IF),
    Entry("/company", _("Our pledges"), Permission.READ_OWN_FUNDS),
    Entry("/company/workers", _("Workers we fund"), Permission.READ_OWN_FUNDS),
    Entry("/company/impact", _("Impact"), Permission.READ_OWN_FUNDS),
    Entry("/company/messages", _("Messages"), Permission.READ_OWN_FUNDS),
    Entry("/company/statements", _("Proof"), Permission.READ_OWN_FUNDS),
    Entry("/company/offers", _("Pledge more"), Permission.OFFER_PLEDGE),
    Entry("/village", _("Workers to confirm"), Permission.VERIFY_WORKERS),
    Entry("/alerts", _("Alerts"), Permission.READ_ALERTS),
    Entry("/audit", _("Audit"), Permission.READ_AUDIT),
    Entry("/administration/health", _("Health"), Permission.READ_HEALTH),
    Entry("/administration/dead-letters", _("Dead letters"), Permission.REPLAY_DEAD_LETTERS),
    Entry("/administration/policies", _("Policies"), Permission.MANAGE_POLICIES),
    Entry("/administration/keys", _("API keys"), Permission.MANAGE_API_KEYS),
    Entry("/people", _("People"), Permission.MANAGE_PEOPLE),
)

#: Where each role begins after signing in.
HOME: Final[dict[Role, str]] = {
    "officer": "/today",
    "auditor": "/today",
    "company_user": "/company",
    "company_admin": "/company",
    "verifier": "/village",
    "administrator": "/administration/health",
}


def menu_of(role: Role, path: str) -> list[tuple[Entry, bool]]:
    """The entries of a role, each with whether ``path`` lies on its page (the longest match alone)."""
    entries = [entry for entry in ENTRIES if entry.permission in GRANTS[role]]
    here = max(
        (entry.path for entry in entries if path == entry.path or path.startswith(entry.path + "/")),
        key=len,
        default=None,
    )
    return [(entry, entry.path == here) for entry in entries]
