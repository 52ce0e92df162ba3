"""What a receiver makes of a genuine report: by policy, by keyring and by our own records of flows, as far as given."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from overflowd_tools.trust.corroboration import Own, OwnFlows
from overflowd_tools.trust.events import Sighting
from overflowd_tools.trust.keyring import Keyring
from overflowd_tools.trust.policy import Policy
from overflowd_tools.trust.reputation import Numbers, why_too_low
from overflowd_tools.trust.update import Update, Verdict

_RECIPIENTS = 10_000


class Judgement(NamedTuple):
    """What becomes of a report."""

    reason: str | None
    """Why it is not passed on, or None."""
    mark: bytes
    """What is to be known about one that is: members of a JSON object, without its braces."""


class Judge:
    """Judges reports whose signature and times are good."""

    def __init__(
        self, policy: Policy, required: str | None, keyring: Keyring | None = None, own: OwnFlows | None = None
    ) -> None:
        """Take what there is; required is the state that keys must have, by default what the policy accepts."""
        self._policy = policy
        self._required = required or policy.required["accept"]
        self._keyring = keyring
        self._own = own
        self._passes: dict[tuple[str, str], Judgement] = {}
        self._numbers: dict[tuple[str, int, str], Numbers] = {}

    @contextmanager
    def session(self, now_ms: int) -> Iterator[Callable[[Sighting, dict[str, Any], str], Judgement]]:
        """Return what judges a report on a flow (overflowd-report(5), member data) to this end of it.

        What reports have taught is on the disk when the session ends, so none is passed on before. now_ms: Unix
        milliseconds. Raises KeyFileError.
        """
        if self._keyring is None:
            yield lambda seen, flow, role: self._judge(None, seen, flow, role, now_ms)
            return
        with self._keyring.update(now_ms) as update:
            yield lambda seen, flow, role: self._judge(update, seen, flow, role, now_ms)

    def _judge(self, update: Update | None, seen: Sighting, flow: dict[str, Any], role: str, now_ms: int) -> Judgement:
        reason = self._policy.why_not(seen.key, seen.to, now_ms)
        if reason:
            return Judgement(reason, b"")
        own = self._own.find(flow, seen.time_ms) if self._own else None
        if own:
            contradicted = own.verdict == "absent" and role == "dst" and self._policy.unsampled
            seen = seen._replace(confirmed=own.digest, contradicted=contradicted)
        verdict = self._verdict(update, seen, now_ms)
        return Judgement(verdict.reason, b"") if verdict.reason else self._pass(verdict.state, own)

    def _verdict(self, update: Update | None, seen: Sighting, now_ms: int) -> Verdict:
        settled = self._policy.state(seen.key, "")
        if update:
            fresh = seen.expires_ms is None or seen.expires_ms >= now_ms
            verdict = update.judge(seen, self._required, settled, enter=fresh)
            self._remember(update, seen)
            return verdict
        state = settled or "unknown"
        return Verdict(state, why_too_low(state, self._required))

    def missing(self) -> list[tuple[int, str, int, str]]:
        """Return (how many reports are missing, key, epoch, recipient) for what came in this run, the largest first.

        Of more than 10000 recipients, those that came first are not shown.
        """
        found = ((numbers.missing, *series) for series, numbers in self._numbers.items())
        return sorted((gap for gap in found if gap[0]), reverse=True)

    def _remember(self, update: Update, seen: Sighting) -> None:
        numbers = update.numbers_of(seen) if seen.seq else None
        if numbers:
            self._numbers[seen.key.text, seen.epoch, seen.to] = numbers
            if len(self._numbers) > _RECIPIENTS:
                del self._numbers[next(iter(self._numbers))]

    def _pass(self, state: str, own: Own | None) -> Judgement:
        verdict = own.verdict if own else ""
        if (state, verdict) not in self._passes:
            mark = {"state": state, "for": self._policy.uses(state), **({"own": verdict} if verdict else {})}
            self._passes[state, verdict] = Judgement(None, json.dumps(mark, separators=(",", ":")).encode()[1:-1])
        return self._passes[state, verdict]
