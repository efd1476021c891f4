"""Asks the running service for predictions, as a user's program would, and counts what it answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from cluster.client import Bot
from cluster.story.plan import Visit
from core.errors import Broken, InsufficientData


class Asker:
    """A few questions at a time.

    Every one carries a key, so that asking again after a cut connection gives the same answer and no second row.
    counts: answers by arm, and the code of each refusal.
    """

    def __init__(self, bot: Bot, *, at_a_time: int = 4) -> None:
        self.counts: Counter[str] = Counter()
        self._bot = bot
        self._pool = ThreadPoolExecutor(at_a_time, thread_name_prefix="ask")

    def ask(self, visits: Iterable[Visit]) -> None:
        """Ask all and wait for the answers; ServiceUnavailable when the service stays away."""
        self.counts.update(self._pool.map(self._ask, visits))

    def close(self) -> None:
        """Let the questions under way end."""
        self._pool.shutdown()

    def _ask(self, visit: Visit) -> str:
        try:
            answer = self._bot.predict(
                visit.channel,
                post_id=visit.post_id,
                known_age_h=visit.known_age_h,
                as_of=visit.as_of,
                key=visit.key,
            )
        except InsufficientData as gap:
            return gap.code
        except Broken as error:
            if error.code == Broken.code:  # neither version could answer; the log has the row
                return "failed"
            raise
        return answer.arm
