"""MossFuse learns on one pair, and sharpens it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from comix_cli.progress import Progress, Silent
from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.budget import Budget
from comix_cli.sharpening.consistency import Correction, lift_of, made_consistent
from comix_cli.sharpening.discrepancy import fit_correction
from comix_cli.sharpening.features import Features, expected
from comix_cli.sharpening.mossfuse_losses import Losses, View, prepare
from comix_cli.sharpening.pair_window import PairWindow
from comix_cli.sharpening.sharpener import Lesson
from comix_models.mossfuse import MossFuse, MossFuseSpec
from comix_models.resample import upsampled

_RATE, _DECAY, _CLIP = 3e-3, 1e-2, 1.0
_WARM_UP = 0.1
_AVERAGE = 0.99
# Windows that tell how much correction is needed.
_TRIALS = 4


@dataclass(frozen=True)
class MossFuseSharpener:
    """What has been learnt of a pair.

    Attributes:
        features: The prior, and what the network sees.
        network: What corrects the prior.
        correction: How far what comes out is made to explain the HSI.
    """

    features: Features
    network: MossFuse
    correction: Correction

    @torch.no_grad()
    def sharpen(self, window: PairWindow, blur: Blur) -> Tensor:
        """The HSI on the fine pixels: `(bands, H, W)`; blurred again it is the coarse one."""
        bright = self.features.prior.brightness(window.x)
        correction = self._correction(window).mul_(bright)
        result = torch.empty(len(window.hsi), *window.fine)
        for bands, sharp in expected(self.features.prior, window):
            corrected = sharp + torch.tensordot(self.features.components[bands], correction, 1)
            hsi, how = window.hsi[bands], self.correction.of(bands)
            result[bands] = made_consistent(corrected, hsi, how, window, blur)
        return result

    def _correction(self, window: PairWindow) -> Tensor:
        """What the network says: `(components, H, W)`."""
        shared, spatial = self.network.encode_x(self.features.of_x(window.x)[None])
        _, spectral = self.network.encode_hsi(self.features.of_hsi(window.hsi)[None])
        local = upsampled(spectral, window.placement, window.fine)
        correction: Tensor = self.network(shared, spatial, local)[0]
        return correction


def fit_mossfuse(
    lesson: Lesson,
    budget: Budget,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MossFuseSharpener:
    """Fit prior and network to a pair, with nothing but the pair.

    Losses: the sharp image, blurred, must give the HSI, and mixed, the other sensor's image
    (degradation consistency); at the scale of the HSI, where the truth is known, the network must
    find it; each image must come out of its own two parts again; shared parts must agree and the
    others must not (`clustering_loss`).

    Args:
        lesson: Windows of the pair, and how its sensors see.
        budget: Steps or minutes.
        seed: Of the first weights and of the order of windows.
        progress: Who watches.
        cancelled: Asked after each step; True ends the learning early.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        views, features = prepare(lesson)
        spec = MossFuseSpec(len(lesson.response), features.components.shape[1])
        network = MossFuse(spec)
        losses = Losses(network, views, features)
        _train(network, views, losses, budget, progress or Silent(), cancelled)
    lift = lift_of(torch.cat([view.truth[:, view.blur.usable] for view in views], 1))
    return _corrected(
        MossFuseSharpener(features, network.eval(), Correction.uniform(lift, 0)), lesson
    )


def _corrected(sharpener: MossFuseSharpener, lesson: Lesson) -> MossFuseSharpener:
    """The same, with as much correction as the pair asks for."""
    pairs = [(window, Blur(window, lesson.spread)) for window in lesson.windows]
    usable = [each for each in pairs if each[1].usable.any()][:_TRIALS]
    correction = fit_correction(
        lambda how, window, blur: replace(sharpener, correction=how).sharpen(window, blur),
        usable,
        sharpener.correction.lift,
    )
    return replace(sharpener, correction=correction)


def _train(
    network: MossFuse,
    views: list[View],
    losses: Losses,
    budget: Budget,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> None:
    """One window a step; the weights that stay are an average over the last steps."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGE))  # type: ignore[no-untyped-call]
    clock = budget.start()
    with progress.task("learning to sharpen", 1.0) as task:
        while clock.share_done < 1 and not cancelled():
            for group in optimizer.param_groups:
                group["lr"] = _RATE * _schedule(clock.share_done)
            loss = losses(views[int(torch.randint(len(views), ()))])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimizer.step()
            average.update_parameters(network)
            task.advance(clock.step(), status=f"loss {loss.item():.4f}")
    network.load_state_dict(average.module.state_dict())


def _schedule(done: float) -> float:
    """A short rise and half a cosine down, as a share of the highest rate."""
    if done < _WARM_UP:
        return max(done / _WARM_UP, 0.01)
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
