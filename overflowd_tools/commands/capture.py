"""of-capture: receive UDP datagrams and write them as a pcap stream."""

from __future__ import annotations

import os
import sys

from overflowd_tools import command, stream
from overflowd_tools.delivery import sockets
from overflowd_tools.errors import UsageError
from overflowd_tools.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 7777
_LARGEST_BUFFER = 1 << 30  # the kernel doubles it, into a C int


def options() -> Options:
    """Return the options of of-capture."""
    made = command.options("of-capture", "Write the UDP datagrams that arrive as a pcap stream.", files=False)
    add = made.add
    add(
        "-u",
        "--udp",
        metavar="ADDR:PORT",
        type=command.value(sockets.parse_endpoint),
        action="append",
        help=f"listen here; may be repeated; PORT alone: on all IPv4 and IPv6 addresses ({PORT})",
    )
    add("-w", "--write", metavar="FILE", help="write to FILE, not to standard output")
    add("-c", "--count", metavar="COUNT", type=_count, help="end after COUNT datagrams")
    add(
        "--rcvbuf",
        metavar="BYTES",
        type=_buffer_size,
        default=sockets.RECEIVE_BUFFER,
        help="receive buffer to ask of the kernel for each socket (%(default)s)",
    )
    return made


def _count(text: str) -> int:
    return _integer(text, sys.maxsize)


def _buffer_size(text: str) -> int:
    return _integer(text, _LARGEST_BUFFER)


def _integer(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= most):
        raise UsageError(f"{text!r} is not an integer from 1 to {most}")
    return int(text)


def run(context: command.Context) -> None:
    """Write a pcap record for each datagram until a signal, or the count, ends it."""
    from overflowd_tools.capture import link, pcap

    args = context.args
    if args.write in (None, "-") and os.isatty(1):
        raise UsageError("a capture is not for a terminal; use -w FILE, or a pipe to of-decode or tcpdump -r -")
    endpoints = args.udp or [sockets.Endpoint(None, PORT)]
    counts = context.counts = {"datagrams": 0, "dropped_by_the_kernel": 0}
    with sockets.Receiver(endpoints, context.say, args.rcvbuf) as receiver:
        for endpoint, octets in receiver.granted():
            context.note(f"listening on UDP {endpoint}, with a receive buffer of {octets} bytes")
        if args.write not in (None, "-"):
            # Only now that the sockets are bound: a second of-capture must not empty the file of the first.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            context.output = stream.Output(os.open(args.write, flags, 0o666), args.write)
        context.output.write(pcap.file_header(link.ETHERNET))
        context.output.flush()
        for batch in receiver.batches(context.stop):
            if not batch:
                context.output.flush()
            wanted = batch[: args.count - counts["datagrams"]] if args.count else batch
            for time_ns, source, source_port, destination, port, payload in wanted:
                frame = link.udp_frame(source, source_port, destination, port, payload)
                context.output.write(pcap.record(time_ns, frame))
            counts["datagrams"] += len(wanted)
            counts["dropped_by_the_kernel"] = receiver.dropped()
            if counts["datagrams"] == args.count:
                return


def main(argv: Sequence[str] | None = None) -> int:
    """Run of-capture and return its exit status."""
    return command.run(options(), run, argv, normal_end=True)


if __name__ == "__main__":
    sys.exit(main())
