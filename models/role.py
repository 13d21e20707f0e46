"""Roles of the people who use the portal."""

from __future__ import annotations

from typing import Final, Literal, get_args

#: officer - decides for one regency; company_user, company_admin - see what their company funds, the
#: latter also names its users; verifier - confirms the workers of one village; auditor - reads
#: everything, changes nothing; administrator - accounts and operation, no money.
Role = Literal["officer", "company_user", "company_admin", "verifier", "auditor", "administrator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

#: Who can move money or give rights must show a second factor at every sign-in.
SECOND_FACTOR_ROLES: Final[frozenset[Role]] = frozenset({"officer", "company_admin", "administrator"})
