"""A bare libsodium loop: sign, verify, seal or open NUMBER messages of OCTETS octets, and do nothing else."""

import os
import sys

from nacl.bindings import (
    crypto_box_seal,
    crypto_box_seal_open,
    crypto_box_seed_keypair,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)

job, number, octets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
public, secret = crypto_sign_seed_keypair(bytes(32))
box_public, box_secret = crypto_box_seed_keypair(bytes(32))
message = os.urandom(octets)
if job == "sign":
    for _ in range(number):
        crypto_sign(message, secret)
elif job == "seal":
    for _ in range(number):
        crypto_box_seal(message, box_public)
elif job == "open":
    sealed = crypto_box_seal(message, box_public)
    for _ in range(number):
        crypto_box_seal_open(sealed, box_public, box_secret)
else:
    signed = crypto_sign(message, secret)
    for _ in range(number):
        crypto_sign_open(signed, public)
