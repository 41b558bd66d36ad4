"""MossFuse learns on one pair, and sharpens it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from comix_cli.progress import Progress, Silent
from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.budget import Budget
from comix_cli.sharpening.consistency import made_consistent
from comix_cli.sharpening.features import Features
from comix_cli.sharpening.mossfuse_losses import Losses, View, prepare
from comix_cli.sharpening.sharpener import Lesson, PairWindow
from comix_models.degradation import PointSpread
from comix_models.mossfuse import MossFuse, MossFuseSpec
from comix_models.resample import upsampled

_RATE, _DECAY, _CLIP = 3e-3, 1e-2, 1.0
_WARM_UP = 0.1
_AVERAGE = 0.99


@dataclass(frozen=True)
class MossFuseSharpener:
    """What has been learnt of a pair."""

    features: Features
    network: MossFuse
    spread: PointSpread

    @torch.inference_mode()
    def sharpen(self, window: PairWindow) -> Tensor:
        """The HSI on the fine pixels: `(bands, H, W)`; blurred again it is the coarse one."""
        prior, features = self.features.prior, self.features
        bright = prior.brightness(window.x)
        sharp = prior(upsampled(window.hsi, window.placement, window.fine), window.x)
        shared, spatial = self.network.encode_x(features.of_x(window.x)[None])
        _, spectral = self.network.encode_hsi(features.of_hsi(window.hsi)[None])
        local = upsampled(spectral, window.placement, window.fine)
        correction = self.network(shared, spatial, local)[0]
        sharp += torch.tensordot(features.components, correction, 1) * bright
        return made_consistent(sharp, window, Blur(window, self.spread))


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
    return MossFuseSharpener(features, network.eval(), lesson.spread)


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
