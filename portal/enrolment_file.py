"""The file of an enrolment batch, for the agency alone: pages and the API hand out the same one."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Literal

from fastapi import Request, Response
from sqlalchemy import text

from portal.access import NotFoundError
from portal.accounts.sign_in import now, vault_of
from portal.export import MEDIA_TYPES
from portal.unit import open_unit
from workflow.enrol import repeat_batch
from workflow.sign_in import Visitor

_FUND = text(
    "SELECT f.code FROM enrolment_batch b JOIN fund f ON f.id = b.fund_id WHERE b.id = :id",
)


def send_enrolment_file(
    request: Request, visitor: Visitor, batch_id: uuid.UUID, form: Literal["csv", "xlsx"]
) -> Response:
    """The batch with its control total, the same every time, and every time on record.

    Raises ``NotFoundError`` for a batch that the visitor may not see.
    """
    engine = request.app.state.portal.engine
    with open_unit(engine, visitor) as connection:
        fund = connection.scalar(_FUND, {"id": batch_id})
    if fund is None:
        raise NotFoundError
    with tempfile.TemporaryDirectory() as folder:
        files = repeat_batch(engine, vault_of(request), batch_id, fund, visitor.email, Path(folder), now())
        path = files.csv_path if form == "csv" else files.xlsx_path
        content = path.read_bytes()
    headers = {"Content-Disposition": f'attachment; filename="{path.name}"'}
    return Response(content, media_type=MEDIA_TYPES[form], headers=headers)
