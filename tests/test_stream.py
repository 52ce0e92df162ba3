"""The owner of descriptors: pieces of any size, compressed input, long lines, blocking, signals, broken outputs."""

import fcntl
import gzip
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import zlib
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overflowd_tools import decompression, stream
from overflowd_tools.blocks import LINE_LIMIT
from overflowd_tools.errors import DecodeError, UsageError
from overflowd_tools.stream import READ_SIZE, WRITE_SIZE

TOP = Path(__file__).resolve().parents[1]
TEXT = b"".join(b'{"line":%d}\n' % number for number in range(20_000))
NOISE = random.Random(1).randbytes(100_000)


@pytest.fixture(scope="module")
def stop():
    """One for all tests of a module that never fire it; two descriptors each would add up."""
    return stream.StopSignals()


class Told:
    """An Input over a descriptor, and what it told of itself."""

    def __init__(self, descriptor: int, stop, name="input", progressed=None):
        self.rejected = []
        self.failed = []
        self.flushes = 0
        self.input = stream.Input(
            name,
            descriptor,
            stop=stop,
            before_blocking=self.flush,
            rejected=lambda place, reason: self.rejected.append((place, reason)),
            failed=self.failed.append,
            progressed=progressed,
        )

    def flush(self):
        self.flushes += 1


@contextmanager
def delivered(pieces: list[bytes]):
    """A descriptor of which each read gives one of the pieces (of at most 64 KiB), then nothing more."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def send():
        with writing:
            for piece in pieces:
                writing.sendall(piece)

    sender = threading.Thread(target=send)
    with reading:
        sender.start()
        yield reading.fileno()
        while reading.recv(READ_SIZE):
            pass
    sender.join()


def chunks_of(pieces: list[bytes], stop) -> tuple[list[bytes], Told]:
    with delivered([piece for piece in pieces if piece]) as descriptor:
        told = Told(descriptor, stop)
        return list(told.input.chunks()), told


def lines_of(pieces: list[bytes], stop) -> tuple[list[tuple[int, bytes]], list[tuple[str, str]]]:
    with delivered([piece for piece in pieces if piece]) as descriptor:
        told = Told(descriptor, stop)
        return list(told.input.lines()), told.rejected


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def every(size: int, data: bytes) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


cuts = st.lists(st.integers(0, 10**6), max_size=12)


# --- bytes


def test_pieces_come_as_they_are(stop):
    pieces = [b"a", b"bc", b"\0" * READ_SIZE, b"\n"]
    chunks, told = chunks_of(pieces, stop)
    assert chunks == pieces
    assert (told.rejected, told.failed) == ([], [])


def test_a_regular_file_is_read_in_bounded_pieces_and_without_flushes(tmp_path, stop):
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    seen = []
    with path.open("rb") as file:
        told = Told(file.fileno(), stop, progressed=seen.append)
        chunks = list(told.input.chunks())
    assert b"".join(chunks) == TEXT
    assert max(map(len, chunks)) == READ_SIZE
    assert seen == list(map(len, chunks))
    assert told.flushes == 0


def test_progress_counts_what_was_read_not_what_came_of_it(tmp_path, stop):
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(TEXT))
    seen = []
    with path.open("rb") as file:
        assert b"".join(Told(file.fileno(), stop, progressed=seen.append).input.chunks()) == TEXT
    assert sum(seen) == path.stat().st_size


def test_output_is_flushed_before_each_wait(stop):
    reading, writing = os.pipe()
    told = Told(reading, stop)
    chunks = told.input.chunks()
    try:
        os.write(writing, b"12345")
        assert next(chunks) == b"12345"
        assert told.flushes == 0
        for number in range(1, 4):
            answer = threading.Timer(0.05, os.write, (writing, b"67890"))
            answer.start()
            assert next(chunks) == b"67890"
            answer.join()
            assert told.flushes == number
        os.close(writing)
        assert list(chunks) == []
    finally:
        os.close(reading)


def test_what_cannot_be_read(stop, tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    write_only = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    for descriptor, reason in ((directory, "Is a directory"), (write_only, "Bad file descriptor")):
        told = Told(descriptor, stop)
        assert list(told.input.lines()) == []
        assert told.failed == [reason]
        assert told.rejected == []
    os.close(directory)
    os.close(write_only)


def test_pipes_become_a_mebibyte_and_never_smaller(stop):
    reading, writing = os.pipe()
    stream.Output(writing)
    assert fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) == 1 << 20
    os.close(writing)
    assert list(Told(reading, stop).input.chunks()) == []
    os.close(reading)
    reading, writing = os.pipe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PIPE_SIZE", 4096)
        stream.Output(writing)
    assert fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) == 65536
    os.close(reading)
    os.close(writing)


def test_whether_output_is_a_pipe(tmp_path):
    reading, writing = os.pipe()
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    assert [stream.Output(descriptor).is_pipe for descriptor in (writing, file)] == [True, False]
    for descriptor in (reading, writing, file):
        os.close(descriptor)


def test_the_reading_side_asks_for_a_greater_pipe_too(stop):
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert list(Told(pipe.fileno(), stop).input.chunks()) == []
        assert fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) == 1 << 20


# --- compressed input


def zstd_library():
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return zstd


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zst(data: bytes, **options: int) -> bytes:
    zstd = zstd_library()
    given = {zstd.CompressionParameter[name]: value for name, value in options.items()}
    return zstd.compress(data, options={zstd.CompressionParameter.compression_level: 3, **given})


PACKERS = {"gzip": gz, "zstd": zst}
each_packer = pytest.mark.parametrize("name", PACKERS)


def unpacked(pieces: list[bytes]) -> tuple[bytes, str]:
    """What came out, and the complaint at its end."""
    out = []
    most = max(READ_SIZE, *map(len, pieces), 0)
    try:
        for chunk in decompression.decompressed(pieces):
            assert 0 < len(chunk) <= most
            out.append(chunk)
    except DecodeError as error:
        return b"".join(out), str(error)
    return b"".join(out), ""


@pytest.mark.parametrize("data", [b"", b"\x1f", b"\x1f\x8c12", b"\x28\xb5", b"\x28\xb5\x2f\xfe", b"(\xb5/", TEXT])
def test_what_is_not_compressed_passes(data):
    for size in (1, 3, 65536):
        assert unpacked(every(size, data)) == (data, "")


@each_packer
@pytest.mark.parametrize("size", [1, 2, 5, 1000, 65536])
def test_compressed_input(name, size):
    assert unpacked(every(size, PACKERS[name](NOISE + TEXT))) == (NOISE + TEXT, "")
    assert unpacked(every(size, PACKERS[name](b""))) == (b"", "")


@each_packer
@given(data=st.data())
@settings(max_examples=50)
def test_any_split_of_several_members(name, data):
    texts = data.draw(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
    packed = b"".join(map(PACKERS[name], texts)) + bytes(data.draw(st.integers(0, 600)))
    assert unpacked(split(packed, data.draw(cuts))) == (b"".join(texts), "")


@each_packer
def test_cut_at_every_octet(name):
    packed = PACKERS[name](TEXT[:500])
    whole = packed + packed
    for length in range(4, len(whole)):
        if length == len(packed):
            continue
        for size in (1, 65536):
            out, complaint = unpacked(every(size, whole[:length]))
            assert complaint == f"the {name} data end too early"
            assert (TEXT[:500] * 2).startswith(out)
            if length > len(packed):
                assert out.startswith(TEXT[:500])


@each_packer
def test_garbage_after_a_member(name):
    for garbage in (b"garbage", bytes(100) + b"garbage", b"\0" * 70_000 + b"x"):
        out, complaint = unpacked(every(1000, PACKERS[name](TEXT) + garbage))
        assert out == TEXT
        assert complaint.startswith(f"the {name} data ")


@each_packer
@given(data=st.data())
@settings(max_examples=100)
def test_damage_is_our_error_after_what_was_whole(name, data):
    packed = bytearray(PACKERS[name](TEXT[:3000] + NOISE[:300]))
    packed[data.draw(st.integers(4, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    out, complaint = unpacked(split(bytes(packed), data.draw(cuts)))
    assert complaint == "" or complaint.startswith(f"the {name} data ")
    assert "\n" not in complaint
    assert complaint or len(out) > 0


@each_packer
def test_a_bomb_comes_out_in_small_pieces(name):
    bomb = PACKERS[name](bytes(50 << 20))
    assert len(bomb) < 60_000
    sizes = [len(chunk) for chunk in decompression.decompressed([bomb])]
    assert sum(sizes) == 50 << 20
    assert max(sizes) <= READ_SIZE


def test_pieces_may_be_small_and_lose_nothing(monkeypatch):
    """The limit of a piece may be met just as the last octet goes in: then more comes out without more input."""
    monkeypatch.setattr(decompression, "PIECE", 7)
    packed = gz(b"a" * 300 + NOISE[:20] + b"b" * 300)
    for length in range(4, len(packed)):
        all_of_it = zlib.decompressobj(31).decompress(packed[:length])
        for size in (1, 1000):
            assert unpacked(every(size, packed[:length])) == (all_of_it, "the gzip data end too early")
    for pack in PACKERS.values():
        for data in (b"a" * 300, NOISE[:100]):
            assert unpacked(every(1000, pack(data))) == (data, "")


def test_zstd_frames_that_want_too_much_memory():
    wide = zst(NOISE * 200, window_log=24)
    out, complaint = unpacked([wide])
    assert out == b""
    assert complaint.startswith("the zstd data cannot be decompressed: ")
    assert "memory" in complaint
    assert unpacked([zst(NOISE * 200, window_log=23)]) == (NOISE * 200, "")


def test_zstd_without_a_library(monkeypatch, stop):
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    packed = zst_bytes()
    with pytest.raises(UsageError, match=r"zstd -dc FILE \|, or install overflowd-tools\[zstd\]"):
        list(decompression.decompressed([packed]))
    chunks, told = chunks_of([packed], stop)
    assert chunks == []
    assert len(told.failed) == 1
    assert "zstd -dc" in told.failed[0]


def zst_bytes() -> bytes:
    """A zstd frame of no content, by RFC 8878: magic, a header of one segment and size 0, one raw last block."""
    return b"\x28\xb5\x2f\xfd" + b"\x20\x00" + b"\x01\x00\x00"


def test_the_frame_made_by_hand_is_one():
    assert unpacked([zst_bytes()]) == (b"", "")


def test_a_library_of_python_itself_is_preferred(monkeypatch):
    """Python 3.14 has compression.zstd."""
    from types import ModuleType

    package = ModuleType("compression")
    package.zstd = zstd_library()
    monkeypatch.setitem(sys.modules, "compression", package)
    monkeypatch.setitem(sys.modules, "backports", None)
    assert unpacked([zst_bytes()]) == (b"", "")


def test_damaged_input_is_rejected_after_its_whole_lines(stop):
    packed = gz(TEXT)
    lines, rejected = lines_of(every(60_000, packed[: len(packed) // 2]), stop)
    assert len(lines) > 1000
    assert [line for _, line in lines[:-1]] == TEXT.split(b"\n")[: len(lines) - 1]
    assert rejected == [("", "the gzip data end too early")]


# --- lines


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\0", b"\xff", b" ", b"{}"]), max_size=40), cuts)
def test_any_split_gives_the_same_lines(stop, tokens, places):
    data = b"".join(tokens)
    expected = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    assert lines_of(split(data, places), stop) == (expected, [])


@given(st.lists(st.sampled_from([b"a", b"\n", b"bcd"]), max_size=40), cuts)
def test_blocks_are_whole_lines_and_all_of_the_input(stop, tokens, places):
    data = b"".join(tokens)
    with delivered([piece for piece in split(data, places) if piece]) as descriptor:
        blocks = list(map(bytes, Told(descriptor, stop).input.blocks()))
    assert b"".join(blocks) == data
    assert all(blocks)
    assert all(block.endswith(b"\n") for block in blocks[:-1])


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_byte_order_mark(stop, size):
    mark = b"\xef\xbb\xbf"
    assert lines_of(every(size, mark + b"a\n" + mark + b"b"), stop)[0] == [(1, b"a"), (2, mark + b"b")]
    assert lines_of(every(size, mark), stop)[0] == []
    assert lines_of(every(size, mark + b"\n\na"), stop)[0] == [(3, b"a")]
    assert lines_of(every(size, b"\n" + mark + b"a"), stop)[0] == [(2, mark + b"a")]


def test_a_lone_nul_is_a_line_like_others(stop):
    for data in (b"\0", b"a\n\0", b"a\n\0\n\0\0"):
        lines, rejected = lines_of([data], stop)
        assert [line for _, line in lines] == data.split()
        assert rejected == []


@pytest.mark.parametrize("size", [READ_SIZE, READ_SIZE - 1, 4001])
@pytest.mark.parametrize("extra", [-1, 0, 1, 2, READ_SIZE, 3 * LINE_LIMIT])
@pytest.mark.parametrize("before", [b"", b"first\n"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\nlast", b"\nlast\n"])
def test_lines_about_as_long_as_the_limit(stop, size, extra, before, after):
    long = b"x" * (LINE_LIMIT + extra)
    number = 1 + before.count(b"\n")
    lines, rejected = lines_of(every(size, before + long + after), stop)
    expected = [(1, b"first")] if before else []
    if extra <= 0:
        expected.append((number, long))
    if b"last" in after:
        expected.append((number + 1, b"last"))
    assert lines == expected
    assert rejected == ([(f"line {number}", "longer than 1 MiB")] if extra > 0 else [])


def test_the_newline_of_an_overlong_line_may_come_alone(stop):
    pieces = [*every(READ_SIZE, b"x" * (LINE_LIMIT + 1)), b"\n", b"y\n", *every(READ_SIZE, b"z" * LINE_LIMIT), b"\n"]
    lines, rejected = lines_of(pieces, stop)
    assert [(number, len(line)) for number, line in lines] == [(2, 1), (3, LINE_LIMIT)]
    assert rejected == [("line 1", "longer than 1 MiB")]


def test_several_overlong_lines_in_a_row(stop):
    long = b"x" * (LINE_LIMIT + 1) + b"\n"
    lines, rejected = lines_of(every(60_000, long * 3 + b"\n" + b"end"), stop)
    assert lines == [(5, b"end")]
    assert [place for place, _ in rejected] == ["line 1", "line 2", "line 3"]


# --- output


def test_output_goes_out_in_blocks():
    reading, writing = os.pipe()
    output = stream.Output(writing)
    output.write(b"a" * (WRITE_SIZE - 1))
    assert not select.select([reading], [], [], 0)[0]
    output.write(b"b")
    assert os.read(reading, 1 << 20) == b"a" * (WRITE_SIZE - 1) + b"b"
    output.write_all([b"c", b"d"])
    assert not select.select([reading], [], [], 0)[0]
    output.flush()
    output.flush()
    assert os.read(reading, 1 << 20) == b"cd"
    output.write_all([b"e"] * WRITE_SIZE)
    assert os.read(reading, 1 << 20) == b"e" * WRITE_SIZE
    output.write(b"f")
    output.finish()
    assert os.read(reading, 1 << 20) == b"f"
    os.close(reading)
    os.close(writing)


def drain(reading: int) -> bytes:
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def test_partial_writes_to_a_descriptor_that_does_not_block():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    output = stream.Output(writing)
    received = []
    reader = threading.Timer(0.05, lambda: received.append(drain(reading)))
    reader.start()
    data = NOISE * 30  # three times what the pipe holds
    output.write(data)
    os.close(writing)
    reader.join()
    assert received == [data]


def test_a_reader_that_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    output = stream.Output(writing)
    output.write(b"x")
    with pytest.raises(stream.OutputClosed):
        output.flush()
    output.finish()  # what could not be written is given up, and not tried again
    os.close(writing)


def test_a_full_disk():
    with open("/dev/full", "wb", buffering=0) as full:
        output = stream.Output(full.fileno(), "the log")
        with pytest.raises(stream.OutputError, match=r"^the log: No space left on device$"):
            output.write(b"x" * WRITE_SIZE)
        output.write(b"y")
        with pytest.raises(stream.OutputError, match=r"^the log: No space left on device$"):
            output.finish()
        output.finish()


def test_errors_that_come_with_the_close():
    descriptor = os.open(os.devnull, os.O_WRONLY)
    output = stream.Output(descriptor)
    os.close(descriptor)
    with pytest.raises(stream.OutputError, match=r"^standard output: Bad file descriptor$"):
        output.finish()


# --- signals


@pytest.fixture
def handlers():
    """Put the handlers of the test process back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield numbers
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_kills(handlers, number):
    fired = stream.StopSignals()
    fired.install()
    assert not fired
    assert fired.received is None
    assert not select.select([fired], [], [], 0)[0]
    os.kill(os.getpid(), number)
    assert fired
    assert fired.received == number
    assert select.select([fired], [], [], 0)[0]
    assert [signal.getsignal(each) for each in handlers] == [signal.SIG_DFL] * 3


def test_signals_that_the_parent_ignores_stay_ignored(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fired = stream.StopSignals()
    fired.install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not fired
    os.kill(os.getpid(), signal.SIGINT)
    assert fired.received == signal.SIGINT
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def stopped(after: int) -> stream.StopSignals:
    """A stop that comes when it has been asked about so many times: between any two system calls."""

    class Later(stream.StopSignals):
        asked = 0

        def __bool__(self):
            self.asked += 1
            if self.asked == after:
                self._handle(signal.SIGTERM, None)
            return super().__bool__()

    return Later()


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stop_ends_the_input_wherever_it_comes(handlers, after):
    """The pipe stays open: a read that nobody wakes would hang here."""
    reading, writing = os.pipe()
    os.write(writing, b"one\ntw")
    told = Told(reading, stopped(after))
    lines = list(told.input.lines())
    os.close(reading)
    os.close(writing)
    assert lines in ([], [(1, b"one")])
    assert (told.rejected, told.failed) == ([], [])


def test_a_stop_while_waiting(handlers):
    reading, writing = os.pipe()
    fired = stream.StopSignals()
    fired.install()
    os.write(writing, b"one\ntw")
    told = Told(reading, fired)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert list(told.input.lines()) == [(1, b"one")]
    os.close(reading)
    os.close(writing)


def test_a_stop_in_compressed_input_is_no_damage(handlers, tmp_path):
    path = tmp_path / "noise.gz"
    path.write_bytes(gz(random.Random(2).randbytes(300_000)))
    with path.open("rb") as file:
        told = Told(file.fileno(), stopped(3))
        out = b"".join(told.input.chunks())
    assert 0 < len(out) < 300_000
    assert told.rejected == []


def test_a_line_that_a_stop_cuts_is_dropped(handlers, tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(TEXT)
    with path.open("rb") as file:
        told = Told(file.fileno(), stopped(3))
        out = b"".join(map(bytes, told.input.blocks()))
    assert 0 < len(out) < len(TEXT)
    assert out == TEXT[: TEXT.rfind(b"\n", 0, 2 * READ_SIZE) + 1]


def test_die_by_where_a_signal_does_not_kill(handlers, monkeypatch):
    """Process 1 of a container survives what it does not handle; it exits as the shell would put it."""
    ended = []
    monkeypatch.setattr(os, "kill", lambda process, number: ended.append((process, number)))
    monkeypatch.setattr(os, "_exit", ended.append)
    stream.die_by(signal.SIGTERM)
    assert ended == [(os.getpid(), signal.SIGTERM), 128 + signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("blocked", [False, True])
def test_die_by(number, blocked):
    program = "import signal, sys\nfrom overflowd_tools import stream\n"
    if blocked:
        program += f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])\n"
    program += f"stream.die_by({int(number)})\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-number, b"", b"")


# --- closed standard descriptors


DESCRIPTORS = """
import os
from overflowd_tools import stream
stream.keep_standard_descriptors()
report = os.open("report", os.O_WRONLY | os.O_CREAT)
for descriptor in range(3):
    try:
        os.read(descriptor, 1) if descriptor == 0 else os.write(descriptor, b"")
        state = "open"
    except OSError as error:
        state = os.strerror(error.errno)
    os.write(report, f"{descriptor} {state}\\n".encode())
os.write(report, f"report {report > 2}".encode())
"""


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", ""])
def test_places_of_closed_descriptors_are_kept(tmp_path, closed):
    script = f'exec "$@" {closed}'
    subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-c", DESCRIPTORS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    bad = "Bad file descriptor"
    expected = ["0 " + (bad if "0<" in closed else "open"), "1 " + (bad if "1>" in closed else "open"), "2 open"]
    assert (tmp_path / "report").read_text().splitlines() == [*expected, "report True"]


# --- memory


PEAK = """
import sys
from overflowd_tools import stream
stop = stream.StopSignals()
source = stream.Input("-", 0, stop=stop, before_blocking=int, rejected=lambda *_: None, failed=print)
count = sum(1 for _ in getattr(source, sys.argv[1])())
print(count, *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(how: str, script: str) -> tuple[int, int]:
    """How many lines or chunks there were, and the peak memory in KiB, for what a Python script writes."""
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with writer, writer.stdout:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, how],
            stdin=writer.stdout,
            cwd=TOP,
            capture_output=True,
            timeout=120,
            check=True,
        )
    count, kib = done.stdout.split()
    return int(count), int(kib)


ENDLESS = "import os\nfor _ in range({}): os.write(1, {})\n"
BOMB = "import sys, zlib\nc = zlib.compressobj(9, wbits=31)\nw = sys.stdout.buffer.write\n"
BOMB += "for _ in range({}): w(c.compress(bytes(1 << 20)))\nw(c.flush())\n"


def test_memory_is_bounded():
    _, least = peak("lines", "print('{}')")
    room = 12 << 10
    count, most = peak("lines", ENDLESS.format(800, 'b"x" * 131072'))  # one line of 100 MiB
    assert (count, most < least + room) == (0, True)
    count, most = peak("lines", ENDLESS.format(1000, '(b"x" * 4095 + b"\\n") * 32'))  # 125 MiB of short ones
    assert (count, most < least + room) == (32_000, True)
    count, most = peak("chunks", BOMB.format(300))
    assert (count >= 300 << 4, most < least + room) == (True, True)
