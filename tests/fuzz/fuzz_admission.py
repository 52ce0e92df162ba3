"""Any datagram is let in as one line of canonical JSON or refused with RecordError, and nothing else."""

from collections.abc import Iterable

from overflowd_tools.commands.recv import admit
from overflowd_tools.delivery.addresses import Prefix, parse_prefix
from overflowd_tools.delivery.admission import Seen
from overflowd_tools.delivery.sockets import Datagram
from overflowd_tools.errors import RecordError
from overflowd_tools.reports import canonical, envelope, report, writer
from overflowd_tools.trust.keys import SecretKey

KEY = SecretKey.from_seed(bytes(range(32)))
NOW = 1_800_000_000_000
LOCAL = bytes([192, 0, 2, 7])
OWN = [parse_prefix("0.0.0.0/0"), parse_prefix("2001:db8::/32")]


def admitted(datagram: Datagram, own: list[Prefix], seen: Seen) -> bytes | None:
    try:
        return admit(datagram, own, seen)
    except RecordError:
        return None


def one_input(data: bytes) -> None:
    datagram = Datagram(NOW * 1_000_000, LOCAL, 1, LOCAL, 65535, data)
    for own in ([], OWN):
        seen = Seen(remembered=1)
        line = admitted(datagram, own, seen)
        if line is not None:
            assert canonical.encode(canonical.loads(line)) == line
            assert report.read(line).text == line
            assert admitted(datagram, own, seen) is None


def seeds() -> Iterable[bytes]:
    contact = writer.Contact("noc@example.net", "Example Net")
    made = writer.Writer(KEY.public, contact, ("src", "dst"), 3_600_000)
    flow = {"sport": 53, "dport": 4242, "protocol": 17, "pcount": 17, "bcount": 12345, "source": "netflow5"}
    for ends in (("198.51.100.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::7")):
        named = dict(zip(("saddr", "daddr"), ends, strict=True))
        for signed in made.bodies({**flow, **named, "p_ppt": 17_000_000, "why": ["syn-flood"]}, NOW):
            yield envelope.pack(KEY.public, KEY.sign(signed), signed)
