"""A small made-up audience whose rules the tests know."""

from __future__ import annotations

import numpy as np

from core.clock import DAY, HOUR
from core.history import ChannelHistory, HistoryBuilder
from core.schemas.channels import Channel
from core.schemas.models import TrainingProgress

START = 1_735_689_600  # 2025-01-01 00:00 UTC


def make_history(
    number: int = 1,
    *,
    posts: int = 120,
    seed: int = 1,
    per_day: float = 3.0,
    noise: float = 0.10,
    video_gain: float = 0.3,
    readings_h: tuple[float, ...] = (1, 4, 8, 12, 24, 36, 48, 60, 72, 84),
    album_every: int = 0,
    forwards: bool = False,
) -> ChannelHistory:
    """A channel where videos do better by `video_gain` (log) and early views tell most of the rest.

    forwards: each reading has them too, a share of the views that differs from post to post.
    """
    rng, of_forwards = np.random.default_rng([seed, number]), np.random.default_rng([seed, number, 1])
    builder = HistoryBuilder(Channel(number, "default", f"c{number}", "Europe/Berlin", "bundle", 1))
    size = 1000.0 * number
    at = START
    for post in range(1, posts + 1):
        at += int(rng.exponential(DAY / per_day)) + 60
        video = bool(rng.random() < 0.5)
        length = int(rng.integers(50, 800))
        builder.post(
            post,
            at,
            {"text_len": length, "n_words": length // 6, "is_ad": float(rng.random() < 0.1)},
            "video" if video else "photo",
            post - (post % album_every) if album_every else None,
        )
        top = size * np.exp(video_gain * video + noise * rng.standard_normal())
        slow = float(np.exp(0.05 * rng.standard_normal()))
        forwarded = 0.05 * float(np.exp(0.8 * of_forwards.standard_normal()))
        for age in readings_h:
            share = np.log1p(age) / np.log1p(72)
            views, ts = round(top * share**slow), at + int(age * HOUR)
            builder.reading(post, ts, views)
            if forwards:
                builder.count("forwards", post, ts, int(views * forwarded))
    for day in range(-40, 1 + (at - START) // DAY):
        builder.subscribers[START + day * DAY] = size * 5 + day
    return builder.build()


class QuietReporter:
    """Keeps what it was told; says stop after some number of reports, where asked to."""

    def __init__(self, stop_after: int | None = None, checkpoint: bytes | None = None) -> None:
        self.progress: list[TrainingProgress] = []
        self.checkpoints: list[bytes] = []
        self.stop_after = stop_after
        self.checkpoint = checkpoint

    def report(self, progress: TrainingProgress, checkpoint: bytes | None) -> None:
        self.progress.append(progress)
        if checkpoint is not None:
            self.checkpoints.append(checkpoint)

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.progress) >= self.stop_after

    def restored(self) -> bytes | None:
        return self.checkpoint
