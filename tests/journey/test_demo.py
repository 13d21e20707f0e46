"""The newcomer's journey: one command, figures that agree everywhere, nothing left behind."""

from __future__ import annotations

import re
import signal
import socket
import urllib.request

import pytest

from tests.journey.house import House, end, wait_for

pytestmark = pytest.mark.timeout(300)

#: Of 300 sample workers, numbers 89, 179 and 269 are faulty.
EXPECTED = {"received": 300, "registered": 297, "rejected": 3}


def test_the_demo_runs_to_its_summary_and_a_second_start_goes_on_from_there(house: House) -> None:
    first = house.run("demo", "--workers", "300", "--exit").stdout
    assert "Events      300 received: 297 needs registered, 3 rejected" in first
    assert re.search(r"Funded +\d+ of 297 workers", first)
    assert re.search(r"Match +(at most \d+\.\d\d % from the best possible|no other match)", first)
    assert "Audit: the books agree" in first
    house.await_no_process()

    house.run("audit")
    status = house.status()
    assert {name: status["events"][name] for name in EXPECTED} == EXPECTED
    assert status["dead_letters"] == {"months_out_of_range": 1, "nik_invalid": 1, "village_unknown": 1}
    assert len(status["funds"]) == 64
    assert status["needs"]["proposed"] > 100
    assert status["reserved_rupiah"] == sum(fund["reserved_rupiah"] for fund in status["funds"]) > 0
    funded = re.search(r"Funded +(\d+) of", first)
    assert funded is not None
    assert int(funded[1]) == status["needs"]["proposed"]

    second = house.run("demo", "--workers", "350", "--exit").stdout
    assert "300 of 350 sample workers are here from an earlier start" in second
    assert "Streaming 50 synthetic workers" in second
    again = house.status()
    assert again["events"]["received"] == 350
    assert len(again["funds"]) == 64
    house.await_no_process()


def test_a_repeated_demo_adds_nothing_and_other_keys_are_refused(house: House) -> None:
    house.run("demo", "--workers", "40", "--exit")
    before = house.status()
    repeated = house.run("demo", "--workers", "40", "--exit").stdout
    assert "40 of 40 sample workers are here from an earlier start" in repeated
    assert "Nothing new to send" in repeated
    after = house.status()
    for part in ("events", "needs", "reserved_rupiah", "funds"):
        assert after[part] == before[part]
    (house.folder / ".gotong" / "master.key").unlink()
    refused = house.run("up", code=2)
    assert refused.stderr.startswith("gotong: GOTONG_MASTER_KEY: the database holds NIKs sealed with key ")
    house.await_no_process()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_told_to_stop_on_the_next_free_port(house: House, number: signal.Signals) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = house.start("demo", "--workers", "50", "--port", str(port))
        house.await_output("keeps serving until Ctrl-C", process)
        address = house.await_output(r"Portal: (http://127\.0\.0\.1:(\d+))", process)
        assert int(address[2]) > port
        assert f"Port {port} is taken; the portal uses {address[2]}" in house.output()
        with urllib.request.urlopen(address[1]) as page:  # noqa: S310 - its own address
            assert "dari 50 pekerja" in page.read().decode()
        assert house.status()["portal_url"] == address[1]
        house.run("audit")
        assert end(process, number) == 0
    house.await_no_process()


def test_a_stop_during_the_start_leaves_nothing(house: House) -> None:
    process = house.start("demo")
    house.await_output("Starting the embedded", process)
    assert end(process) == 0
    house.await_no_process()


@pytest.mark.faults
def test_a_killed_house_leaves_nothing_and_starts_again(house: House) -> None:
    process = house.start("up")
    house.await_output("Running", process)
    assert len(house.processes()) >= 4
    process.kill()
    process.wait()
    house.await_no_process()
    process = house.start("up")
    house.await_output("Running", process)
    assert end(process) == 0
    house.await_no_process()


@pytest.mark.faults
def test_a_killed_worker_is_started_again_and_the_events_arrive(house: House) -> None:
    process = house.start("up")
    house.await_output("Running", process)
    workers = [child for child in house.processes() if child.cmdline()[-1:] == ["worker"]]
    assert len(workers) == 1
    workers[0].kill()
    row = '{"nik":"6402061708809001","village":"64.02.06.1001","occupation":"fisher","programmes":"JKK+JKM",'
    row += '"months":3,"start_month":"2027-01","priority":50}\n'
    (house.folder / "workers.jsonl").write_text(row)
    assert "1 event" in house.run("events", "send", "workers.jsonl").stdout
    wait_for(lambda: house.status()["events"]["registered"] == 1, 60)
    assert end(process) == 0


def test_a_second_house_in_the_same_folder_is_refused(house: House) -> None:
    process = house.start("up")
    house.await_output("Running", process)
    refused = house.run("demo", "--exit", code=1)
    assert refused.stderr.startswith("gotong: Gotong is running here already (gotong up, process ")
    assert end(process) == 0


def test_events_sent_while_nothing_runs_wait_for_the_next_start(house: House) -> None:
    row = '{"nik":"6402061708809001","village":"64.02.06.1001","occupation":"fisher","programmes":"JKK+JKM",'
    row += '"months":3,"start_month":"2027-01","priority":50}\n'
    (house.folder / "workers.jsonl").write_text(row)
    house.run("events", "send", "workers.jsonl")
    assert house.status()["events"]["waiting_in_outbox"] == 1
    process = house.start("up")
    house.await_output("Running", process)
    wait_for(lambda: house.status()["events"]["registered"] == 1, 60)
    refused = house.run("events", "send", "workers.jsonl")  # the same file once more
    assert refused.returncode == 0
    wait_for(lambda: house.status()["events"]["waiting_in_outbox"] == 0, 60)
    assert house.status()["events"]["registered"] == 1
    assert end(process) == 0
    refused = house.run("demo", "--exit", code=1)
    assert "holds events that are not the demo's" in refused.stderr


def test_two_settings_are_enough_for_a_broker_and_a_database_of_ones_own(
    house: House, kafka: str, empty_database_url: str
) -> None:
    house.settings = {"GOTONG_DATABASE_URL": empty_database_url, "GOTONG_KAFKA_BROKERS": kafka}
    shown = house.run("demo", "--workers", "120", "--exit").stdout
    assert "Using the PostgreSQL of GOTONG_DATABASE_URL" in shown
    assert f"Using the Kafka brokers {kafka}" in shown
    assert "Audit: the books agree" in shown
    assert house.status()["events"]["received"] == 120
    house.run("audit")
    assert not (house.folder / ".gotong" / "postgres").exists()
