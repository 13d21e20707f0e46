"""The review queue as officers use it: what changed is said, and nothing is signed blind."""

from __future__ import annotations

import re
import uuid

import pytest
from sqlalchemy import Engine, text

from tests.integration.portal.rows_review import make_batch, make_decision
from tests.integration.portal.site import Browser, add_person, sign_in_wholly, words


@pytest.fixture
def officer(browser: Browser, engine: Engine) -> Browser:
    email = f"{uuid.uuid4().hex}@petugas.example"
    sign_in_wholly(browser, engine, email, add_person(engine, email, "officer"))
    return browser


def form_of(page: str) -> dict[str, str]:
    return {
        name: (re.search(rf'name="{name}" value="([^"]*)"', page) or ["", ""])[1] for name in ("key", "token")
    }


def execute(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def test_an_approved_batch_leaves_the_queue(officer: Browser, engine: Engine) -> None:
    batch = make_batch(engine, "own", "officer")
    assert batch in officer.get("/review?size=100").text
    assert officer.post(f"/review/{batch}/claim").status_code == 303
    page = officer.get(f"/review/{batch}").text
    form = form_of(page) | {"do": "approve:all"}
    answer = officer.post(f"/review/{batch}/decide", form)
    assert answer.status_code == 303, words(answer.text)
    assert officer.post(f"/review/{batch}/decide", form).headers["location"] == answer.headers["location"]
    assert batch not in officer.get("/review?size=100").text


def test_a_stale_decision_is_refused_with_what_changed(officer: Browser, engine: Engine) -> None:
    batch = make_batch(engine, "own", "officer")
    officer.post(f"/review/{batch}/claim")
    page = officer.get(f"/review/{batch}").text
    execute(
        engine,
        "UPDATE proposal SET state = 'released', version = 2, closed_at = clock_timestamp(),"
        " closed_cause = 'event', closed_cause_id = run_id"
        " WHERE run_id = (SELECT run_id FROM review_batch WHERE id = :id)",
        id=batch,
    )
    since = re.search(r"changes\?since=([\d.]+)", page)
    assert since
    assert "berubah selagi dibuka: 1" in words(officer.get(f"/review/{batch}/changes?since={since[1]}").text)
    answer = officer.post(f"/review/{batch}/decide", form_of(page) | {"do": "approve:all"})
    assert answer.status_code == 409
    assert "Dilepas oleh dana" in words(answer.text)


def test_the_first_officer_cannot_confirm_and_can_undo(officer: Browser, engine: Engine) -> None:
    batch = make_batch(engine, "own", "officer")
    execute(
        engine,
        "UPDATE fund SET four_eyes_above_rupiah = 0"
        " WHERE id = (SELECT fund_id FROM review_batch WHERE id = :id)",
        id=batch,
    )
    officer.post(f"/review/{batch}/claim")
    page = officer.get(f"/review/{batch}").text
    assert "Empat mata" in words(page)
    answer = officer.post(f"/review/{batch}/decide", form_of(page) | {"do": "approve:all"})
    decision = answer.headers["location"].partition("done=")[2]
    assert "petugas lain harus mengesahkannya" in words(officer.get(f"/review/decisions/{decision}").text)
    assert officer.post(f"/review/decisions/{decision}/confirm").status_code == 409
    assert officer.post(f"/review/decisions/{decision}/undo").status_code == 303
    assert batch in officer.get("/review?size=100").text


def test_a_second_officer_is_offered_to_confirm(officer: Browser, engine: Engine) -> None:
    decision = make_decision(engine, "own", "officer")
    page = words(officer.get(f"/review/decisions/{decision}").text)
    assert "Sahkan sebagai petugas kedua" in page
    assert "siti@matriks.example" in page


def test_a_rejection_needs_a_reason(officer: Browser, engine: Engine) -> None:
    batch = make_batch(engine, "own", "officer")
    officer.post(f"/review/{batch}/claim")
    form = form_of(officer.get(f"/review/{batch}").text) | {"do": "reject:all"}
    answer = officer.post(f"/review/{batch}/decide", form)
    assert answer.status_code == 409
    assert "Pilih alasan penolakan" in words(answer.text)
    assert officer.post(f"/review/{batch}/decide", form | {"reason": "data_doubtful"}).status_code == 303


def test_somebody_elses_batch_is_shown_and_not_offered(
    officer: Browser, new_browser: object, engine: Engine
) -> None:
    batch = make_batch(engine, "own", "officer")
    officer.post(f"/review/{batch}/claim")
    other: Browser = new_browser()  # type: ignore[operator]
    email = f"{uuid.uuid4().hex}@petugas.example"
    sign_in_wholly(other, engine, email, add_person(engine, email, "officer"))
    assert other.post(f"/review/{batch}/claim").status_code == 409
    assert "approve:all" not in other.get(f"/review/{batch}").text


def test_filter_and_export_agree_and_news_are_counted(officer: Browser, engine: Engine) -> None:
    make_batch(engine, "own", "officer")
    page = officer.get("/review").text
    seen = re.search(r"seen=([\d.]+)", page)
    assert seen
    assert officer.get(f"/review/news?seen={seen[1]}").text.strip() == ""
    make_batch(engine, "own", "officer")
    assert "1 baru" in words(officer.get(f"/review/news?seen={seen[1]}").text)
    assert officer.get("/review/batches.csv?kind=apbd").text.count("matrix-") == 0
    exported = officer.get("/review/batches.csv?kind=csr").text
    assert exported.count("matrix-") >= 2
    assert "kind=csr" in exported


def test_the_summary_counts_what_the_lines_say(engine: Engine, officer: Browser) -> None:
    with engine.connect() as connection:
        wrong = connection.execute(
            text(
                "SELECT b.id FROM review_batch b LEFT JOIN LATERAL (SELECT count(*) AS lines FROM proposal p"
                " JOIN coverage_need n ON n.id = p.need_id WHERE p.run_id = b.run_id"
                " AND p.fund_id = b.fund_id"
                " AND n.district_code = b.district_code AND p.state = 'proposed') c ON true"
                " WHERE c.lines <> b.open_lines"
            )
        ).all()
    assert wrong == []


def test_who_was_confirmed_by_the_village_is_marked_and_found(officer: Browser, engine: Engine) -> None:
    confirmed, other = make_batch(engine, "own", "officer"), make_batch(engine, "own", "officer")
    verifier = add_person(engine, f"{uuid.uuid4().hex}@desa.example", "verifier", password=None)
    execute(
        engine,
        "INSERT INTO need_verification (id, need_id, outcome, verifier, verified_at)"
        " SELECT gen_random_uuid(), p.need_id, 'confirmed', :verifier, now()"
        " FROM proposal p JOIN review_batch b USING (run_id) WHERE b.id = :id",
        id=confirmed,
        verifier=verifier,
    )
    queue = officer.get("/review?verified=yes&size=100").text
    assert confirmed in queue and other not in queue
    queue = officer.get("/review?verified=no&size=100").text
    assert other in queue and confirmed not in queue
    assert "Dikonfirmasi desa" in words(officer.get(f"/review/{confirmed}").text)
    assert "Dikonfirmasi desa" not in words(officer.get(f"/review/{other}").text)
    assert "W-" in officer.get(f"/review/{confirmed}?verified=yes").text
    assert "W-" not in officer.get(f"/review/{confirmed}?verified=no").text
    exported = officer.get(f"/review/{confirmed}/lines.csv?verified=yes").text
    assert exported.splitlines()[1].endswith(",ya")
    assert "verified=yes" in exported
    # A finding that was taken back does not mark.
    execute(
        engine, "UPDATE need_verification SET undone_at = now() WHERE verifier = :verifier", verifier=verifier
    )
    assert "Dikonfirmasi desa" not in words(officer.get(f"/review/{confirmed}").text)


def test_the_list_of_decisions_says_that_it_is_old_and_keeps_its_rows(
    officer: Browser, engine: Engine
) -> None:
    page = officer.get("/review/decisions").text
    seen = re.search(r"news\?seen=([^\"]*)", page)
    assert seen
    assert officer.get(f"/review/decisions/news?seen={seen[1]}").text.strip() == ""
    make_decision(engine, "own", "officer")
    assert "Ada perubahan" in words(officer.get(f"/review/decisions/news?seen={seen[1]}").text)
    assert "hx-select" not in page  # nothing replaces the rows under the reader's cursor


def test_a_batch_whose_money_is_not_set_aside_is_not_approved_unwarned(
    officer: Browser, engine: Engine
) -> None:
    batch = make_batch(engine, "own", "officer")
    warning = "kurang daripada kebutuhan baris"
    assert warning not in words(officer.get(f"/review/{batch}").text)
    execute(
        engine,
        "UPDATE fund SET reserved_rupiah = 400 WHERE id = (SELECT fund_id FROM review_batch WHERE id = :id)",
        id=batch,
    )
    assert warning in words(officer.get(f"/review/{batch}").text)
