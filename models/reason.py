"""Why an event was refused: the stable codes that dead letters, metrics and the command line show.

Programs may rely on a code for as long as it stands here; the sentences may change.
``docs/events/README.md`` is written from this table.
"""

from __future__ import annotations

from typing import Final

#: Code -> what it means, for people.
REASONS: Final[dict[str, str]] = {
    # the message
    "empty_message": "The message has no body, or a batch without events.",
    "message_too_large": "The message is larger than 1 MiB.",
    "invalid_utf8": "The text is not UTF-8.",
    "malformed_json": "The body is not JSON.",
    "not_a_cloud_event": "A required CloudEvents 1.0 attribute is missing or unusable.",
    "batch_too_large": "A batch holds more than 500 events.",
    # the event
    "unknown_type": "This topic does not carry events of this type.",
    "wrong_schema_version": "The type is known, in another version.",
    "schema_violation": "The data breaks the event's JSON Schema; the detail names the field.",
    "event_id_conflict": "An event with the same source and id but other content was accepted before.",
    "time_in_future": "The event's time lies more than a day in the future.",
    "not_storable": "The database refused the event for a reason no check foresaw.",
    "internal_error": "A check failed unexpectedly: a defect of Gotong, not of the event.",
    # a worker
    "plain_nik_in_event": "A NIK travels unencrypted; it belongs sealed, and the sender must be told.",
    "nik_undecryptable": "The encrypted NIK does not open with any known key.",
    "nik_invalid": "The NIK is not a possible one: its length, place, district or birth date.",
    "nik_hash_mismatch": "The keyed hash is not that of the encrypted NIK.",
    "name_undecryptable": "The encrypted name does not open with any known key, or belongs to another NIK.",
    "village_unknown": "No such village in the region table.",
    "regency_not_served": "The regency does not run Gotong here.",
    "months_out_of_range": "Months of cover must be a whole number from 1 to 12.",
    "start_month_implausible": "Cover would start over 12 months before or 24 months after the event's time.",
    "programme_unknown": "A programme is none of JKK, JKM, JHT, JKN.",
    "overlaps_several_needs": "The months span several needs of the worker; send one event for each.",
    # money
    "amount_negative": "An amount in rupiah is below zero.",
    "amount_fractional": "An amount in rupiah is not written as a whole number.",
    "amount_too_large": "An amount in rupiah is above 9,007,199,254,740,991.",
    # a fund
    "npwp_invalid": "The NPWP is not a valid one of 15 or 16 digits.",
    "window_out_of_order": "The fund's last month lies before its first.",
    "region_unknown": "A region the fund names is not in the region table.",
    "fund_kind_changed": "A pledge cannot become a budget line, nor the reverse.",
    "fund_regency_changed": "A fund cannot move to another regency.",
    "fund_expired": "The fund's window has ended and its unspent money expired; use a new fund.",
    "below_committed": "The new total is below what is committed already.",
}
