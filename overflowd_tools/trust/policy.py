"""The policy of a receiver: which state of a key is enough for what, and what is settled about single keys.

A TOML file, all of it optional:

    [defaults]
    accept = "seen"
    export = "known"
    accuse = "pinned"

    [key."RW..."]
    state = "pinned"
    name = "Example Net"
    max_rate = 50
    prefixes = ["192.0.2.0/24"]

    [own]
    prefixes = ["192.0.2.0/24", "2001:db8::/32"]
    exporters = "unsampled"
"""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from overflowd_tools.errors import KeyFileError, UsageError
from overflowd_tools.trust.keys import PublicKey
from overflowd_tools.trust.reputation import RANK

USES = ("accept", "export", "accuse")
"""What reports may be used for: to be read at all, to be handed on, to blame somebody."""
_DEFAULTS = {"accept": "unknown", "export": "known", "accuse": "pinned"}
_SETTABLE = ("distrusted", "unknown", "seen", "known", "pinned")
_Networks = tuple[IPv4Network | IPv6Network, ...]


class KeyPolicy:
    """What is settled about one key."""

    __slots__ = ("_allowance", "_last_ms", "max_rate", "name", "prefixes", "state")

    def __init__(self, state: str, name: str, max_rate: float, prefixes: _Networks) -> None:
        self.state = state
        self.name = name
        self.max_rate = max_rate
        self.prefixes = prefixes
        self._allowance = max(max_rate, 1.0)
        self._last_ms: int | None = None

    def admits(self, now_ms: int) -> bool:
        """Tell whether one more report keeps within max_rate, with bursts of one second; count it if so."""
        if not self.max_rate:
            return True
        passed_ms = max(now_ms - self._last_ms, 0) if self._last_ms is not None else 0
        self._last_ms = now_ms
        self._allowance = min(self._allowance + passed_ms * self.max_rate / 1000, max(self.max_rate, 1.0))
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


class Policy(NamedTuple):
    """A policy; the defaults are those of a receiver who has none."""

    required: dict[str, str] = _DEFAULTS
    """Use -> state that is enough for it."""
    keys: dict[PublicKey, KeyPolicy] = {}  # noqa: RUF012 - nobody writes to it
    own: _Networks = ()
    unsampled: bool = False
    """Whether our own records have every flow."""

    def state(self, key: PublicKey, found: str) -> str:
        """Return the state that counts, where the keyring found this one; a revoked key stays so."""
        settled = self.keys.get(key)
        return settled.state if settled and settled.state and found != "revoked" else found

    def uses(self, state: str) -> list[str]:
        """Return for what a report of a key of this state may be used."""
        return [use for use in USES if RANK[state] >= RANK[self.required[use]]]

    def why_not(self, key: PublicKey, recipient: str, now_ms: int) -> str | None:
        """Return why a report to this recipient is against the policy, or None; it counts for max_rate."""
        if self.own and not _within(recipient, self.own):
            return "not ours: its recipient is in no prefix of [own]"
        settled = self.keys.get(key)
        if settled is None:
            return None
        if settled.prefixes and not _within(recipient, settled.prefixes):
            return "out of scope: its recipient is in no prefix that its key may speak about"
        return None if settled.admits(now_ms) else "over the rate that the policy allows its key"


def parse(text: str, name: str) -> Policy:
    """Read the policy in the text of a file of this name. Raises UsageError, naming the setting."""
    import tomllib

    try:
        settings = tomllib.loads(text)
        _known(settings, "", ("defaults", "key", "own"))
        defaults = _table(settings, "defaults")
        _known(defaults, "defaults.", USES)
        own = _table(settings, "own")
        _known(own, "own.", ("prefixes", "exporters"))
        exporters = own.get("exporters", "sampled")
        if exporters not in ("sampled", "unsampled"):
            raise UsageError('own.exporters is neither "sampled" nor "unsampled"')
        required = {use: _state(defaults, "defaults.", use, tuple(RANK)[2:], _DEFAULTS[use]) for use in USES}
        keys = {_key(text): _key_policy(text, settled) for text, settled in _table(settings, "key").items()}
        return Policy(required, keys, _prefixes(own, "own."), exporters == "unsampled")
    except (UsageError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}: {error}") from None


def _key(text: str) -> PublicKey:
    try:
        return PublicKey.parse(text)
    except KeyFileError as error:
        raise UsageError(f"key.{text}: {error}") from None


def _key_policy(text: str, settled: Any) -> KeyPolicy:
    place = f"key.{text}."
    if type(settled) is not dict:
        raise UsageError(f"key.{text} is not a table")
    _known(settled, place, ("state", "name", "max_rate", "prefixes"))
    rate = settled.get("max_rate", 0)
    if type(rate) not in (int, float) or not 0 < settled.get("max_rate", 1) < float("inf"):
        raise UsageError(f"{place}max_rate is not a number of reports a second above 0")
    name = settled.get("name", "")
    if type(name) is not str:
        raise UsageError(f"{place}name is not a string")
    return KeyPolicy(_state(settled, place, "state", _SETTABLE, ""), name, float(rate), _prefixes(settled, place))


def _state(table: dict[str, Any], place: str, name: str, choices: tuple[str, ...], default: str) -> str:
    state = table.get(name, default)
    if name in table and state not in choices:
        raise UsageError(f"{place}{name} is none of {', '.join(choices)}")
    return str(state)


def _prefixes(table: dict[str, Any], place: str) -> _Networks:
    texts = table.get("prefixes", [])
    if type(texts) is not list or not all(type(text) is str for text in texts):
        raise UsageError(f"{place}prefixes is not a list of strings")
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise UsageError(f"{place}prefixes: {error}") from None


def _table(settings: dict[str, Any], name: str) -> dict[str, Any]:
    table = settings.get(name, {})
    if type(table) is not dict:
        raise UsageError(f"{name} is not a table")
    return table


def _known(table: dict[str, Any], place: str, names: tuple[str, ...]) -> None:
    for name in table:
        if name not in names:
            raise UsageError(f"unknown setting {place}{name}; known here: {', '.join(names)}")


@lru_cache(maxsize=4096)
def _within(recipient: str, networks: _Networks) -> bool:
    if not recipient:
        return False
    address = ip_address(recipient)
    return any(address in network for network in networks)
