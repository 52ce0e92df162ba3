"""of-recv: receive reports by UDP; the victim's end."""

from __future__ import annotations

import socket
import sys

from overflowd_tools import command
from overflowd_tools.delivery import addresses, admission, sockets
from overflowd_tools.errors import RecordError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 65535


def options() -> Options:
    """Return the options of of-recv."""
    made = command.options("of-recv", "Receive reports by UDP and write those to us, unverified.", files=False)
    made.add(
        "-l",
        "--listen",
        metavar="ADDR:PORT",
        type=command.value(sockets.parse_endpoint),
        action="append",
        help=f"listen here; may be repeated; PORT alone: on all IPv4 and IPv6 addresses ({PORT})",
    )
    made.add(
        "--own",
        metavar="NET",
        type=command.value(addresses.parse_prefix),
        action="append",
        default=[],
        help="take reports to addresses in NET; may be repeated (the address to which the datagram came)",
    )
    return made


def run(context: command.Context) -> None:
    """Write a line for each report that is let in, until a signal ends it."""
    own = context.args.own
    counts = context.counts = {"datagrams": 0, "reports": 0, "sealed": 0, "dropped_by_the_kernel": 0}
    # Two memories: garbage that claims to be sealed, of which nothing can be told, must not use up that of the others.
    seen, seen_sealed = admission.Seen(), admission.Seen()
    with sockets.Receiver(context.args.listen or [sockets.Endpoint(None, PORT)], context.say) as receiver:
        for endpoint, octets in receiver.granted():
            context.note(f"listening on UDP {endpoint}, with a receive buffer of {octets} bytes")
        for batch in receiver.batches(context.stop):
            if not batch:
                context.output.flush()
            counts["dropped_by_the_kernel"] = receiver.dropped()
            for datagram in batch:
                counts["datagrams"] += 1
                sealed = admission.is_sealed(datagram.payload)
                try:
                    line = admit_sealed(datagram, own, seen_sealed) if sealed else admit(datagram, own, seen)
                except RecordError as error:
                    _refuse(context, datagram, error)
                    continue
                counts["sealed" if sealed else "reports"] += 1
                context.output.write(line + b"\n")
    # What strangers send is no failure of this run.
    context.status = 0


def admit(datagram: sockets.Datagram, own: Sequence[addresses.Prefix], seen: admission.Seen) -> bytes:
    """Return the report in a datagram as canonical JSON. Its signature is not checked.

    Raises RecordError for a datagram that is not let in; the cheapest questions are asked first.
    """
    admission.check_shape(datagram.payload)
    from overflowd_tools.reports import envelope, report  # after the check that nearly all garbage fails

    claimed, key_number, signature, signed = envelope.unpack(datagram.payload)
    found = report.from_signed(signed, signature)
    if key_number != found.key.key_number or claimed not in (None, found.key.text):
        raise admission.RefusedError("wrong_key", "its envelope names another key than the report")
    metadata = found.members["metadata"]
    admission.check_recipient(metadata.get("to"), datagram.destination, own)
    now_ms = datagram.time_ns // 1_000_000
    try:
        found.check_time(now_ms)
    except RecordError as error:
        raise admission.RefusedError("wrong_time", str(error)) from None
    seen.check(signed + signature, metadata["time_ms"], metadata["expires_ms"], now_ms)
    return found.text


def admit_sealed(datagram: sockets.Datagram, own: Sequence[addresses.Prefix], seen: admission.Seen) -> bytes:
    """Return the sealed report in a datagram as a line for of-open. Nothing can be told about what is inside.

    Where the address that it came to decides, the line names it, for of-open to hold the report against.
    Raises RecordError for a datagram that is not let in.
    """
    admission.check_sealed_shape(datagram.payload)
    from overflowd_tools.reports import sealed  # after the check that most garbage fails

    found = sealed.unpack(datagram.payload)
    now_ms = datagram.time_ns // 1_000_000
    seen.check(datagram.payload, now_ms, now_ms, now_ms)
    return (found if own else found._replace(to=_text(datagram.destination))).line()


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _refuse(context: command.Context, datagram: sockets.Datagram, error: RecordError) -> None:
    kind = error.kind if isinstance(error, admission.RefusedError) else "malformed"
    context.counts[kind] = context.counts.get(kind, 0) + 1
    place = f"port {datagram.source_port}: datagram {context.counts['datagrams']}"
    context.reject(_text(datagram.source), place, str(error), kind.replace("_", " "))


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-recv and return its exit status."""
    return command.run(options(), run, argv, normal_end=True)


if __name__ == "__main__":
    sys.exit(main())
