"""States of needs and proposals, and the only transitions between them.

The same transitions stand in table ``legal_transition``, where a trigger refuses every other one.
"""

from __future__ import annotations

from typing import Final

#: waiting - no fund yet; proposed - a fund stands ready, a person has not (finally) decided;
#: approved - money committed; enrolled - the agency has accepted; closed - nothing more to do.
NEED_STATES: Final = ("waiting", "proposed", "approved", "enrolled", "closed")

#: Needs that every run matches anew: nothing is locked until a person approves it.
OPEN_NEED_STATES: Final = ("waiting", "proposed")

#: A need has at most one line in one of these. confirming - approved by one officer, and a second
#: one has to confirm.
LIVE_PROPOSAL_STATES: Final = ("proposed", "confirming", "approved", "enrolled")

#: superseded - a later run moved the need; released - the fund shrank, ended or was withdrawn;
#: rejected, returned - an officer decided so; refused - the agency did not take the worker.
CLOSED_PROPOSAL_STATES: Final = ("superseded", "released", "rejected", "returned", "refused")

PROPOSAL_STATES: Final = LIVE_PROPOSAL_STATES + CLOSED_PROPOSAL_STATES

NEED_TRANSITIONS: Final = frozenset(
    {
        ("waiting", "proposed"),
        ("waiting", "closed"),
        ("proposed", "waiting"),
        ("proposed", "approved"),
        ("approved", "waiting"),
        ("approved", "enrolled"),
        ("approved", "closed"),
    }
)

PROPOSAL_TRANSITIONS: Final = frozenset(
    {
        ("proposed", "superseded"),
        ("proposed", "released"),
        ("proposed", "rejected"),
        ("proposed", "returned"),
        ("proposed", "confirming"),
        ("proposed", "approved"),
        ("confirming", "proposed"),
        ("confirming", "approved"),
        ("confirming", "returned"),
        ("confirming", "released"),
        ("approved", "enrolled"),
        ("approved", "refused"),
    }
)
