"""The workers a company funds: pseudonymous, small groups suppressed."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
