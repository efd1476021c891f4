"""Telegram: the Bot API's sendMessage (core.telegram.org/bots/api)."""

from __future__ import annotations

import json

from core.delivery import addresses, posting
from core.errors import ServiceUnavailable

#: characters of a message
MOST = 4096


def send_telegram(base_url: str, token: str, chat: str, text: str, timeout_s: float) -> None:
    """One try; plain text, cut at 4,096 characters.

    The Bot API knows no key for repeated requests: a try whose answer was lost may be shown twice.
    ServiceUnavailable: try again (429 says after how long); Refused: never.
    """
    place = addresses.parsed(f"{base_url.rstrip('/')}/bot{token}/sendMessage")
    cut = text if len(text) <= MOST else text[: MOST - 1].rstrip() + "…"
    body = json.dumps({"chat_id": chat, "text": cut, "disable_web_page_preview": True}, ensure_ascii=False).encode()
    who = "Telegram"
    found = addresses.resolved(place.host, place.port)
    answer = posting.post(place, found, body, {"Content-Type": "application/json"}, timeout_s, who)
    said = _document(answer.body)
    description = str(said.get("description", "")).replace(token, "…")[:200]
    problem = posting.refusal(answer, who, description)
    if problem is None:
        return
    parameters = said.get("parameters")
    after = parameters.get("retry_after") if isinstance(parameters, dict) else None
    if isinstance(problem, ServiceUnavailable) and isinstance(after, int):
        problem = ServiceUnavailable(problem.message, retry_after_s=float(after))
    raise problem


def _document(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
