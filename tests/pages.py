"""What a reader sees of a report that is an HTML page."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray


def words(text: str) -> str:
    """What a reader sees of a page, in one line."""
    seen = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(seen))


def pictures(text: str) -> list[NDArray[np.float64]]:
    """Pixels `(h, w, 3)`, 0 to 255, of the photographs of a page, in its order."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [255 * imread(io.BytesIO(base64.b64decode(code)))[..., :3] for code in found]
