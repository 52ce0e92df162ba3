"""What the tests of keyrings share: keys, reports in a few words, and what a keyring knows in one value."""

import json
from contextlib import contextmanager

from overflowd_tools.trust.events import Sighting
from overflowd_tools.trust.keyring import Keyring, Limits
from overflowd_tools.trust.keys import SecretKey

HOUR = 3_600_000
NOW = 1_795_219_200_000
KEYS = [SecretKey.from_seed(bytes([number]) * 32).public for number in range(40)]


def sighting(key=0, seq=1, *, epoch=7, to="192.0.2.1", body=b"", time_ms=None, **more) -> Sighting:
    """Return a report of a key, by its place in KEYS."""
    signed = b"%d %d %d %s" % (key, seq, epoch, body)
    text = json.dumps({"seq": seq, "body": body.decode()}, separators=(",", ":")).encode()
    time_ms = NOW + seq if time_ms is None else time_ms
    more.setdefault("expires_ms", time_ms + HOUR)
    return Sighting(KEYS[key], signed, text, time_ms, to=to, epoch=epoch, seq=seq, **more)


class Small(Limits):
    """Limits that a test reaches."""

    keys = 16
    window = 100
    window_of_key = 40
    recipients_of_key = 8
    recipients_of_trusted = 16
    log = 20_000


@contextmanager
def ring(path, told=None, limits=Limits):
    keyring = Keyring(str(path), (told if told is not None else []).append, limits)
    try:
        yield keyring
    finally:
        keyring.close()


def judge(keyring, *sightings, required="unknown", now=NOW, **more) -> list[str | None]:
    """Return why each is not passed on, up to the colon; all in one update."""
    with keyring.update(now) as update:
        verdicts = [update.judge(one, required, **more) for one in sightings]
    return [verdict.reason and verdict.reason.partition(":")[0] for verdict in verdicts]


def known(keyring) -> dict:
    """Return all that the index says."""
    with keyring.reading() as index:
        records = sorted(record.values() for record in index.records())
        keys = [record[0] for record in records]
        return {
            "records": records,
            "window": sorted(entry._replace(place=0) for entry in index.entries()),
            "numbers": [sorted(map(str, index.all_numbers(key))) for key in keys],
            "statements": [index.statements(key) for key in keys],
        }


def record(keyring, key=0):
    with keyring.update(NOW) as update:
        return update.record(KEYS[key])
