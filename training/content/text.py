"""Texts as sparse vectors: hashed character n-grams weighed by TF-IDF, and which words were seen at all.

Character n-grams inside words carry inflected languages without a stemmer or a list of words. Hashing needs no
vocabulary, so nothing that anybody wrote is stored in a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.schemas.channels import TEXT_BYTES

#: Columns of a vector.
WIDTH = 2**15
#: Bits of the filter of known words; 100,000 words fill a tenth of it.
_FILTER = 2**20
#: A text with a smaller share of known words is in no language that the model has read (docs/content.md).
LEAST_KNOWN = 0.4
# Scripts that are written without spaces (Thai to Khmer, Chinese, Japanese): each letter stands for a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W\d_{_UNSPACED}]{{2,}}")

Sparse = Any  # a scipy CSR matrix


def check_size(text: str | None) -> None:
    """InvalidInput for a text longer than any post."""
    if text is not None and len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES:
        raise InvalidInput(f"the text is longer than {TEXT_BYTES // 1024} KB", field="text")


@dataclass(frozen=True)
class Representation:
    """Turns texts into unit vectors (n x WIDTH) the way that a training did.

    idf: WIDTH, inverse document frequency over the texts learned from. words: bits of a filter with one hash
    (Bloom 1970), _FILTER / 8 bytes: no word can be read back from it.
    """

    idf: NDArray[np.float32]
    words: NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Representation:
        """Learned from texts."""
        bits = np.zeros(_FILTER, dtype=np.bool_)
        bits[_places(word for text in texts for word in _words(text))] = True
        return cls(rarity(count(texts)), np.packbits(bits))

    def vectors(self, texts: Sequence[str]) -> Sparse:
        """n x WIDTH, rows of length 1, empty where a text has no letters."""
        return weighed(count(texts), self.idf)

    def known(self, text: str) -> float:
        """Share of a text's different words that the training met (0..1); 0 without words."""
        places = _places(_words(text))
        if len(places) == 0:
            return 0.0
        return float(np.mean((self.words[places // 8] >> (7 - places % 8)) & 1))


def rarity(counts: Sparse) -> NDArray[np.float32]:
    """idf = 1 + ln((1 + n) / (1 + texts with the n-gram)), smoothed (WIDTH; Salton & Buckley 1988)."""
    seen = np.bincount(counts.indices, minlength=WIDTH)
    idf: NDArray[np.float32] = (1 + np.log((1 + counts.shape[0]) / (1 + seen))).astype(np.float32)
    return idf


def weighed(counts: Sparse, idf: NDArray[np.float32]) -> Sparse:
    """Counted n-grams as TF-IDF vectors of length 1, term frequencies by their logarithm."""
    from sklearn.preprocessing import normalize

    found = counts.copy()
    found.data = (1 + np.log(found.data)) * idf[found.indices]
    return normalize(found, copy=False) if found.shape[0] else found


def count(texts: Sequence[str]) -> Sparse:
    """Hashed character n-grams of 3 to 5 inside words: how often each occurs (n x WIDTH)."""
    if not texts:
        from scipy import sparse

        return sparse.csr_matrix((0, WIDTH))
    return _counter().transform([text or "" for text in texts])


@cache
def _counter() -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer  # a second of imports that most processes do without

    return HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=WIDTH, alternate_sign=False, norm=None, dtype=np.float64
    )


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _places(words: Iterable[str]) -> NDArray[np.int64]:
    from sklearn.utils import murmurhash3_32

    hashes = [murmurhash3_32(word, positive=True) for word in words]
    return np.array(hashes, dtype=np.int64) % _FILTER
