"""Every metric of the edge, declared once. Labels take few values: routes, codes, outcomes."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Counter(
    "ttv_http_requests_total", "Answered requests.", ("method", "route", "status")
)
REQUEST_SECONDS: Final = Histogram(
    "ttv_http_request_seconds",
    "From the first byte to the last of the answer.",
    ("route",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
SUBMITTED: Final = Counter(
    "ttv_jobs_submitted_total",
    "Submits by outcome: created, repeated, conflict, overloaded.",
    ("outcome",),
)
PRODUCED: Final = Counter(
    "ttv_edge_produced_total",
    "Records handed to Kafka by what they are and how it ended: acknowledged, failed, skipped.",
    ("record", "outcome"),
)
PRODUCER_REBUILDS: Final = Counter(
    "ttv_edge_producer_rebuilds_total", "Kafka producers thrown away after an error."
)
RELAYED: Final = Counter(
    "ttv_relay_sent_total", "Unconfirmed jobs and cancels that the relay sent again.", ("record",)
)
CREDENTIALS: Final = Counter(
    "ttv_credentials_total",
    "Credentials by kind (none, key, token) and outcome: accepted, refused, or what a token lacks.",
    ("kind", "outcome"),
)
JWKS_FETCHES: Final = Counter(
    "ttv_jwks_fetches_total", "Key sets of identity providers: fetched, failed.", ("outcome",)
)
CLOCK_SKEW: Final = Counter(
    "ttv_clock_skew_total", "Tokens of trusted issuers from further in the future than the leeway."
)
AUDITED: Final = Counter(
    "ttv_audit_events_total",
    "Events that the audit topic has, by kind. Alert on link.reissued, clock.skew, access.denied.",
    ("kind",),
)
FEED_EVENTS: Final = Counter(
    "ttv_feed_events_total", "Events taken from a feed, in committed batches.", ("feed",)
)
FEED_SKIPPED: Final = Counter(
    "ttv_feed_skipped_total", "Events of a kind this version does not know.", ("feed",)
)
FEED_UNREADABLE: Final = Counter(
    "ttv_feed_unreadable_total",
    "Unreadable records: the feed halts at one. Page someone.",
    ("feed",),
)
FEED_LAG: Final = Gauge("ttv_feed_lag_records", "Records behind the end of the log.", ("feed",))
PROGRESS_DROPPED: Final = Counter(
    "ttv_progress_dropped_total", "Progress reports that could not be read or stored."
)
LETTERS_REDRIVEN: Final = Counter(
    "ttv_letters_redriven_total",
    "Redrives of dead letters over HTTP by outcome: sent, ended, refused.",
    ("outcome",),
)
DELIVERIES: Final = Counter(
    "ttv_webhook_attempts_total",
    "Delivery attempts by outcome: delivered, retried, failed, gone, released (not made).",
    ("outcome",),
)
ENDPOINTS_DISABLED: Final = Counter(
    "ttv_webhook_endpoints_disabled_total",
    "Endpoints disabled by the sender: gone (410) or failing.",
    ("why",),
)
DELIVERY_SECONDS: Final = Histogram(
    "ttv_webhook_attempt_seconds", "How long a delivery attempt took."
)
DELIVERIES_IN_FLIGHT: Final = Gauge("ttv_webhook_in_flight", "Delivery attempts under way.")
ERASURES: Final = Counter(
    "ttv_erasures_total",
    "Passes over the objects of deleted jobs and expired videos: done or failed.",
    ("cause", "outcome"),
)
ERASED_OBJECTS: Final = Counter("ttv_erased_objects_total", "Objects deleted.", ("cause",))
PREVIEWS: Final = Counter(
    "ttv_previews_total",
    "Thumbnails and sheets asked for and not stored yet, by outcome: made, failed, busy.",
    ("outcome",),
)
BREAKER_STATE: Final = Gauge(
    "ttv_breaker_state",
    "Circuit breaker of a dependency: 0 closed, 1 half-open, 2 open.",
    ("dependency",),
)
DEPENDENCY_FAILURES: Final = Counter(
    "ttv_dependency_failures_total", "Uses of a dependency that failed.", ("dependency",)
)
DEPENDENCY_REJECTED: Final = Counter(
    "ttv_dependency_rejected_total",
    "Uses that were not tried: the breaker was open, or the bulkhead full.",
    ("dependency", "why"),
)
LIMITED: Final = Counter(
    "ttv_rate_limited_total",
    "Requests over a limit, by what is counted (peer, key, tenant, group, region) and class.",
    ("policy", "class"),
)
LIMITER_FALLBACKS: Final = Counter(
    "ttv_limiter_fallback_total", "Limits judged in memory, for the shared store was away."
)
REFUSED_CONNECTIONS: Final = Counter(
    "ttv_http_refused_total",
    "Ended before a route was found: full, busy, malformed, slow_head, slow_body, slow_reader.",
    ("why",),
)
PROMPTS: Final = Counter(
    "ttv_prompt_checks_total",
    "Prompts by what the checks found: passed, blocked, outlier, unchecked.",
    ("outcome",),
)
STREAMS: Final = Gauge("ttv_streams_open", "Event streams, and requests that wait for their job.")
STREAMS_ENDED: Final = Counter(
    "ttv_streams_ended_total",
    "Event streams by why they ended: terminal, slow, gone, revoked, shutdown.",
    ("why",),
)
STREAM_FAILURES: Final = Counter(
    "ttv_stream_watch_failures_total", "Times that the watch over the database had to begin again."
)
