"""Make the captures in tests/data again: python tests/make_data.py [DIRECTORY].

Real traffic between invented hosts (addresses of RFC 5737) runs over the loopback interface of a network namespace of
its own. tcpdump(1) records it, softflowd(8) meters the recording, and tcpdump records what softflowd exports. Nothing
can leave the namespace, which unshare(1) makes, for root or where users may have namespaces. Every run gives other
times, ports and flows.
"""

import contextlib
import gzip
import http.server
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROUTER = "192.0.2.1"
COLLECTOR = "192.0.2.2"
NAME_SERVER = "192.0.2.53"
WEB_SERVER = "192.0.2.80"
CLIENTS = [f"198.51.100.{host}" for host in range(1, 255)]
REFLECTORS = [f"203.0.113.{host}" for host in range(1, 255)]
EXPORT_PORT = 2055


def main() -> int:
    if os.environ.get("INSIDE_NAMESPACE"):
        make(Path(sys.argv[1]))
        return 0
    directory = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "data")
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    environment = {**os.environ, "INSIDE_NAMESPACE": "1"}
    return subprocess.run([*unshare, sys.executable, __file__, directory], env=environment, check=False).returncode


def make(directory: Path) -> None:
    for command in (
        "ip link set lo up",
        f"ip address add {ROUTER}/32 dev lo",
        f"ip route add local {COLLECTOR}/32 dev lo src {ROUTER}",
        *(f"ip route add local {net} dev lo" for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")),
    ):
        subprocess.run(command.split(), check=True)
    # Without the socket of a collector, the kernel would answer exports with ICMP errors.
    with bound(COLLECTOR, EXPORT_PORT), servers(), tempfile.TemporaryDirectory() as temporary:
        traffic = directory / "traffic.pcap"
        with recorded(traffic, 1514):
            everyday(CLIENTS[:4])
        export(traffic, directory / "netflow5.pcap", 5)
        export(traffic, directory / "netflow1.pcap", 1)
        attack = Path(temporary) / "attack.pcap"
        with recorded(attack, 96):
            flood = threading.Thread(target=reflect)
            flood.start()
            everyday(CLIENTS)
            flood.join()
        export(attack, directory / "flood.pcap", 5)
        export(attack, directory / "flood-sampled.pcap", 5, "-s", "100")
    for name in ("flood.pcap", "flood-sampled.pcap"):
        compress(directory / name)
    (directory / "every-field.pcap").write_bytes(every_field_capture())


@contextlib.contextmanager
def servers() -> Iterator[None]:
    """Run a web server and a name server of sorts."""
    web = http.server.ThreadingHTTPServer((WEB_SERVER, 80), Page)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    threading.Thread(target=answer, args=[bound(NAME_SERVER, 53)], daemon=True).start()
    yield
    web.shutdown()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"x" * 5000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def answer(names: socket.socket) -> None:
    """Answer each question with its own words and an address (RFC 1035)."""
    while True:
        query, peer = names.recvfrom(512)
        record = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 60, 4, socket.inet_aton(WEB_SERVER))
        names.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + record, peer)


def everyday(clients: list[str]) -> None:
    """Let each client look up a name, fetch a page and ping the server."""
    for client in clients:
        with bound(client, 0) as asker:
            asker.settimeout(5)
            question = b"\3www\7example\3net\0\0\1\0\1"
            asker.sendto(random.randbytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + question, (NAME_SERVER, 53))
            asker.recv(512)
        subprocess.run(["curl", "-sS", "-o", "/dev/null", "--interface", client, f"http://{WEB_SERVER}/"], check=True)
        ping(client, random.randint(1, 4))


def ping(client: str, count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        icmp.bind((client, 0))
        for sequence in range(count):
            message = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, sequence) + bytes(56)
            icmp.sendto(message[:2] + checksum(message) + message[4:], (WEB_SERVER, 0))


def reflect() -> None:
    """Flood the web server with what looks like the answers of abused time servers."""
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(bound(reflector, 123)) for reflector in REFLECTORS]
        victims = [stack.enter_context(bound(WEB_SERVER, 0)).getsockname() for _ in range(4)]
        weights = [random.paretovariate(1.2) for _ in senders]
        for sent, sender in enumerate(random.choices(senders, weights, k=30_000)):
            sender.sendto(b"\xd7\0\3\x2a" + bytes(436), random.choice(victims))
            if not sent % 50:
                time.sleep(0.005)  # tcpdump must see them all


def bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


def export(traffic: Path, path: Path, version: int, *options: str) -> None:
    """Let softflowd meter recorded traffic, and record its exports."""
    with tempfile.TemporaryDirectory() as directory, recorded(path, 1514, f"udp dst port {EXPORT_PORT}"):
        command = ["softflowd", "-r", str(traffic), "-a", "-v", str(version), "-n", f"{COLLECTOR}:{EXPORT_PORT}"]
        command += ["-c", "none", "-p", f"{directory}/pid", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


@contextlib.contextmanager
def recorded(path: Path, snaplen: int, *expression: str) -> Iterator[None]:
    """Record packets of the loopback interface."""
    command = ["tcpdump", "-i", "lo", "-U", "-s", str(snaplen), "-Z", "root", "-w", str(path), *expression]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tcpdump:
        wait_for(lambda: path.exists() and path.stat().st_size >= 24)
        yield
        time.sleep(1)
        tcpdump.send_signal(signal.SIGINT)
        sys.stderr.write(f"{path.name}: {tcpdump.communicate(timeout=10)[1].decode()}")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def compress(path: Path) -> None:
    with path.open("rb") as raw, gzip.GzipFile(f"{path}.gz", "wb", mtime=0) as packed:
        shutil.copyfileobj(raw, packed)
    path.unlink()


def every_field_capture() -> bytes:
    """Return a capture of one datagram of NetFlow 1, 5 and 7 each, in which every field has a value of its own.

    The second flow of each began before sysUptime wrapped, and ended a little after the header was filled in.
    """
    times = (0x00A0_0000, 0x009F_0000, 0x009F_8000), (0x0000_0400, 0xFFFF_F000, 0x0000_0500)
    packets = []
    for version, exporter in ((1, "192.0.2.11"), (5, "2001:db8::5"), (7, "192.0.2.7")):
        for flow, (uptime, first, last) in enumerate(times):
            moment = struct.pack("!III", uptime, 1_792_540_800 + version, 250_000_000 + 1_000_000 * flow)
            header = struct.pack("!HH", version, 1) + moment
            if version == 5:
                header += struct.pack("!IBBH", 77 + flow, 3, 4, 1 << 14 | 100)  # sampling mode 1, 1 in 100
            elif version == 7:
                header += struct.pack("!II", 78 + flow, 0)
            packets.append(datagram(exporter, 50000 + version, header + record(version, flow, first, last)))
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for number, packet in enumerate(packets):
        capture += struct.pack("<IIII", 1_792_540_808, 300_000 + number, len(packet), len(packet)) + packet
    return capture


def record(version: int, flow: int, first: int, last: int) -> bytes:
    """Return a NetFlow record; flow sets apart the two of a kind."""
    data = b"".join(socket.inet_aton(f"{net}.{flow + 5}") for net in ("198.51.100", "203.0.113", "192.0.2"))
    data += struct.pack("!HHIIII", 31 + flow, 12, 1300 + flow, 140_000 + flow, first, last)
    data += struct.pack("!HH", 1234 + flow, 80)
    if version == 1:
        return data + struct.pack("!HBBB7x", 0, 6, 0x10, 0x1B)
    data += struct.pack("!BBBBHHBBH", 1, 0x1B, 6, 0x10, 64500, 64511, 22, 23, 256)
    return data + (socket.inet_aton("192.0.2.254") if version == 7 else b"")


def datagram(source: str, port: int, payload: bytes) -> bytes:
    """Return an IP packet (RFC 791 or 8200) with a UDP datagram (RFC 768)."""
    length = 8 + len(payload)
    if ":" in source:
        ip = struct.pack("!IHBB", 6 << 28, length, 17, 64)
        ip += socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
        pseudo = ip[8:] + struct.pack("!II", length, 17)
    else:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0)
        ip += socket.inet_aton(source) + socket.inet_aton(COLLECTOR)
        ip = ip[:10] + checksum(ip) + ip[12:]
        pseudo = ip[12:] + struct.pack("!HH", 17, length)
    udp = struct.pack("!HHH", port, 9996, length)
    return ip + udp + checksum(pseudo + udp + payload) + payload


def checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


if __name__ == "__main__":
    sys.exit(main())
