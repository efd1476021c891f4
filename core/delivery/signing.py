"""Signatures of webhooks after the Standard Webhooks specification (standardwebhooks.com, version 1).

webhook-id, webhook-timestamp and the body, joined by dots, under HMAC-SHA256: a receiver knows that we sent it, when,
and which delivery it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from core.errors import InvalidInput

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
#: a signed request older than this should be refused: it may be a recording
TOLERANCE_S = 300
_PREFIX = "whsec_"


def headers(secret: str, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers. timestamp: epoch seconds of this try."""
    return {
        ID: delivery_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: f"v1,{_signature(secret, delivery_id, timestamp, body)}",
    }


def genuine(secret: str, found: dict[str, str], body: bytes, now: int) -> bool:
    """Whether a received request was signed with the secret, and lately; for receivers, and for tests of ours.

    found: its headers, names in lower case.
    """
    try:
        delivery_id, timestamp = found[ID], int(found[TIMESTAMP])
        given = found[SIGNATURE]
    except (KeyError, ValueError):
        return False
    wanted = f"v1,{_signature(secret, delivery_id, timestamp, body)}"
    lately = abs(now - timestamp) <= TOLERANCE_S
    return lately and any(hmac.compare_digest(wanted, one) for one in given.split(" "))


def _signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    content = f"{delivery_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(_key(secret), content, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise InvalidInput("the webhook secret after whsec_ is not base64", field="webhook_secret") from error
