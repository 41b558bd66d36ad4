"""Figures of sharpened images, by hand, against torchmetrics, and in blocks against the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    peak_signal_noise_ratio,
    spectral_angle_mapper,
    structural_similarity_index_measure,
    universal_image_quality_index,
)

from comix_cli.accuracy.image_quality import FullReference, ReferenceQuality
from comix_cli.accuracy.local_statistics import HALO, Core, Cube, Usable, blocks
from comix_cli.accuracy.no_reference import NoReference, NoReferenceQuality, Partner

Mask = NDArray[np.bool_]
# Where cores end, down and across; the image's own end is left out.
Cuts = tuple[Sequence[int], Sequence[int]]
WHOLE: Cuts = ((), ())


def cube(bands: int, height: int, width: int, seed: int = 0) -> Cube:
    """Reflectances that vary smoothly and with noise, around 0.3."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 4 + b) * np.cos(columns / 5 - b) for b in range(bands)]
    noise = rng.normal(0, 0.02, (bands, height, width))
    return (0.3 + 0.1 * np.stack(waves) + noise).astype(np.float32)


def everywhere(image: Cube) -> Mask:
    return np.ones(image.shape[1:], np.bool_)


def parts(shape: tuple[int, ...], cuts: Cuts, halo: int = HALO) -> Iterator[tuple[Core, Core]]:
    """Pixels to read and the core in them, for cores that end at `cuts`."""
    for down, across in product(*(_spans(n, at, halo) for n, at in zip(shape, cuts, strict=True))):
        yield (down[0], across[0]), (down[1], across[1])


def _spans(length: int, cuts: Sequence[int], halo: int) -> Iterator[tuple[slice, slice]]:
    for first, last in pairwise([0, *(cut for cut in cuts if cut < length), length]):
        start = max(0, first - halo)
        yield slice(start, last + halo), slice(first - start, last - start)


def in_blocks(shape: tuple[int, ...], size: tuple[int, int]) -> list[tuple[Core, Core]]:
    """The same of `blocks`."""
    height, width = shape
    return [(block.window.slices, block.core) for block in blocks((height, width), size)]


def judged(
    reference: Cube,
    estimate: Cube,
    valid: Mask | None = None,
    cut: Iterable[tuple[Core, Core]] | None = None,
    data_range: float = 1.0,
) -> ReferenceQuality:
    valid = everywhere(reference) if valid is None else valid
    sums = FullReference([data_range] * len(reference))
    for place, core in cut or parts(valid.shape, WHOLE):
        sums.add(reference[:, *place], estimate[:, *place], valid[place], core)
    return sums.result(ratio=4)


def judged_alone(
    coarse: tuple[Cube, Cube, Cube],
    fine: tuple[Cube, Cube],
    partners: Sequence[Partner],
    masks: tuple[Mask, Mask] | None = None,
    cuts: Cuts = WHOLE,
) -> NoReferenceQuality:
    on_coarse, on_fine = masks or (everywhere(coarse[0]), everywhere(fine[0]))
    sums = NoReference(partners)
    for place, core in parts(on_coarse.shape, cuts):
        hsi, again, x = (image[:, *place] for image in coarse)
        sums.add_coarse(hsi, again, x, on_coarse[place], core)
    for place, core in parts(on_fine.shape, cuts):
        sums.add_fine(fine[0][:, *place], fine[1][:, *place], on_fine[place], core)
    return sums.result()


def flat(figures: Any) -> dict[str, Any]:
    """The figures of a record and of the records of bands in it."""
    found = asdict(figures)
    for i, band in enumerate(found.pop("bands", ())):
        found |= {f"{name} of band {i}": value for name, value in band.items()}
    return found


def numbers(figures: Any) -> dict[str, float]:
    """The same, with nan for what is not defined, so that it can be compared to rounding."""
    return {name: math.nan if value is None else value for name, value in flat(figures).items()}


def batch(image: Cube) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float64))[None]


def whole_windows(valid: Mask) -> Mask:
    """Centres of windows without an invalid pixel, one by one."""
    height, width = valid.shape
    side = 2 * HALO + 1
    return np.array(
        [
            [valid[i : i + side, j : j + side].all() for j in range(width - side + 1)]
            for i in range(height - side + 1)
        ]
    )


def uiqi_by_torchmetrics(first: Cube, second: Cube, valid: Mask) -> list[float]:
    """UIQI of each band over the windows that are whole."""
    maps = universal_image_quality_index(batch(first), batch(second), reduction="none")
    return [float(band[whole_windows(valid)].mean()) for band in maps[0].numpy()]


def ssim_by_torchmetrics(first: Cube, second: Cube, valid: Mask, data_range: float) -> list[float]:
    """SSIM of each band over the windows that are whole; torchmetrics counts mirrored ones too."""
    _, maps = structural_similarity_index_measure(
        batch(first), batch(second), data_range=data_range, return_full_image=True
    )
    inner = maps[0].numpy()[:, HALO:-HALO, HALO:-HALO]
    return [float(band[whole_windows(valid)].mean()) for band in inner]


def test_torchmetrics_comes_to_the_same() -> None:
    reference = cube(3, 29, 37)
    estimate = reference + cube(3, 29, 37, seed=1) - cube(3, 29, 37, seed=2)
    found = judged(reference, estimate, data_range=0.7)
    first, second = batch(estimate), batch(reference)
    psnr = [
        float(peak_signal_noise_ratio(first[:, b], second[:, b], data_range=float(peak)))
        for b, peak in enumerate(reference.max((1, 2)))
    ]
    angle = math.degrees(spectral_angle_mapper(first, second))
    assert [band.psnr_db for band in found.bands] == pytest.approx(psnr)
    assert found.psnr_db == pytest.approx(np.mean(psnr))
    overall = peak_signal_noise_ratio(first, second, data_range=float(reference.max()))
    assert found.psnr_overall_db == pytest.approx(float(overall))
    assert found.sam_degrees == pytest.approx(angle)
    ergas = error_relative_global_dimensionless_synthesis(first, second, ratio=4)
    assert found.ergas == pytest.approx(float(ergas))
    valid = everywhere(reference)
    ssim = ssim_by_torchmetrics(reference, estimate, valid, 0.7)
    uiqi = uiqi_by_torchmetrics(reference, estimate, valid)
    assert [band.ssim for band in found.bands] == pytest.approx(ssim)
    assert [band.uiqi for band in found.bands] == pytest.approx(uiqi)
    assert (found.ssim, found.uiqi) == pytest.approx((np.mean(ssim), np.mean(uiqi)))
    assert (found.pixels, found.windows) == (29 * 37, 19 * 27)


@pytest.mark.parametrize("nodata", [-9999.0, math.nan, math.inf])
def test_invalid_pixels_take_part_in_nothing(nodata: float) -> None:
    reference, estimate = cube(2, 30, 40), cube(2, 30, 40, seed=1)
    valid = everywhere(reference)
    valid[3:5, 30:] = valid[20, 7] = False
    known, guessed = (np.where(valid, image, np.float32(0)) for image in (reference, estimate))
    reference[:, ~valid] = estimate[1][~valid] = nodata
    found = judged(reference, estimate, valid)
    assert found.pixels == valid.sum()
    assert found.windows == whole_windows(valid).sum()
    left = [image[:, valid].astype(np.float64) for image in (reference, estimate)]
    rmse = np.sqrt(((left[0] - left[1]) ** 2).mean())
    cosine = (left[0] * left[1]).sum(0) / np.prod([np.linalg.norm(i, axis=0) for i in left], axis=0)
    assert found.rmse == pytest.approx(rmse)
    assert found.sam_degrees == pytest.approx(np.degrees(np.arccos(cosine)).mean())
    assert found.ssim == pytest.approx(np.mean(ssim_by_torchmetrics(known, guessed, valid, 1.0)))
    assert found.uiqi == pytest.approx(np.mean(uiqi_by_torchmetrics(known, guessed, valid)))


@st.composite
def cuts_of(draw: st.DrawFn, height: int, width: int) -> Cuts:
    """Anywhere in an image."""
    down, across = (
        sorted(draw(st.sets(st.integers(1, size), max_size=4))) for size in (height, width)
    )
    return down, across


@settings(max_examples=40, deadline=None)
@given(data=st.data(), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_parts_of_any_size_come_to_the_same_as_the_whole(
    data: st.DataObject, height: int, width: int, seed: int
) -> None:
    cuts = data.draw(cuts_of(height, width), "cuts")
    halo = data.draw(st.integers(HALO, HALO + 4), "halo")
    size = data.draw(st.tuples(*[st.integers(HALO + 1, 50)] * 2), "size")
    reference, estimate = cube(2, height, width, seed), cube(2, height, width, seed + 1)
    valid = np.random.default_rng(seed).random((height, width)) < 0.999
    whole = numbers(judged(reference, estimate, valid))
    for cut in (list(parts(valid.shape, cuts, halo)), in_blocks(valid.shape, size)):
        found = numbers(judged(reference, estimate, valid, cut))
        assert found == pytest.approx(whole, rel=1e-12, abs=1e-14, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_parts_on_both_grids_come_to_the_same_as_the_whole(data: st.DataObject, seed: int) -> None:
    cuts = data.draw(cuts_of(40, 30), "cuts")
    coarse = (cube(2, 20, 15, seed), cube(2, 20, 15, seed + 1), cube(3, 20, 15, seed + 2))
    fine = (cube(2, 40, 30, seed), cube(3, 40, 30, seed + 1))
    rng = np.random.default_rng(seed)
    masks = (rng.random((20, 15)) < 0.999, rng.random((40, 30)) < 0.999)
    partners = [Partner(2, 0.7), Partner(0)]
    whole = judged_alone(coarse, fine, partners, masks)
    found = judged_alone(coarse, fine, partners, masks, cuts)
    assert numbers(found) == pytest.approx(numbers(whole), rel=1e-12, abs=1e-14, nan_ok=True)


sides = st.integers(1, 60)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(sides, sides),
    size=st.tuples(st.integers(HALO + 1, 70), st.integers(HALO + 1, 70)),
    halo=st.sampled_from([0, HALO]),
)
def test_the_cores_of_blocks_hold_each_pixel_once(
    shape: tuple[int, int], size: tuple[int, int], halo: int
) -> None:
    counted = np.zeros(shape, int)
    for block in blocks(shape, size, halo):
        counted[block.window.slices][block.core] += 1
        window, core = block.window.slices, block.core
        for axis, (pixels, part) in enumerate(zip(window, core, strict=True)):
            first, last = pixels.start + part.start, pixels.start + part.stop
            assert pixels.start == max(0, first - halo)
            assert pixels.stop == min(shape[axis], last + halo)
            # A window ends where tiles of the file do, and is that tile and what lies before it.
            assert pixels.stop == shape[axis] or pixels.stop % size[axis] == 0
            assert pixels.stop - pixels.start <= size[axis] + 2 * halo
    assert (counted == 1).all()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(sides, sides),
    size=st.tuples(st.integers(HALO + 1, 70), st.integers(HALO + 1, 70)),
    seed=st.integers(0, 99),
)
def test_each_window_is_counted_in_one_block(
    shape: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    valid = np.random.default_rng(seed).random(shape) < 0.998
    counted = np.zeros(shape, int)
    for place, core in in_blocks(shape, size):
        usable = Usable.of([], valid[place], core)
        inner = counted[place][HALO:-HALO, HALO:-HALO]
        inner += usable.windows.astype(int)
        assert usable.window_count == usable.windows.sum()
    expected = np.zeros(shape, int)
    if min(shape) > 2 * HALO:
        expected[HALO:-HALO, HALO:-HALO] = whole_windows(valid)
    assert np.array_equal(counted, expected)


def negative(image: Cube) -> Cube:
    """Values on either side of 0, as atmospheric correction leaves them over water."""
    return image - np.float32(0.3)


def with_constant_bands(image: Cube) -> Cube:
    found = image.copy()
    found[0], found[1] = 0.37, -0.4
    return found


@pytest.mark.parametrize("change", [negative, with_constant_bands])
def test_torchmetrics_comes_to_the_same_of_the_valid_pixels(change: Callable[[Cube], Cube]) -> None:
    reference = change(cube(3, 26, 31))
    estimate = reference + cube(3, 26, 31, seed=1) - np.float32(0.3)
    valid = everywhere(reference)
    valid[:3, 4:9] = valid[17, 22] = valid[25, 30] = False
    found = judged(reference, estimate, valid, data_range=0.7)
    first, second = (batch(image[:, valid][:, None]) for image in (estimate, reference))
    for band, figures in enumerate(found.bands):
        peak = float(reference[band][valid].max())
        if peak <= 0:
            assert figures.psnr_db is None
        else:
            expected = peak_signal_noise_ratio(first[:, band], second[:, band], peak)
            assert figures.psnr_db == pytest.approx(float(expected))
    assert found.sam_degrees == pytest.approx(math.degrees(spectral_angle_mapper(first, second)))
    ergas = error_relative_global_dimensionless_synthesis(first, second, ratio=4)
    assert found.ergas == pytest.approx(float(ergas))
    shown = [np.where(valid, image, np.float32(0)) for image in (reference, estimate)]
    ssim = ssim_by_torchmetrics(shown[0], shown[1], valid, 0.7)
    assert [band.ssim for band in found.bands] == pytest.approx(ssim)


def test_a_constant_offset_has_the_psnr_of_its_size() -> None:
    reference = cube(2, 12, 12)
    reference[:, 0, 0] = (1.0, 2.0)
    found = judged(reference, reference + np.float32(0.125))
    assert [band.rmse for band in found.bands] == pytest.approx([0.125, 0.125], rel=1e-6)
    by_band = [20 * math.log10(peak / 0.125) for peak in (1, 2)]
    assert [band.psnr_db for band in found.bands] == pytest.approx(by_band, rel=1e-6)
    assert found.psnr_db == pytest.approx(sum(by_band) / 2, rel=1e-6)
    assert found.psnr_overall_db == pytest.approx(by_band[1], rel=1e-6)


def test_ergas_is_the_error_in_percent_of_the_mean_by_the_ratio() -> None:
    reference = np.stack([np.full((3, 3), 2.0), np.full((3, 3), 4.0)]).astype(np.float32)
    found = judged(reference, reference + np.float32(1))
    assert found.ergas == pytest.approx(100 / 4 * math.sqrt((1 / 4 + 1 / 16) / 2))


def test_an_exact_estimate_is_wholly_alike() -> None:
    reference = cube(2, 20, 20)
    found = judged(reference, reference.copy())
    assert (found.ssim, found.uiqi, found.rmse, found.ergas) == pytest.approx((1, 1, 0, 0))
    assert found.psnr_db == found.psnr_overall_db == math.inf
    assert found.sam_degrees == pytest.approx(0, abs=1e-5)


def test_angles_see_the_shape_of_spectra_only() -> None:
    one = np.zeros((2, 1, 3), np.float32)
    one[0] = 1
    other = np.zeros_like(one)
    other[0, 0, 0], other[1, 0, 1] = 7, 3  # scaled, orthogonal, and no spectrum at all
    assert judged(one[..., :1], other[..., :1]).sam_degrees == pytest.approx(0)
    assert judged(one[..., 1:2], other[..., 1:2]).sam_degrees == pytest.approx(90)
    assert judged(one, other).sam_degrees == pytest.approx(45)
    assert judged(one[..., 2:], other[..., 2:]).sam_degrees is None


def test_without_a_valid_pixel_nothing_is_known() -> None:
    image = cube(1, 20, 20)
    found = flat(judged(image, image, ~everywhere(image)))
    assert (found.pop("pixels"), found.pop("windows")) == (0, 0)
    assert set(found.values()) == {None}


def test_an_image_that_no_window_fits_into_has_pixel_figures_only() -> None:
    found = judged(cube(2, 10, 30), cube(2, 10, 30, seed=1))
    assert (found.windows, found.ssim, found.uiqi) == (0, None, None)
    assert found.psnr_db is not None
    assert found.sam_degrees is not None


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e4])
def test_constant_bands_are_alike_as_far_as_their_means_are(unit: float) -> None:
    # Of so many levels some have a variance above 0 by rounding.
    levels = np.random.default_rng(0).normal(0, unit, 50)
    image = np.broadcast_to(levels[:, None, None], (50, 12, 12)).astype(np.float32)
    same = judged(image, image.copy(), data_range=0)
    assert (same.ssim, same.uiqi) == pytest.approx((1, 1))
    thrice = judged(image, 3 * image, data_range=0)
    assert [band.uiqi for band in thrice.bands] == pytest.approx([6 / 10] * 50)
    assert thrice.ssim == pytest.approx(6 / 10)


def test_nothing_is_wholly_like_nothing() -> None:
    image = np.zeros((1, 12, 12), np.float32)
    found = judged(image, image, data_range=0)
    assert (found.ssim, found.uiqi) == (1, 1)


def test_noise_is_nothing_like_a_constant_band() -> None:
    image = cube(1, 20, 20)
    assert judged(image, np.full_like(image, 0.3)).uiqi == pytest.approx(0, abs=1e-9)


def test_a_small_contrast_on_a_high_level_is_not_lost_in_rounding() -> None:
    detail = np.round(cube(1, 20, 20) * 8 * 256) / 256  # what float32 holds on top of 10 000
    found = judged(detail + np.float32(1e4), 2 * detail + np.float32(1e4))
    assert found.uiqi == pytest.approx(4 / 5, abs=1e-6)


def test_bands_without_light_leave_psnr_and_ergas_to_the_others() -> None:
    reference, estimate = cube(2, 15, 15), cube(2, 15, 15, seed=1)
    reference[1] = 0
    both, one = judged(reference, estimate), judged(reference[:1], estimate[:1])
    assert both.bands[1].psnr_db is None
    assert (both.psnr_db, both.ergas) == (one.psnr_db, one.ergas)
    none = judged(reference[1:], estimate[1:])
    assert (none.psnr_db, none.psnr_overall_db, none.ergas) == (None, None, None)


def test_whole_numbers_are_judged_as_they_are() -> None:
    reference = (cube(2, 20, 20) * 10_000).astype(np.uint16)
    estimate = (cube(2, 20, 20, seed=1) * 10_000).astype(np.uint16)
    found = judged(reference, estimate)
    floats = judged(reference.astype(np.float32), estimate.astype(np.float32))
    assert flat(found) == flat(floats)


def test_distortions_are_those_of_torchmetrics() -> None:
    hsi, again, coarse_x = cube(2, 16, 18), cube(2, 16, 18, seed=1), cube(2, 16, 18, seed=2)
    sharp, x = cube(2, 32, 36, seed=3), cube(2, 32, 36, seed=4)
    found = judged_alone((hsi, again, coarse_x), (sharp, x), [Partner(1, 0.5), Partner(0)])
    on_coarse, on_fine = everywhere(hsi), everywhere(sharp)
    d_lambda = 1 - np.mean(uiqi_by_torchmetrics(hsi, again, on_coarse))
    with_x = [np.stack([0.5 * image[1], image[0]]) for image in (coarse_x, x)]
    before = uiqi_by_torchmetrics(hsi, with_x[0], on_coarse)
    after = uiqi_by_torchmetrics(sharp, with_x[1], on_fine)
    d_s = np.abs(np.subtract(before, after)).mean()
    assert (found.d_lambda, found.d_s) == pytest.approx((d_lambda, d_s))
    assert found.qnr == pytest.approx((1 - d_lambda) * (1 - d_s))
    assert (found.coarse_windows, found.fine_windows) == (6 * 8, 22 * 26)


def test_an_image_that_is_as_like_x_as_before_has_no_distortion() -> None:
    image, x = cube(2, 20, 20), cube(1, 20, 20, seed=1)
    found = judged_alone((image, image.copy(), x), (image, x), [Partner(0)] * 2)
    assert (found.d_lambda, found.d_s, found.qnr) == pytest.approx((0, 0, 1))


def test_two_bad_factors_do_not_make_a_good_image() -> None:
    image = cube(1, 20, 20)
    inverse = np.float32(0.6) - image
    found = judged_alone((image, inverse, inverse), (image, image), [Partner(0)])
    assert found.d_lambda is not None
    assert found.d_s is not None
    assert min(found.d_lambda, found.d_s) > 1.5
    assert found.qnr == 0


def test_without_windows_on_a_grid_its_distortion_is_not_known() -> None:
    small, image, x = cube(1, 8, 8), cube(1, 32, 32), cube(1, 32, 32, seed=1)
    found = judged_alone((small, small, small), (image, x), [Partner(0)])
    assert (found.d_lambda, found.d_s, found.qnr) == (None, None, None)
    assert (found.coarse_windows, found.fine_windows) == (0, 22 * 22)
    nowhere = (everywhere(image), ~everywhere(image))
    found = judged_alone((image, image, x), (image, x), [Partner(0)], nowhere)
    assert found.d_lambda == pytest.approx(0)
    assert (found.d_s, found.qnr) == (None, None)


def test_what_cannot_be_meant_is_refused() -> None:
    image, valid, whole = cube(2, 12, 12), np.ones((12, 12), np.bool_), (slice(0, 12), slice(0, 12))
    for ranges in ([], [-1.0], [math.nan], [[1.0]]):
        with pytest.raises(ValueError, match="range"):
            FullReference(np.array(ranges))
    sums = FullReference([1.0, 1.0])
    with pytest.raises(ValueError, match="not two images of 2 bands"):
        sums.add(image, image[:1], valid, whole)
    with pytest.raises(ValueError, match="with a mask"):
        sums.add(image, image, valid[1:], whole)
    for part in (slice(0, 13), slice(-3, 12), slice(0, 12, 2)):
        for core in ((part, slice(0, 12)), (slice(0, 12), part)):
            with pytest.raises(ValueError, match="the core"):
                sums.add(image, image, valid, core)
    with pytest.raises(ValueError, match="not finite"):
        sums.add(image, np.where(image > 0.3, np.nan, image), valid, whole)
    with pytest.raises(ValueError, match="ratio"):
        sums.result(0)
    for shape, size, halo in (((9, 9), (5, 9), 5), ((0, 9), (9, 9), 5), ((9, 9), (9, 9), -1)):
        with pytest.raises(ValueError, match="no blocks"):
            blocks(shape, size, halo)


def test_partners_that_cannot_be_meant_are_refused() -> None:
    image, valid, whole = cube(2, 12, 12), np.ones((12, 12), np.bool_), (slice(0, 12), slice(0, 12))
    for partners in ([], [Partner(-1)], [Partner(0, 0)], [Partner(0, math.inf)]):
        with pytest.raises(ValueError, match="partner"):
            NoReference(partners)
    sums = NoReference([Partner(0), Partner(1)])
    with pytest.raises(ValueError, match="index 1"):
        sums.add_fine(image, image[:1], valid, whole)
    with pytest.raises(ValueError, match="1 bands have 2 partners"):
        sums.add_coarse(image, image[:1], image, valid, whole)
