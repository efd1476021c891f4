"""Follows a roll-out until it is over: looks once a second, and shows a screen, or in a pipe a line for each change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live

from cluster.cli.rollout_pace import Glance
from cluster.cli.rollout_screen import line, screen
from cluster.client import Bot
from core.codec import to_plain
from core.errors import AnalyticBotError
from core.schemas.rollouts import RolloutEvent, RolloutPlan, RolloutStatus

#: Seconds between two looks.
EVERY_S = 1.0


@dataclass
class Watch:
    """What was seen of one roll-out so far.

    wait, clock: how seconds pass, and epoch seconds; a test passes its own.
    """

    bot: Bot
    rollout_id: str
    wait: Callable[[float], None]
    clock: Callable[[], float]
    last: Glance | None = None
    earlier: Glance | None = None  # the first look since the step and the holds are what they are
    events: tuple[RolloutEvent, ...] = ()
    plan: RolloutPlan | None = field(default=None)

    def looks(self) -> Iterator[tuple[RolloutStatus, bool]]:
        """The status at each look, and whether anything but figures changed since the one before; ends with it."""
        while True:
            status, now = self.bot.rollouts.get(self.rollout_id), self.clock()
            before = self.last.status if self.last is not None else None
            changed = before is None or _told(before) != _told(status)
            if before is None:
                self.plan = self._planned(status)
            if before is None or _standing(before) != _standing(status):
                self.earlier = Glance(now, status)
            self.last = Glance(now, status)
            yield status, changed
            if status.over:
                return
            self.wait(EVERY_S)

    def follow(self, out: Console, as_json: bool) -> RolloutStatus | None:
        """Show it until it is over, or until the person has seen enough (Ctrl-C); the last status seen."""
        with suppress(KeyboardInterrupt):
            if out.is_terminal and not as_json:
                self._live(out)
            else:
                for status, changed in self.looks():
                    if changed:
                        text = json.dumps(to_plain(status), ensure_ascii=False) if as_json else line(status, self.now)
                        out.print(text, markup=False, highlight=False, soft_wrap=True)
        return self.last.status if self.last is not None else None

    @property
    def now(self) -> float:
        """When it was last looked at."""
        return self.last.at if self.last is not None else self.clock()

    def _live(self, out: Console) -> None:
        with Live(console=out, auto_refresh=False) as live:
            for status, changed in self.looks():
                if changed:  # the log may be long: it is read when it says something new
                    self.events = self.bot.rollouts.events(self.rollout_id)
                drawn = screen(status, self.events, self.now, earlier=self.earlier, plan=self.plan)
                live.update(drawn, refresh=True)

    def _planned(self, status: RolloutStatus) -> RolloutPlan | None:
        """What is to be expected of its configuration; None where that cannot be told (yet)."""
        try:
            return self.bot.rollouts.plan(model=status.model, **to_plain(status.config))
        except AnalyticBotError:
            return None


def _told(status: RolloutStatus) -> tuple[object, ...]:
    """What a line says of it."""
    return status.phase, status.weight, status.observed_weight, status.holds, status.reason


def _standing(status: RolloutStatus) -> tuple[object, ...]:
    """While this stays, evidence grows at one pace."""
    return status.phase, status.step, status.holds
