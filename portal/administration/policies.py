"""Policies: the order and weights of the match's tiers."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
