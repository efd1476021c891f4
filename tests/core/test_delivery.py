"""One try at each way out, against real servers on loopback: what is taken, tried again, given up, and never shown."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from bench._receiver import Receiver
from core.delivery import addresses, signing
from core.delivery.senders import Message, Senders, shown
from core.delivery.webhook import send_webhook
from core.errors import InvalidInput, NotConfigured, Refused, ServiceUnavailable
from core.schemas.alerts import Target
from core.settings import AlertSettings
from tests.core.mail_server import MailServer

MESSAGE = Message("d1", "[high] a rule\nin @town", "It fell.\nBy a third.", '{"id": "d1"}')
NOW = 1_700_000_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    made = MailServer()
    yield made
    made.close()


def settings(**changes: Any) -> AlertSettings:
    base: dict[str, Any] = {
        "webhook_secret": SecretStr("hook-secret"),
        "telegram_token": SecretStr("123:token-secret"),
        "smtp_host": "127.0.0.1",
        "smtp_security": "none",
        "allow_private": True,
        "timeout_s": 5.0,
    }
    return AlertSettings(**base | changes)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.5.5", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(text: str) -> None:
    assert not addresses.public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(text: str) -> None:
    assert addresses.public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.com/x", "begins with"),
        ("example.com", "begins with"),
        ("https://", "begins with"),
        ("https://user:secret@example.com/", "user or password"),
        ("https://example.com:99999/", "cannot be read"),
        ("https://example.com/…", "ASCII"),
        ("https://example.com/a b", "ASCII"),
    ],
)
def test_addresses_that_no_webhook_can_have(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as wrong:
        addresses.parsed(url)
    assert "secret" not in wrong.value.message


def test_a_webhook_to_a_private_address_is_refused_unless_allowed(receiver: Receiver) -> None:
    for url in (receiver.url, "http://localhost:1/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/"):
        with pytest.raises(Refused, match="not a public address") as refused:
            Senders(settings(allow_private=False)).check(Target("webhook", url))
        assert "ALLOW_PRIVATE" in refused.value.message
        Senders(settings()).check(Target("webhook", url))
    assert receiver.requests == []


def test_a_name_is_looked_up_again_at_send_time_and_the_address_that_was_checked_is_asked(receiver: Receiver) -> None:
    answers = [("8.8.8.8",), ("127.0.0.1",)]  # a name that changes its mind after it was checked
    senders = Senders(settings(allow_private=False), resolve=lambda host, port: answers.pop(0))
    target = Target("webhook", f"http://hooks.example:{receiver.port}/x")
    senders.check(target)
    with pytest.raises(Refused, match=r"hooks\.example is at 127\.0\.0\.1"):
        senders.send(target, MESSAGE, NOW)
    assert receiver.requests == []
    # Where private addresses are allowed, the connection goes to the address found, under the name that was asked for.
    Senders(settings(), resolve=lambda host, port: ("127.0.0.1",)).send(target, MESSAGE, NOW)
    assert receiver.requests[0][1]["host"] == f"hooks.example:{receiver.port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    senders = Senders(settings(allow_private=False), resolve=lambda host, port: ("8.8.8.8", "10.0.0.1"))
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        senders.check(Target("webhook", "https://hooks.example/"))


def test_a_host_that_does_not_exist_is_wrong_when_a_rule_is_made_and_temporary_when_it_is_told() -> None:
    def unknown(host: str, port: int) -> tuple[str, ...]:
        raise ServiceUnavailable(f"the host {host} cannot be resolved")

    senders = Senders(settings(), resolve=unknown)
    target = Target("webhook", "https://hooks.invalid/")
    with pytest.raises(InvalidInput, match="cannot be resolved"):
        senders.check(target)
    with pytest.raises(ServiceUnavailable):
        senders.send(target, MESSAGE, NOW)


# ---------------------------------------------------------------- webhooks


def hook(receiver: Receiver, **changes: Any) -> None:
    given: dict[str, Any] = {"delivery_id": "d1", "timestamp": NOW, "secret": "hook-secret"}
    given |= {"allow_private": True, "timeout_s": 5.0}
    send_webhook(receiver.url, b'{"a": 1}', **given | changes)


def test_a_webhook_is_signed_dated_and_named(receiver: Receiver) -> None:
    hook(receiver)
    ((path, headers, body),) = receiver.requests
    assert (path, body) == ("/hook/s3cret?key=s3cret", b'{"a": 1}')
    assert (headers["webhook-id"], headers["idempotency-key"], headers["webhook-timestamp"]) == ("d1", "d1", str(NOW))
    assert signing.genuine("hook-secret", headers, body, NOW + 10)
    for changed in (
        signing.genuine("other", headers, body, NOW),
        signing.genuine("hook-secret", headers, body + b" ", NOW),
        signing.genuine("hook-secret", {**headers, "webhook-id": "d2"}, body, NOW),
        signing.genuine("hook-secret", headers, body, NOW + 3600),
        signing.genuine("hook-secret", {}, body, NOW),
    ):
        assert not changed


def test_signatures_are_those_of_the_standard() -> None:
    # The example of the Standard Webhooks specification's reference implementations.
    body = b'{"test": 2432232314}'
    found = signing.headers("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    with pytest.raises(InvalidInput, match="base64"):
        signing.headers("whsec_!!", "x", 1, b"")


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_answers_that_may_change_are_tried_again(receiver: Receiver, status: int) -> None:
    receiver.answer = (status, {"Retry-After": "77"}, b"")
    with pytest.raises(ServiceUnavailable, match=str(status)) as again:
        hook(receiver)
    assert again.value.details["retry_after_s"] == 77.0
    assert "s3cret" not in again.value.message


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410])
def test_answers_that_will_not_change_are_final_and_nothing_is_followed(receiver: Receiver, status: int) -> None:
    receiver.answer = (status, {"Location": "http://127.0.0.1:1/"}, b"")
    with pytest.raises(Refused, match=str(status)):
        hook(receiver)
    assert len(receiver.requests) == 1


def test_nobody_there_is_temporary_and_shows_no_secret() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/s3cret"
        with pytest.raises(ServiceUnavailable, match="does not answer: ConnectError") as again:
            Senders(settings()).send(Target("webhook", url), MESSAGE, NOW)
    assert "s3cret" not in str(again.value)


def test_a_receiver_that_drips_is_given_up_within_the_deadline() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        ended = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        threading.Thread(target=drip, daemon=True).start()
        begun = time.monotonic()
        target = Target("webhook", f"http://127.0.0.1:{server.getsockname()[1]}/")
        with pytest.raises(ServiceUnavailable):
            Senders(settings(timeout_s=0.4)).send(target, MESSAGE, NOW)
        assert time.monotonic() - begun < 3
        ended.set()


# ---------------------------------------------------------------- Telegram


def bot(receiver: Receiver) -> Senders:
    return Senders(settings(telegram_url=f"http://127.0.0.1:{receiver.port}"))


def test_a_telegram_message_is_plain_text_to_a_chat(receiver: Receiver) -> None:
    bot(receiver).send(Target("telegram", "-100123"), MESSAGE, NOW)
    ((path, _, body),) = receiver.requests
    assert path == "/bot123:token-secret/sendMessage"
    document = json.loads(body)
    assert (document["chat_id"], document["text"]) == ("-100123", MESSAGE.text)
    bot(receiver).send(Target("telegram", "-100123"), Message("d", "s", "ж" * 5000, "{}"), NOW)
    assert len(json.loads(receiver.requests[1][2])["text"]) == 4096


def test_telegram_says_when_to_come_again_and_the_token_is_in_no_message(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = {"ok": False, "error_code": 429, "description": "Too Many", "parameters": {"retry_after": 17}}
    receiver.answer = (429, {}, json.dumps(said).encode())
    with pytest.raises(ServiceUnavailable) as again:
        bot(receiver).send(Target("telegram", "@town"), MESSAGE, NOW)
    assert again.value.details["retry_after_s"] == 17.0
    said = {"ok": False, "description": "Bad Request: chat not found for 123:token-secret"}
    receiver.answer = (400, {}, json.dumps(said).encode())
    with pytest.raises(Refused, match="chat not found") as final:
        bot(receiver).send(Target("telegram", "@town"), MESSAGE, NOW)
    assert "token-secret" not in str(final.value)
    assert "token-secret" not in caplog.text


# ---------------------------------------------------------------- mail


def post(mail: MailServer, **changes: Any) -> Senders:
    return Senders(settings(smtp_port=mail.port, **changes))


def test_a_mail_has_one_subject_line_and_the_deliverys_id(mail: MailServer) -> None:
    post(mail, smtp_from="bot@example.org").send(Target("email", "me@example.org"), MESSAGE, NOW)
    (got,) = mail.taken
    assert got["Subject"] == "[high] a rule in @town"
    assert got["Message-ID"] == "<d1@example.org>"
    assert (got["To"], got["From"]) == ("me@example.org", "bot@example.org")
    assert got.get_payload().splitlines() == MESSAGE.text.splitlines()


def test_a_login_is_made_where_it_is_set(mail: MailServer) -> None:
    post(mail, smtp_user="u", smtp_password=SecretStr("pass-secret")).send(Target("email", "a@b.c"), MESSAGE, NOW)
    assert len(mail.logins) == len(mail.taken) == 1


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"RCPT": "550 no such user s3cret"}, Refused),
        ({"RCPT": "451 later"}, ServiceUnavailable),
        ({"MAIL": "421 busy"}, ServiceUnavailable),
        ({"TAKE": "452 no room"}, ServiceUnavailable),
        ({"TAKE": "554 no"}, Refused),
        ({"AUTH": "535 wrong pass-secret"}, Refused),
    ],
)
def test_a_mail_servers_no_is_final_or_not(mail: MailServer, answers: dict[str, str], kind: type[Exception]) -> None:
    mail.answers = answers
    with pytest.raises(kind, match="the mail server answered") as no:
        post(mail, smtp_user="u", smtp_password=SecretStr("pass-secret")).send(Target("email", "a@b.c"), MESSAGE, NOW)
    assert "secret" not in str(no.value)
    assert "s3cret" not in str(no.value)
    assert mail.taken == []


def test_a_server_that_does_not_say_goodbye_has_taken_it(mail: MailServer) -> None:
    mail.answers = {"QUIT": "500 what?"}
    post(mail).send(Target("email", "a@b.c"), MESSAGE, NOW)
    assert len(mail.taken) == 1


def test_a_server_without_starttls_gets_nothing_in_clear(mail: MailServer) -> None:
    mail.answers = {}
    with pytest.raises(Refused, match="STARTTLS"):
        post(mail, smtp_security="starttls").send(Target("email", "a@b.c"), MESSAGE, NOW)
    assert mail.taken == []


# ---------------------------------------------------------------- what is set up


@pytest.mark.parametrize(
    ("target", "setting"),
    [
        (Target("webhook", "https://example.com/"), "WEBHOOK_SECRET"),
        (Target("telegram", "1"), "TELEGRAM_TOKEN"),
        (Target("email", "a@b.c"), "SMTP_HOST"),
    ],
)
def test_what_nobody_set_up_is_named(target: Target, setting: str) -> None:
    bare = Senders(AlertSettings())
    with pytest.raises(NotConfigured, match=setting):
        bare.check(target)
    with pytest.raises(NotConfigured, match=setting):
        bare.send(target, MESSAGE, NOW)
    bare.check(Target("log"))


@pytest.mark.parametrize(
    "target",
    [
        Target("telegram", "my chat"),
        Target("email", "nobody"),
        Target("email", "a@b.c, d@e.f"),
        Target("email", "a@b\n"),
    ],
)
def test_addresses_that_cannot_be_one(target: Target) -> None:
    with pytest.raises(InvalidInput):
        Senders(settings()).check(target)


def test_what_is_shown_of_an_address_holds_no_key() -> None:
    assert shown(Target("webhook", "https://h.example:8443/T0/B1/abc?k=v")).address == "https://h.example:8443/…"
    assert shown(Target("webhook", "https://h.example")).address == "https://h.example"
    assert shown(Target("telegram", "12")).address == "12"
    text = repr(settings(smtp_password=SecretStr("pass-secret")))
    assert [secret for secret in ("hook-secret", "token-secret", "pass-secret") if secret in text] == []
