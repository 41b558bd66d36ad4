"""Grids, and the grid on which rasters meet."""

from __future__ import annotations

import math

import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from comix_cli.errors import GridError, UsageError
from comix_cli.scene.grid import Grid, bounds_in, common_grid, finest, north_up
from comix_cli.scene.windows import Window

UTM = CRS.from_epsg(32633)
DEGREES = CRS.from_epsg(4326)


def grid(left: float, top: float, res: float, width: int, height: int, crs: CRS = UTM) -> Grid:
    return Grid(crs, Affine(res, 0, left, 0, -res, top), width, height)


FINE = grid(500_000, 5_800_000, 2, 50, 40)
COARSE = grid(500_003, 5_799_997, 10, 9, 9)


def test_a_grid_knows_its_bounds_and_shape() -> None:
    assert FINE.bounds == (500_000, 5_799_920, 500_100, 5_800_000)
    assert FINE.shape == (40, 50)
    assert FINE.resolution == (2, 2)


def test_a_window_has_its_own_transform_and_bounds() -> None:
    window = Window(10, 5, 4, 3)
    assert FINE.window_transform(window) == Affine(2, 0, 500_010, 0, -2, 5_799_980)
    assert FINE.window_bounds(window) == (500_010, 5_799_972, 500_016, 5_799_980)


def test_bounds_of_a_rotated_grid_hold_all_its_corners() -> None:
    turned = Grid(UTM, Affine.translation(0, 0) * Affine.rotation(45) * Affine.scale(1, -1), 10, 10)
    side = 10 * math.sqrt(0.5)
    assert turned.bounds == pytest.approx((0, -side, 2 * side, side))
    assert turned.resolution == pytest.approx((1, 1))


@pytest.mark.parametrize(
    ("crs", "transform", "width"),
    [
        (None, Affine.identity(), 3),
        (UTM, Affine.identity(), 0),
        (UTM, Affine(1, 1, 0, 1, 1, 0), 3),
        (UTM, Affine(math.nan, 0, 0, 0, 1, 0), 3),
    ],
)
def test_grids_that_place_no_pixels_are_refused(
    crs: CRS | None, transform: Affine, width: int
) -> None:
    with pytest.raises(GridError):
        Grid(crs, transform, width, 4)


def test_pixel_size_in_metres_follows_the_unit_of_the_crs() -> None:
    feet = CRS.from_epsg(2263)
    assert grid(0, 0, 10, 5, 5, feet).gsd_m == pytest.approx(3.048, rel=1e-4)
    assert FINE.gsd_m == 2


def test_pixel_size_in_metres_of_degrees_shrinks_with_latitude() -> None:
    degree = 111_195.0
    equator = grid(10, 0.5, 1e-3, 1000, 1000, DEGREES)
    north = grid(10, 60.5, 1e-3, 1000, 1000, DEGREES)
    assert equator.gsd_m == pytest.approx(1e-3 * degree, rel=1e-4)
    assert north.gsd_m == pytest.approx(1e-3 * degree * math.sqrt(0.5), rel=1e-3)


def test_grids_are_the_same_up_to_a_tolerance() -> None:
    shifted = grid(500_000.0001, 5_800_000, 2, 50, 40)
    assert FINE.same_as(shifted)
    assert not FINE.same_as(shifted, tol=1e-6)
    assert not FINE.same_as(grid(500_000, 5_800_000, 2, 50, 41))
    assert not FINE.same_as(grid(500_000, 5_800_000, 2, 50, 40, CRS.from_epsg(32632)))


def test_the_common_grid_is_made_of_the_finest_rasters_whole_pixels_inside_both() -> None:
    common = common_grid([COARSE, FINE])
    # The coarse one spans x 500003..500093, y 5799907..5799997; the fine one ends at y 5799920.
    assert common.transform == Affine(2, 0, 500_004, 0, -2, 5_799_996)
    assert common.shape == (38, 44)
    assert common.crs == UTM


def test_an_exact_fit_loses_no_pixel_to_rounding() -> None:
    fine = grid(383_469.97, 5_818_303.55, 0.1, 300, 700)
    coarse = grid(383_469.97, 5_818_303.55, 0.7, 30, 100)
    assert common_grid([coarse, fine]).shape == (700, 210)
    assert common_grid([fine, fine]) == fine


@settings(deadline=None, max_examples=50)
@given(
    st.floats(-40, 40), st.floats(-40, 40), st.integers(20, 90), st.integers(20, 90),
    st.sampled_from([0.3, 1.0, 2.5, 7.0]),
)  # fmt: skip
def test_the_common_grid_lies_inside_every_raster_and_misses_less_than_a_pixel(
    dx: float, dy: float, width: int, height: int, res: float
) -> None:
    other = grid(500_000 + dx, 5_800_000 + dy, 10, width, height)
    fine = grid(500_000, 5_800_000, res, 200, 200)
    common = common_grid([other, fine])
    assert common.resolution == (res, res)
    for value, wanted, sign in zip(
        common.bounds,
        [
            max(fine.bounds[0], other.bounds[0]),
            max(fine.bounds[1], other.bounds[1]),
            min(fine.bounds[2], other.bounds[2]),
            min(fine.bounds[3], other.bounds[3]),
        ],
        (1, 1, -1, -1),
        strict=True,
    ):
        assert -1e-5 * res <= sign * (value - wanted) < res
    steps = (common.transform.c - fine.transform.c) / res
    assert steps == pytest.approx(round(steps), abs=1e-5)


def test_of_equally_fine_rasters_the_last_gives_the_grid() -> None:
    hsi, x = grid(0, 0, 5, 9, 9), grid(1, 1, 5, 9, 9)
    assert finest([hsi, x]) is x


def test_the_finest_is_found_across_crs_units() -> None:
    degrees = grid(15.0, 52.5, 1e-4, 500, 500, DEGREES)  # about 8.7 m
    metres = grid(500_000, 5_816_000, 30, 50, 50)
    assert finest([metres, degrees]) is degrees


def test_rasters_of_different_crs_meet_where_their_footprints_do() -> None:
    metres = grid(500_000, 5_810_000, 5, 400, 300)
    degrees = grid(15.01, 52.43, 5e-4, 60, 40, DEGREES)
    common = common_grid([degrees, metres])
    left, bottom, right, top = transform_bounds(DEGREES, UTM, *degrees.bounds, densify_pts=51)
    assert common.crs == UTM
    assert common.bounds[0] == 5 * math.ceil(left / 5)
    assert common.bounds[2] == min(502_000, 5 * math.floor(right / 5))
    assert common.bounds[1] == max(5_808_500, 5 * math.ceil(bottom / 5))
    assert common.bounds[3] == min(5_810_000, 5 * math.floor(top / 5))


def test_rasters_without_common_ground_are_refused_with_both_extents() -> None:
    with pytest.raises(GridError) as caught:
        common_grid([FINE, grid(600_000, 5_800_000, 30, 5, 5)], names=["a.tif", "b.tif"])
    assert "a.tif covers x 500000..500100, y 5799920..5800000" in caught.value.message
    assert "b.tif covers x 600000..600150, y 5799850..5800000" in caught.value.message
    assert "EPSG:32633" in caught.value.message


def test_rasters_that_share_less_than_a_pixel_are_refused() -> None:
    with pytest.raises(GridError, match="share no whole pixel"):
        common_grid([FINE, grid(500_099, 5_800_000, 30, 5, 5)])


def test_a_south_up_finest_raster_keeps_its_pixels() -> None:
    south_up = Grid(UTM, Affine(2, 0, 500_000, 0, 2, 5_799_920), 50, 40)
    assert common_grid([COARSE, south_up]) == common_grid([COARSE, FINE])


def test_a_rotated_finest_raster_gives_a_north_up_grid_of_its_resolution() -> None:
    turned = Grid(
        UTM,
        Affine.translation(500_040, 5_799_960) * Affine.rotation(30) * Affine.scale(2, -2),
        20,
        20,
    )
    upright = north_up(turned)
    assert upright.is_north_up
    assert upright.resolution == pytest.approx((2, 2))
    common = common_grid([COARSE, turned])
    assert common.is_north_up
    assert common.resolution == pytest.approx((2, 2))


def test_like_is_taken_as_it_is() -> None:
    like = grid(499_950, 5_800_050, 25, 7, 6)
    assert common_grid([FINE, COARSE], like=like) == like


def test_like_elsewhere_is_refused() -> None:
    with pytest.raises(GridError, match="the grid of --like covers"):
        common_grid([FINE, COARSE], like=grid(0, 0, 25, 7, 6))


def test_like_with_other_grid_options_is_refused() -> None:
    with pytest.raises(UsageError, match="--like"):
        common_grid([FINE], like=FINE, resolution=3)


def test_a_resolution_counts_from_the_finest_rasters_corner() -> None:
    common = common_grid([COARSE, FINE], resolution=(7.0, 5.0))
    assert common.transform == Affine(7, 0, 500_007, 0, -5, 5_799_995)
    assert common.shape == (15, 12)  # x to 500091 of 500093, y to 5799920 of 5799920


@pytest.mark.parametrize("resolution", [0, -1.0, math.nan, (2.0, 0.0)])
def test_a_resolution_must_be_positive(resolution: float | tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="positive"):
        common_grid([FINE], resolution=resolution)


def test_bounds_are_widened_to_the_edges_of_the_finest_pixels() -> None:
    common = common_grid([COARSE, FINE], bounds=(499_999, 5_799_900.5, 500_010.9, 5_799_950))
    assert common.bounds == (499_998, 5_799_900, 500_012, 5_799_950)
    again = common_grid([COARSE, FINE], bounds=common.bounds)
    assert again.same_as(common)


def test_bounds_with_a_resolution_are_exact_and_the_size_is_rounded() -> None:
    bounds = (499_999, 5_799_900, 500_010.9, 5_799_950)
    common = common_grid([FINE], bounds=bounds, resolution=2)
    assert common.transform == Affine(2, 0, 499_999, 0, -2, 5_799_950)
    assert common.shape == (25, 6)


def test_bounds_that_enclose_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="enclose nothing"):
        common_grid([FINE], bounds=(5, 5, 5, 9))


def test_bounds_elsewhere_are_refused() -> None:
    with pytest.raises(GridError, match=r"--bounds covers x 0\.\.9"):
        common_grid([FINE], bounds=(0, 0, 9, 9))


def test_another_target_crs_keeps_the_ground_resolution() -> None:
    common = common_grid([COARSE, FINE], dst_crs=CRS.from_epsg(25832))
    assert common.crs == CRS.from_epsg(25832)
    assert common.gsd_m == pytest.approx(2, rel=0.02)
    box = bounds_in(common_grid([COARSE, FINE]), common.crs)
    assert all(abs(a - b) <= 2 * common.gsd_m for a, b in zip(common.bounds, box, strict=True))


def test_another_target_crs_with_a_resolution_uses_it() -> None:
    assert common_grid([FINE], dst_crs=DEGREES, resolution=1e-4).resolution == (1e-4, 1e-4)


def test_a_raster_that_has_no_place_in_the_target_crs_is_refused() -> None:
    south = grid(-100, -80, 1e-3, 10, 10, DEGREES)
    with pytest.raises(GridError):
        common_grid([grid(15, 89.99, 1e-3, 10, 10, DEGREES), south], dst_crs=CRS.from_epsg(3413))


@pytest.mark.parametrize("res", [10.0, 3.6, 0.1, 1 / 3])
@pytest.mark.parametrize("origin", [(0.0, 0.0), (389_123.45, 5_812_345.6), (-71.3, -12.7)])
def test_pieces_of_a_grid_count_the_same_pixels_alike(
    res: float, origin: tuple[float, float]
) -> None:
    whole = Grid(UTM, Affine(res, 0, origin[0], 0, -res, origin[1]), 5000, 4000)
    row, col = whole.lattice_position
    for r, c in ((1, 0), (17, 4999), (3999, 1234)):
        piece = Grid(UTM, whole.window_transform(Window(r, c, 1, 1)), 1, 1)
        assert piece.lattice_position == (row + r, col + c)
