"""A village verifier's list: is this worker real, and still uncovered?"""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
