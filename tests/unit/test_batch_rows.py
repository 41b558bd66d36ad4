"""Rows of tables become the option records of the commands that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from comix_cli.commands.batch_rows import read_scenes
from comix_cli.errors import UsageError
from comix_cli.tools.batch_jobs import EvaluateJob, Scene
from comix_cli.tools.classify_job import ClassifyOptions
from comix_cli.tools.scene_table import SceneRow
from comix_cli.tools.train import TrainOptions

MODEL = {"--model": "m.safetensors"}


def row(base: Path, **cells: str | tuple[str, ...]) -> SceneRow:
    told = {key: (value,) if isinstance(value, str) else value for key, value in cells.items()}
    return SceneRow("a", "scenes.csv, line 2", told, base)


def scene(
    base: Path,
    command: str = "classify",
    shared: str = "",
    template: str | None = None,
    flags: Mapping[str, str] = MODEL,
    **cells: Any,
) -> Scene:
    (found,) = read_scenes([row(base, **cells)], command, shared, template, flags)
    return found


def classification(base: Path, shared: str = "", **cells: Any) -> ClassifyOptions:
    job = scene(base, shared=shared, **cells).job
    assert isinstance(job, ClassifyOptions)
    return job


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command runs in; the table lies in another one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_paths_of_cells_are_meant_from_the_table_and_those_of_options_from_here(
    tmp_path: Path, elsewhere: Path
) -> None:
    job = classification(
        tmp_path, "--dtm dtm.tif", hsi="h.tif", x=("l.tif", "../s.tif"), out="maps/m.tif",
        mask="area.gpkg",
    )  # fmt: skip
    assert job.inputs.hsi == str(tmp_path / "h.tif")
    assert job.inputs.x == (str(tmp_path / "l.tif"), str(tmp_path / "../s.tif"))
    assert job.inputs.dtm == str(elsewhere / "dtm.tif")
    assert job.outputs.map == tmp_path / "maps/m.tif"
    assert job.mask == str(tmp_path / "area.gpkg")
    assert job.model == elsewhere / "m.safetensors"


@pytest.mark.parametrize(
    "name",
    [
        "/vsizip/a.zip/h.tif",
        'NETCDF:"a.nc":v',
        "https://example.org/h.tif",
        "s3://b/h.tif",
        "/d/h.tif",
    ],
)
def test_names_of_gdal_and_whole_paths_stay(tmp_path: Path, name: str) -> None:
    assert classification(tmp_path, hsi=name, out="m.tif").inputs.hsi == name


def test_an_x_may_have_a_name(tmp_path: Path) -> None:
    job = classification(tmp_path, hsi="h.tif", x=("s.tif", "dsm=l.tif"), dtm="t.tif", out="m.tif")
    assert job.inputs.x == (str(tmp_path / "s.tif"), str(tmp_path / "l.tif"))
    assert job.inputs.x_names == ("", "dsm")


def test_a_row_wins_over_what_is_said_of_all(tmp_path: Path) -> None:
    shared = "--window 64 --overlap 8 --co COMPRESS=LZW"
    job = classification(
        tmp_path,
        shared,
        hsi="h.tif",
        out="m.tif",
        overlap="16",
        co=("ZLEVEL=9",),
        model="n.safetensors",
    )
    assert (job.window, job.overlap) == (64, 16)
    assert job.outputs.creation_options == {"COMPRESS": "LZW", "ZLEVEL": "9"}
    assert job.model == tmp_path / "n.safetensors"


def test_options_of_every_kind_have_columns(tmp_path: Path) -> None:
    job = classification(
        tmp_path, hsi="h.tif", out="m.tif", bounds="1 2 3 4", res=("2", "3"), float_scores="yes",
        compile="no", min_area="0.5ha", resampling=("hsi=cubic",),
    )  # fmt: skip
    assert job.inputs.grid.bounds == (1, 2, 3, 4)
    assert job.inputs.grid.resolution == (2, 3)
    assert job.outputs.float_scores
    assert not job.compile
    assert job.inputs.resampling == {"hsi": "cubic"}


def test_defaults_of_the_folder_hold_for_every_scene(tmp_path: Path, elsewhere: Path) -> None:
    (elsewhere / "comix.toml").write_text("[classify]\nwindow = 48\nmodel = 'k.safetensors'\n")
    job = scene(tmp_path, flags={}, hsi="h.tif", out="m.tif").job
    assert isinstance(job, ClassifyOptions)
    assert (job.window, job.model) == (48, elsewhere / "k.safetensors")


def test_outputs_can_be_called_by_a_template(tmp_path: Path) -> None:
    job = scene(tmp_path, template="maps/{id}.tif", hsi="h.tif").job
    assert isinstance(job, ClassifyOptions)
    assert job.outputs.map == tmp_path / "maps/a.tif"


def test_a_training_and_an_evaluation_have_their_own_options(tmp_path: Path) -> None:
    trained = scene(
        tmp_path, "train", "--steps 7", flags={}, hsi="h.tif", x="l.tif", gt="g.gpkg",
        out="m.safetensors", model="unet", validation="none",
    ).job  # fmt: skip
    assert isinstance(trained, TrainOptions)
    assert (trained.model.model, trained.recipe.steps) == ("unet", 7)
    assert trained.truth.path == str(tmp_path / "g.gpkg")
    assert trained.validation == "none"
    judged = scene(
        tmp_path, "evaluate", flags={}, map="m.tif", gt="g.gpkg", out="r.json", report="r.html"
    ).job
    assert isinstance(judged, EvaluateJob)
    assert judged.options.map_path == str(tmp_path / "m.tif")
    assert judged.options.picture
    assert judged.reports == {"-o": tmp_path / "r.json", "--report": tmp_path / "r.html"}


def test_a_scene_can_be_written_into_a_table_anywhere(tmp_path: Path) -> None:
    found = scene(tmp_path, hsi="h.tif", x=("l.tif", "dsm=s.tif"), out="m.tif", dtm="t.tif")
    assert found.cells == {
        "hsi": (f"{tmp_path}/h.tif",),
        "x": (f"{tmp_path}/l.tif", f"dsm={tmp_path}/s.tif"),
        "out": (f"{tmp_path}/m.tif",),
        "dtm": (f"{tmp_path}/t.tif",),
    }
    (again,) = read_scenes([SceneRow("a", "w", found.cells)], "classify", "", None, MODEL)
    assert again.job == found.job


def test_only_an_x_has_names_and_other_paths_may_hold_an_equals_sign(tmp_path: Path) -> None:
    job = classification(tmp_path, hsi="date=2024/h.tif", x="sar=s.tif", out="date=2024/m.tif")
    assert job.inputs.hsi == str(tmp_path / "date=2024/h.tif")
    assert job.outputs.map == tmp_path / "date=2024/m.tif"
    assert job.inputs.x == (str(tmp_path / "s.tif"),)


def test_a_folder_with_a_colon_is_no_name_of_gdal_where_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "T10:30").mkdir()
    (tmp_path / "T10:30/h.tif").touch()
    job = classification(tmp_path, hsi="T10:30/h.tif", out="m.tif")
    assert job.inputs.hsi == str(tmp_path / "T10:30/h.tif")


def test_a_row_can_say_no_to_a_flag_of_all_scenes(tmp_path: Path) -> None:
    shared = "--float-scores --compile"
    job = classification(tmp_path, shared, hsi="h.tif", out="m.tif", float_scores="no")
    assert (job.outputs.float_scores, job.compile) == (False, True)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"x": "l.tif"}, "scenes.csv, line 2: names no hsi; fill the column 'hsi'"),
        ({"hsi": "h", "out": "m.tif", "colour": "red"}, "has no option 'colour'"),
        ({"hsi": "h", "out": "m.tif", "overwrite": "yes"}, "is not the business of a scene"),
        ({"hsi": "h", "out": "m.tif", "overlap": "wide"}, "line 2: Invalid value for '--overlap'"),
        ({"hsi": "h", "out": "m.tif", "compile": "maybe"}, "'maybe' for --compile is neither"),
        (
            {"hsi": "h"},
            "line 2: names no output; fill the column 'out', or give --out maps/{id}.tif",
        ),
        ({"hsi": "h", "out": "m.tif", "mask_layer": "l"}, "--mask-layer: there is no --mask"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_line(
    tmp_path: Path, cells: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        scene(tmp_path, **cells)
    assert said in str(caught.value)
    assert str(caught.value).startswith("scenes.csv, line 2: ")


@pytest.mark.parametrize(
    ("shared", "template", "said"),
    [
        ("--overwrite", None, "--options: --overwrite is not the business of a scene"),
        ("-o m.tif", None, "--options: -o is not the business of a scene"),
        ("'--overlap", None, "--options: no closing quotation in ''--overlap'; close the quotes"),
        ("", "map.tif", "--out map.tif: would be one file for all scenes"),
    ],
)
def test_what_is_said_of_all_scenes_is_checked(
    tmp_path: Path, shared: str, template: str | None, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        scene(tmp_path, shared=shared, template=template, hsi="h.tif")
    assert said in str(caught.value)
