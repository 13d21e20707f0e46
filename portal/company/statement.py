"""Proof for a company's own report: statement and certificate, as XLSX and PDF."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
