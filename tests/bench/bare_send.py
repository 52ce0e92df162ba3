"""A bare loop that sends each line of FILE over a connected UDP socket to PORT of this machine, and no more."""

import socket
import sys

path, port = sys.argv[1], int(sys.argv[2])
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("127.0.0.1", port))
with open(path, "rb") as reports:
    for line in reports:
        sender.send(line)
