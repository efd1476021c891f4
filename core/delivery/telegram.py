"""Telegram: the Bot API's sendMessage and sendDocument (core.telegram.org/bots/api)."""

from __future__ import annotations

import json

from core.delivery import addresses, posting
from core.errors import ServiceUnavailable
from core.schemas.reports import Report

#: characters of a message, and of the words beside a file
MOST, MOST_BESIDE = 4096, 1024


def send_telegram(
    base_url: str, token: str, chat: str, text: str, timeout_s: float, attachment: Report | None = None
) -> None:
    """One try; plain text, cut at 4,096 characters, or a document with a caption, cut at 1,024.

    The Bot API knows no key for repeated requests: a try whose answer was lost may be shown twice.
    ServiceUnavailable: try again (429 says after how long); Refused: never.
    """
    method = "sendMessage" if attachment is None else "sendDocument"
    place = addresses.parsed(f"{base_url.rstrip('/')}/bot{token}/{method}")
    body, kind = _message(chat, text) if attachment is None else _document_of(chat, text, attachment)
    who = "Telegram"
    found = addresses.resolved(place.host, place.port)
    answer = posting.post(place, found, body, {"Content-Type": kind}, timeout_s, who)
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


def _message(chat: str, text: str) -> tuple[bytes, str]:
    asked = {"chat_id": chat, "text": _cut(text, MOST), "disable_web_page_preview": True}
    return json.dumps(asked, ensure_ascii=False).encode(), "application/json"


def _document_of(chat: str, text: str, file: Report) -> tuple[bytes, str]:
    import httpx2

    form = httpx2.Request(
        "POST",
        "http://form.invalid",
        data={"chat_id": chat, "caption": _cut(text, MOST_BESIDE)},
        files={"document": (file.name, file.content, file.media_type)},
    )
    return form.read(), form.headers["Content-Type"]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _document(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
