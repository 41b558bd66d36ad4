"""Maps as tests write them: through what a classification writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.progress import Silent
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.outputs import Outputs, open_outputs


class CodeRows:
    """Takes codes where a classification would hand over probabilities."""

    def __init__(self, outputs: Outputs, legend: Legend) -> None:
        self._outputs, self._codes = outputs, np.array(legend.codes)

    def write_rows(self, row: int, codes: NDArray[Any]) -> None:
        """Rows `(rows, W)` of the legend's codes, 0 for no class."""
        certain = codes == self._codes[:, np.newaxis, np.newaxis]
        self._outputs.write_rows(row, certain.astype(np.float32), codes != 0)


@contextmanager
def map_rows(
    path: Path, grid: Grid, legend: Legend, tags: Mapping[str, str] | None = None, **options: Any
) -> Iterator[CodeRows]:
    """What takes the rows of a map; `options` are those of `OutputOptions`."""
    asked = OutputOptions(map=path, **options)
    with open_outputs(asked, grid, legend, lambda: tags or {}, Silent()) as outputs:
        yield CodeRows(outputs, legend)
