from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import growth
from core.errors import InvalidInput


def test_readings_of_a_day_become_its_last_and_rows_are_written_at_every_third_day(tmp_path: Path) -> None:
    moments = pd.date_range("2026-01-01 02:00", periods=6 * 40, freq="4h")
    rows = pd.DataFrame({"channel": "made", "ts": moments, "subscribers": 1000 + np.arange(len(moments))})
    near = rows.assign(ts=rows.ts + pd.Timedelta(seconds=35))
    short = rows[:60].assign(channel="short")
    data, out, sheet = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "sheet.json"
    pd.concat([rows, near, short]).sample(frac=1, random_state=0).to_csv(data, index=False)
    growth.main(["--data", str(data), "--out", str(out), "--json", str(sheet)])
    found = pd.read_csv(out)
    assert list(found) == ["channel", "origin", "horizon_days", "mean", "lo80", "hi80", "lo95", "hi95"]
    assert set(found.channel) == {"made"}
    assert list(found[found.horizon_days == 7].origin) == [
        f"2026-{day} 22:00:35" for day in ("01-29", "02-01", "02-04", "02-07")
    ]
    first = found.iloc[0]
    assert first["mean"] == pytest.approx(1000 + 6 * (28 + 7) + 5, abs=0.5)  # six subscribers a day, to the day's end
    assert first.lo95 < first.lo80 < first["mean"] < first.hi80 < first.hi95
    assert json.loads(sheet.read_text())["figures"]["7 d: MAPE, %"]["value"] < 0.05


def test_columns_of_followers_are_read_as_they_are(tmp_path: Path) -> None:
    data = tmp_path / "followers.csv"
    data.write_text("channel,date,follower_count,is_live\nv,2026-01-01,5,1\nv,2026-01-03,7,0\n")
    read = growth.readings(data)
    (one,) = growth.days(read)
    np.testing.assert_array_equal(one.values, [5.0, np.nan, 7.0])
    rows = pd.DataFrame({"channel": ["v"], "origin": ["2026-01-03"]})
    assert growth.as_read(rows, read).origin[0] == "2026-01-03"
    data.write_text("channel,when,n\nv,2026-01-01,5\n")
    with pytest.raises(InvalidInput):
        growth.readings(data)
