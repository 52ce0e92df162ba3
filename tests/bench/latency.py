"""How long a flow takes from its datagram at of-capture to its report out of of-send, through four stages."""

import os
import signal
import socket
import statistics
import subprocess
import time

from inputs import Inputs, base_capture, command
from measure import environment

DATAGRAMS = 50
PAUSE = 0.05
_HEADER, _RECORD = 24, 48


def latency(inputs: Inputs) -> str:
    """Return the line of the table: the median and the longest of some datagrams of one flow each."""
    assert inputs.key
    start = 24 + 16 + 42
    datagram = bytearray(base_capture().read_bytes()[start : start + _HEADER + _RECORD])
    datagram[2:4] = b"\0\1"
    with _receiver() as receiver, _receiver() as free, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
        port = free.getsockname()[1]
        free.close()
        collector = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        stages = [f"of-capture -u 127.0.0.1:{port}", "of-decode -r 1", "of-sign --to dst", f"of-send --to {collector}"]
        pipeline = subprocess.Popen(
            " | ".join(f"'{command(stage.partition(' ')[0])}' {stage.partition(' ')[2]}" for stage in stages),
            shell=True,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            env=environment(),
        )
        try:
            time.sleep(2)
            taken = [_once(exporter, bytes(datagram), port, receiver, number) for number in range(DATAGRAMS)]
        finally:
            os.killpg(pipeline.pid, signal.SIGTERM)
            pipeline.wait(10)
    median, longest = statistics.median(taken) * 1000, max(taken) * 1000
    return f"{'latency':<20} {median:>6.2f} ms, longest {longest:.2f} ms, four stages; goal <= 5 ms"


def _once(exporter: socket.socket, datagram: bytes, port: int, receiver: socket.socket, number: int) -> float:
    """Send a flow and return the seconds until its report comes; each has a source port of its own."""
    flow = bytearray(datagram)
    flow[_HEADER + 32 : _HEADER + 34] = (1024 + number).to_bytes(2)
    started = time.monotonic()
    exporter.sendto(flow, ("127.0.0.1", port))
    receiver.recv(65535)
    taken = time.monotonic() - started
    time.sleep(PAUSE)
    return taken


def _receiver() -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(10)
    return receiver
