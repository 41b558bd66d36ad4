"""A scene in parts becomes what `comix classify` makes of it at one go, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from cli import comix, files
from geopandas.testing import assert_geodataframe_equal
from quick_models import quick
from rasterio.warp import Resampling, calculate_default_transform, reproject
from scenes import CRS, ORIGIN, make_scene, write_vector
from sharp import TRAIN

from comix_cli.errors import CrewError, InputError, OutputError, UsageError
from comix_cli.mapping.row_file import RowFile
from comix_cli.progress import Progress, Silent, Task
from comix_cli.scene.parts import Part
from comix_cli.scene.stack import GridOptions
from comix_cli.tools import classify_job, classify_parts
from comix_cli.tools.classify import ClassifyOptions, ClassifyReport, classify
from comix_cli.tools.classify_parts import PartRecord, SceneCut, assemble, map_part, plan_parts
from comix_cli.tools.inputs import SceneInputs
from comix_cli.tools.loaded_model import LoadedModel, load
from comix_cli.tools.output_files import OutputOptions
from comix_cli.tools.sharp_hsi import SharpHsi
from comix_cli.tools.sharpen import SharpenOptions

SCORES = ("probabilities", "confidence", "entropy")
SIDE = 135


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of two blocks of GDAL's warper, with a hole, and its X in another CRS; look only."""
    folder = make_scene(tmp_path_factory.mktemp("wide"), size=SIDE, seed=3).folder
    with rasterio.open(folder / "hsi.tif", "r+") as dataset:
        dataset.write(np.full((dataset.count, 9, 7), -9999, np.int16), window=((5, 14), (20, 27)))
    _warp(folder / "lidar.tif", folder / "degrees.tif", "EPSG:4326")
    area = shapely.Point(ORIGIN[0] + SIDE, ORIGIN[1] - SIDE).buffer(0.8 * SIDE)
    write_vector(folder / "area.gpkg", [(area, {})], CRS)
    return folder


def _warp(source: Path, target: Path, crs: str) -> None:
    with rasterio.open(source) as dataset:
        transform, width, height = calculate_default_transform(
            dataset.crs, crs, dataset.width, dataset.height, *dataset.bounds
        )
        profile = dataset.profile | {
            "crs": crs, "transform": transform, "width": width, "height": height, "nodata": -1e4
        }  # fmt: skip
        with rasterio.open(target, "w", **profile) as other:
            reproject(
                rasterio.band(dataset, 1), rasterio.band(other, 1), resampling=Resampling.bilinear
            )


@pytest.fixture(scope="session")
def model(finished: Path) -> LoadedModel:
    return load(finished / "model.safetensors", "cpu")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where outputs go."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where parts are kept."""
    (tmp_path / "parts").mkdir()
    return tmp_path / "parts"


def asked(
    scene: Path, out: Path, finished: Path, *, x: str = "lidar.tif", **changes: Any
) -> ClassifyOptions:
    scores: dict[str, Any] = {name: out / f"{name}.tif" for name in changes.pop("scores", ())}
    outputs = OutputOptions(map=out / "map.tif", **scores, **changes.pop("outputs", {}))
    inputs = SceneInputs(str(scene / "hsi.tif"), (str(scene / x),), **changes.pop("inputs", {}))
    options = ClassifyOptions(
        inputs, finished / "model.safetensors", outputs, window=20, overlap=6, threads=1
    )
    return replace(options, **changes)


def in_parts(
    options: ClassifyOptions, place: Path, model: LoadedModel | None, parts: int, least: int = 1
) -> tuple[SceneCut, ClassifyReport]:
    """Plan, map in any order, and assemble."""
    cut = plan_parts(
        options, Silent(), parts=parts, least_windows=1, least_rows=least, loaded=model
    )
    for part in random.Random(0).sample(cut.parts, len(cut.parts)):
        record = map_part(options, part, place, Silent(), loaded=model)
        assert record.own == part.own
    return cut, assemble(options, cut, place, Silent(), loaded=model)


@dataclass(frozen=True)
class Written:
    """All that GDAL says of a raster."""

    pixels: bytes
    profile: str
    tags: dict[str, str]
    bands: list[Any]


def written(path: Path) -> Written:
    with rasterio.open(path) as dataset:
        tags = {key: value for key, value in dataset.tags().items() if key != "COMIX_DATE"}
        bands = [dataset.tags(band) for band in dataset.indexes]
        bands += [dataset.descriptions, dataset.scales, dataset.offsets]
        return Written(dataset.read().tobytes(), repr(dataset.profile), tags, bands)


def assert_same(one: Path, other: Path) -> None:
    """Two folders hold the same outputs."""
    assert files(one) == files(other)
    for path in sorted(one.iterdir()):
        twin = other / path.name
        if path.suffix == ".tif":
            left, right = written(path), written(twin)
            assert left.tags == right.tags
            assert left == right, path.name
        elif path.suffix == ".gpkg":
            assert_geodataframe_equal(geopandas.read_file(path), geopandas.read_file(twin))
        else:
            assert path.read_bytes() == twin.read_bytes(), path.name


CASES: dict[str, dict[str, Any]] = {
    "strips": {"parts": 5},
    "as usual": {"parts": 2, "window": None, "overlap": None},
    "blocks": {"parts": 30, "least": 3, "scores": SCORES},
    "every window": {"parts": 10_000, "window": 40, "overlap": 9, "scores": ("confidence",)},
    "dense": {"parts": 6, "window": 33, "overlap": 20, "scores": SCORES},
    "dense blocks": {"parts": 9, "least": 2, "window": 31, "overlap": 19},
    "apart": {"parts": 8, "window": 17, "overlap": 0, "scores": ("entropy",)},
    "floats": {"parts": 12, "least": 3, "scores": SCORES, "outputs": {"float_scores": True}},
    "other crs": {"parts": 12, "least": 3, "x": "degrees.tif", "scores": SCORES},
    "other crs, hsi too": {
        "parts": 6,
        "x": "degrees.tif",
        "inputs": {"grid": GridOptions(dst_crs="EPSG:3035")},
    },
    "bounds": {
        "parts": 7,
        "inputs": {
            "grid": GridOptions(
                bounds=(ORIGIN[0] + 41, ORIGIN[1] - 233, ORIGIN[0] + 184, ORIGIN[1] - 31)
            )
        },
    },
    "drawn": {
        "parts": 12,
        "least": 3,
        "outputs": {"min_area": "9px", "creation_options": {"BLOCKSIZE": "128"}},
        "drawn": ("polygons.gpkg", "quicklook.png"),
    },
    "masked": {"parts": 12, "least": 3, "mask": "area.gpkg", "scores": SCORES},
}


@pytest.mark.parametrize("case", CASES)
def test_parts_become_what_one_machine_writes(
    case: str, wide: Path, finished: Path, out: Path, place: Path, model: LoadedModel
) -> None:
    changes = dict(CASES[case])
    parts, least = changes.pop("parts"), changes.pop("least", 1)
    drawn = {Path(name).stem: out / name for name in changes.pop("drawn", ())}
    changes["outputs"] = changes.get("outputs", {}) | drawn
    if "mask" in changes:
        changes["mask"] = str(wide / changes["mask"])
    options = asked(wide, out, finished, **changes)
    expected = classify(options, Silent(), loaded=model)
    whole = out.rename(out.with_name("whole"))
    out.mkdir()
    cut, found = in_parts(options, place, model, parts, least)
    assert len(cut.parts) > 1
    assert len({part.own.col for part in cut.parts}) > 1 or least == 1
    assert found == expected
    assert_same(whole, out)
    if "mask" in changes:
        assert found.outside_pixels > 0


@pytest.mark.parametrize("size", [17, 9])
def test_a_scene_smaller_than_a_window_is_one_part(
    size: int, finished: Path, tmp_path: Path, out: Path, place: Path, model: LoadedModel
) -> None:
    scene = make_scene(tmp_path / "small", size=max(size, 12), ratio=3).folder
    bounds = (ORIGIN[0] + 2, ORIGIN[1] - 2 * size, ORIGIN[0] + 22, ORIGIN[1] - 2)
    options = asked(
        scene, out, finished, window=24, scores=SCORES, inputs={"grid": GridOptions(bounds=bounds)}
    )
    classify(options, Silent(), loaded=model)
    whole = out.rename(out.with_name("whole"))
    out.mkdir()
    cut, _ = in_parts(options, place, model, 4)
    assert len(cut.parts) == 1
    assert_same(whole, out)


def test_a_scene_lower_than_a_window_is_cut_across(
    wide: Path, finished: Path, out: Path, place: Path, model: LoadedModel
) -> None:
    bounds = (ORIGIN[0] + 2, ORIGIN[1] - 122, ORIGIN[0] + 280, ORIGIN[1] - 102)
    grid = {"grid": GridOptions(bounds=bounds)}
    options = asked(wide, out, finished, scores=SCORES, inputs=grid)
    classify(options, Silent(), loaded=model)
    whole = out.rename(out.with_name("whole"))
    out.mkdir()
    cut, _ = in_parts(options, place, model, 5)
    assert len(cut.parts) == 5
    assert_same(whole, out)


@pytest.mark.parametrize("kind", ["random-forest", "svm"])
def test_a_model_of_single_pixels_needs_no_halo(
    kind: str, wide: Path, finished: Path, tmp_path: Path, out: Path, place: Path
) -> None:
    train = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class", "-q")
    target = tmp_path / "pixels.safetensors"
    small = quick(kind, steps=1, batch_size=1)
    outcome = comix(finished, *train, "--model", kind, *small, "-o", target)
    assert outcome.code == 0, outcome.err
    options = asked(
        wide, out, finished, model=target, window=16, overlap=None, scores=("probabilities",)
    )
    classify(options, Silent())
    whole = out.rename(out.with_name("whole"))
    out.mkdir()
    cut, _ = in_parts(options, place, load(target), 3)
    assert sum(part.windows for part in cut.parts) == cut.windows
    assert_same(whole, out)


@dataclass
class Counting:
    """A `Progress` that counts windows, and may break off after some."""

    breaks_after: int = 1 << 30
    error: type[BaseException] = RuntimeError
    windows: int = 0

    @contextmanager
    def task(self, description: str, total: float | None) -> Iterator[Task]:  # noqa: ARG002
        yield self

    def advance(self, amount: float = 1, *, status: str = "") -> None:  # noqa: ARG002
        self.windows += int(amount)
        if self.windows > self.breaks_after:
            raise self.error("broken off")

    def info(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        raise AssertionError(message)


@dataclass(frozen=True)
class Begun:
    """A scene that has been cut, and some parts of it mapped."""

    options: ClassifyOptions
    cut: SceneCut
    place: Path
    model: LoadedModel

    def map(self, number: int, watch: Any = None, **more: Any) -> PartRecord:
        part = self.cut.parts[number]
        return map_part(
            self.options, part, self.place, watch or Silent(), loaded=self.model, **more
        )

    def assemble(self) -> ClassifyReport:
        return assemble(self.options, self.cut, self.place, Silent(), loaded=self.model)


@pytest.fixture
def begun(wide: Path, finished: Path, out: Path, place: Path, model: LoadedModel) -> Begun:
    options = asked(wide, out, finished, scores=("confidence",), window=32, overlap=9)
    cut = plan_parts(options, Silent(), parts=3, least_windows=1, least_rows=1, loaded=model)
    return Begun(options, cut, place, model)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_a_part_that_breaks_off_leaves_nothing(begun: Begun, error: type[BaseException]) -> None:
    with pytest.raises(error):
        begun.map(1, Counting(breaks_after=8, error=error))
    assert files(begun.place) == set()
    with pytest.raises(InputError, match=r"parts 1-3 of 3 are missing or damaged; give the same"):
        begun.assemble()


def test_a_part_that_nobody_wants_any_more_is_given_up(begun: Begun) -> None:
    answers = iter([False] * 5 + [True] * 100)
    watch = Counting()
    with pytest.raises(CrewError, match="nobody wants"):
        begun.map(0, watch, cancelled=lambda: next(answers))
    assert watch.windows <= 6
    assert files(begun.place) == set()


def test_a_finished_part_is_not_computed_again(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Counting()
    record = begun.map(0, first)
    before = {path.name: path.stat().st_mtime_ns for path in begun.place.iterdir()}
    assert set(before) == {"part-0-0.map", "part-0-0.confidence", "part-0-0.json"}

    def computed(*_: object) -> int:
        raise AssertionError("computed again")

    monkeypatch.setattr(classify_parts, "map_rows", computed)
    again = Counting()
    assert begun.map(0, again) == record
    assert {path.name: path.stat().st_mtime_ns for path in begun.place.iterdir()} == before
    assert first.windows == again.windows == begun.cut.parts[0].windows


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("damage", [cut_off, altered, longer, Path.unlink])
@pytest.mark.parametrize("kind", ["map", "confidence"])
def test_a_damaged_part_is_noticed_and_computed_again(begun: Begun, damage: Any, kind: str) -> None:
    for number in range(3):
        begun.map(number)
    victim = begun.place / f"part-{begun.cut.parts[1].own.row}-0.{kind}"
    kept = victim.read_bytes()
    damage(victim)
    # Whoever maps it again computes it again,
    watch = Counting()
    begun.map(1, watch)
    assert victim.read_bytes() == kept
    damage(victim)
    # and so it is where it is found out at the end: it is gone, and nothing has been written.
    with pytest.raises(InputError, match=r"parts: part 2 of 3 is (missing or )?damaged; give the"):
        begun.assemble()
    assert [path.name for path in begun.place.glob(f"part-{begun.cut.parts[1].own.row}-*")] == []
    assert files(begun.options.outputs.map.parent) == set()
    for number in range(3):
        begun.map(number)
    begun.assemble()
    assert victim.read_bytes() == kept


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mark": 1}'])
def test_a_damaged_record_counts_for_nothing(begun: Begun, text: str) -> None:
    record = begun.map(0)
    (begun.place / "part-0-0.json").write_text(text)
    assert begun.map(0) == record


def test_a_part_of_other_options_is_computed_again(begun: Begun) -> None:
    mark = begun.map(0).mark
    assert begun.map(0).mark == mark
    for change in (
        {"overlap": 8},
        {"outputs": replace(begun.options.outputs, confidence=None)},
        {"precision": "float32"},
    ):
        other = replace(begun.options, **change)
        cut = plan_parts(
            other, Silent(), parts=3, least_windows=1, least_rows=1, loaded=begun.model
        )
        assert map_part(other, cut.parts[0], begun.place, Silent(), loaded=begun.model).mark != mark
    # Where they lie and how fast they come plays no part.
    elsewhere = replace(begun.options.outputs, map=Path("other.tif"))
    other = replace(begun.options, outputs=elsewhere, threads=2, ram=9000, device="cpu")
    found = map_part(other, begun.cut.parts[0], begun.place, Silent(), loaded=begun.model)
    assert found.mark == mark


def test_a_full_disk_is_named_in_one_line(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    write = RowFile.write_block

    def full(self: RowFile, row: int, *more: Any) -> None:
        if row > 20 and self.dtype == np.uint8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, row, *more)

    with monkeypatch.context() as patched:
        patched.setattr(RowFile, "write_block", full)
        with pytest.raises(OutputError, match=r"part-0-0\.map: the disk is full; free") as caught:
            begun.map(0)
    assert "\n" not in caught.value.message
    assert files(begun.place) == set()
    begun.map(0)


def test_a_folder_that_is_not_there_is_named(begun: Begun) -> None:
    begun.place.rmdir()
    with pytest.raises(OutputError, match=r"the folder .*parts does not exist"):
        begun.map(0)


def test_a_part_of_another_scene_is_refused(begun: Begun) -> None:
    part = begun.cut.parts[-1]
    lower = Part(part.rows, part.cols, part.own.moved(1, 0), part.seen)
    with pytest.raises(InputError, match="no longer the one that was cut"):
        map_part(begun.options, lower, begun.place, Silent(), loaded=begun.model)


def test_warnings_are_said_once_when_it_is_planned(
    finished: Path, wide: Path, out: Path, place: Path, model: LoadedModel
) -> None:
    grid = GridOptions(resolution=4.0)
    options = asked(wide, out, finished, inputs={"grid": grid})
    watch = Silent()
    cut = plan_parts(options, watch, parts=2, least_windows=1, least_rows=1, loaded=model)
    assert [w for w in watch.warnings if "the common grid has pixels of 4 m" in w]
    later = Silent()
    for part in cut.parts:
        map_part(options, part, place, later, loaded=model)
    assemble(options, cut, place, later, loaded=model)
    assert later.warnings == []


def test_an_empty_map_is_warned_of_as_ever(
    finished: Path, wide: Path, out: Path, place: Path, model: LoadedModel, tmp_path: Path
) -> None:
    shutil.copytree(wide, tmp_path / "empty")
    with rasterio.open(tmp_path / "empty" / "hsi.tif", "r+") as dataset:
        dataset.write(np.full((dataset.count, *dataset.shape), -9999, np.int16))
    options = asked(tmp_path / "empty", out, finished)
    cut = plan_parts(options, Silent(), parts=2, least_windows=1, least_rows=1, loaded=model)
    watch = Silent()
    for part in cut.parts:
        map_part(options, part, place, Silent(), loaded=model)
    assemble(options, cut, place, watch, loaded=model)
    assert len(watch.warnings) == 1
    assert "the map is empty" in watch.warnings[0]


def test_small_scenes_are_not_worth_cutting(begun: Begun) -> None:
    def parts(count: int, windows: int, rows: int = 1) -> int:
        found = plan_parts(
            begun.options,
            Silent(),
            parts=count,
            least_windows=windows,
            least_rows=rows,
            loaded=begun.model,
        )
        assert (found.shape, found.windows) == (begun.cut.shape, begun.cut.windows)
        return len(found.parts)

    windows = begun.cut.windows
    assert parts(4, windows // 2 + 1) == 1
    assert parts(4, windows // 2) == 2
    assert parts(4, 1, rows=12) == 1


def test_parts_too_wide_for_the_memory_are_cut_across(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget_of = classify_job.budget_of

    def narrow(options: ClassifyOptions, scene: classify_job.OpenScene, part: Part) -> Any:
        if len(part.cols) > most:
            raise UsageError("this scene takes more than allowed")
        return budget_of(options, scene, part)

    monkeypatch.setattr(classify_parts, "budget_of", narrow)
    most = 4
    found = plan_parts(
        begun.options, Silent(), parts=2, least_windows=1, least_rows=1, loaded=begun.model
    )
    assert max(len(part.cols) for part in found.parts) <= most
    most = 0
    with pytest.raises(UsageError, match="more than allowed"):
        plan_parts(begun.options, Silent(), parts=2, least_windows=1, loaded=begun.model)


def test_mistakes_come_before_long_work(begun: Begun) -> None:
    def plan(**changes: Any) -> None:
        plan_parts(
            replace(begun.options, **changes),
            Silent(),
            parts=2,
            least_windows=1,
            loaded=begun.model,
        )

    outputs = begun.options.outputs
    with pytest.raises(UsageError, match="--co COMPRESS=NONSENSE"):
        plan(outputs=replace(outputs, creation_options={"COMPRESS": "NONSENSE"}))
    with pytest.raises(OutputError, match="is an input"):
        plan(outputs=replace(outputs, map=Path(begun.options.inputs.hsi), overwrite=True))
    with pytest.raises(UsageError, match="--overlap 40"):
        plan(overlap=40)
    outputs.map.touch()
    with pytest.raises(OutputError, match="exists already"):
        plan()


def test_a_model_that_is_out_of_reach_comes_as_bytes(
    begun: Begun, finished: Path, out: Path
) -> None:
    classify(begun.options, Silent(), loaded=begun.model)
    whole = out.rename(out.with_name("whole"))
    out.mkdir()
    data = (finished / "model.safetensors").read_bytes()
    sent = load(data, "cpu", name="far/model.safetensors")
    assert sent.checksum == begun.model.checksum
    options = replace(begun.options, model=Path("far/model.safetensors"))
    in_parts(options, begun.place, sent, 3)
    with rasterio.open(out / "map.tif") as dataset, rasterio.open(whole / "map.tif") as other:
        assert dataset.read().tobytes() == other.read().tobytes()
        here, there = (json.loads(d.tags()["COMIX_MODEL"]) for d in (dataset, other))
    assert here == {"path": "far/model.safetensors", "checksum": there["checksum"]}


def test_a_worker_that_does_not_see_the_sharp_hsi_says_so(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked_for(inputs: SceneInputs, _: object) -> SharpHsi:
        return SharpHsi(inputs, inputs.x[0], "mark", Path("/nowhere/.comix-sharp/hsi-0.tif"))

    monkeypatch.setattr(classify_job, "sharp_hsi_as_asked", asked_for)
    with pytest.raises(InputError, match=r"hsi-0\.tif: the sharp HSI is not where it was kept"):
        begun.map(0)


def test_parts_read_the_sharp_hsi_that_is_kept(
    sharp_place: Path, few_steps: list[SharpenOptions], out: Path, place: Path
) -> None:
    trained = comix(sharp_place, *TRAIN, "-o", "m.safetensors", "--sharpen")
    assert trained.code == 0, trained.err
    inputs = SceneInputs(str(sharp_place / "hsi.tif"), (str(sharp_place / "x.tif"),), sharpen=True)
    options = ClassifyOptions(
        inputs, sharp_place / "m.safetensors", OutputOptions(out / "map.tif"), threads=1
    )
    model = load(sharp_place / "m.safetensors", "cpu")
    cut = plan_parts(options, Silent(), parts=2, least_windows=1, least_rows=1, loaded=model)
    assert len(few_steps) == 1
    assert cut.inputs.sharpened_from == inputs.hsi
    sent = replace(options, inputs=cut.inputs)
    one, other = cut.parts
    record = map_part(sent, one, place, Silent(), loaded=model)
    assert map_part(options, one, place, Silent(), loaded=model) == record
    map_part(sent, other, place, Silent(), loaded=model)
    assemble(options, cut, place, Silent(), loaded=model)
    in_pieces = written(out / "map.tif")
    (out / "map.tif").unlink()
    classify(options, Silent(), loaded=model)
    assert written(out / "map.tif") == in_pieces
    assert len(few_steps) == 1


class Copied(SharpHsi):
    """Stands for a sharp HSI: the HSI itself, once it has been asked for."""

    def make(self, progress: Progress) -> None:  # noqa: ARG002
        shutil.copy(self.given.hsi, self.kept)


def test_planning_sharpens_and_not_before_mistakes_are_found(
    begun: Begun, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify(begun.options, Silent(), loaded=begun.model)
    expected = written(out / "map.tif").pixels
    shutil.rmtree(out)
    out.mkdir()
    kept = tmp_path / "kept.tif"

    def asked_for(inputs: SceneInputs, _: object) -> SharpHsi | None:
        return None if inputs.sharpened_from else Copied(inputs, inputs.x[0], "mark", kept)

    monkeypatch.setattr(classify_job, "sharp_hsi_as_asked", asked_for)
    outputs = replace(begun.options.outputs, creation_options={"BLOCKSIZE": "1"})
    wrong = replace(begun.options, outputs=outputs)
    with pytest.raises(UsageError, match="--co BLOCKSIZE=1"):
        plan_parts(wrong, Silent(), parts=3, least_windows=1, loaded=begun.model)
    assert not kept.exists()
    cut, _ = in_parts(begun.options, begun.place, begun.model, 3)
    assert cut.inputs.hsi == str(kept)
    assert written(out / "map.tif").pixels == expected
    # Whoever is told of it finds the parts finished.
    sent = replace(begun.options, inputs=cut.inputs)
    before = files(begun.place), (begun.place / "part-0-0.map").stat().st_mtime_ns
    map_part(sent, cut.parts[0], begun.place, Silent(), loaded=begun.model)
    assert (files(begun.place), (begun.place / "part-0-0.map").stat().st_mtime_ns) == before
