"""A question is computed once a data version; new data asks anew; a dead Redis costs a computation, not an answer."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.ports import free_port
from core.cache import Cache, RedisTexts, make_cache
from core.clock import ManualClock
from core.errors import NoData
from core.schemas.analytics import SeriesPoint


class Counter:
    """A computation that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> SeriesPoint:
        self.runs += 1
        return SeriesPoint(self.runs, 1.5)


def test_a_question_is_computed_once_a_data_version() -> None:
    cache, compute = Cache(), Counter()
    first = cache.fetch(SeriesPoint, "q", 1, compute)
    assert cache.fetch(SeriesPoint, "q", 1, compute) is first
    assert cache.fetch(SeriesPoint, "q", 2, compute).ts == 2
    assert cache.fetch(SeriesPoint, "other", 1, compute).ts == 3
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.size) == (1, 3, 3)
    assert stats.hit_rate == 0.25


def test_without_questions_there_is_no_hit_rate() -> None:
    assert Cache().stats().hit_rate is None


def test_it_holds_no_more_than_its_size_and_for_no_longer_than_its_time() -> None:
    clock, compute = ManualClock(), Counter()
    cache = Cache(size=2, ttl_s=10, monotonic=clock.monotonic)
    for version in range(5):
        cache.fetch(SeriesPoint, "q", version, compute)
    assert cache.stats().size == 2
    clock.advance(11)
    cache.fetch(SeriesPoint, "q", 4, compute)
    assert compute.runs == 6


def test_simultaneous_askers_wait_for_one_computation() -> None:
    cache, compute = Cache(), Counter()
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> SeriesPoint:
        begun.set()
        assert go_on.wait(10)
        return compute()

    answers: list[SeriesPoint] = []
    threads = [
        threading.Thread(target=lambda: answers.append(cache.fetch(SeriesPoint, "q", 1, slow))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    while cache.stats().hits < 7:  # the others have joined the one that runs
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert compute.runs == 1
    assert len({id(answer) for answer in answers}) == 1


def test_an_error_reaches_the_asker_and_is_not_kept() -> None:
    cache, compute = Cache(), Counter()

    def fail() -> SeriesPoint:
        raise NoData("nothing there")

    with pytest.raises(NoData):
        cache.fetch(SeriesPoint, "q", 1, fail)
    assert cache.fetch(SeriesPoint, "q", 1, compute).ts == 1


def test_it_travels_to_another_process_empty() -> None:
    cache, compute = make_cache("redis://127.0.0.1:1/0"), Counter()
    cache.fetch(SeriesPoint, "q", 1, compute)
    twin = pickle.loads(pickle.dumps(cache))
    assert twin.stats().size == 0
    assert twin.shared.url == "redis://127.0.0.1:1/0"


def test_a_redis_that_does_not_answer_is_counted_and_the_answer_computed() -> None:
    cache, compute = Cache(shared=RedisTexts("redis://127.0.0.1:1/0")), Counter()
    assert cache.fetch(SeriesPoint, "q", 1, compute).ts == 1
    assert cache.fetch(SeriesPoint, "q", 1, compute).ts == 1
    stats = cache.stats()
    assert (stats.misses, stats.hits, stats.failures) == (1, 1, 2)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of our own on a free loopback port; skips, and says so, where none is installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on PATH")
    port = free_port()
    folder: Path = tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        url = f"redis://127.0.0.1:{port}/0"
        _wait_for(url)
        yield url
        server.terminate()
        server.wait(10)


def _wait_for(url: str) -> None:
    from redis import Redis
    from redis.exceptions import RedisError

    for _ in range(200):
        try:
            Redis.from_url(url).ping()
            return
        except RedisError:
            time.sleep(0.05)
    pytest.fail("redis-server did not start")


@pytest.mark.redis
def test_replicas_share_answers_through_redis(redis_url: str) -> None:
    compute = Counter()
    first, second = make_cache(redis_url), make_cache(redis_url)
    answer = first.fetch(SeriesPoint, "q", 1, compute)
    assert second.fetch(SeriesPoint, "q", 1, compute) == answer
    assert compute.runs == 1
    assert second.stats().shared_hits == 1


@pytest.mark.redis
def test_an_unreadable_text_in_redis_is_counted_and_replaced(redis_url: str) -> None:
    compute, texts = Counter(), RedisTexts(redis_url)
    make_cache(redis_url).fetch(SeriesPoint, "damaged", 1, compute)
    for key in texts.client.keys("*"):
        texts.client.set(key, "{not json")
    cache = make_cache(redis_url)
    assert cache.fetch(SeriesPoint, "damaged", 1, compute).ts == 2
    assert cache.stats().failures == 1
    assert make_cache(redis_url).fetch(SeriesPoint, "damaged", 1, compute).ts == 2
