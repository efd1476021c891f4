"""Sending to the outside world: webhooks, Telegram chats, mail and the log. One call is one try.

A try that may be repeated raises ServiceUnavailable (`retry_after_s` in its details where the receiver said so), one
that never will be taken raises Refused. What is secret in an address is in no message.
"""
