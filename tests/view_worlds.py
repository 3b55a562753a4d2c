"""A database of known rows for the examples of the views: every amount can be added up by hand.

Ada is paid and has opted out since, Bo was erased, Cy's style is nobody's yet. January is settled and paid;
of March a line was taken back and settled again, because Ada contests it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from fake_records import NOON, digest, record

from fairbrush.corpus.images import Refusal, RefusalReason
from fairbrush.domain import Doing
from fairbrush.ledger.records import Record, drain, note_refusals, write_pending
from fairbrush.reports.catalogue import install_views

PEOPLE = """
INSERT INTO payee VALUES
    ('payee-ada', 'Ada Ltd', TIMESTAMP '2026-01-01'), ('payee-bo', 'Bo', TIMESTAMP '2026-01-01'),
    ('payee-cy', 'Cy', TIMESTAMP '2026-01-01');
INSERT INTO creator VALUES
    ('creator-ada', 'Ada', 'payee-ada', TIMESTAMP '2026-01-01'),
    ('creator-bo', NULL, 'payee-bo', TIMESTAMP '2026-01-01'),
    ('creator-cy', 'Cy', 'payee-cy', TIMESTAMP '2026-01-01');
INSERT INTO artist VALUES
    ('ada', 'Ada', 'creator-ada', TIMESTAMP '2026-01-01'), ('bo', NULL, 'creator-bo', TIMESTAMP '2026-01-01'),
    ('cy', 'Cy', 'creator-cy', TIMESTAMP '2026-01-01');
INSERT INTO consent_event (sequence, artist_id, consent, effective_at, recorded_at, source, reason) VALUES
    (1, 'ada', 'opted_in', TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-01', 'artist add', 'a letter'),
    (2, 'bo', 'opted_in', TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-01', 'artist add', NULL),
    (3, 'cy', 'unclaimed', TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-01', 'import', NULL),
    (4, 'bo', 'erased', TIMESTAMP '2026-04-20', TIMESTAMP '2026-04-20', 'erase', NULL),
    (5, 'ada', 'opted_out', TIMESTAMP '2026-05-01', TIMESTAMP '2026-04-30', 'artist consent',
     'asked to stop');
INSERT INTO work (sha256, artist_id, path, added) VALUES
    ('w1', 'ada', '/art/ada/dawn.png', TIMESTAMP '2026-01-01'),
    ('w1', 'cy', '/art/cy/dawn.png', TIMESTAMP '2026-01-03'),
    ('w2', 'ada', '/art/ada/dusk.png', TIMESTAMP '2026-01-01');
"""
INDEX = """
INSERT INTO index_version VALUES
    ($1, 'v0001', NULL, 'mini', 'space', 3, 40, 0.2, TIMESTAMP '2026-01-01'),
    ($2, 'v0002', 'v0001', 'mini', 'space', 4, 52, 0.2, TIMESTAMP '2026-01-02');
"""
DISTINCTIVENESS = """
INSERT INTO artist_distinctiveness VALUES
    ($2, 'ada', 'hard to tell apart', 10, 0.5, -0.25, 'bo', 1.0, 5, 10),
    ($2, 'bo', 'too few works to say', 3, NULL, NULL, NULL, NULL, NULL, NULL),
    ($1, 'ada', 'distinct', 10, 0.5, 0.25, 'bo', 0.0, 10, 10);
"""
MEASURED = """
INSERT INTO validation VALUES
    ('a', 'moon', 'moon.png', 'mini-diffusion', 'weights', 'other', true, 'v2', 'blend', 8, 4, true,
     0.625, 0.125, 0.25, 1.0, TIMESTAMP '2026-01-02', '{}', 'x'),
    ('b', 'moon', 'moon.png', 'mini-diffusion', 'weights', 'mini', false, 'v2', 'blend', 8, 4, true,
     NULL, NULL, 0.125, 1.0, TIMESTAMP '2026-01-01', '{}', 'x'),
    ('c', 'sun', 'sun.png', 'mini-diffusion', 'weights', 'other', true, 'v2', 'blend', 8, 4, true,
     0.375, 0.125, 0.75, NULL, TIMESTAMP '2026-01-01', '{}', 'x');
INSERT INTO recognition VALUES
    ('r1', 'sd-1.5', 'weights', 'ada', 'mini', 'space', 'p', 'v2', 4, 16, 0.5, 0.25, 0.75, 0.5, 0.05, 19,
     TIMESTAMP '2026-01-03', '{}', 'x'),
    ('r2', 'sd-1.5', 'weights', 'ada', 'mini', 'space', 'q', 'v2', 8, 32, 0.75, 0.5, 1.0, 0.75, 0.05, 19,
     TIMESTAMP '2026-01-04', '{}', 'x'),
    ('r3', 'sd-1.5', 'weights', 'cy', 'mini', 'space', 'q', 'v2', 8, 32, NULL, NULL, NULL, NULL, 0.6, 19,
     TIMESTAMP '2026-01-04', '{}', 'x');
INSERT INTO tuning_test VALUES
    ('t1', 'ada', 'sd-1.5', 'lora', 'sd-1.5', 'weights', 'mini', 'v2', 8, 2, 19, 0.05, 0.05, 0.1, 0.5,
     0.5, 0.25, 0.75, 0.25, 0.125, 0.375, 0.25, 0.0, 0.5, TIMESTAMP '2026-01-05', '{}', 'x');
INSERT INTO calibration VALUES
    ('cal', 'blend', 'mini', 'space', '{"models": {"mini-diffusion": {"b": "0.625", "b_error": "0.03125",
     "centre": ["0.5"], "images": 40}, "sd-1.5": {"b": "0.5", "b_error": null, "centre": null, "images": 12}},
     "map": {"kind": "power", "gamma": "1.5"}, "shift": "-0.0625"}', TIMESTAMP '2026-01-06');
INSERT INTO audit_plan VALUES
    ('plan0123456789', 1, DATE '2026-01-01', DATE '2026-01-31', 'EUR', 4, '{}', TIMESTAMP '2026-02-02');
INSERT INTO audit_population VALUES
    ('plan0123456789', 'moon', 'm', '300/1'), ('plan0123456789', 'star', 's', '199/2'),
    ('plan0123456789', 'sun', 'u', '1/2');
INSERT INTO audit_draw VALUES
    ('plan0123456789', 1, 'moon', 'm', '0.75'), ('plan0123456789', 2, 'star', 's', '0.125'),
    ('plan0123456789', 3, 'moon', 'm', '0.75'), ('plan0123456789', 4, 'sun', 'u', '0.125');
INSERT INTO audit_result VALUES
    (1, 'plan0123456789', 'moon', 'm', 'failed', 'x', '{"reason": "no file"}', 'x', TIMESTAMP '2026-02-03'),
    (2, 'plan0123456789', 'moon', 'm', 'measured', 'x', '{"reason": null}', 'x', TIMESTAMP '2026-02-04'),
    (3, 'plan0123456789', 'star', 's', 'failed', 'x', '{"reason": "no prompt"}', 'x', TIMESTAMP '2026-02-04');
"""
REVENUE = (
    # reference, currency, amount, last day, image
    ("JAN-star", "EUR", 600, "2026-01-10", "star"),
    ("JAN-sun", "EUR", 400, "2026-01-11", "sun"),
    ("JAN-yen", "JPY", 500, "2026-01-12", "star"),
    ("JAN-wrong", "EUR", 990, "2026-01-13", "star"),  # cancelled
    ("MAR-moon", "EUR", 480, "2026-03-05", "moon"),
    ("MAR-sun", "EUR", 120, "2026-03-06", "sun"),
    ("APR-moon", "EUR", 250, "2026-04-01", "moon"),  # open
)
JANUARY, MARCH = ("2026-01-01", "2026-01-31"), ("2026-03-01", "2026-03-31")
SETTLEMENTS = (
    # number, id, kind, period, what it reverses, lines
    (1, "s1", "settlement", JANUARY, None, ("JAN-star", "JAN-sun", "JAN-yen")),
    (2, "s2", "settlement", MARCH, None, ("MAR-moon", "MAR-sun")),
    (3, "s3", "reversal", MARCH, "s2", ("MAR-sun",)),
    (4, "s4", "settlement", MARCH, None, ("MAR-sun",)),
)
ADA, BO = ("payable", "payee-ada", "ada"), ("payable", "payee-bo", "bo")
CY, FUND, PLATFORM = ("escrow", "cy", ""), ("fund", "", ""), ("platform", "", "")
MODEL, DISPUTE, BANK = ("model", "sd-1.5", ""), ("disputed", "d1", ""), ("bank", "", "")
ENTRIES = (
    # kind, reference, day, currency, amounts; what came in makes each settlement sum to nought
    ("settlement", "s1", "2026-02-01", "EUR", {PLATFORM: 100, MODEL: 450, ADA: 225, CY: 125, FUND: 100}),
    ("settlement", "s1", "2026-02-01", "JPY", {PLATFORM: 50, MODEL: 225, ADA: 225}),
    ("payout_proposed", "p1", "2026-02-03", "EUR", {ADA: -225, ("transit", "p1", ""): 225}),
    ("payout_proposed", "p2", "2026-02-03", "JPY", {ADA: -225, ("transit", "p2", ""): 225}),
    ("payout_confirmed", "p1", "2026-02-05", "EUR", {("transit", "p1", ""): -225, BANK: 225}),
    ("settlement", "s2", "2026-04-02", "EUR", {PLATFORM: 60, MODEL: 270, ADA: 40, BO: 95, CY: 81, FUND: 54}),
    ("reversal", "s3", "2026-04-03", "EUR", {PLATFORM: -12, MODEL: -54, FUND: -54}),
    ("settlement", "s4", "2026-04-03", "EUR", {PLATFORM: 12, MODEL: 54, DISPUTE: 54}),
    ("erasure", "redaction/1", "2026-04-20", "EUR", {BO: -95, ("payable", "payee-bo", ""): 95}),
)
PAYOUTS = """
INSERT INTO payout VALUES ('p1', 'payee-ada', 'EUR', 225), ('p2', 'payee-ada', 'JPY', 225);
INSERT INTO payout_event (sequence, payout_id, status, recorded_at) VALUES
    (1, 'p1', 'proposed', TIMESTAMP '2026-02-03'), (2, 'p2', 'proposed', TIMESTAMP '2026-02-03'),
    (3, 'p1', 'confirmed', TIMESTAMP '2026-02-05');
INSERT INTO revenue_event (sequence, revenue_id, event, recorded_at) VALUES
    (1, 'JAN-wrong', 'cancelled', TIMESTAMP '2026-01-20');
"""
DISPUTES = """
INSERT INTO dispute_event (sequence, dispute_id, event, subject, subject_id, creator_id, body, body_digest,
                           recorded_at, reason) VALUES
    (1, 'd1', 'opened', 'attribution', $1, 'creator-ada',
     '{"contested": [], "claims_unattributed": true}', 'x', TIMESTAMP '2026-04-03', 'this is my hand'),
    (2, 'd2', 'opened', 'standing', 'cy', 'creator-ada',
     '{"contested": ["cy"], "claims_unattributed": false}', 'x', TIMESTAMP '2026-04-04', 'Cy is my pen name'),
    (3, 'd2', 'resolved', 'standing', 'cy', 'creator-ada', '{"outcome": {"ruling": "rejected"}}', 'x',
     TIMESTAMP '2026-04-11 09:00:00', 'no evidence');
"""


def look_ups() -> dict[str, Record]:
    """Three plain ones, and one with inputs; nobody is credited for the sun."""
    star = record("star", artists=("ada",), model_e12=4 * 10**11)
    mix = record("mix")
    inputs = [
        {"sha256": "w1", "weight": "0.75", "artist_id": "ada"},
        {"sha256": "w9", "weight": "0.25", "artist_id": "bo"},
    ]
    named = {"name": "mix", "parameters": {"recognised": "1.0", "inputs": inputs}}
    mix = replace(mix, body={**mix.body, "identity": {**mix.body["identity"], "value_function": named}})
    return {
        "moon": _about(record("moon"), confidence="weak", steadiness="0.625"),
        "star": _about(star, confidence="clear", steadiness="0.984375"),
        "sun": _about(
            record("sun", artists=()),
            confidence="unknown",
            steadiness="0.5",
            reason="No artist is near enough.",
            runner_up={"artist_id": "bo", "similarity": "0.25", "z": "0.125"},
        ),
        "mix": mix,
    }


def _about(one: Record, **more: object) -> Record:
    return replace(one, about={**one.about, **more})


def fill(connection, folder) -> None:
    """All of it, into tables that are there; folder: where pending files go."""
    for statement in (PEOPLE, MEASURED, PAYOUTS):
        connection.execute(statement)
    for statement in (INDEX, DISTINCTIVENESS):
        connection.execute(statement, [digest("v0001"), digest("v0002")])
    answers = look_ups()
    write_pending(folder, list(answers.values()))
    drain(connection, folder)
    write_pending(folder, [record("moon", model_e12=10**11)])  # another answer under a known id
    for day in (0, 3):
        broken = Refusal(Path("/in/broken.png"), RefusalReason.TRUNCATED, "The file has 21 bytes.")
        note_refusals(folder, [broken], doing=Doing.ATTRIBUTE, now=NOON + timedelta(days=day))
    drain(connection, folder)
    connection.execute(DISPUTES, [answers["sun"].attribution_id])
    _earn(connection, {name: one.attribution_id for name, one in answers.items()})
    install_views(connection)


def _earn(connection, answers: dict[str, str]) -> None:
    images = {reference: image for reference, *_, image in REVENUE}
    for reference, currency, amount, day, image in REVENUE:
        connection.execute(
            "INSERT INTO revenue VALUES ($1, $1, $2, $3, $4, $4, $5, NULL, NULL, NULL, '2026-04-01')",
            [reference, currency, amount, day, digest(image)],
        )
    for number, key, kind, (first, last), reverses, lines in SETTLEMENTS:
        connection.execute(
            "INSERT INTO settlement VALUES (?, ?, ?, ?, ?, 'policy', ?, '{}', ?, NULL, NULL, NULL)",
            [key, number, kind, first, last, reverses, datetime(2026, 4, number)],
        )
        for line in lines:
            connection.execute(
                "INSERT INTO settlement_line VALUES (?, ?, ?, ?, NULL, NULL)",
                [key, line, digest(images[line]), answers[images[line]]],
            )
    numbers: dict[str, int] = {}
    for kind, reference, day, currency, amounts in ENTRIES:
        number = numbers.setdefault(f"{kind} {reference}", len(numbers) + 1)
        connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, 'policy', ?) ON CONFLICT DO NOTHING",
            [number, f"e{number}", kind, reference, day],
        )
        if kind in ("settlement", "reversal"):
            for account, amount in amounts.items():
                connection.execute(
                    "INSERT INTO settlement_part VALUES (?, ?, ?, ?, ?, '0/1', ?)",
                    [reference, *account, currency, amount],
                )
            amounts = {**amounts, ("revenue", "", ""): -sum(amounts.values())}
        for line, (account, amount) in enumerate(amounts.items(), start=1):
            connection.execute(
                "INSERT INTO posting VALUES (?, ?, ?, ?, ?, ?, ?, 'policy')",
                [number, line, *account, currency, amount],
            )
