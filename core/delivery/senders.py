"""Sends a message to a target of any kind, as the settings allow; says beforehand whether it could."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass

from core import telemetry
from core.delivery import addresses
from core.delivery.addresses import Resolver, resolved
from core.delivery.mail import MailServer, send_mail
from core.delivery.telegram import send_telegram
from core.delivery.webhook import send_webhook
from core.errors import InvalidInput, NotConfigured, ServiceUnavailable
from core.schemas.alerts import Target
from core.schemas.reports import Report
from core.settings import AlertSettings

_MAIL = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
_CHAT = re.compile(r"-?\d{1,20}|@[A-Za-z0-9_]{4,64}")

#: bytes of a file that go into a webhook's JSON; of a larger one it names where it can be read
MOST_INLINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent; each target takes the form that it can show."""

    id: str  # the same in every try
    subject: str
    text: str
    document: str  # JSON
    attachment: Report | None = None


@dataclass(frozen=True)
class Senders:
    """Every way out."""

    settings: AlertSettings
    resolve: Resolver = resolved

    def check(self, target: Target) -> None:
        """Whether a target could be told.

        InvalidInput: its address cannot be one; Refused: a webhook at a private address; NotConfigured: a setting is
        missing, and which.
        """
        if target.kind == "log":
            return
        if target.kind == "webhook":
            self._secret()
            place = addresses.parsed(target.address)
            try:
                addresses.permitted(place, self.settings.allow_private, self.resolve)
            except ServiceUnavailable as error:
                raise InvalidInput(error.message, field="targets") from error
        elif target.kind == "telegram":
            self._token()
            if not _CHAT.fullmatch(target.address):
                raise InvalidInput(
                    f"{target.address!r} is no Telegram chat: its number, or @name of a public one", field="targets"
                )
        else:
            self._server()
            if not _MAIL.fullmatch(target.address):
                raise InvalidInput(f"{target.address!r} is no mail address", field="targets")

    def send(self, target: Target, message: Message, timestamp: int) -> None:
        """One try; returns when it was taken. timestamp: epoch seconds now.

        ServiceUnavailable: try again; any other error of ours: it will never be taken as things are set up.
        """
        settings = self.settings
        if target.kind == "log":
            file = {} if message.attachment is None else {"file": message.attachment.name}
            telemetry.logger("alerts").warning("alert", delivery=message.id, subject=message.subject, **file)
        elif target.kind == "webhook":
            send_webhook(
                target.address,
                _body(message),
                delivery_id=message.id,
                timestamp=timestamp,
                secret=self._secret(),
                allow_private=settings.allow_private,
                timeout_s=settings.timeout_s,
                resolve=self.resolve,
            )
        elif target.kind == "telegram":
            send_telegram(
                settings.telegram_url,
                self._token(),
                target.address,
                message.text,
                settings.timeout_s,
                message.attachment,
            )
        else:
            send_mail(
                self._server(),
                target.address,
                message.subject,
                message.text,
                delivery_id=message.id,
                timestamp=timestamp,
                timeout_s=settings.timeout_s,
                attachment=message.attachment,
            )

    def _secret(self) -> str:
        if self.settings.webhook_secret is None:
            raise NotConfigured("webhooks are signed: set ANALYTICBOT_ALERTS__WEBHOOK_SECRET", setting="webhook_secret")
        return self.settings.webhook_secret.get_secret_value()

    def _token(self) -> str:
        if self.settings.telegram_token is None:
            raise NotConfigured(
                "Telegram needs a bot: set ANALYTICBOT_ALERTS__TELEGRAM_TOKEN", setting="telegram_token"
            )
        return self.settings.telegram_token.get_secret_value()

    def _server(self) -> MailServer:
        settings = self.settings
        if settings.smtp_host is None:
            raise NotConfigured("mail needs a server: set ANALYTICBOT_ALERTS__SMTP_HOST", setting="smtp_host")
        return MailServer(
            settings.smtp_host,
            settings.smtp_port,
            settings.smtp_security,
            settings.smtp_from,
            settings.smtp_user,
            settings.smtp_password,
        )


def _body(message: Message) -> bytes:
    """The document, with the file's bytes in it where they are few."""
    file = message.attachment
    if file is None or len(file.content) > MOST_INLINE:
        return message.document.encode()
    whole = {**json.loads(message.document), "content_base64": base64.b64encode(file.content).decode()}
    return json.dumps(whole, ensure_ascii=False).encode()


def shown(target: Target) -> Target:
    """A target without what may be secret in its address."""
    return Target("webhook", addresses.shortened(target.address)) if target.kind == "webhook" else target
