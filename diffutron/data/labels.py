"""A column of few different strings: a code a row and the names of the codes, four bytes a row."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Labels:
    """`labels.put(rows, "duplicate")`, `labels.are("duplicate")`; the empty name has code 0."""

    def __init__(self, codes: NDArray[np.int32], names: Sequence[str]):
        self.codes, self.names = codes, list(names)
        self._code = {name: code for code, name in enumerate(self.names)}

    @classmethod
    def empty(cls, num: int) -> Self:
        return cls(np.zeros(num, np.int32), [""])

    @classmethod
    def of(cls, columns: Iterable[pa.DictionaryArray]) -> Self:
        """The rows of all columns, one after the other."""
        found = cls.empty(0)
        codes = [found.codes]
        for column in columns:
            mine = [found.code(name) for name in column.dictionary.to_pylist()]
            codes.append(np.array(mine, np.int32)[column.indices.to_numpy()])
        return cls(np.concatenate(codes), found.names)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str:
        return self.names[self.codes[row]]

    def code(self, name: str) -> int:
        """The code of a name; a new name gets the next one."""
        if name not in self._code:
            self._code[name] = len(self.names)
            self.names.append(name)
        return self._code[name]

    def put(self, rows: NDArray, name: str) -> None:
        self.codes[rows] = self.code(name)

    def are(self, name: str) -> NDArray[np.bool_]:
        """Which rows have this name."""
        return self.codes == self._code.get(name, -1)

    def counts(self, rows: NDArray | slice = slice(None)) -> Counter[str]:
        """How often each name stands in these rows."""
        numbers = np.bincount(self.codes[rows], minlength=len(self.names))
        return Counter({n: int(c) for n, c in zip(self.names, numbers, strict=True) if c})

    def texts(self, rows: NDArray | slice = slice(None)) -> pa.Array:
        """These rows as strings."""
        return pa.array(self.names, pa.string()).take(pa.array(self.codes[rows]))
