from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from comix_cli.errors import TrainingError, UsageError
from comix_cli.sharpening import features
from comix_cli.sharpening.blur import Blur
from comix_cli.sharpening.budget import Budget
from comix_cli.sharpening.consistency import Correction
from comix_cli.sharpening.features import Features
from comix_cli.sharpening.mossfuse import MossFuseSharpener, fit_mossfuse
from comix_cli.sharpening.mossfuse_losses import Losses, View, prepare
from comix_cli.sharpening.pair_window import PairWindow
from comix_cli.sharpening.sharpener import Lesson
from comix_models.degradation import PointSpread
from comix_models.mossfuse import MossFuse, MossFuseSpec
from comix_models.placement import Placement

BANDS, RATIO, COARSE = 6, 3, 10
FINE = RATIO * COARSE
SPREAD = PointSpread((1.3, 1.3))
RESPONSE = torch.tensor([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.3, 0.5]])


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def a_ground(seed: int) -> Tensor:
    """Mixtures of four materials, `(bands, H, W)`."""
    share = F.interpolate(uniform(1, 4, 12, 12, seed=seed), size=(FINE, FINE), mode="bilinear")[0]
    share = share**2 * (0.5 + uniform(4, FINE, FINE, seed=seed + 1))
    ground: Tensor = torch.tensordot(0.1 + uniform(BANDS, 4, seed=9), share / share.sum(0), 1)
    return ground


def a_window(seed: int) -> PairWindow:
    ground = a_ground(seed)
    window = PairWindow(
        hsi=torch.zeros(BANDS, COARSE, COARSE),
        x=torch.tensordot(RESPONSE, ground, 1),
        placement=Placement((RATIO, RATIO)),
        hsi_valid=torch.ones(COARSE, COARSE, dtype=torch.bool),
        x_valid=torch.ones(FINE, FINE, dtype=torch.bool),
    )
    return replace(window, hsi=Blur(window, SPREAD)(ground))


def a_lesson() -> Lesson:
    return Lesson([a_window(1), a_window(11)], RESPONSE, SPREAD)


def made_ready() -> tuple[Losses, View, Features]:
    views, features = prepare(a_lesson())
    torch.manual_seed(0)
    network = MossFuse(MossFuseSpec(2, features.components.shape[1], features=3, width=6))
    return Losses(network, views, features), views[0], features


def no_change(features: Features) -> Tensor:
    return torch.zeros(features.components.shape[1], FINE, FINE)


def weights(views: list[View]) -> tuple[Tensor, Tensor]:
    """Of bands and of channels: what one unit of error counts."""
    pixels = torch.cat([view.truth.flatten(1) for view in views], 1)
    seen = torch.cat([view.seen.flatten(1) for view in views], 1)
    return 0.5 / pixels.mean(1) + 0.5 / pixels.std(1).mean(), 1 / seen.std(1)


def test_an_image_whose_blur_is_the_hsi_costs_nothing() -> None:
    losses, view, features = made_ready()
    perfect = replace(view, prior_blurred=view.truth)

    assert losses._blurred(perfect, no_change(features)) == 0


def test_an_error_of_the_blurred_image_counts_by_band() -> None:
    losses, view, features = made_ready()
    by_band, _ = weights(prepare(a_lesson())[0])
    wrong = view.truth.clone()
    wrong[2] += 0.5

    loss = losses._blurred(replace(view, prior_blurred=wrong), no_change(features))

    assert loss.item() == pytest.approx(0.5 * by_band[2].item() / BANDS, rel=1e-4)


def test_a_change_of_a_component_is_blurred_before_it_counts() -> None:
    losses, view, features = made_ready()
    change = no_change(features)
    change[0] = 1  # a constant stays what it is under the blur
    explained = view.truth - features.components[:, 0, None, None]

    loss = losses._blurred(replace(view, prior_blurred=explained), change)

    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_coarse_pixels_that_see_beyond_the_window_do_not_count() -> None:
    losses, view, features = made_ready()
    assert not view.blur.usable.all()
    wrong = torch.where(view.blur.usable, view.truth, 1e6)

    assert losses._blurred(replace(view, prior_blurred=wrong), no_change(features)) == 0


def test_an_image_that_mixes_to_what_was_seen_costs_nothing() -> None:
    losses, view, features = made_ready()
    change = no_change(features)
    change[1] = 2
    mixed = RESPONSE @ features.components[:, 1] * 2
    view = replace(view, prior_x=view.seen - mixed[:, None, None])

    assert losses._mixed(view, change).item() == pytest.approx(0, abs=1e-5)


def test_an_error_of_a_channel_counts_by_its_deviation() -> None:
    losses, view, features = made_ready()
    _, by_channel = weights(prepare(a_lesson())[0])
    wrong = view.seen.clone()
    wrong[1] -= 0.25

    loss = losses._mixed(replace(view, prior_x=wrong), no_change(features))

    assert loss.item() == pytest.approx(0.25 * by_channel[1].item() / 2, rel=1e-4)


def test_pixels_that_x_did_not_see_cost_nothing() -> None:
    losses, view, features = made_ready()
    hole = torch.zeros(FINE, FINE, dtype=torch.bool)
    hole[5:9, 3:8] = True
    wrong = torch.where(hole, 1e6, view.seen)
    holey = replace(view, x_valid=~hole, prior_x=wrong)

    assert losses._mixed(holey, no_change(features)) == 0


def test_a_band_of_next_to_nothing_does_not_outweigh_the_others() -> None:
    views, features = prepare(a_lesson())
    size = torch.cat([view.truth.flatten(1) for view in views], 1).abs().mean()
    for view in views:
        view.truth[4] = 0
    losses = Losses(MossFuse(MossFuseSpec(2, 3)), views, features)

    # A twentieth of the mean size of all bands, one of which is gone.
    assert losses._band_weight.max() < 0.5 / (0.05 * 0.7 * size) + 0.5 / (0.05 * size)


def test_at_the_scale_of_the_hsi_the_truth_costs_nothing() -> None:
    # A network that has learnt nothing leaves the prior as it is.
    losses, view, _ = made_ready()
    by_band, _ = weights(prepare(a_lesson())[0])
    wrong = view.truth.clone()
    wrong[3] += 0.1

    assert losses._same_scale(replace(view, prior_same=view.truth)) == 0
    assert losses._same_scale(replace(view, prior_same=wrong)).item() == pytest.approx(
        0.1 * by_band[3].item() / BANDS, rel=1e-4
    )


def test_shared_parts_that_agree_cost_less() -> None:
    losses, view, _ = made_ready()
    fine, other = uniform(1, 2, FINE, FINE, seed=1), uniform(1, 2, FINE, FINE, seed=2)
    coarse = view.blur(fine[0])[None]
    alone = uniform(1, 2, COARSE, COARSE, seed=3)

    agreeing = losses._clusters(view, (fine, other), (coarse, alone))
    opposite = losses._clusters(view, (other, fine), (alone, coarse))

    assert agreeing < 0.5
    assert opposite > 3


def test_the_sum_has_all_its_terms() -> None:
    losses, view, features = made_ready()
    network = losses._network
    x_parts, hsi_parts = network.encode_x(view.fine.x), network.encode_hsi(view.hsi)
    rebuilt = network.rebuild(x_parts, hsi_parts)
    change = no_change(features)
    expected = (
        losses._blurred(view, change)
        + losses._mixed(view, change)
        + losses._same_scale(view)
        + 0.1 * (rebuilt[0] - view.fine.x).abs().mean()
        + 0.1 * (rebuilt[1] - view.hsi).abs().mean()
        + 0.02 * losses._clusters(view, x_parts, hsi_parts)
    )

    assert losses(view).item() == pytest.approx(expected.item(), rel=1e-5)


def test_each_part_of_the_network_learns_from_the_sum() -> None:
    losses, view, _ = made_ready()
    network = losses._network
    torch.nn.init.normal_(network.aggregate.get_parameter("3.weight"), std=0.1)

    losses(view).backward()  # type: ignore[no-untyped-call]

    still = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or weight.grad.abs().sum() == 0
    ]
    assert still == []


def test_components_are_told_in_their_own_deviations() -> None:
    views, _ = prepare(a_lesson())
    told = torch.cat([view.hsi.flatten(2)[0] for view in views], 1)
    fully = torch.cat([view.blur.usable.flatten() for view in views])

    # They were learnt of the usable pixels.
    deviations = told[:, fully].square().mean(1).sqrt()
    torch.testing.assert_close(deviations[:3], torch.ones(3), rtol=1e-2, atol=0)


def test_a_window_whose_images_do_not_touch_teaches_nothing() -> None:
    apart = a_window(21)
    apart.hsi_valid[:, :5] = False
    apart.x_valid[:, FINE // 2 :] = False
    lesson = a_lesson()
    more = replace(lesson, windows=[*lesson.windows, apart])

    views, _ = prepare(more)
    sharp = sharp_image(fit_mossfuse(more, Budget(steps=5)), a_window(1))

    assert len(views) == 2
    assert sharp.isfinite().all()


def test_without_any_pixel_to_learn_from_it_says_so() -> None:
    lesson = a_lesson()
    for window in lesson.windows:
        window.x_valid[::2] = False

    with pytest.raises(TrainingError, match="wholly on valid pixels"):
        prepare(lesson)


def sharp_image(sharpener: MossFuseSharpener, window: PairWindow) -> Tensor:
    return sharpener.sharpen(window, Blur(window, SPREAD))


def mean_loss(sharpener: MossFuseSharpener) -> float:
    views, features = prepare(a_lesson())
    losses = Losses(sharpener.network, views, features)
    return sum(losses(view).item() for view in views)


def test_learning_lowers_the_sum() -> None:
    one = fit_mossfuse(a_lesson(), Budget(steps=1), seed=5)
    more = fit_mossfuse(a_lesson(), Budget(steps=40), seed=5)

    assert mean_loss(more) < mean_loss(one)


def test_two_fits_of_a_seed_are_equal() -> None:
    state = torch.get_rng_state()
    one, two = (fit_mossfuse(a_lesson(), Budget(steps=3), seed=2) for _ in range(2))
    other = fit_mossfuse(a_lesson(), Budget(steps=3), seed=3)

    window = a_window(1)
    assert torch.equal(sharp_image(one, window), sharp_image(two, window))
    assert not torch.equal(sharp_image(one, window), sharp_image(other, window))
    assert torch.equal(torch.get_rng_state(), state)  # and nobody else's randomness is touched


def test_what_is_made_is_near_the_truth() -> None:
    window = a_window(1)
    sharp = sharp_image(fit_mossfuse(a_lesson(), Budget(steps=5)), window)
    repeated = window.hsi.repeat_interleave(RATIO, 1).repeat_interleave(RATIO, 2)
    truth = a_ground(1)

    assert sharp.shape == (BANDS, FINE, FINE)
    assert (sharp - truth).square().mean() < 0.25 * (repeated - truth).square().mean()


def test_learning_ends_with_its_minutes() -> None:
    begin = time.monotonic()

    fit_mossfuse(a_lesson(), Budget(steps=10**9, minutes=0.005))

    assert time.monotonic() - begin < 20


def test_learning_ends_where_it_is_cancelled() -> None:
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) > 2

    fit_mossfuse(a_lesson(), Budget(steps=10**9), cancelled=after_two)

    assert len(asked) == 3


@pytest.mark.parametrize(("steps", "minutes"), [(0, None), (5, 0.0), (5, -1.0), (5, float("nan"))])
def test_a_budget_of_nothing_is_refused(steps: int, minutes: float | None) -> None:
    with pytest.raises(UsageError, match="at least one step"):
        Budget(steps, minutes)


def test_the_clock_tells_the_share_of_steps() -> None:
    clock = Budget(steps=4).start()

    assert [clock.step() for _ in range(4)] == [0.25] * 4
    assert clock.share_done == 1


def test_bands_taken_a_few_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    window = a_window(1)
    sharpener = fit_mossfuse(a_lesson(), Budget(steps=3))
    steps = Correction.uniform(sharpener.correction.lift, 4).steps.clone()
    steps[1:, 2], steps[:, 4] = 0, 0
    sharpener = replace(sharpener, correction=Correction(sharpener.correction.lift, steps))
    whole, views = sharp_image(sharpener, window), prepare(a_lesson())[0]

    monkeypatch.setattr(features, "_AT_ONCE", 1)
    monkeypatch.setattr(features, "_FEWEST_BANDS", 2)
    parts, others = sharp_image(sharpener, window), prepare(a_lesson())[0]

    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    for one, other in zip(views, others, strict=True):
        torch.testing.assert_close(other.prior_blurred, one.prior_blurred, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other.prior_x, one.prior_x, rtol=1e-5, atol=1e-6)
