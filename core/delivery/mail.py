"""Mail: one message through an SMTP server (RFC 5321), with an id by which mail programs know a repeated one."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from pydantic import SecretStr

from core.errors import Refused, ServiceUnavailable
from core.schemas.reports import Report


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and as whom."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    user: str | None = None
    password: SecretStr | None = None


def send_mail(
    server: MailServer,
    to: str,
    subject: str,
    text: str,
    *,
    delivery_id: str,
    timestamp: int,
    timeout_s: float,
    attachment: Report | None = None,
) -> None:
    """One try. Its Message-ID is the delivery's: most mail programs show a repeated message once; SMTP says nothing.

    ServiceUnavailable: try again (no connection, 4xx answers); Refused: never (5xx answers).
    """
    message = EmailMessage()
    message["From"], message["To"] = server.sender, to
    message["Subject"] = " ".join(subject.split())
    message["Date"] = format_datetime(datetime.fromtimestamp(timestamp, UTC))
    message["Message-ID"] = f"<{delivery_id}@{server.sender.rpartition('@')[2] or 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    if attachment is not None:
        main, _, sub = attachment.media_type.partition(";")[0].partition("/")
        message.add_attachment(attachment.content, maintype=main, subtype=sub, filename=attachment.name)
    try:
        _hand_over(server, message, timeout_s)
    except smtplib.SMTPRecipientsRefused as error:
        raise _problem(next(iter(error.recipients.values()))[0]) from None
    except smtplib.SMTPResponseException as error:
        raise _problem(error.smtp_code) from None
    except smtplib.SMTPNotSupportedError:
        raise Refused("the mail server does not offer what the settings ask for (STARTTLS or a login)") from None
    except (smtplib.SMTPException, OSError) as error:
        raise ServiceUnavailable(f"the mail server does not answer: {type(error).__name__}") from None


def _hand_over(server: MailServer, message: EmailMessage, timeout_s: float) -> None:
    if server.security == "tls":
        context = ssl.create_default_context()
        connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=timeout_s, context=context)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=timeout_s)
    try:
        if server.security == "starttls":
            connection.starttls(context=ssl.create_default_context())
        if server.user is not None and server.password is not None:
            connection.login(server.user, server.password.get_secret_value())
        connection.send_message(message)
    except BaseException:
        connection.close()
        raise
    # It was taken: a server that does not say goodbye nicely must not make it be sent again.
    try:
        connection.quit()
    except (smtplib.SMTPException, OSError):
        connection.close()


def _problem(code: int) -> Refused | ServiceUnavailable:
    text = f"the mail server answered {code}"
    return Refused(text) if code >= 500 else ServiceUnavailable(text)
