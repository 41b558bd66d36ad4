"""`comix batch`: many scenes through a command, failures left out, and nothing done twice."""

from __future__ import annotations

import csv
import json
import shutil
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from alone import HereCrew
from cli import Outcome, comix, files
from stacs import checked

from comix_cli.tools.batch_folder import BatchFolder
from comix_cli.tools.classify import classify

MODEL = ("-m", "model.safetensors")
QUICK = ("--threads", "1", "-q")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is done in this process: starting others takes seconds, and few tests are about them."""
    monkeypatch.setattr("comix_cli.tools.batch_crew.ProcessCrew", HereCrew)


@pytest.fixture
def scenes(finished: Path, tmp_path: Path) -> Path:
    """A folder with a model, four scenes in folders of their own, and a table of them."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    shutil.copy(finished / "model.safetensors", folder)
    for number, name in enumerate("abcd"):
        (folder / name).mkdir()
        shutil.copy(finished / "lidar.tif", folder / name)
        changed(finished / "hsi.tif", folder / name / "hsi.tif", number)
    table(folder, "abcd")
    return folder


def changed(source: Path, target: Path, by: int) -> None:
    """The same scene with other values."""
    with rasterio.open(source) as dataset:
        profile, values = dataset.profile, dataset.read()
    with rasterio.open(target, "w", **profile) as dataset:
        dataset.write(np.roll(values, by, axis=2))


def table(folder: Path, names: str, extra: str = "", name: str = "scenes.csv") -> Path:
    head, *tail = ("hsi,x,out", f",{extra}") if extra else ("hsi,x,out",)
    lines = ["".join((head, *tail))]
    lines += [
        f"{each}/hsi.tif,{each}/lidar.tif,{each}/map.tif{',' * bool(extra)}" for each in names
    ]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def run(folder: Path, *options: str | Path, name: str = "scenes.csv") -> Outcome:
    return comix(folder, "batch", name, *MODEL, *QUICK, *options)


def statuses(folder: Path, name: str = "scenes-batch/summary.json") -> dict[str, str]:
    document = json.loads((folder / name).read_text())
    return {each["id"]: each["status"] for each in document["results"]}


def written(folder: Path) -> dict[str, int]:
    """When each map was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/map.tif")}


def pixels(path: Path) -> Any:
    with rasterio.open(path) as dataset:
        return dataset.read()


def settle() -> None:
    """Files that were changed a moment ago are read again, whatever their times say."""
    time.sleep(2.1)


def test_every_scene_gets_its_map_as_classify_makes_it(scenes: Path) -> None:
    done = run(scenes)
    assert done.code == 0, done.err
    assert statuses(scenes) == dict.fromkeys(("a-map", "b-map", "c-map", "d-map"), "done")
    for name in "abcd":
        inputs = (f"{name}/hsi.tif", f"{name}/lidar.tif")
        assert comix(scenes, "classify", *inputs, *MODEL, "-o", f"{name}.tif", "-q").code == 0
        assert np.array_equal(pixels(scenes / f"{name}.tif"), pixels(scenes / name / "map.tif"))
    assert not [name for name in files(scenes) if ".partial" in name or "parts" in name]


def test_a_second_run_does_nothing_and_starts_no_worker(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(scenes).code == 0
    settle()
    assert run(scenes).code == 0  # files that were new have been read once more
    before = written(scenes)

    def none(*_: object, **__: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("comix_cli.tools.batch_crew.ProcessCrew", none)
    again = run(scenes)
    assert again.code == 0, again.err
    assert set(statuses(scenes).values()) == {"unchanged"}
    assert written(scenes) == before


@pytest.mark.usefixtures("here")
def test_what_fails_is_listed_and_the_list_can_be_fed_back_in(scenes: Path) -> None:
    whole = (scenes / "b/hsi.tif").read_bytes()
    (scenes / "b/hsi.tif").write_bytes(whole[:500])
    (scenes / "d/lidar.tif").unlink()
    done = run(scenes)
    assert done.code == 3
    assert "2 scenes of 4 failed, the first of them (b-map) because: " in done.error
    assert "scenes-batch/failed.csv as the table" in done.error
    assert statuses(scenes) == {
        "a-map": "done", "b-map": "failed", "c-map": "done", "d-map": "failed",
    }  # fmt: skip
    (scenes / "b/hsi.tif").write_bytes(whole)
    shutil.copy(scenes / "a/lidar.tif", scenes / "d")
    before = written(scenes)
    again = run(scenes, name="scenes-batch/failed.csv")
    assert again.code == 0, again.err
    assert statuses(scenes) == dict.fromkeys(("a-map", "b-map", "c-map", "d-map"), "done")
    assert {name: written(scenes)[name] for name in before} == before
    assert not (scenes / "scenes-batch/failed.csv").exists()
    assert run(scenes).code == 0
    assert set(statuses(scenes).values()) == {"unchanged"}


@pytest.mark.usefixtures("here")
def test_a_scene_is_done_again_when_what_it_depends_on_has_changed(scenes: Path) -> None:
    assert run(scenes).code == 0
    before = written(scenes)
    changed(scenes / "a/hsi.tif", scenes / "a/hsi.tif", 3)
    (scenes / "b/hsi.tif").touch()
    assert run(scenes).code == 0
    assert statuses(scenes) == {
        "a-map": "done", "b-map": "unchanged", "c-map": "unchanged", "d-map": "unchanged",
    }  # fmt: skip
    after = written(scenes)
    assert {name for name in before if after[name] != before[name]} == {"a"}
    assert run(scenes, "--options", "--overlap 4").code == 0
    assert set(statuses(scenes).values()) == {"done"}
    assert run(scenes, "--options", "--overlap 4 --ram 4000").code == 0
    assert set(statuses(scenes).values()) == {"unchanged"}  # no pixel depends on that


@pytest.mark.usefixtures("here")
def test_a_map_of_somebody_else_is_not_replaced(scenes: Path) -> None:
    (scenes / "a/map.tif").write_text("mine")
    done = run(scenes)
    assert done.code == 3
    assert "a/map.tif: exists already; give --overwrite to replace it" in done.error
    assert (scenes / "a/map.tif").read_text() == "mine"
    assert run(scenes).code == 3  # trying does not make it ours
    assert run(scenes, "--overwrite").code == 0
    assert pixels(scenes / "a/map.tif").any()
    # A map of ours that was changed by hand is somebody's work as well.
    (scenes / "a/map.tif").write_text("mine again")
    assert run(scenes).code == 3
    assert (scenes / "a/map.tif").read_text() == "mine again"


@pytest.mark.usefixtures("here")
def test_a_map_that_was_deleted_is_made_again(scenes: Path) -> None:
    assert run(scenes).code == 0
    (scenes / "c/map.tif").unlink()
    assert run(scenes).code == 0
    assert statuses(scenes)["c-map"] == "done"
    assert (scenes / "c/map.tif").exists()


@pytest.mark.usefixtures("here")
def test_the_folder_can_be_moved_with_all_that_is_in_it(scenes: Path) -> None:
    assert run(scenes).code == 0
    moved = scenes.rename(scenes.with_name("moved"))
    before = written(moved)
    assert run(moved).code == 0
    assert set(statuses(moved).values()) == {"unchanged"}
    assert written(moved) == before


@pytest.mark.usefixtures("here")
def test_files_may_have_names_of_gdal(scenes: Path) -> None:
    with zipfile.ZipFile(scenes / "a.zip", "w") as archive:
        for name in ("hsi.tif", "lidar.tif"):
            archive.write(scenes / "a" / name, name)
    inside = f"/vsizip/{scenes}/a.zip"
    (scenes / "zipped.csv").write_text(f"hsi,x,out\n{inside}/hsi.tif,{inside}/lidar.tif,z.tif\n")
    assert run(scenes, name="zipped.csv").code == 0
    assert run(scenes).code == 0
    assert np.array_equal(pixels(scenes / "z.tif"), pixels(scenes / "a/map.tif"))
    assert run(scenes, name="zipped.csv").code == 0
    assert statuses(scenes, "zipped-batch/summary.json") == {"z": "unchanged"}


@pytest.mark.usefixtures("here")
def test_a_copy_of_the_folder_knows_its_maps_by_their_contents(scenes: Path) -> None:
    assert run(scenes).code == 0
    copy = Path(shutil.copytree(scenes, scenes.with_name("copy"), copy_function=shutil.copyfile))
    assert run(copy).code == 0
    assert set(statuses(copy).values()) == {"unchanged"}


@pytest.mark.usefixtures("here")
def test_a_model_of_all_scenes_that_cannot_be_read_is_told_once(scenes: Path) -> None:
    (scenes / "model.safetensors").write_text("no model")
    done = run(scenes)
    assert done.code == 1
    assert "model.safetensors: not a model file, or a truncated one" in done.error
    assert "a-map failed" not in done.err
    assert run(scenes, "--dry-run").code == 3


@pytest.mark.usefixtures("here")
def test_on_error_stop_begins_nothing_more(scenes: Path) -> None:
    (scenes / "a/hsi.tif").write_bytes(b"")
    done = run(scenes, "--on-error", "stop")
    assert done.code == 3
    found = statuses(scenes)
    assert list(found.values()) == ["failed", "not begun", "not begun", "not begun"]
    assert "3 scenes not begun" in done.error
    with (scenes / "scenes-batch/failed.csv").open() as stream:
        listed = [row["id"] for row in csv.DictReader(stream)]
    assert listed == [name for name, status in found.items() if status != "done"]


@pytest.mark.usefixtures("here")
def test_shards_do_each_scene_once_and_a_run_of_all_sums_up(scenes: Path) -> None:
    assert run(scenes, "--shard", "1/3").code == 0
    assert set(written(scenes)) == {"a", "d"}
    assert statuses(scenes, "scenes-batch/summary-1-of-3.json") == {
        "a-map": "done",
        "d-map": "done",
    }
    for shard in ("2/3", "3/3"):
        assert run(scenes, "--shard", shard).code == 0
    before = written(scenes)
    assert run(scenes).code == 0
    assert set(statuses(scenes).values()) == {"unchanged"}
    assert written(scenes) == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_what_is_no_share_is_refused(scenes: Path, shard: str) -> None:
    done = run(scenes, "--shard", shard)
    assert done.code == 2
    assert f"'{shard}' is no share such as 1/8, the first of eight" in done.error


@pytest.mark.usefixtures("here")
def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(scenes: Path) -> None:
    assert run(scenes, "--shard", "1/4").code == 0
    settle()
    assert run(scenes, "--shard", "1/4").code == 0  # files that were new have been read once more
    (scenes / "b/hsi.tif").unlink()
    (scenes / "c/map.tif").write_text("mine")
    before = files(scenes)
    done = run(scenes, "--dry-run", "--json")
    assert done.code == 3
    assert "2 scenes of 4 would fail, the first of them (b-map) because: " in done.error
    found = {each["id"]: (each["what"], each["problem"]) for each in json.loads(done.out)}
    assert found["a-map"][0] == "nothing"
    assert found["b-map"] == ("do", f"{scenes}/b/hsi.tif: there is no such file")
    assert found["c-map"][1].endswith("c/map.tif: exists already, and --overwrite is not given")
    assert found["d-map"] == ("do", "")
    assert files(scenes) == before
    assert "d-map" in run(scenes, "--dry-run").out


@pytest.mark.usefixtures("here")
def test_the_summary_is_a_document_a_table_and_a_log_for_each_scene(scenes: Path) -> None:
    done = run(scenes, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document == json.loads((scenes / "scenes-batch/summary.json").read_text())
    assert document["counts"]["done"] == 4
    first = document["results"][0]
    assert first["output"] == str(scenes / "a/map.tif")
    assert sum(first["figures"]["class_pixels"].values()) > 0
    with (scenes / "scenes-batch/summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["done"] * 4
    assert int(rows[0]["windows"]) == first["figures"]["windows"]
    log = (scenes / "scenes-batch/logs/a-map.log").read_text()
    assert "worker 1: classify begins" in log
    assert "worker 1: done in " in log


@pytest.mark.usefixtures("here")
def test_scenes_are_trained_and_judged_too(finished: Path, scenes: Path) -> None:
    shutil.copy(finished / "labels.gpkg", scenes)
    (scenes / "train.csv").write_text(
        "hsi,x,gt,field,out,trees\n"
        + "".join(
            f"{n}/hsi.tif,{n}/lidar.tif,labels.gpkg,class,{n}/forest.safetensors,5\n" for n in "ab"
        )
    )
    trained = comix(
        scenes, "batch", "train.csv", "--command", "train", *QUICK,
        "--options", "--model random-forest --validation none",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert {path.parent.name for path in scenes.glob("*/forest.safetensors")} == {"a", "b"}
    assert run(scenes).code == 0
    (scenes / "judge.csv").write_text(
        "map,gt,out,report,min_oa\n"
        "a/map.tif,labels.gpkg,a.json,a.html,0.1\nb/map.tif,labels.gpkg,b.json,,1\n"
    )
    judged = comix(scenes, "batch", "judge.csv", "--command", "evaluate", "-q", "--retries", "0")
    assert judged.code == 3
    assert "(b) because: overall accuracy is " in judged.error
    figures = json.loads((scenes / "judge-batch/summary.json").read_text())["results"][0]["figures"]
    report = json.loads((scenes / "a.json").read_text())
    assert figures["overall_accuracy"] == report["overall_accuracy"]
    assert (scenes / "a.html").exists()


@pytest.mark.usefixtures("here")
def test_outputs_can_be_called_by_a_template_and_their_folders_are_made(scenes: Path) -> None:
    (scenes / "plain.csv").write_text("id,hsi,x\neast,a/hsi.tif,a/lidar.tif\n")
    done = run(scenes, "--out", "maps/2024/{id}.tif", name="plain.csv")
    assert done.code == 0, done.err
    assert (scenes / "maps/2024/east.tif").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hsi,x,out\na/hsi.tif,,m.tif\nb/hsi.tif,,m.tif\n", "m.tif is written by "),
        ("hsi,x,out\na/hsi.tif,,m.tif\nm.tif,,n.tif\n", "line 3: reads "),
        ("hsi,x,out,speed\na/hsi.tif,,m.tif,fast\n", "'comix classify' has no option 'speed'"),
        ("x,out\na/lidar.tif,m.tif\n", "line 2: names no hsi"),
    ],
)
def test_a_mistake_in_the_table_is_found_before_anything_is_done(
    scenes: Path, text: str, said: str
) -> None:
    (scenes / "scenes.csv").write_text(text)
    before = files(scenes)
    done = run(scenes)
    assert done.code == 2
    assert said in done.error
    assert files(scenes) == before


@pytest.mark.usefixtures("here")
def test_a_folder_that_is_used_for_something_else_is_refused(scenes: Path) -> None:
    done = run(scenes, "--folder", "a")
    assert done.code == 1
    assert done.error == "Error: a: holds files, and none of a batch; name a new --folder"


@pytest.mark.usefixtures("here")
def test_a_model_that_is_missing_fails_its_scenes_alone(scenes: Path) -> None:
    table(scenes, "ab", "model")
    lines = (scenes / "scenes.csv").read_text().splitlines()
    (scenes / "scenes.csv").write_text("\n".join([*lines[:2], f"{lines[2]}no.safetensors"]) + "\n")
    done = run(scenes, "--retries", "0")
    assert done.code == 3
    assert "no.safetensors: no such model file" in done.error
    assert statuses(scenes) == {"a-map": "done", "b-map": "failed"}


@pytest.mark.usefixtures("here")
def test_the_records_survive_what_is_no_record(scenes: Path) -> None:
    assert run(scenes).code == 0
    records = sorted((scenes / "scenes-batch/records").glob("*.json"))
    for text, path in zip(("", "{", '{"kind": "batch-scene"}'), records[:3], strict=True):
        path.write_text(text)
    done = run(scenes, "--overwrite")
    assert done.code == 0, done.err
    assert sorted(statuses(scenes).values()) == ["done", "done", "done", "unchanged"]


@pytest.mark.usefixtures("here")
def test_maps_have_items_and_a_collection_which_can_be_a_table_again(scenes: Path) -> None:
    assert run(scenes, "--stac").code == 0
    collection = pystac.Collection.from_file(str(scenes / "scenes-batch/collection.json"))
    items = list(collection.get_items())
    assert [item.id for item in items] == ["a-map", "b-map", "c-map", "d-map"]
    for item in items:
        checked(Path(item.get_self_href() or ""))
        assert {link.rel for link in item.links} >= {"derived_from"}
    # The inputs of a batch can come from STAC as well.
    listed = pystac.Catalog("scenes", "Scenes.")
    for name in "ab":
        item = pystac.Item(f"{name}/2024", None, None, datetime(2024, 5, 1, tzinfo=UTC),
                           {"comix:overlap": 4})  # fmt: skip
        item.add_asset("cube", pystac.Asset(str(scenes / name / "hsi.tif")))
        item.add_asset("x", pystac.Asset(str(scenes / name / "lidar.tif")))
        listed.add_item(item)
    listed.normalize_and_save(str(scenes / "stac"), pystac.CatalogType.SELF_CONTAINED)
    done = run(
        scenes, "--asset", "hsi=cube", "--out", "new/{id}.tif", "--folder", "new-batch", "--json",
        name="stac/catalog.json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert {each["id"] for each in json.loads(done.out)["results"]} == {"a-2024", "b-2024"}
    with rasterio.open(scenes / "new/a-2024.tif") as dataset:
        assert json.loads(dataset.tags()["COMIX_OPTIONS"])["overlap"] == 4


@pytest.mark.usefixtures("here")
def test_the_project_file_may_say_how_batches_are_done(scenes: Path) -> None:
    (scenes / "comix.toml").write_text(
        "[batch]\nmodel = 'model.safetensors'\nfolder = 'night'\nretries = 0\n"
        "[classify]\noverlap = 4\n"
    )
    done = comix(scenes, "batch", "scenes.csv", "-q")
    assert done.code == 0, done.err
    assert set(statuses(scenes, "night/summary.json").values()) == {"done"}
    with rasterio.open(scenes / "a/map.tif") as dataset:
        assert json.loads(dataset.tags()["COMIX_OPTIONS"])["overlap"] == 4


@pytest.mark.usefixtures("here")
def test_what_somebody_makes_after_a_failure_is_not_replaced(scenes: Path) -> None:
    whole = (scenes / "a/hsi.tif").read_bytes()
    (scenes / "a/hsi.tif").write_bytes(b"")
    assert run(scenes).code == 3
    (scenes / "a/hsi.tif").write_bytes(whole)
    (scenes / "a/map.tif").write_text("by hand, in the morning")
    assert run(scenes).code == 3
    assert (scenes / "a/map.tif").read_text() == "by hand, in the morning"


@pytest.mark.usefixtures("here")
def test_a_row_more_changes_nothing_for_the_others(scenes: Path) -> None:
    table(scenes, "a")
    assert run(scenes).code == 0
    assert statuses(scenes) == {"map": "done"}
    table(scenes, "ab")
    assert run(scenes).code == 0
    assert statuses(scenes) == {"a-map": "unchanged", "b-map": "done"}


@pytest.mark.usefixtures("here")
def test_an_input_that_changes_while_it_is_read_makes_no_map_that_counts(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(scenes, "a")

    def delivered_meanwhile(*told: Any, **more: Any) -> Any:
        found = classify(*told, **more)
        monkeypatch.setattr("comix_cli.tools.batch_work.classify", classify)
        changed(scenes / "b/hsi.tif", scenes / "a/hsi.tif", 5)
        return found

    monkeypatch.setattr("comix_cli.tools.batch_work.classify", delivered_meanwhile)
    assert run(scenes).code == 0
    log = (scenes / "scenes-batch/logs/map.log").read_text()
    assert "a/hsi.tif: has changed while it was read" in log
    inputs = ("a/hsi.tif", "a/lidar.tif")
    assert comix(scenes, "classify", *inputs, *MODEL, "-o", "new.tif", "-q").code == 0
    assert np.array_equal(pixels(scenes / "new.tif"), pixels(scenes / "a/map.tif"))


@pytest.mark.usefixtures("here")
def test_what_was_known_of_a_scene_survives_a_comparison_and_an_outage(scenes: Path) -> None:
    table(scenes, "a")
    assert run(scenes).code == 0
    before = json.loads((scenes / "scenes-batch/summary.json").read_text())["results"][0]
    written_at = written(scenes)
    away = (scenes / "a/hsi.tif").rename(scenes / "away.tif")
    assert run(scenes).code == 3
    away.rename(scenes / "a/hsi.tif")
    (scenes / "a/hsi.tif").touch()
    assert run(scenes).code == 0
    after = json.loads((scenes / "scenes-batch/summary.json").read_text())["results"][0]
    assert after["status"] == "unchanged"
    assert after["figures"] == before["figures"]
    assert written(scenes) == written_at


@pytest.mark.usefixtures("here")
def test_two_runs_of_one_batch_do_not_meet_and_shards_do(scenes: Path) -> None:
    folder = BatchFolder(scenes / "scenes-batch")
    folder.make()
    with folder.claimed((1, 2)):
        assert run(scenes, "--shard", "2/2").code == 0
        for shard in ("1/2", "1/1"):
            done = run(scenes, "--shard", shard)
            assert done.code == 1
            assert "another run of this batch is under way; wait for it, or end it" in done.error
    assert run(scenes).code == 0


@pytest.mark.usefixtures("here")
def test_two_rows_that_write_one_file_by_different_names_are_refused(scenes: Path) -> None:
    (scenes / "link").symlink_to("a")
    (scenes / "scenes.csv").write_text("hsi,out\na/hsi.tif,a/m.tif\nb/hsi.tif,link/../a/m.tif\n")
    done = run(scenes)
    assert done.code == 2
    assert "is written by " in done.error


@pytest.mark.usefixtures("here")
def test_many_models_are_read_by_the_workers_that_need_them(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comix_cli.tools.batch.MOST_MODELS", 1)
    shutil.copy(scenes / "model.safetensors", scenes / "other.safetensors")
    (scenes / "scenes.csv").write_text(
        "hsi,x,out,model\na/hsi.tif,a/lidar.tif,a/map.tif,model.safetensors\n"
        "b/hsi.tif,b/lidar.tif,b/map.tif,other.safetensors\n"
    )
    done = run(scenes)
    assert done.code == 0, done.err


def test_parts_are_of_maps(scenes: Path) -> None:
    done = comix(scenes, "batch", "scenes.csv", "--command", "train", "--parts", "2")
    assert done.code == 2
    assert "--parts: only maps are made of parts" in done.error
