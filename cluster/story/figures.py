"""Fetches the figures that the story shows over HTTP, as any client would."""

from __future__ import annotations

from typing import Any

import httpx2
from pydantic import TypeAdapter

from cluster.story.screen import Screen
from core.clock import DAY
from core.schemas.analytics import AnomalyFinding, DataStatus, Overview

_SHOWN_DAYS = 60


class Figures:
    """Overviews of a few channels and the latest findings of all."""

    def __init__(self, screen: Screen, url: str, channels: tuple[str, ...]) -> None:
        self._screen, self._channels = screen, channels
        self._client = httpx2.Client(base_url=url, timeout=60.0, transport=httpx2.HTTPTransport(retries=3))

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def show(self, now: int) -> None:
        """Print what the channels say at a moment of the data's time."""
        self._screen.title("What the channels say")
        for name in self._channels:
            self._screen.overview(self._get(Overview, f"/v1/channels/{name}/overview", {"days": 30, "until": now}))
            status = self._get(DataStatus, f"/v1/channels/{name}/status", {})
            for missing in status.missing:
                self._screen.line(f"    {missing}")
        found = self._get(tuple[AnomalyFinding, ...], "/v1/anomalies", {"since": now - _SHOWN_DAYS * DAY})
        self._screen.line(
            f"{len(found)} unusual spells in the last {_SHOWN_DAYS} days" + (", the strongest:" if found else "")
        )
        for finding in sorted(found, key=lambda f: (-f.score, f.onset))[:4]:
            self._screen.anomaly(finding)

    def _get(self, kind: Any, path: str, params: dict[str, Any]) -> Any:
        response = self._client.get(path, params=params)
        response.raise_for_status()
        return TypeAdapter(kind).validate_json(response.content)
