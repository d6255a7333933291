"""When an issuer's keys are fetched and for how long they count. Pure: the clock is an argument.

A key id that is not known may be a new key: then the set is fetched, yet not more often than every
``min_interval``, whatever strangers send. The last good keys count while the issuer is away, for
at most ``keep``.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.identity.public_key import PublicKey


class KeyRing:
    """The keys of one issuer; all times are in seconds on one monotonic clock.

    Args:
        refresh: After this the set is fetched again, so that withdrawn keys stop counting.
        min_interval: Between two fetches.
        keep: For how long the last good keys count.
    """

    def __init__(self, refresh: float, min_interval: float, keep: float) -> None:
        self._refresh = refresh
        self._min_interval = min_interval
        self._keep = keep
        self._keys: Mapping[str, PublicKey] = {}
        self._loaded_at: float | None = None
        self._tried_at: float | None = None

    def find(self, key_id: str, now: float) -> PublicKey | None:
        """The key of that id, if it is known and counts."""
        if self._loaded_at is None or now - self._loaded_at > self._keep:
            return None
        return self._keys.get(key_id)

    def due(self, key_id: str, now: float) -> bool:
        """Whether the set is to be fetched, for a token that names ``key_id``."""
        if self._tried_at is not None and now - self._tried_at < self._min_interval:
            return False
        aged = self._loaded_at is None or now - self._loaded_at >= self._refresh
        return aged or self.find(key_id, now) is None

    def trying(self, now: float) -> None:
        """A fetch begins."""
        self._tried_at = now

    def loaded(self, keys: Mapping[str, PublicKey], now: float) -> None:
        """A fetch gave these keys, which replace those before."""
        self._keys, self._loaded_at = keys, now

    @property
    def away(self) -> bool:
        """Whether the last fetch gave nothing."""
        if self._tried_at is None:
            return False
        return self._loaded_at is None or self._loaded_at < self._tried_at
