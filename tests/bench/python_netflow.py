"""What a user of python-netflow does to get JSON out of a capture of NetFlow 9 or IPFIX on Ethernet and IPv4."""

import json
import struct
import sys

import netflow

templates = {"netflow": {}, "ipfix": {}}
with open(sys.argv[1], "rb") as capture:
    data = capture.read()
offset = 24
while offset + 16 <= len(data):
    end = offset + 16 + struct.unpack_from("<I", data, offset + 8)[0]
    packet = netflow.parse_packet(data[offset + 16 + 42 : end], templates)
    for flow in packet.flows:
        sys.stdout.write(json.dumps(flow.data) + "\n")
    offset = end
