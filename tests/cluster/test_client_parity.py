"""The awaited client asks exactly what the blocking one asks."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from typing import Any

import pytest

from cluster.client import asynchronous, sync
from cluster.client.calls import Call
from core.schemas.alerts import RuleSpec
from core.schemas.channels import PostDraft
from core.schemas.predictions import FeedbackItem, PredictionRequest
from core.schemas.report_schedules import ReportSpec

#: A value for every parameter that has no default.
VALUES: dict[str, Any] = {
    "metric": "posts",
    "post_id": 4,
    "at": 5,
    "channels": ["@x", "@y"],
    "number": 2,
    "first": 1,
    "second": 2,
    "keep": 3,
    "name": "champion",
    "expect": 1,
    "reason": "test",
    "task_id": "t1",
    "rollout_id": "r1",
    "workflow_id": "w1",
    "on": False,
    "action": "pause",
    "channel": "@x",
    "draft": PostDraft(text="x"),
    "prediction_id": "p1",
    "spec": RuleSpec("r", "threshold", "subscribers", threshold=100.0),
    "rule_id": "u1",
    "report": ReportSpec("r", ("@x",)),
    "schedule_id": "s1",
    "alert_id": "a1",
    "by": "me",
    "delivery_id": "d1",
    "requests": [PredictionRequest("@x", draft=PostDraft(text="x"))],
    "items": [FeedbackItem("p1", "rating", 5, "k")],
}
VIEWS = ("ChannelView", "Models", "Tasks", "Rollouts", "Workflows", "Alerts", "Reports", "WatchLists", "Links", "Bot")
OUTSIDE = {"close", "ready", "readiness", "health"}  # tested against a real server
CASES = [
    (view, name)
    for view in VIEWS
    for name, _ in inspect.getmembers(getattr(sync, view), inspect.isfunction)
    if not name.startswith("_") and name not in OUTSIDE
]


class _Asked(Exception):
    """Carries the question instead of sending it."""

    def __init__(self, call: Call[Any]) -> None:
        self.call = call


def question(module: Any, prefix: str, view: str, method: str) -> Call[Any]:
    kind = getattr(module, prefix + view)
    made = kind.__new__(kind)
    made.__dict__.update(name="@x", model="engagement")

    def send(call: Call[Any]) -> Any:
        raise _Asked(call)

    made._send = send
    ask = getattr(made, method)
    needed = [p for p in inspect.signature(ask).parameters.values() if p.default is p.empty and p.name in VALUES]
    arguments = {p.name: VALUES[p.name] for p in needed}
    with pytest.raises(_Asked) as asked:
        result = ask(**arguments)
        if inspect.isawaitable(result):
            asyncio.run(_awaited(result))
    return replace(asked.value.call, key=None)


async def _awaited(result: Any) -> Any:
    return await result


@pytest.mark.parametrize(("view", "method"), CASES)
def test_both_clients_ask_the_same(view: str, method: str) -> None:
    assert question(sync, "", view, method) == question(asynchronous, "Async", view, method)


def test_both_clients_have_the_same_methods_and_parameters() -> None:
    for view, method in CASES:
        blocking = inspect.signature(getattr(getattr(sync, view), method))
        awaited = inspect.signature(getattr(getattr(asynchronous, "Async" + view), method))
        assert list(blocking.parameters) == list(awaited.parameters), (view, method)
