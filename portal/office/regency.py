"""Which regency an office page speaks of: the officer's own, or the one an auditor of all has chosen."""

from __future__ import annotations

from fastapi import Request

from portal.access import NotFoundError
from workflow.sign_in import Visitor


def regency_of(request: Request, visitor: Visitor) -> str:
    """The visitor's regency; who has none reads the first, or ``?regency=``. Raises ``NotFoundError``."""
    served: tuple[str, ...] = request.app.state.portal.settings.regencies
    if visitor.regency is not None:
        return visitor.regency
    asked = request.query_params.get("regency", served[0])
    if asked not in served:
        raise NotFoundError
    return asked
