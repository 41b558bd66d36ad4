"""What the methods and figures of sharpening are called, and what they mean, in one sentence each.

Nothing is imported: the command line lists methods and figures before it loads anything.
"""

from __future__ import annotations

from dataclasses import dataclass

METHODS = {
    "mossfuse": "MossFuse, a network that learns on this pair alone (Du et al. 2024, "
    "arXiv:2412.04802)",
    "cnmf": "CNMF: both images as mixtures of the same few materials (Yokoya et al. 2012, "
    "doi:10.1109/TGRS.2011.2161320)",
    "gsa": "GSA: the detail of the band of X that is most alike, added to each band of the HSI "
    "(Aiazzi et al. 2007, doi:10.1109/TGRS.2007.901007)",
    "bicubic": "bicubic interpolation of the HSI, in which X plays no part",
}


@dataclass(frozen=True)
class Figure:
    """A figure of quality.

    Attributes:
        key: Its name in the document.
        name: Its name for people, with the unit.
        better: Which way it is better.
        meaning: What it says.
    """

    key: str
    name: str
    better: str
    meaning: str


REFERENCE_FIGURES = (
    Figure("psnr_db", "PSNR (dB)", "higher",
           "Peak signal-to-noise ratio: how large the brightest value of a band is beside the "
           "error, the mean over bands; 6 dB more is half the error."),
    Figure("ssim", "SSIM", "higher, to 1",
           "Structural similarity (Wang et al. 2004): how much brightness, contrast and pattern "
           "agree in small windows."),
    Figure("sam_degrees", "SAM (degrees)", "lower, to 0",
           "Spectral angle (Kruse et al. 1993): how much the shape of a pixel's spectrum differs, "
           "however bright it is."),
    Figure("ergas", "ERGAS", "lower, to 0",
           "Relative global error (Wald 2000): the error of each band beside its mean, with "
           "allowance for the ratio of the pixels."),
    Figure("uiqi", "UIQI", "higher, to 1",
           "Universal image quality index (Wang and Bovik 2002): as SSIM, without its constants."),
)  # fmt: skip
NO_REFERENCE_FIGURES = (
    Figure("qnr", "HQNR", "higher, to 1",
           "Hybrid quality with no reference (Aiazzi et al. 2014): (1 - spectral distortion) "
           "(1 - spatial distortion). It compares results of one scene, not scenes."),
    Figure("d_lambda", "spectral distortion", "lower, to 0",
           "How unlike the HSI the result is once it is blurred to its pixels: colours that were "
           "changed."),
    Figure("d_s", "spatial distortion", "lower, to 0",
           "How much less (or more) the result resembles X than the HSI does at its own scale: "
           "detail that is missing, or made up."),
)  # fmt: skip
CONSISTENCY = Figure(
    "relative_rmse", "difference from the HSI (%)", "lower, to 0",
    "The result, blurred to the pixels of the HSI, less the HSI: the root mean square of that "
    "beside the HSI's own. It tells whether the HSI's values were kept, not whether the detail "
    "is right.",
)  # fmt: skip
