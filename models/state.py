"""States of needs and proposals, and the only transitions between them."""

from __future__ import annotations

from typing import Final

#: waiting - no fund yet; proposed - a fund stands ready, a person has not decided;
#: approved ... enrolled - money committed; closed - nothing more to do (covered otherwise, withdrawn).
NEED_STATES: Final = ("waiting", "proposed", "approved", "enrolled", "closed")

#: Needs that every run matches anew: nothing is locked until a person approves it.
OPEN_NEED_STATES: Final = ("waiting", "proposed")

#: superseded - a later run moved the need; released - the fund shrank or was withdrawn.
PROPOSAL_STATES: Final = ("proposed", "approved", "enrolled", "superseded", "released")

#: A need has at most one line in one of these.
LIVE_PROPOSAL_STATES: Final = ("proposed", "approved", "enrolled")
