"""A mail server on loopback that speaks as much SMTP as a sender needs, and refuses as asked."""

from __future__ import annotations

import socketserver
import threading
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any


class MailServer:
    """answers: command to the line that is said instead of yes."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.logins: list[str] = []
        self.answers: dict[str, str] = {}
        owner = self

        class Session(socketserver.StreamRequestHandler):
            def say(self, text: str) -> None:
                self.wfile.write(text.encode() + b"\r\n")

            def handle(self) -> None:
                self.say("220 here")
                while line := self.rfile.readline().decode().strip():
                    verb = line.split()[0].upper()
                    if verb in owner.answers:
                        self.say(owner.answers[verb])
                    elif verb == "EHLO":
                        self.say("250-here\r\n250 AUTH PLAIN")
                    elif verb == "AUTH":
                        owner.logins.append(line)
                        self.say("235 welcome")
                    elif verb == "DATA":
                        self.say("354 go on")
                        self.take()
                    elif verb == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 yes")

            def take(self) -> None:
                lines: list[bytes] = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line[1:] if line.startswith(b"..") else line)
                said = owner.answers.get("TAKE", "250 taken")
                if said.startswith("250"):
                    owner.taken.append(message_from_bytes(b"".join(lines), policy=default))
                self.say(said)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def close(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()
