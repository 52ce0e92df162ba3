"""Sealed reports on their way: of-send knows no more of them than their outer members, and of-recv less."""

import json
import socket
import time

import make_sealed
import pytest
from listening import free_port, listening, run, send

from overflowd_tools.commands import recv
from overflowd_tools.delivery.addresses import parse_prefix
from overflowd_tools.delivery.admission import RefusedError, Seen
from overflowd_tools.delivery.sockets import Datagram
from overflowd_tools.reports import sealed, writer
from overflowd_tools.reports.sealed import Sealed
from overflowd_tools.trust import receiving
from overflowd_tools.trust.keys import SecretKey
from overflowd_tools.trust.sealing import ReceivingKey

KEY = ReceivingKey(make_sealed.SECRET)
SIGNER = SecretKey.from_seed(bytes(range(32)))
DATAGRAM = (make_sealed.VECTORS / "every-field.sealed-datagram").read_bytes()
TO = "198.51.100.1"
LOCAL = socket.inet_pton(socket.AF_INET, TO)
HOUR_MS = 3_600_000


def now_ms():
    return time.time_ns() // 1_000_000


def report(to="9.9.9.9", **more):
    made = writer.Writer(SIGNER.public, writer.Contact("noc@example.net", "Example Net"), ["dst"], HOUR_MS)
    (body,) = made.bodies({"type": "flow", "source": "netflow5", "saddr": "192.0.2.7", "daddr": to, **more}, now_ms())
    return made.complete(body, SIGNER.sign(body))


def sealed_line(to="9.9.9.9", expires_ms=..., flow=b"1", contents=None):
    expires_ms = now_ms() + HOUR_MS if expires_ms is ... else expires_ms
    return Sealed(KEY.public.hint, KEY.public.seal(contents or report()), to, expires_ms, flow).line()


def decisions(*lines, options=()):
    done = run("send", "-n", *options, input=b"".join(line + b"\n" for line in lines))
    return [(entry := json.loads(line)).get("reason", entry["decision"]) for line in done.stdout.splitlines()]


# --- of-send


def test_where_it_may_go():
    lines = [sealed_line("9.9.9.9", flow=b"1"), sealed_line("10.0.0.1", flow=b"2"), sealed_line(None, flow=b"3")]
    assert decisions(*lines) == ["send", "private", "no recipient"]
    assert decisions(lines[1], options=["--allow", "10.0.0.0/8"]) == ["send"]


def test_what_has_expired_or_never_does():
    assert decisions(sealed_line(expires_ms=now_ms() - 1), sealed_line(expires_ms=None)) == ["expired", "send"]


def test_a_flow_is_not_reported_twice():
    assert decisions(sealed_line(), sealed_line(), sealed_line(flow=b"2")) == ["send", "repeated", "send"]
    once = sealed_line(flow=b"")
    assert decisions(once, once, sealed_line(flow=b"")) == ["send", "repeated", "send"]


def test_limits_count_for_all_together():
    lines = [sealed_line(flow=b"%d" % number) for number in range(4)]
    lines += [report(sport=port) for port in range(3)]
    assert decisions(*lines) == ["send"] * 5 + ["prefix limit"] * 2


def test_what_is_too_long_for_a_datagram():
    assert decisions(sealed_line(contents=b"x" * 1143), sealed_line(contents=b"x" * 1144, flow=b"2")) == [
        "send",
        "size",
    ]


def test_a_bad_sealed_line():
    done = run("send", "-n", input=b'{"$schema":"overflowd-sealed/1"}\n')
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"of-send: -: line 1: not a sealed report: hint is not 8 hexadecimal digits\n"


# --- of-recv


def arrived(payload, time_ms=None):
    return Datagram((time_ms or now_ms()) * 1_000_000, bytes(4), 65535, LOCAL, 65535, payload)


def refusal(payload, seen=None):
    with pytest.raises(RefusedError) as caught:
        recv.admit_sealed(arrived(payload), (), seen or Seen())
    return caught.value.kind


@pytest.mark.parametrize("name", make_sealed.NAMES)
def test_vectors_are_let_in(name):
    payload = (make_sealed.VECTORS / f"{name}.sealed-datagram").read_bytes()
    found = sealed.read_line(recv.admit_sealed(arrived(payload), (), Seen()))
    assert (found.datagram(), found.to) == (payload, TO)
    assert KEY.open(found.box) == (make_sealed.VECTORS / f"{name}.report").read_bytes().rstrip(b"\n")


def test_with_own_networks_the_address_says_nothing():
    line = recv.admit_sealed(arrived(DATAGRAM), [parse_prefix("192.0.2.0/24")], Seen())
    assert json.loads(line).keys() == {"$schema", "hint", "sealed"}


@pytest.mark.parametrize("size", [*range(4, 120), 121, 183, 185, 1143, 1145, 1199, 1201, 9000])
def test_wrong_sizes(size):
    assert refusal((DATAGRAM * 12)[:size]) == "wrong_size"


@pytest.mark.parametrize("size", [120, 184, 1144, 1200])
def test_right_sizes(size):
    assert recv.admit_sealed(arrived((DATAGRAM * 2)[:size]), (), Seen())


def test_duplicates():
    seen = Seen(remembered=2)
    for payload in (DATAGRAM, DATAGRAM[:120], DATAGRAM[:184]):
        assert recv.admit_sealed(arrived(payload), (), seen)
        assert refusal(payload, seen) == "duplicate"
    # Forgotten by now, for want of memory; nothing tells how old it is, so it comes in, and of-verify judges.
    assert recv.admit_sealed(arrived(DATAGRAM), (), seen)


# --- all the way


def test_from_of_sign_to_of_verify(tmp_path):
    receiving.write_key(tmp_path / "key", KEY)
    (tmp_path / "list").write_text(f"127.0.0.0/8 {KEY.public.text}\n")
    port = free_port()
    made = [report("127.0.0.1", sport=number) for number in (1, 2)]
    lines = run("seal", "--require", "--keys", tmp_path / "list", input=b"\n".join(made)).stdout
    with listening("recv", "-l", f"127.0.0.1:{port}") as receiver:
        assert run("send", "--to", f"udp://127.0.0.1:{port}", input=lines).returncode == 0
        received = receiver.line() + receiver.line()
        send(b"OFX1" + bytes(116), port)  # garbage of the right size costs of-open a glance at the hint
        garbage = receiver.line()
        assert receiver.end() == (0, b"")
    opened = run("open", "-k", tmp_path / "key", input=received)
    assert opened.stdout == b"".join(line + b"\n" for line in made)
    assert run("verify", input=opened.stdout).stdout.count(b"verified") == 2
    assert b"no key" in run("open", "-k", tmp_path / "key", input=garbage).stderr


def test_sealed_for_us_what_was_reported_to_another(tmp_path):
    """Anybody can take a report, seal it and send it on: its recipient is signed, and so it is found."""
    receiving.write_key(tmp_path / "key", KEY)
    stolen = Sealed(KEY.public.hint, KEY.public.seal(report("9.9.9.9")))
    line = recv.admit_sealed(arrived(stolen.datagram()), (), Seen())
    done = run("open", "-k", tmp_path / "key", input=line)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"wrong recipient: sealed to 198.51.100.1, and its report is to 9.9.9.9" in done.stderr
    mapped = Sealed(KEY.public.hint, KEY.public.seal(report("::ffff:198.51.100.1"))).datagram()
    done = run("open", "-k", tmp_path / "key", input=recv.admit_sealed(arrived(mapped), (), Seen()))
    assert done.returncode == 0


def test_a_report_to_nobody_that_was_sealed_to_somebody(tmp_path):
    receiving.write_key(tmp_path / "key", KEY)
    made = writer.Writer(SIGNER.public, writer.Contact("noc@example.net", "Example Net"), [], HOUR_MS)
    (body,) = made.bodies({"type": "flow", "source": "netflow5", "saddr": "192.0.2.7", "daddr": TO}, now_ms())
    contents = made.complete(body, SIGNER.sign(body))
    line = recv.admit_sealed(arrived(Sealed(KEY.public.hint, KEY.public.seal(contents)).datagram()), (), Seen())
    done = run("open", "-k", tmp_path / "key", input=line)
    assert b"wrong recipient: sealed to 198.51.100.1, and its report is to nobody" in done.stderr


def test_what_fits_its_own_datagram_by_the_page_fits_sealed():
    """1040 signed octets, as overflowd-report(5) says, and not one more."""
    for octets, fits in ((1040, True), (1041, False)):
        text = bytes(octets + len(',"signature":""') + 88)
        box = KEY.public.seal(text)
        assert (len(box) + 8 <= 1200) is fits
