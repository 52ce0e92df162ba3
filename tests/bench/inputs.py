"""What the commands are measured on: made from a base capture when a race asks for it, and kept until the end."""

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from convert import convert
from measure import environment

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
FLOWS = 2_700_000
FEWER_FLOWS = 944_000
PEER_FLOWS = 160_000
SIGNED_FLOWS = 310_000
REPORTS = 40_000
_DATAGRAM_AT = 16 + 42
_PAUSE_EVERY, _PAUSE = 50, 0.002


class Inputs:
    """The files that are measured, in a scratch directory; each with the number of flows or lines in it."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        config = os.environ["XDG_CONFIG_HOME"] = str(scratch / "config")
        os.makedirs(config)

    @cached_property
    def netflow5(self) -> tuple[Path, int]:
        return self._repeated("v5.pcap", FLOWS)

    @cached_property
    def fewer_netflow5(self) -> tuple[Path, int]:
        return self._repeated("v5-fewer.pcap", FEWER_FLOWS)

    @cached_property
    def signed_netflow5(self) -> tuple[Path, int]:
        return self._repeated("v5-signed.pcap", SIGNED_FLOWS)

    @cached_property
    def netflow9(self) -> tuple[Path, int]:
        return self._converted(9, FLOWS)

    @cached_property
    def ipfix(self) -> tuple[Path, int]:
        return self._converted(10, FLOWS)

    @cached_property
    def peer_netflow9(self) -> tuple[Path, int]:
        return self._converted(9, PEER_FLOWS)

    @cached_property
    def peer_ipfix(self) -> tuple[Path, int]:
        return self._converted(10, PEER_FLOWS)

    @cached_property
    def sflow(self) -> tuple[Path, int]:
        """The samples that people have, or the few that are made here, in as many copies as make some 58,000."""
        corpora = os.environ.get("OF_CORPORA")
        source = Path(corpora, "overflowd/for_later/sflow.pcap") if corpora else TOP / "tests/data/sflow.pcap"
        once = self._count(f"'{command('of-decode')}' '{source}'")
        copies = max(1, round(58_000 / once))
        target = self._scratch / "sflow.pcap"
        _copy_packets(source.read_bytes(), copies, target)
        return target, copies * once

    @cached_property
    def lines(self) -> tuple[Path, int]:
        return self._made("flows", f"'{command('of-decode')}' '{self.netflow5[0]}'")

    @cached_property
    def fewer_lines(self) -> tuple[Path, int]:
        return self._made("fewer-flows", f"head -n {REPORTS} '{self.lines[0]}'")

    @cached_property
    def key(self) -> Path:
        public = self._scratch / "public"
        self._shell(f"'{command('of-key')}' new --email noc@example.net --identity 'Example Net' >'{public}'")
        return public

    @cached_property
    def reports(self) -> tuple[Path, int]:
        assert self.key
        return self._made("reports", f"'{command('of-sign')}' --to dst '{self.fewer_lines[0]}'")

    @cached_property
    def recipients(self) -> Path:
        """A list of keys for of-seal: one, for everybody."""
        receiving, recipients = self._scratch / "receiving", self._scratch / "recipients"
        self._shell(f"'{command('of-key')}' new --receiving >'{receiving}'")
        key = receiving.read_text().strip()
        recipients.write_text(f"0.0.0.0/0 {key}\n::/0 {key}\n")
        return recipients

    @cached_property
    def sealed(self) -> tuple[Path, int]:
        return self._made("sealed", f"'{command('of-seal')}' --keys '{self.recipients}' '{self.reports[0]}'")

    @property
    def padded_octets(self) -> int:
        """The octets that are in a sealed box of these reports, about."""
        path, number = self.reports
        return (path.stat().st_size // number + 63) // 64 * 64

    @cached_property
    def sink(self) -> socket.socket:
        """A socket that is never read; a closed port would make the kernel answer every datagram with an error."""
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind(("127.0.0.1", 0))
        return sink

    @property
    def signed_octets(self) -> int:
        """The octets that a signature of these reports is over, about."""
        path, number = self.reports
        return path.stat().st_size // number - 110

    @cached_property
    def stored(self) -> tuple[Path, int]:
        """The flows of fewer_netflow5 in a file of nfcapd, which takes nothing but UDP; some may be lost."""
        directory = self._scratch / "nfcapd"
        directory.mkdir()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = ["nfcapd", "-w", str(directory), "-p", str(port), "-b", "127.0.0.1", "-t", "3600", "-B", "8000000"]
        with open(os.devnull, "wb") as null:
            collector = subprocess.Popen(arguments, stdout=null, stderr=null)
        time.sleep(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number, packet in enumerate(_packets(self.fewer_netflow5[0])):
                sender.sendto(packet[_DATAGRAM_AT:], ("127.0.0.1", port))
                if number % _PAUSE_EVERY == 0:
                    time.sleep(_PAUSE)
        time.sleep(1)
        collector.terminate()
        collector.wait(60)
        path = next(found for found in directory.iterdir() if found.name.startswith("nfcapd."))
        return path, self._count(f"nfdump -q -r '{path}' -o 'fmt:%ts'")

    @cached_property
    def packet(self) -> Path:
        """A capture of one packet."""
        path = self._scratch / "packet.pcap"
        path.write_bytes(_header(base_capture()) + next(_packets(base_capture())))
        return path

    @cached_property
    def line(self) -> Path:
        return self._made("flow", f"'{command('of-decode')}' '{self.packet}' | head -n 1")[0]

    @cached_property
    def report(self) -> Path:
        return self._made("report", f"'{command('of-sign')}' --to dst '{self.line}'")[0]

    @cached_property
    def sealed_report(self) -> Path:
        return self._made("sealed-report", f"'{command('of-seal')}' --keys '{self.recipients}' '{self.report}'")[0]

    def spare(self, name: str) -> Path:
        """Return a path for a file that a command makes."""
        return self._scratch / name

    def _repeated(self, name: str, flows: int) -> tuple[Path, int]:
        """Write the whole NetFlow 5 packets of the base capture until so many flows are there."""
        packets = list(_packets(base_capture()))
        once = sum(struct.unpack_from("!H", packet, _DATAGRAM_AT + 2)[0] for packet in packets)
        copies = -(-flows // once)
        _copy_packets(_header(base_capture()) + b"".join(packets), copies, self._scratch / name)
        return self._scratch / name, copies * once

    def _converted(self, version: int, flows: int) -> tuple[Path, int]:
        once, target = self._scratch / f"once-{version}.pcap", self._scratch / f"{version}-{flows}.pcap"
        number = convert(base_capture(), once, version)
        copies = -(-flows // number)
        _copy_packets(once.read_bytes(), copies, target)
        return target, copies * number

    def _made(self, name: str, script: str) -> tuple[Path, int]:
        path = self._scratch / name
        self._shell(f"{script} >'{path}' 2>'{path}.errors'")
        return path, self._count(f"cat '{path}'")

    def _count(self, script: str) -> int:
        return int(self._shell(f"{script} 2>'{os.devnull}' | wc -l"))

    def _shell(self, script: str) -> bytes:
        return subprocess.run(["bash", "-c", script], check=True, env=environment(), stdout=subprocess.PIPE).stdout


def command(name: str) -> str:
    """Return the path of a command of this checkout."""
    return str(TOP / "bin" / name)


def base_capture() -> Path:
    """Return the capture of NetFlow 5 that the inputs are made of."""
    corpora = os.environ.get("OF_CORPORA")
    large = Path(corpora, "overflowd/netflow_4M.pcap") if corpora else None
    return large if large and large.exists() else TOP / "tests/data/netflow5.pcap"


def _header(capture: Path) -> bytes:
    with capture.open("rb") as file:
        return file.read(24)


def _packets(capture: Path) -> Iterator[bytes]:
    """Yield the whole packets of a little-endian pcap file, their headers first.

    Never many at once: the kernel would count the memory of this program as that of the commands it starts.
    """
    with capture.open("rb") as file:
        file.seek(24)
        while len(header := file.read(16)) == 16:
            length = struct.unpack_from("<I", header, 8)[0]
            packet = file.read(length)
            if len(packet) < length:
                break
            yield header + packet


def _copy_packets(capture: bytes, copies: int, target: Path) -> None:
    with target.open("wb") as file:
        file.write(capture[:24])
        for _ in range(copies):
            file.write(capture[24:])
