"""comix.toml as the defaults of every command."""

from pathlib import Path

import pytest

from comix_cli.errors import InputError, UsageError
from comix_cli.project import read_project


def write(folder: Path, text: str) -> None:
    (folder / "comix.toml").write_text(text, encoding="utf-8")


def test_a_folder_without_the_file_has_no_defaults(tmp_path: Path) -> None:
    assert read_project(tmp_path) == {}


def test_scene_and_compute_reach_training_and_mapping(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        [scene]
        hsi = "hsi.tif"
        x = ["dsm.tif", "sar.tif"]
        res = 2.5
        [scene.resampling]
        x1 = "cubic"
        [compute]
        batch-size = 8
        [train]
        gt = "labels.shp"
        max-minutes = 5
        """,
    )
    defaults = read_project(tmp_path)
    assert defaults["classify"] == {
        "inputs": ["hsi.tif", "dsm.tif", "sar.tif"],
        "res": 2.5,
        "resampling": ["x1=cubic"],
        "batch_size": 8,
    }
    assert defaults["train"] == defaults["classify"] | {"gt": "labels.shp", "max_minutes": 5}
    assert defaults["evaluate"] == {}


def test_one_x_may_stand_without_brackets(tmp_path: Path) -> None:
    write(tmp_path, '[scene]\nhsi = "a.tif"\nx = "b.tif"\n')
    assert read_project(tmp_path)["train"]["inputs"] == ["a.tif", "b.tif"]


def test_a_command_wins_over_what_is_shared(tmp_path: Path) -> None:
    write(tmp_path, "[compute]\nbatch_size = 8\n[classify]\nbatch_size = 2\n")
    defaults = read_project(tmp_path)
    assert (defaults["train"]["batch_size"], defaults["classify"]["batch_size"]) == (8, 2)


def test_the_map_to_evaluate_is_called_map(tmp_path: Path) -> None:
    write(tmp_path, '[evaluate]\nmap = "map.tif"\n')
    assert read_project(tmp_path)["evaluate"] == {"map_path": "map.tif"}


def test_a_benchmark_has_the_scene_of_training_and_is_judged_as_evaluation_is(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        """
        [compute]
        threads = 2
        batch-size = 8
        [train]
        gt = "a.shp"
        res = 2
        device = "cpu"
        steps = 9
        [evaluate]
        gt = "b.shp"
        """,
    )
    assert read_project(tmp_path)["benchmark"] == {
        "threads": 2, "gt": "a.shp", "res": 2, "device": "cpu", "test": "b.shp"
    }  # fmt: skip


def test_broken_toml_is_named_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, "[scene\n")
    with pytest.raises(InputError, match=r"comix\.toml: not valid TOML.*line 1"):
        read_project(tmp_path)


@pytest.mark.parametrize(
    ("text", "name"), [("[trian]\nsteps = 1\n", "trian"), ("[scene]\nhsy = 'a'\n", "hsy")]
)
def test_a_misspelt_name_is_refused_and_the_known_ones_are_listed(
    tmp_path: Path, text: str, name: str
) -> None:
    write(tmp_path, text)
    with pytest.raises(UsageError, match=f"'{name}'.*(scene|hsi)"):
        read_project(tmp_path)


def test_the_map_to_evaluate_is_the_one_to_sample(tmp_path: Path) -> None:
    write(tmp_path, '[evaluate]\nmap = "a.tif"\ngt = "b.shp"\nsrc_crs = "EPSG:32633"')
    assert read_project(tmp_path)["sample"] == {"map_path": "a.tif", "src_crs": "EPSG:32633"}
    write(tmp_path, '[evaluate]\nmap = "a.tif"\n[sample]\nmap = "c.tif"\nsize = 9')
    assert read_project(tmp_path)["sample"] == {"map_path": "c.tif", "size": 9}
