"""Webhooks: JSON, signed, posted to an address that is looked at again with every try."""

from __future__ import annotations

from core.delivery import addresses, posting, signing
from core.delivery.addresses import Resolver, resolved


def send_webhook(
    url: str,
    body: bytes,
    *,
    delivery_id: str,
    timestamp: int,
    secret: str,
    allow_private: bool,
    timeout_s: float,
    resolve: Resolver = resolved,
) -> None:
    """One try. The id stays the same in every try, so a receiver that keeps ids takes each delivery once.

    Returns once a 2xx was read. ServiceUnavailable: try again; Refused: never (a private address, most 4xx).
    """
    place = addresses.parsed(url)
    who = f"the webhook at {place.host}"
    found = addresses.permitted(place, allow_private, resolve)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "AnalyticBot",
        "Idempotency-Key": delivery_id,
        **signing.headers(secret, delivery_id, timestamp, body),
    }
    problem = posting.refusal(posting.post(place, found, body, headers, timeout_s, who), who)
    if problem is not None:
        raise problem
