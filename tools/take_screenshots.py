"""Take a picture of every page that a role reaches, from a running demo.

    gotong demo --workers 3000 --no-browser          in another terminal
    python -m tools.take_screenshots http://127.0.0.1:6402 FOLDER [--roles officer,verifier] [--only review]
    python -m tools.take_screenshots http://127.0.0.1:6402 docs/screens --docs

One picture for each page, role, width (1280, 390), language and colour scheme; names say which. With
``--docs`` the eight of docs/screens are taken anew, in English.
"""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.journey.visit import DESK, EMAILS, PHONE, Scheme, chromium, pages_of, sign_in, watch

SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def main() -> None:
    """Read the command line, take the pictures."""
    parser = argparse.ArgumentParser(description="Take a picture of every page of a running demo.")
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--roles", default=",".join(EMAILS))
    parser.add_argument("--only", default="", help="a part of the route")
    parser.add_argument("--languages", default="id,en")
    parser.add_argument("--schemes", default="light,dark")
    parser.add_argument("--widths", default="1280,390")
    parser.add_argument("--docs", action="store_true", help="take the eight of docs/screens anew")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, chromium(playwright) as browser:
        if chosen.docs:
            _picture_docs(browser, chosen.url.rstrip("/"), chosen.folder)
            return
        for role in chosen.roles.split(","):
            _picture_role(browser, role, chosen)


def _picture_docs(browser: Browser, url: str, folder: Path) -> None:
    """The eight of the documentation: the first screenful of each page."""
    context = sign_in(browser, url, EMAILS["officer"])
    page = context.new_page()
    for name, path in (("today", "/today"), ("review", "/review"), ("alerts", "/alerts")):
        page.goto(f"{url}{path}?lang=en")
        page.screenshot(path=folder / f"{name}.png")
    page.goto(f"{url}/review?lang=en&sort=-amount")
    page.get_by_role("button", name="Open the batch:").first.click()
    page.wait_for_url("**/review/*")
    page.screenshot(path=folder / "batch.png")
    page.goto(f"{url}/funds?lang=en&kind=csr")
    page.get_by_role("table").locator("tbody th a").first.click()
    page.wait_for_url("**/funds/*")
    page.locator("figure img").first.evaluate("image => image.decode()")
    page.screenshot(path=folder / "fund.png")
    page.goto(f"{url}/what-if?lang=en&new_millions=200")
    page.locator(".tile-map").wait_for(timeout=120_000)
    page.locator(".tiles").first.evaluate("part => part.scrollIntoView()")
    page.screenshot(path=folder / "what-if.png")
    context.close()
    for name, role, path in (("company", "company_admin", "/company"), ("village", "verifier", "/village")):
        context = sign_in(browser, url, EMAILS[role], phone=role == "verifier")
        page = context.new_page()
        page.goto(f"{url}{path}?lang=en")
        page.screenshot(path=folder / f"{name}.png")
        context.close()


def _picture_role(browser: Browser, role: str, chosen: argparse.Namespace) -> None:
    url = chosen.url.rstrip("/")
    context = sign_in(browser, url, EMAILS[role])
    page = context.new_page()
    notes = watch(page, url)
    for route, address in pages_of(role, context, url).items():
        if chosen.only not in route:
            continue
        name = re.sub(r"[^a-z-]+", "-", route).strip("-") or "overview"
        for language in chosen.languages.split(","):
            page.goto(f"{address}{'&' if '?' in address else '?'}lang={language}")
            variants = itertools.product((DESK, PHONE), SCHEMES)
            for size, scheme in variants:
                if str(size["width"]) not in chosen.widths or scheme not in chosen.schemes:
                    continue
                page.set_viewport_size(size)
                page.emulate_media(color_scheme=scheme)
                page.wait_for_timeout(60)
                file = f"{role}.{name}.{size['width']}.{language}.{scheme}.png"
                page.screenshot(path=chosen.folder / file, full_page=True)
                if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                    print(f"{file}: scrolls sideways")
        for complaint in notes.complaints:
            print(f"{role} {route}: {complaint}")
        notes.complaints.clear()
    context.close()


if __name__ == "__main__":
    main()
