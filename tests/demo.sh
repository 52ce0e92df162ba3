#!/bin/bash
# make demo: a flood, seen by a router, is reported to both ends; all on this machine, over the loopback interface.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
capture=$top/tests/data/flood.pcap.gz
python=${OF_PYTHON:-$top/.venv/bin/python}
PATH=$top/bin:$PATH

temporary=$(mktemp -d)
export XDG_CONFIG_HOME=$temporary # nothing of yours is read or written
receiver=
verifier=
cleanup() {
	for process in $receiver $verifier; do
		kill "$process" 2>/dev/null || :
	done
	rm -rf "$temporary"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
cd "$temporary"

fail() {
	echo "demo: $1" >&2
	cat ./*.log >&2
	exit 1
}

# Waits ten seconds at most until a command succeeds.
await() {
	for _ in {1..200}; do
		if "$@"; then return; fi
		sleep 0.05
	done
	fail "waited in vain for: $*"
}

listening() {
	kill -0 "$receiver" || fail "of-recv has ended"
	grep -qs listening recv.log
}

all_arrived() {
	[ "$(wc -l <verified)" -ge "$sent" ]
}

echo "A key, and whom the victims should write to:"
of-key new --email noc@example.net --identity "Example Net"

mkfifo pipe
port=$("$python" -c 'import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
of-recv -v -l "127.0.0.1:$port" --own 0.0.0.0/0 >pipe 2>recv.log &
receiver=$!
of-verify -v <pipe >verified 2>verify.log &
verifier=$!
await listening

echo
echo "of-decode flood.pcap.gz | of-sample -r 1/2000 | of-sign | of-send --to udp://127.0.0.1:$port"
of-decode -v "$capture" 2>decode.log |
	of-sample -v -r 1/2000 2>sample.log |
	of-sign -v 2>sign.log | tee signed |
	of-send -v --to "udp://127.0.0.1:$port" 2>send.log >deliveries || fail "the pipeline failed"
tail -qn 1 decode.log sample.log sign.log send.log
sent=$(wc -l <signed)
[ "$sent" -gt 0 ] || fail "nothing was sampled"
await all_arrived

echo
echo "of-recv -l 127.0.0.1:$port | of-verify"
kill "$receiver"
wait "$receiver" || fail "of-recv failed"
wait "$verifier" || fail "of-verify failed"
receiver=
verifier=
tail -qn 1 recv.log verify.log
sed 's/,"verified":{[^}]*}}$/}/' verified | sort >arrived
sort signed | cmp -s - arrived || fail "what arrived is not what was signed"

echo
echo "The report on the largest flow among them in full, and what that and others say:"
"$python" - verified <<'END'
import json, sys

with open(sys.argv[1]) as lines:
    reports = sorted(map(json.loads, lines), key=lambda report: -report["flowdata"]["data"]["pcount"])
print(json.dumps(reports[0], indent=2))
for report in reports[:8]:
    flow, about = report["flowdata"]["data"], report["metadata"]
    print("to {to} ({role}): ".format(**about), end="")
    print("{saddr} port {sport} -> {daddr} port {dport}, {pcount} packets".format(**flow), end="")
    print(f", noticed with probability {about['p_ppt'] / 1e12:.4f}")
END
echo
echo "$sent reports were signed, sent, received and verified."
