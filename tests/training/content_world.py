"""Made-up channels whose readers like some words and dislike others: what a content model can and cannot learn."""

from __future__ import annotations

import numpy as np

from core.clock import DAY, HOUR
from core.history import ATTRIBUTES, ChannelHistory
from core.schemas.channels import Channel
from core.store.channels import PostCounts
from training.content.rows import ChannelPosts

START = 1_735_689_600
GAP = 6 * HOUR
LIKED, DISLIKED = ("победа праздник подарок ура", "авария штраф убытки скандал")
_WORDS = "сегодня город новости утром вечером люди дорога река погода школа завод парк улица дом театр"
FILLER = _WORDS.split()
FOREIGN = "股票 市场 今天 上涨 分析 报告 公司 利润 增长 预期"


def channel_posts(number: int, n: int, seed: int, *, telling: bool = True, topic: str = "") -> ChannelPosts:
    """n posts, one every six hours; every third text is liked, every third disliked, unless they tell nothing.

    Liked posts are also forwarded three times as often.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, n)
    texts, reactions = {}, {}
    for i, kind in enumerate(kinds):
        words = [*rng.choice(FILLER, 6), *([topic] if topic else [])]
        if telling and kind < 2:
            words += list(rng.choice((LIKED, DISLIKED)[kind].split(), 2))
        texts[i + 1] = " ".join(rng.permutation(words))
        liked = (0.95, 0.05, 0.5)[kind]
        ups = int(rng.binomial(40, liked))
        reactions[i + 1] = {"👍": ups, "👎": 40 - ups, "custom": 3}
    forwards = rng.poisson(np.where(kinds == 0, 30, 10)).astype(float)
    published = START + GAP * np.arange(n, dtype=np.int64)
    ids = np.arange(1, n + 1, dtype=np.int64)
    views = np.full(n, 1000.0)
    history = ChannelHistory(
        channel=Channel(number, "default", f"@c{number}", "UTC", "bundle", 1),
        post_ids=ids,
        published_at=published,
        attributes=np.full((n, len(ATTRIBUTES)), np.nan),
        media=np.array(["photo", "none"], dtype=object)[rng.integers(0, 2, n)],
        album_ids=np.full(n, -1, dtype=np.int64),
        offsets=np.arange(n + 1, dtype=np.int64),
        reading_ts=published + 2 * DAY,
        reading_views=views,
        reading_exact_time=np.ones(n, dtype=bool),
        subscriber_ts=np.zeros(0, dtype=np.int64),
        subscribers=np.zeros(0),
    )
    counts = PostCounts(ids, views, forwards, np.full(n, np.nan), np.full(n, np.nan))
    return ChannelPosts(history, texts, counts, reactions)
