"""What `comix sharpen` tells of a run: one document, and the tags of the file."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from comix_cli.mapping.score_file import CONTENT_TAG
from comix_cli.mapping.writer import VERSION_TAG
from comix_cli.scene.grid import crs_label
from comix_cli.scene.raster import SHARPENED_TAG
from comix_cli.sharpening.pair import Pair
from comix_cli.sharpening.study import Study
from comix_cli.sharpening.windows import Consistency
from comix_cli.tools.provenance import plain, timestamp, versions
from comix_models.degradation import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from comix_cli.tools.sharpen import SharpenOptions

# A response is told to so many decimals: far below what can be estimated.
_DECIMALS = 6
# The relative error of a band, blurred again, beyond which it holds little else than noise.
_UNEXPLAINED = 0.1
# A shift of more than so many pixels of the HSI is worth saying.
SHIFTED = 0.5


def sharpening_document(
    options: SharpenOptions,
    pair: Pair,
    found: Study,
    expected: Mapping[int, Tensor],
    inputs: Mapping[str, str],
    checksums: Sequence[str | None],
) -> dict[str, Any]:
    """All that is known before the result is judged.

    Args:
        options: What was asked for.
        pair: The two images.
        found: What the sensors do.
        expected: For each channel, by its index among the bands of X that are read, `(bands,)` the
            response that wavelengths let expect.
        inputs: Paths by role: `hsi`, `x`, `reference`.
        checksums: Theirs.
    """
    fine = pair.fine
    rows = torch.stack([expected[index] for index in found.calibration.channels])
    return {
        "kind": "sharpening",
        "output": str(options.output),
        "method": options.method,
        "inputs": dict(inputs),
        "checksums": dict(zip(inputs, checksums, strict=True)),
        "ratio": {"down": pair.placement.ratio[0], "across": pair.placement.ratio[1]},
        "size": {"width": fine.width, "height": fine.height},
        "crs": crs_label(fine.crs),
        "pixel_size": {"width": fine.resolution[0], "height": fine.resolution[1]},
        "bands": len(pair.hsi.bands),
        "bands_seen_by_x": int((rows > 0).any(0).sum()),
        "dropped_bands": {str(band): why for band, why in pair.hsi.dropped.items()},
        "point_spread": _point_spread(pair, found),
        "channels": _channels(pair, found, expected),
        "ignored_channels": [
            {"band": pair.x.bands[index], "correlation": correlation}
            for index, correlation in found.ignored.items()
        ],
        "seed": options.seed,
        "options": plain(options),
        "created": timestamp(),
        "versions": versions(),
    }


def _point_spread(pair: Pair, found: Study) -> dict[str, Any]:
    width, height = pair.fine.resolution
    larger, smaller, angle = found.lesson.spread.axes((height, width))
    return {
        "fwhm": [larger * FWHM_PER_SIGMA, smaller * FWHM_PER_SIGMA],
        "direction_degrees": angle,
        "shift_down": found.calibration.shift[0] * height,
        "shift_across": found.calibration.shift[1] * width,
        "unit": "degree" if pair.fine.crs.is_geographic else str(pair.fine.crs.linear_units),
    }


def _channels(pair: Pair, found: Study, expected: Mapping[int, Tensor]) -> list[dict[str, Any]]:
    """Each band of X that guides: how it follows the HSI, and what it sees of its bands."""
    centres = pair.hsi.centres_nm
    calibration = found.calibration
    return [
        {
            "band": pair.x.bands[index],
            "correlation": correlation,
            "gain": gain,
            "offset": offset,
            "centre_nm": sum(w * c for w, c in zip(row, centres, strict=True)),
            "response": _response(centres, row, expected[index].tolist()),
        }
        for index, correlation, gain, offset, row in zip(
            calibration.channels,
            found.correlation,
            calibration.gain.tolist(),
            calibration.offset.tolist(),
            found.lesson.response.tolist(),
            strict=True,
        )
    ]


def _response(
    centres: Sequence[float], found: Sequence[float], expected: Sequence[float]
) -> dict[str, list[float]]:
    """Weights of the HSI's bands that a channel may see, in the order of their wavelengths."""
    kept = sorted(row for row in zip(centres, found, expected, strict=True) if row[2] > 0)
    return {
        "wavelengths_nm": [nm for nm, _, _ in kept],
        "found": [round(weight, _DECIMALS) for _, weight, _ in kept],
        "expected": [round(weight, _DECIMALS) for _, _, weight in kept],
    }


def consistency_document(pair: Pair, found: Consistency) -> dict[str, Any]:
    """How well the result, blurred, gives the HSI again; bands by their number in its file."""
    by_band = [each if each is not None and math.isfinite(each) else None for each in found.by_band]
    told = [each for each in by_band if each is not None]
    return {
        "relative_rmse": found.relative_rmse,
        "pixels": found.pixels,
        "by_band": by_band,
        "median_band": statistics.median(told) if told else None,
        "unexplained_bands": [
            band
            for band, each in zip(pair.hsi.bands, by_band, strict=True)
            if each is not None and each > _UNEXPLAINED
        ],
    }


def sharpening_tags(document: Mapping[str, Any]) -> dict[str, str]:
    """What the file says of how it was made, under the names that maps use."""
    sums = document["checksums"]
    inputs = [{"path": path, "checksum": sums[role], "role": role}
              for role, path in document["inputs"].items()]  # fmt: skip
    return {
        SHARPENED_TAG: document["method"],
        CONTENT_TAG: "sharpened HSI",  # no map, which 'comix evaluate' would take it for
        "TIFFTAG_SOFTWARE": f"comix {document['versions']['comix']}",
        VERSION_TAG: document["versions"]["comix"],
        "COMIX_DATE": document["created"],
        "COMIX_INPUTS": json.dumps(inputs),
        "COMIX_OPTIONS": json.dumps(document["options"]),
        "COMIX_VERSIONS": json.dumps(document["versions"]),
    }
