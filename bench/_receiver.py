"""A webhook's receiver on loopback that fails as asked: before it takes a delivery, or after it took it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import numpy as np

Outcome = Literal["takes", "fails before", "fails after"]


def half(seed: int) -> Callable[[str], Outcome]:
    """Fails half of the requests, and of these half after it has taken the delivery."""
    rng, lock = np.random.default_rng(seed), threading.Lock()

    def decide(_delivery: str) -> Outcome:
        with lock:
            draw = rng.random()
        return "takes" if draw < 0.5 else "fails before" if draw < 0.75 else "fails after"

    return decide


class Receiver:
    """Keeps what it took by its key, as a receiver that knows repeated deliveries does."""

    def __init__(self, decide: Callable[[str], Outcome] = lambda _: "takes") -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []  # path, headers in lower case, body
        self.taken: Counter[str] = Counter()  # by key: how often it was handed over
        self.accepted: Counter[str] = Counter()  # by key: how often it was answered with 200
        self.after_accepted: Counter[str] = Counter()  # by key: requests that came after a 200
        self.answer: tuple[int, dict[str, str], bytes] | None = None  # in the place of what was decided
        lock, owner = threading.Lock(), self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                key = headers.get("webhook-id", "")
                with lock:
                    owner.requests.append((self.path, headers, body))
                    owner.after_accepted[key] += owner.accepted[key] > 0
                    outcome = decide(key)
                    owner.taken[key] += outcome != "fails before"
                    owner.accepted[key] += outcome == "takes" and owner.answer is None
                status, extra, said = owner.answer or (200 if outcome == "takes" else 503, {}, b"{}")
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        """Its address, with a secret in it."""
        return f"http://127.0.0.1:{self.port}/hook/s3cret?key=s3cret"

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
