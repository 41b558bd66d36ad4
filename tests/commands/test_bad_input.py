"""Bad input: the right exit code, one line naming file, cause and remedy, nothing left behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas
import numpy as np
import pytest
import torch
from cli import comix, files, running
from scenes import write_raster, write_vector
from shapely.geometry import box

TRAIN = ("train", "hsi.tif", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
QUICK = ("--preset", "nano", "--steps", "1", "--batch-size", "1", "--window", "32", "--overwrite")
CLASSIFY = ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif")


def refused(folder: Path, *arguments: str | Path, code: int = 1) -> str:
    """The error line of a command that must fail and leave the folder as it was."""
    before = files(folder)
    outcome = comix(folder, *arguments)
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert files(folder) == before
    return outcome.error


def test_a_missing_raster(scene: Path) -> None:
    line = refused(scene, "classify", "nowhere.tif", "lidar.tif", "-o", "map.tif")
    assert "nowhere.tif" in line
    assert "no such file" in line


def test_a_missing_ground_truth(scene: Path) -> None:
    line = refused(scene, "train", "hsi.tif", "--gt", "nowhere.shp", "--overwrite")
    assert "nowhere.shp" in line


def test_a_file_that_is_no_raster(scene: Path) -> None:
    (scene / "notes.tif").write_text("dear diary")
    line = refused(scene, "classify", "notes.tif", "lidar.tif", "-o", "map.tif")
    assert "notes.tif: is not a raster" in line


def test_a_file_that_is_no_vector(scene: Path) -> None:
    (scene / "notes.shp").write_text("dear diary")
    assert "notes.shp: is not a vector" in refused(
        scene, "train", "hsi.tif", "--gt", "notes.shp", "--overwrite"
    )


@pytest.mark.parametrize("name", ["empty.shp", "empty.gpkg"])
def test_a_vector_without_content_is_called_empty(scene: Path, name: str) -> None:
    (scene / name).touch()
    empty = f"{name}: is empty (0 bytes); copy it again"
    assert empty in refused(scene, "train", "hsi.tif", "--gt", name, "--overwrite")
    assert empty in refused(scene, *CLASSIFY, "--mask", name)


def test_a_raster_in_place_of_a_vector_is_explained(scene: Path) -> None:
    remedy = "give ground truth as vectors, or as a raster of one band of class codes"
    for raster, cause in (("lidar.tif", "no class codes, such as"), ("hsi.tif", "has 12 bands")):
        line = refused(scene, "train", "hsi.tif", "--gt", raster, "--overwrite")
        assert f"{raster}: " in line
        assert cause in line
        assert remedy in line
    line = refused(scene, *CLASSIFY, "--mask", "lidar.tif")
    assert "it is a raster: give the area of interest as a vector file" in line


def test_a_vector_or_a_model_in_place_of_a_raster_is_explained(scene: Path) -> None:
    line = refused(scene, "classify", "hsi.tif", "labels.gpkg", "-o", "map.tif")
    assert "labels.gpkg: is not a raster" in line
    assert "give it with --gt or --mask" in line
    line = refused(scene, "classify", "hsi.tif", "model.safetensors", "-o", "map.tif")
    assert "model.safetensors: is called like a model" in line


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((*CLASSIFY[:-1], ""), "map"),
        ((*CLASSIFY, "--quicklook", ""), "quicklook"),
        ((*CLASSIFY, "-m", ""), "model"),
        ((*TRAIN, "-o", ""), "output"),
    ],
)
def test_a_shell_variable_that_is_not_set(
    scene: Path, arguments: tuple[str, ...], what: str
) -> None:
    line = refused(scene, *arguments)
    assert f"the name of the {what} is empty, or '.'; name a file" in line
    assert "if a shell variable holds the name, is it set?" in line


def test_a_folder_in_place_of_a_file(scene: Path) -> None:
    (scene / "folder").mkdir()
    for arguments in (CLASSIFY[:-1], (*CLASSIFY, "--polygons"), (*TRAIN, "-o")):
        line = refused(scene, *arguments, "folder")
        assert "folder: is a folder; name a file in it" in line
    assert "folder: is a folder; name a model in it" in refused(scene, *CLASSIFY, "-m", "folder")


def test_a_model_is_not_called_like_a_map(scene: Path) -> None:
    line = refused(scene, *TRAIN, "-o", "new.tif")
    assert "new.tif: does not end in .safetensors; call it new.safetensors" in line


def test_one_band_does_not_cover_the_wavelengths_of_the_others(scene: Path) -> None:
    # The model's bands lie at 450, 618.2, 786.4, ... nm and are 8 nm wide.
    for fwhm, lack in ((None, "band around 618.2, 786.4"), ([2.0], "wide enough, around 450, 618")):
        write_raster(
            scene / "one.tif", np.ones((1, 20, 20), np.int16), wavelengths=[450.0], fwhm=fwhm
        )
        line = refused(scene, "classify", "one.tif", "lidar.tif", "-o", "map.tif")
        assert "its 1 band, 450 nm does not cover the model's 12 bands, 450..2300 nm" in line
        assert lack in line


def test_a_raster_without_crs(scene: Path) -> None:
    write_raster(scene / "bare.tif", np.ones((12, 20, 20), np.int16), crs=None)
    line = refused(scene, "classify", "bare.tif", "lidar.tif", "-o", "map.tif")
    assert "bare.tif: has no CRS; give one with --src-crs" in line


def test_inputs_that_do_not_overlap_print_both_extents(scene: Path) -> None:
    write_raster(scene / "far.tif", np.ones((1, 20, 20), np.float32), origin=(9e5, 5.1e6))
    line = refused(scene, "classify", "hsi.tif", "far.tif", "-o", "map.tif")
    for fact in ("hsi.tif covers", "far.tif covers", "900000..900200", "400001.3.."):
        assert fact in line


def test_bands_that_the_model_does_not_know_print_both_numbers(scene: Path) -> None:
    line = refused(scene, "classify", "lidar.tif", "hsi.tif", "-o", "map.tif")
    assert "lidar.tif: has 1 band, but the model was trained on" in line
    assert "12 bands (hsi.tif)" in line


def test_too_few_rasters_for_the_model(scene: Path) -> None:
    line = refused(scene, "classify", "hsi.tif", "-o", "map.tif")
    assert "trained with 2 rasters" in line
    assert "this is 1 raster: hsi.tif" in line


def test_a_field_that_is_not_there_prints_the_fields(scene: Path) -> None:
    line = refused(scene, *TRAIN[:-1], "klass", *QUICK)
    for fact in ("labels.gpkg", "klass", "class", "plot"):
        assert fact in line


def test_ground_truth_that_misses_the_raster_prints_both_extents(scene: Path) -> None:
    write_vector(scene / "far.gpkg", [(box(0, 0, 10, 10), {"class": "grass"})])
    line = refused(scene, "train", "hsi.tif", "--gt", "far.gpkg", *QUICK)
    for fact in ("far.gpkg", "misses the raster", "x 0..10", "400001.3.."):
        assert fact in line


def test_one_class_only(scene: Path) -> None:
    frame = geopandas.read_file(scene / "labels.gpkg")
    frame[frame["class"] == "roof"].to_file(scene / "roofs.gpkg")
    line = refused(scene, "train", "hsi.tif", "--gt", "roofs.gpkg", "--field", "class", *QUICK)
    assert "only one class ('roof')" in line


def test_a_truncated_model(scene: Path) -> None:
    path = scene / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    assert "model.safetensors: not a model file, or a truncated one" in refused(scene, *CLASSIFY)


def test_a_foreign_model(scene: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, scene / "foreign.safetensors")
    line = refused(scene, *CLASSIFY, "-m", "foreign.safetensors")
    assert "foreign.safetensors: not a model file" in line


def test_no_model_at_all_says_how_to_get_one(scene: Path) -> None:
    (scene / "model.safetensors").unlink()
    line = refused(scene, *CLASSIFY)
    assert "comix train" in line
    assert "-m" in line


def test_outputs_that_exist_are_kept(finished: Path) -> None:
    content = (finished / "map.tif").read_bytes()
    assert "map.tif: exists already; give --overwrite" in refused(finished, *CLASSIFY)
    assert "model.safetensors: exists already" in refused(finished, *TRAIN)
    assert (finished / "map.tif").read_bytes() == content


def test_an_input_is_never_replaced(scene: Path) -> None:
    content = (scene / "hsi.tif").read_bytes()
    for arguments in (CLASSIFY[:-1], (*TRAIN, "-o")):
        line = refused(scene, *arguments, "hsi.tif", "--overwrite")
        assert "hsi.tif: is an input of this run" in line
    assert (scene / "hsi.tif").read_bytes() == content


def test_a_folder_that_does_not_exist(scene: Path) -> None:
    line = refused(scene, *CLASSIFY[:-1], "deep/down/map.tif")
    assert "deep/down" in line
    assert "mkdir" in line


@pytest.mark.parametrize("folder", ["deep/down", "hsi.tif"])
def test_a_model_in_a_folder_that_is_none(scene: Path, folder: str) -> None:
    assert folder in refused(scene, *TRAIN, *QUICK, "-o", f"{folder}/new.safetensors")


@pytest.mark.parametrize("folder", ["/proc/new", "/proc"])
def test_a_folder_that_cannot_be_written_to(scene: Path, folder: str) -> None:
    assert folder in refused(scene, *TRAIN, *QUICK, "-o", f"{folder}/new.safetensors")


def test_logs_that_cannot_be_written_are_refused_before_anything_is_read(scene: Path) -> None:
    missing = ("train", "nowhere.tif", "--gt", "labels.gpkg", *QUICK, "--logs")
    (scene / "notes").write_text("of the field")
    assert "notes: is a file; name a folder with --logs" in refused(scene, *missing, "notes")
    for folder, named in [("/proc/x", "/proc/x"), ("/proc/x/y", "/proc/x"), ("notes/a", "notes")]:
        assert named in refused(scene, *missing, folder)
    (scene / "logs").mkdir()
    (scene / "logs" / "log.csv").write_text("of an earlier training")
    again = [*missing]
    again.remove("--overwrite")
    line = refused(scene, *again, "logs", "-o", "new.safetensors")
    assert "logs/log.csv: exists already; give --overwrite to replace it" in line
    assert "nowhere.tif" in refused(scene, *missing, "logs")  # which is what comes next


def test_a_checkpoint_that_is_cut_off(scene: Path) -> None:
    content = (scene / "model.safetensors").read_bytes()
    (scene / "new.checkpoint.safetensors").write_bytes(content[:100])
    line = refused(scene, *TRAIN, *QUICK[:-1], "-o", "new.safetensors", "--resume")
    assert "new.checkpoint.safetensors: is no checkpoint, or a damaged one" in line
    assert "begin anew with --overwrite" in line


def test_files_that_are_no_reports(scene: Path) -> None:
    line = refused(scene, "compare", "hsi.tif", "labels.gpkg")
    assert "hsi.tif: is not a JSON document; make one: comix evaluate" in line


def test_images_that_are_no_maps(scene: Path) -> None:
    line = refused(scene, "evaluate", "hsi.tif", "--gt", "labels.gpkg", "--field", "class")
    assert "hsi.tif: has 12 bands, but a class map has one" in line
    line = refused(scene, "evaluate", "lidar.tif", "--gt", "labels.gpkg", "--field", "class")
    assert "lidar.tif: holds values that are no class codes" in line


def test_data_sets_that_are_not_there(scene: Path) -> None:
    (scene / "empty").mkdir()
    for folder in ("empty", ".", "nowhere", "hsi.tif"):
        line = refused(scene, "import", "trento", folder, "-o", "new")
        assert folder in line


def test_a_moment_is_enough_for_a_step(scene: Path) -> None:
    given = ("--max-minutes", "0.0001", *QUICK[:2], "--steps", "50", *QUICK[4:])
    outcome = comix(scene, *TRAIN, *given, "--threads", "1")
    assert outcome.code == 0, outcome.err
    assert ", 1 step in" in outcome.err


def test_no_map_to_evaluate(tmp_path: Path, scene: Path) -> None:
    shutil.copy(scene / "labels.gpkg", tmp_path)
    assert "comix evaluate map.tif" in refused(tmp_path, "evaluate", "--gt", "labels.gpkg")


def test_a_string_field_against_a_map_without_names(scene: Path) -> None:
    write_raster(scene / "codes.tif", np.ones((1, 40, 40), np.uint8), res=2.0)
    line = refused(scene, "evaluate", "codes.tif", "--gt", "labels.gpkg", "--field", "class")
    assert "the map codes.tif has none" in line


def test_classes_that_have_nothing_in_common_print_both_sets(finished: Path, scene: Path) -> None:
    frame = geopandas.read_file(scene / "labels.gpkg")
    frame["code"] = frame["plot"] + 70
    frame[frame["code"] < 73].to_file(scene / "codes.gpkg")
    shutil.copy(finished / "map.tif", scene / "map.tif")
    line = refused(scene, "evaluate", "--gt", "codes.gpkg", "--field", "code")
    assert "('70', '71', '72') and the map's ('1', '2', '3') have nothing in common" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("train",),
        ("classify", "hsi.tif"),
        ("evaluate",),
        ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--window", "nine"),
        ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--overlap", "99"),
        ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--device", "abacus"),
        ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--res", "-3"),
        ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--dst-crs", "EPSG:banana"),
        ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--resampling", "x7=cubic"),
        ("classify", "hsi.tif", "lidar.tif", "-o", "map.tif", "--resampling", "cubism"),
        ("evaluate", "--gt", "labels.gpkg", "--json", "--csv"),
        ("evaluate", "--gt", "labels.gpkg", "-o", "report.docx"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--preset", "huge"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--label-fraction", "0"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--label-fraction", "nan"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--ema", "1"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--ema", "nan"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--learning-rate", "inf"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--max-minutes", "nan"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--window", "7"),
        ("train", "hsi.tif", "--gt", "labels.gpkg", "--model", "svm", "--resume"),
        ("evaluate", "--gt", "labels.gpkg", "--min-oa", "nan"),
        ("paint",),
    ],
)
def test_usage_errors_exit_with_2(finished: Path, arguments: tuple[str, ...]) -> None:
    extra = ("--overwrite",) if arguments[0] == "classify" and "-o" in arguments else ()
    refused(finished, *arguments, *extra, code=2)


def test_a_misspelt_option_in_the_project_file(scene: Path) -> None:
    (scene / "comix.toml").write_text("[classify]\noverlapp = 3\n")
    line = refused(scene, *CLASSIFY, code=2)
    assert "comix.toml: [classify] has no option 'overlapp'" in line


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("[train]\nsteps = 'many'\n", "steps = 'many'"),
        ("[scene]\nx = ['lidar.tif']\n", "[scene] has x but no hsi"),
        ("[scene]\nresampling = 'cubism'\n", "cubism"),
        ("steps = 3\n", "'steps' is no section"),
    ],
)
def test_a_value_of_the_project_file_that_cannot_be_meant(
    scene: Path, text: str, fact: str
) -> None:
    (scene / "comix.toml").write_text(text)
    assert fact in refused(scene, *TRAIN, *QUICK, code=2)


def test_a_broken_project_file_does_not_stop_init_and_help(scene: Path) -> None:
    (scene / "comix.toml").write_text("[scene\n")
    assert "comix.toml: not valid TOML" in refused(scene, *CLASSIFY)
    assert comix(scene, "--help").code == 0
    assert comix(scene, "init", "--overwrite").code == 0


def test_a_field_of_object_numbers_is_not_taken_for_classes(scene: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"fid2": range(1, 1502)}, geometry=[box(4e5, 5.7999e6, 4.001e5, 5.8e6)] * 1501, crs=32633
    )
    frame.to_file(scene / "parcels.gpkg")
    line = refused(scene, "train", "hsi.tif", "--gt", "parcels.gpkg", "--field", "fid2", *QUICK)
    assert "field 'fid2' has 1501 values, too many for classes" in line


def test_class_names_are_printed_as_they_are(finished: Path, tmp_path: Path) -> None:
    frame = geopandas.read_file(finished / "labels.gpkg")
    frame["class"] = frame["class"].replace({"roof": "roof [/flat] :smile:"})
    frame.to_file(tmp_path / "odd.gpkg")
    odd = (finished / "hsi.tif", finished / "lidar.tif", "--gt", "odd.gpkg", "--field", "class")
    assert comix(tmp_path, "train", *odd, *QUICK).code == 0
    assert comix(tmp_path, "classify", *odd[:2], "-o", "map.tif").code == 0
    outcome = comix(tmp_path, "evaluate", "--gt", "odd.gpkg")
    assert outcome.code == 0, outcome.err
    assert "roof [/flat] :smile:" in outcome.out


def test_without_arguments_the_help_is_shown(tmp_path: Path) -> None:
    outcome = comix(tmp_path)
    assert outcome.code == 2
    assert "Commands:\n" in outcome.err


def test_a_paper_network_refuses_other_windows(scene: Path) -> None:
    line = refused(scene, *TRAIN, *QUICK, "--preset", "paper", code=2)
    assert "fixed to windows of 128" in line


def test_a_traceback_only_with_debug(scene: Path) -> None:
    plain = comix(scene, "classify", "nowhere.tif", "-o", "map.tif")
    debug = comix(scene, "classify", "nowhere.tif", "-o", "map.tif", "--debug")
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert plain.code == debug.code == 1


@contextmanager
def started(
    folder: Path, *arguments: str, limit: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A real `comix` process, if wanted with a limit of file size; it never outlives this."""
    code = (
        "import resource, signal, sys\n"
        # A test runner in the background of a shell hands on that SIGINT is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"limit = {limit!r}\n"
        "if limit is not None:\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "from comix_cli.commands.app import main\n"
        "main()\n"
    )
    with running(folder, sys.executable, "-c", code, *arguments) as process:
        yield process


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_leaves_nothing(
    scene: Path, signum: signal.Signals, code: int
) -> None:
    (scene / "model.safetensors").unlink()
    before = files(scene)
    arguments = (*TRAIN, "--preset", "nano", "--window", "32", "--steps", "1000000", "-v")
    with started(scene, *arguments) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("checksums: 100 %"):  # the last thing before the first step
                break
        time.sleep(2)
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "nothing half done is left" in err
    assert files(scene) == before
    assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1


def test_an_interrupted_map_leaves_nothing(scene: Path) -> None:
    before = files(scene)
    # Pixels of 10 cm in steps of one pixel: it would take hours.
    slow = ("--res", "0.1", "--window", "16", "--overlap", "15", "--batch-size", "1")
    with started(scene, *CLASSIFY, *slow) as process:
        deadline = time.monotonic() + 120
        while files(scene) == before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert files(scene) != before, "the partial map never appeared"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert files(scene) == before


def test_a_pipe_that_is_closed_early_is_no_error_message(scene: Path) -> None:
    info = f"{sys.executable} -m comix_cli.commands.app info hsi.tif -v"
    command = f"{info} | head -1; echo $PIPESTATUS"
    done = subprocess.run(
        ["bash", "-c", command], cwd=scene, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[0] == "hsi.tif"
    assert done.stdout.splitlines()[1] in ("0", "141")
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_a_disk_that_fills_up_leaves_nothing(scene: Path) -> None:
    before = files(scene)
    with started(scene, *CLASSIFY, limit=1000) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "map.tif" in err
    assert len([line for line in err.splitlines() if line.startswith("Error")]) == 1
    assert files(scene) == before
