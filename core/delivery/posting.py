"""One HTTP POST to an address that was decided before, within one deadline, following nothing."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from core.delivery.addresses import Place
from core.errors import Refused, ServiceUnavailable

#: of an answer no more is read
ANSWER_BYTES = 65_536
#: answers that may be others the next time, beside all from 500 on
_TEMPORARY = frozenset({408, 409, 421, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(
    place: Place, addresses: Sequence[str], body: bytes, headers: Mapping[str, str], timeout_s: float, who: str
) -> Answer:
    """Connect to the first address that takes a connection and post; TLS is checked for the host's name.

    who: the receiver as messages name it. ServiceUnavailable without an answer in time: it may have been taken.
    """
    found: list[Answer | Exception] = []

    def exchange() -> None:
        try:
            found.append(_exchange(place, addresses, body, headers, timeout_s))
        except Exception as error:  # handed to the thread that waits
            found.append(error)

    # A receiver that sends a byte now and then passes every timeout of a socket: the whole try is bounded here.
    thread = threading.Thread(target=exchange, name="post", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not found:
        raise ServiceUnavailable(f"{who} gave no answer within {timeout_s:g} s")
    answer = found[0]
    if isinstance(answer, Answer):
        return answer
    import httpx2

    if isinstance(answer, httpx2.HTTPError | OSError):
        # Of the error only its kind: its text may name the address, and the address may hold a key.
        raise ServiceUnavailable(f"{who} does not answer: {type(answer).__name__}") from None
    raise answer


def refusal(answer: Answer, who: str, said: str = "") -> Refused | ServiceUnavailable | None:
    """What an answer means for another try; None: it was taken. Redirects are not followed and never taken."""
    if 200 <= answer.status < 300:
        return None
    text = f"{who} answered {answer.status}" + (f": {said}" if said else "")
    if answer.status >= 500 or answer.status in _TEMPORARY:
        after = _seconds(answer.headers.get("retry-after", ""))
        return ServiceUnavailable(text, **({} if after is None else {"retry_after_s": after}))
    return Refused(text)


def _exchange(
    place: Place, addresses: Sequence[str], body: bytes, headers: Mapping[str, str], timeout_s: float
) -> Answer:
    import httpx2

    # The transport and not a client: a client writes every address that it asks into the log, and follows the
    # environment's proxies to addresses that nobody checked.
    limits = httpx2.Timeout(timeout_s).as_dict()
    last: Exception = ServiceUnavailable("no address")
    with httpx2.HTTPTransport(verify=_trusted(), trust_env=False) as transport:
        for address in addresses:
            host = f"[{address}]" if ":" in address else address
            request = httpx2.Request(
                "POST",
                f"{place.scheme}://{host}:{place.port}{place.path}",
                content=body,
                headers={"Host": place.netloc, **headers},
                extensions={"timeout": limits, "sni_hostname": place.host},
            )
            try:
                response = transport.handle_request(request)
            except httpx2.ConnectError as error:
                last = error
                continue
            try:
                return Answer(response.status_code, dict(response.headers), _beginning(response))
            finally:
                response.close()
    raise last


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that certificates are checked by; read once, which takes longer than a request."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


def _beginning(response: object) -> bytes:
    import httpx2

    assert isinstance(response, httpx2.Response)
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size >= ANSWER_BYTES:
            break
    return b"".join(parts)[:ANSWER_BYTES]


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() and len(text) <= 6 else None
