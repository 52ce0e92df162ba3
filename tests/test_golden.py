"""Golden cases: tests/golden/COMMAND/CASE/cmd is run by bash, and stdout, stderr and status are as the files there say.

stdin is the standard input, if there is such a file. A case runs in an empty directory, with DATA for tests/data, the
key of the test vectors and a contact as its settings. `make golden` writes what the commands do now; git diff shows
what that changes.
"""

import subprocess
from pathlib import Path

import pytest
from harness import COMMANDS, DATA, SECONDS, TOP, environment

from overflowd_tools.trust.keyfiles import write_secret_key
from overflowd_tools.trust.keys import SecretKey

GOLDEN = TOP / "tests" / "golden"
CASES = sorted(path.parent for path in GOLDEN.glob("*/*/cmd"))
SEED = bytes(range(32))  # of the key in tests/data/vectors
SETTINGS = '[contact]\nemail = "noc@example.net"\nidentity = "Example Net"\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    settings = home / ".config" / "overflowd"
    write_secret_key(settings / "key", SecretKey.from_seed(SEED), None)
    (settings / "config.toml").write_text(SETTINGS)
    return home


def test_every_command_has_cases():
    assert {case.parent.name for case in CASES} == set(COMMANDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_golden(case, home, tmp_path, request):
    given = case / "stdin"
    done = subprocess.run(
        ["bash", "-o", "pipefail", str(case / "cmd")],
        input=given.read_bytes() if given.exists() else b"",
        cwd=tmp_path,
        env=environment(home, DATA=str(DATA), GOLDEN=str(GOLDEN)),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    found = {"stdout": done.stdout, "stderr": done.stderr, "status": b"%d\n" % done.returncode}
    if request.config.getoption("rewrite"):
        for name, data in found.items():
            (case / name).write_bytes(data)
    assert found == {name: (case / name).read_bytes() for name in found}
