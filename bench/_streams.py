"""Labelled streams read from CSV files, rows in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.history import Floats

#: Files without a column `target`: its column, whether log1p is taken, and columns left out (parts of the target or the
#: number of the row).
KNOWN = {
    "elec2": ("class", False, ("date",)),
    "bike": ("cnt", True, ("casual", "registered", "instant", "dteday")),
}


@dataclass(frozen=True, slots=True)
class Stream:
    """x n x F; y n: class numbers in order of appearance, or values. name: a key of KNOWN or ''."""

    x: Floats
    y: NDArray[Any]
    labels: list[str]
    name: str
    note: str


def read(path: Path, task: str, rows: int | None = None) -> Stream:
    """Read a CSV or CSV.gz; InvalidInput when no column can be the target."""
    table = pd.read_csv(path, nrows=rows)
    name, target, log, dropped = "", "target", False, tuple[str, ...]()
    if "target" not in table:
        found = [(n, *known) for n, known in KNOWN.items() if {known[0], *known[2]} <= set(table.columns)]
        if not found:
            raise InvalidInput(f"{path.name} has no column target and is none of {', '.join(KNOWN)}", field="data")
        name, target, log, dropped = found[0]
    values = table.pop(target)
    table = table.drop(columns=list(dropped))
    coded = [c for c in table if not pd.api.types.is_numeric_dtype(table[c])]
    for column in coded:
        # Numbers in order of appearance: a row's code depends on earlier rows only.
        table[column] = pd.factorize(table[column])[0]
    note = f"target {'log1p of ' if log else ''}{target}"
    note += f"; left out {', '.join(dropped)}" if dropped else ""
    note += f"; coded in order of appearance {', '.join(map(str, coded))}" if coded else ""
    x = table.to_numpy(dtype=float)
    if task == "classification":
        codes, labels = pd.factorize(values)
        return Stream(x, codes.astype(np.int64), [str(v) for v in labels], name, note)
    y = values.to_numpy(dtype=float)
    return Stream(x, np.log1p(y) if log else y, [], name, note)
