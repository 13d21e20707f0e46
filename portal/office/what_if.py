"""What-if: the match with other money, rules or policy; nothing is stored."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
