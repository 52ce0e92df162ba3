"""What overflowd.py of 2016 does with a capture, for a machine without its Python 2.7: decode and draw, print nothing.

dpkt reads the capture, its Ethernet class each packet, one struct call after the other a record's eleven fields into
a dictionary, and a random number decides on it.
"""

import random
import socket
import struct
import sys

import dpkt

RATE = 1e-6


def main(path: str) -> None:
    flows = 0
    with open(path, "rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            data = dpkt.ethernet.Ethernet(frame).data.data.data
            version, count = struct.unpack("!HH", data[:4])
            if version != 5:
                continue
            for record in range(count):
                try:
                    flow = decode(data, 24 + 48 * record)
                except (struct.error, IndexError):
                    continue
                flows += random.random() < RATE * flow["pcount"]
    print(flows, file=sys.stderr)


def decode(data: bytes, base: int) -> dict[str, object]:
    counters = struct.unpack("!IIII", data[base + 16 : base + 32])
    ports = struct.unpack("!HH", data[base + 32 : base + 36])
    return {
        "saddr": socket.inet_ntoa(data[base : base + 4]),
        "daddr": socket.inet_ntoa(data[base + 4 : base + 8]),
        "pcount": counters[0],
        "bcount": counters[1],
        "stime": counters[2],
        "etime": counters[3],
        "sport": ports[0],
        "dport": ports[1],
        "flags": data[base + 37],
        "protocol": data[base + 38],
        "tos": data[base + 39],
    }


main(sys.argv[1])
