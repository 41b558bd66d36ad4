"""The HTML report, read as a browser reads it."""

from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from reports import TOWN, report

from comix_cli.accuracy.agreement import AgreementPicture, Level
from comix_cli.tools.html_pictures import (
    LEVEL_COLORS,
    columns_of,
    error_map,
    matrix_picture,
    shortened,
)
from comix_cli.tools.html_report import (
    column_blocks,
    hectare_decimals,
    how_counted,
    how_weighted,
    pixel_rule,
    render_html,
    write_html,
)

# Elements without an end.
VOID = {"meta", "img", "link", "br", "hr", "input", "base", "source", "embed"}
LONG = "Siedlungsfläche, geschlossen bebaut, mit Gewerbe und versiegelten Verkehrswegen!"
HOSTILE = "<script>alert(\"x\")</script> & 'q' <img src=http://bad.example/x.png>"
NAMES = (
    LONG,
    HOSTILE,
    "أراضٍ زراعية مروية",
    "水田・湿地",
    "Листопадный лес",
    "{{ 7 * 7 }} {% raw %}",
)


class Page(HTMLParser):
    """What a page holds: elements with their attributes, texts, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag not in VOID:
            self._open.append((tag, values.get("id")))
        if tag == "table":
            name = values.get("id") or f"{values.get('class')} {len(self.tables)}"
            self._rows = self.tables[name] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "small" and any(opened in ("td", "th") for opened, _ in self._open):
            self._rows[-1][-1] += "|"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        names = [tag for tag, _ in self._open]
        if "td" in names or "th" in names:
            self._rows[-1][-1] += data.strip("\n")
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.elements if name == tag]


def page(document: dict[str, Any], picture: AgreementPicture | None = None) -> Page:
    return Page(render_html(document, picture))


def plain(text: str) -> str:
    return text.replace("\u202f", "")


def agreement(height: int = 60, width: int = 90) -> AgreementPicture:
    """The left half is right, the right half wrong; a frame of ten pixels is not compared."""
    size = (width * 10.0, height * 10.0)
    bounds = (500.0, 100.0, 500.0 + size[0], 100.0 + size[1])
    picture = AgreementPicture.empty(height, width, bounds=bounds, crs="EPSG:25833", size_m=size)
    compared = np.zeros((height, width), np.bool_)
    compared[10:-10, 10:-10] = True
    right = np.broadcast_to(np.arange(width) < width / 2, compared.shape)
    picture.add(0, 0, right, compared)
    return picture


def test_every_figure_of_a_class_stands_in_its_cell() -> None:
    document = report()
    rows = page(document).tables["by-count"]
    assert rows[0][2:4] == ["Reference pixels", "Map pixels"]
    assert len(rows) == 1 + len(TOWN) + 2
    for row, entry in zip(rows[1:], document["per_class"], strict=False):
        assert row[0] == str(entry["code"])
        assert row[1] == entry["name"]
        assert [int(plain(cell)) for cell in row[2:4]] == [
            entry["reference_pixels"],
            entry["predicted_pixels"],
        ]
        for cell, key in zip(
            row[4:], ("producers_accuracy", "users_accuracy", "f1", "iou"), strict=True
        ):
            low, high = entry[f"{key}_95"]
            assert cell == f"{100 * entry[key]:.2f}|{100 * low:.2f} to {100 * high:.2f}"
    macro, weighted = rows[-2:]
    for row, key in ((macro, "macro"), (weighted, "weighted")):
        means = document["means"][key]
        shown = [means[k] for k in ("producers_accuracy", "users_accuracy", "f1", "iou")]
        assert row[4:] == [f"{100 * value:.2f}" for value in shown]


def test_every_estimate_of_a_class_stands_in_its_cell() -> None:
    document = report()
    rows = page(document).tables["by-area"]
    for row, entry in zip(rows[1:], document["area_weighted"]["per_class"], strict=True):
        area = entry["area_m2"]
        half = 1.96 * area["standard_error"] / 1e4
        assert plain(row[2]) == f"{entry['mapped_area_m2'] / 1e4:.0f}"
        assert row[3] == f"{100 * entry['mapped_share']:.2f}"
        assert plain(row[4]) == f"{area['value'] / 1e4:.0f}|± {half:.0f}"
        for cell, key in zip(
            row[5:], ("area_share", "producers_accuracy", "users_accuracy"), strict=True
        ):
            low, high = entry[key]["interval_95"]
            value = entry[key]["value"]
            assert cell == f"{100 * value:.2f}|{100 * low:.2f} to {100 * high:.2f}"


def test_areas_of_a_bootstrap_have_both_ends() -> None:
    document = report()
    document["area_weighted"]["intervals"] = "bootstrap over polygons, percentiles"
    first = document["area_weighted"]["per_class"][0]["area_m2"]
    low, high = (f"{end / 1e4:.0f}" for end in first["interval_95"])
    assert plain(page(document).tables["by-area"][1][4]).endswith(f"|{low} to {high}")


def test_the_summary_has_both_overall_accuracies_and_the_rest() -> None:
    document = report()
    found = page(document)
    low, high = document["intervals"]["overall_accuracy"]
    counted = f"{100 * document['overall_accuracy']:.2f} %"
    assert counted in found.texts["overall-counted"]
    assert f"{100 * low:.2f} to {100 * high:.2f} %" in found.texts["overall-counted"]
    weighted = document["area_weighted"]["overall_accuracy"]["value"]
    assert f"{100 * weighted:.2f} %" in found.texts["overall-weighted"]
    rows = {row[0]: row[1:] for row in found.tables["overall"][1:]}
    assert rows["Average accuracy (%)"][0] == f"{100 * document['average_accuracy']:.2f}"
    low, high = document["intervals"]["kappa"]
    assert rows["Kappa"] == [
        f"{document['kappa']:.4f}",
        f"{low:.4f} to {high:.4f}",
        f"{document['area_weighted']['kappa']:.4f}",
        "–",
    ]
    for name in ("quantity", "allocation"):
        key = f"{name}_disagreement"
        cells = rows[f"{name.capitalize()} disagreement (%)"]
        assert cells[0] == f"{100 * document[key]:.2f}"
        assert cells[2] == f"{100 * document['area_weighted'][key]:.2f}"


@pytest.mark.parametrize("classes", [1, 6, 12, 13, 50])
def test_the_matrix_is_whole_however_many_tables_it_takes(classes: int) -> None:
    document = report([f"class {i}" for i in range(classes)])
    found = page(document)
    tables = [rows for name, rows in found.tables.items() if name.startswith("matrix")]
    assert all(len(rows[0]) <= 13 for rows in tables)
    names = document["confusion_matrix"]["names"]
    assert [cell for rows in tables for cell in rows[0][1:]] == names
    for i, counts in enumerate(document["confusion_matrix"]["counts"], start=1):
        assert {rows[i][0] for rows in tables} == {names[i - 1]}
        shown = [int(plain(cell)) for rows in tables for cell in rows[i][1:]]
        assert shown == counts


def test_long_counts_make_narrower_blocks() -> None:
    assert column_blocks([[1] * 12] * 12) == [range(12)]
    assert column_blocks([[1] * 13] * 13) == [range(6), range(6, 13)]
    assert len(column_blocks([[123_456_789] * 12] * 12)) == 2


def test_names_are_text_and_never_markup() -> None:
    document = report(NAMES)
    document["provenance"]["map"]["path"] = f"maps/{HOSTILE}"
    document["provenance"]["ground_truth"]["path"] = HOSTILE
    document["provenance"]["ground_truth"]["unmapped_classes"] = {HOSTILE: 3}
    found = page(document, agreement())
    assert not found.all("script")
    assert all(
        (image["src"] or "").startswith("data:image/png;base64,") for image in found.all("img")
    )
    assert [row[1] for row in found.tables["by-count"][1:7]] == list(NAMES)
    assert [row[1] for row in found.tables["by-area"][1:]] == list(NAMES)
    assert any(HOSTILE in row[0] for row in found.tables["excluded"])


def test_nothing_is_fetched() -> None:
    text = render_html(report(NAMES), agreement())
    found = Page(text)
    assert {tag for tag, _ in found.elements}.isdisjoint(
        {"script", "link", "iframe", "object", "embed", "base", "use", "image", "foreignobject"}
    )
    for tag, values in found.elements:
        for key, value in values.items():
            assert not key.startswith("on"), (tag, key)
            if key in ("href", "src", "srcset", "action", "poster", "xlink:href"):
                assert str(value).startswith("data:"), (tag, key, value)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "default-src 'none'" in str(found.all("meta")[1]["content"])


def test_the_page_speaks_to_screen_readers() -> None:
    found = page(report(), agreement())
    assert found.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in found.all("img"))
    for svg in found.all("svg"):
        assert svg.get("aria-label") or svg.get("aria-hidden") == "true"
    assert {cell.get("scope") for cell in found.all("th")} == {"row", "col"}
    named = {values["id"] for _, values in found.elements if "id" in values}
    assert {section["aria-labelledby"] for section in found.all("section")} <= named


def test_bars_are_as_long_as_their_figures() -> None:
    document = report()
    document["per_class"][2] |= {"users_accuracy": None, "users_accuracy_95": None}
    text = render_html(document, None)
    start, end = text.index('<table class="bars'), text.index('id="areas"')
    bars = re.findall(r'<rect x="0" y="(?:3|13)" width="([\d.]+)%"', text[start:end])
    expected = [
        entry[key]
        for entry in document["per_class"]
        for key in ("producers_accuracy", "users_accuracy")
        if entry[key] is not None
    ]
    assert bars == [f"{100 * value:.2f}" for value in expected]
    assert text[start:end].count('<g stroke="#1a1a1a"') == len(expected)


def test_undefined_figures_are_dashes() -> None:
    document = report()
    for key in ("overall_accuracy", "average_accuracy", "kappa", "quantity_disagreement"):
        document[key] = None
    document["intervals"] |= dict.fromkeys(("overall_accuracy", "average_accuracy", "kappa"))
    document["per_class"][0] |= {"f1": None, "f1_95": None, "iou": math.nan}
    document["per_class"][0] |= {"producers_accuracy": math.nan}
    for key in ("mapped_area_m2", "mapped_share"):
        document["area_weighted"]["per_class"][0][key] = None
    unknown = {"value": None, "standard_error": None, "interval_95": None}
    document["area_weighted"]["per_class"][0] |= {"area_m2": unknown, "users_accuracy": unknown}
    document["provenance"]["map"]["checksum"] = None
    document["provenance"]["ground_truth"] |= {"field": None, "crs": None, "features": None}
    found = page(document)
    assert found.texts["overall-counted"].startswith("– %")
    assert "no interval" in found.texts["overall-counted"]
    assert found.tables["overall"][1][1:] == ["–"] * 4
    assert found.tables["by-count"][1][6] == "–|–"
    assert found.tables["by-count"][1][7].startswith("–|")
    assert found.tables["by-area"][1][2:5] == ["–", "–", "–|–"]
    assert found.tables["by-area"][1][7] == "–|–"
    assert found.tables["features"][1] == ["with a class", "–"]
    text = render_html(document, None)
    assert not re.search(r"\bnan\b|None", text)


def test_a_map_without_estimates_says_so() -> None:
    document = report()
    document["area_weighted"] = None
    found = page(document)
    assert "by-area" not in found.tables
    assert found.texts["overall-weighted"] == "–"
    assert found.tables["overall"][2][3:] == ["–", "–"]


def test_what_was_left_out_is_listed_by_cause() -> None:
    document = report()
    truth = document["provenance"]["ground_truth"]
    truth |= {"outside_estimated_by_area": True, "unmapped_classes": {"ice": 44}}
    document["excluded"]["unmapped_class"] = 44
    document["area_weighted"]["unsampled"] = ["ice & snow", "sand"]
    found = page(document)
    rows = {row[0]: plain(row[1]) for row in found.tables["excluded"]}
    assert rows["where the map has no data"] == "112"
    assert rows["outside the map (estimated from areas)"] == "4031"
    assert rows["of classes that the map lacks"] == "44"
    assert rows["— of these, ice"] == "44"
    assert found.tables["overlaps"][1] == ["17", "roof", "803", "water", "41"]
    assert found.texts["unsampled"].endswith("ice & snow, sand.")


def test_without_overlaps_there_is_no_table_of_them() -> None:
    document = report()
    document["overlaps"] = {"pairs": 0, "listed": []}
    assert "overlaps" not in page(document).tables


def test_provenance_has_files_checksums_and_versions() -> None:
    document = report()
    document["provenance"]["design"] = {"path": "strata.csv", "checksum": "sha256:beef"}
    rows = dict(page(document).tables["origin"])
    truth = document["provenance"]["ground_truth"]
    assert rows["Map"] == "maps/town.tif"
    assert rows["Checksum of the map"] == document["provenance"]["map"]["checksum"]
    assert rows["Checksum of the reference"] == truth["checksum"]
    assert rows["CRS of the reference"] == "EPSG:25833"
    assert rows["Pixels that are compared"] == "pixels whose centre a feature covers"
    assert rows["Sample design"] == "strata.csv"
    assert rows["Versions"].startswith("comix 0.1.0, python 3.12.4")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"all_touched": True}, "every pixel that a feature touches"),
        ({"min_coverage": 0.5}, "pixels that a polygon covers to at least 50 %"),
        ({"kind": "points"}, "the pixel that a point lies in"),
        ({"kind": "raster"}, "pixels of the reference raster that have a class"),
    ],
)
def test_the_rule_of_pixels_is_told(change: dict[str, Any], expected: str) -> None:
    assert pixel_rule(report()["provenance"]["ground_truth"] | change) == expected


def test_how_intervals_came_about_is_told() -> None:
    intervals = report()["intervals"]
    assert "Pixels of one polygon resemble each other and are not independent" in how_counted(
        intervals
    )
    assert "1\u202f063 polygons" in how_counted(intervals)
    blocks = how_counted(intervals | {"unit": "blocks of 64 x 64 pixels"})
    assert "Pixels of one block" in blocks
    assert "Each sample is taken to be independent" in how_counted(intervals | {"unit": "samples"})
    assert how_counted(intervals | {"clusters": 1}).endswith("there is 1 polygon.")
    assert how_counted(intervals | {"clusters": 0}).endswith("there are 0 polygons.")


def test_errors_that_take_pixels_as_independent_are_said_to_be_small() -> None:
    area = report()["area_weighted"]
    assert how_weighted(area, "polygons").endswith("the true intervals are wider.")
    assert how_weighted(area, "points").endswith("± 1.96 standard errors.")
    drawn = area | {"intervals": "bootstrap over polygons, percentiles", "strata": "sample design"}
    assert "wider" not in how_weighted(drawn, "polygons")
    assert "sample design" in how_weighted(drawn, "polygons")


def test_the_error_map_shows_what_is_right_and_wrong_where_it_is() -> None:
    picture = error_map(agreement())
    stream = io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))
    dots = (imread(stream, format="png")[..., :3] * 255).round().astype(int)
    dots_per_cell = 1000 // 90
    assert dots.shape == (60 * dots_per_cell, 90 * dots_per_cell, 3)
    middle = dots.shape[0] // 2

    def color_at(cell: int) -> tuple[int, ...]:
        return tuple(dots[middle, cell * dots_per_cell + dots_per_cell // 2])

    assert color_at(2) == LEVEL_COLORS[Level.NO_REFERENCE]
    assert color_at(20) == LEVEL_COLORS[Level.RIGHT]
    assert color_at(70) == LEVEL_COLORS[Level.WRONG]
    assert picture.aspect == pytest.approx(1.5)
    assert picture.scale == (200 / 900, "200 m")
    assert [name for _, name in picture.legend] == ["right", "wrong", "no reference"]
    assert picture.place == "x from 500 to 1400, y from 100 to 700 (EPSG:25833)"


def test_colours_of_the_error_map_differ_on_grey_paper() -> None:
    def grey(level: Level) -> float:
        red, green, blue = LEVEL_COLORS[level]
        return 0.299 * red + 0.587 * green + 0.114 * blue

    greys = [grey(level) for level in Level]
    assert all(before - after >= 35 for before, after in pairwise(greys))


def test_an_error_map_without_place_has_a_scale_in_pixels() -> None:
    picture = error_map(AgreementPicture.empty(8, 4000))
    assert picture.scale == (0.25, "1000 pixels")
    assert picture.place == ""
    assert picture.aspect == 8
    assert error_map(AgreementPicture.empty(1, 1)).scale == (1.0, "1 pixel")


def test_counts_stand_in_the_matrix_while_they_can_be_read() -> None:
    few = matrix_picture(report()["confusion_matrix"])
    assert few.count_font > 0
    assert [int(cell.text) for cell in few.cells[:6]] == report()["confusion_matrix"]["counts"][0]
    many = matrix_picture(report([f"class {i}" for i in range(40)])["confusion_matrix"])
    assert many.count_font == 0
    huge = {"names": ["a"] * 15, "counts": [[10**11] * 15] * 15}
    assert matrix_picture(huge).count_font == 0


def test_cells_are_the_darker_the_larger_their_share_of_the_row() -> None:
    matrix = {"names": ["a", "b"], "counts": [[30, 10], [0, 0]]}
    fills = [cell.fill for cell in matrix_picture(matrix).cells]
    assert fills[2:] == ["#ffffff", "#ffffff"]
    assert int(fills[0][1:3], 16) < int(fills[1][1:3], 16) < 255


def test_long_names_are_cut_and_wide_letters_count_twice() -> None:
    assert shortened("roof", 24) == "roof"
    cut = shortened(LONG, 24)
    assert cut.endswith("…")
    assert columns_of(cut) <= 24
    assert columns_of("水田") == 4
    assert columns_of(shortened("水" * 80, 24)) <= 24


@pytest.mark.parametrize(
    ("square_metres", "decimals"),
    [(None, 2), (0.0, 2), (100.0, 6), (5e4, 4), (1e8, 0), (4e10, 0), (math.nan, 2)],
)
def test_areas_have_as_many_decimals_as_they_need(
    square_metres: float | None, decimals: int
) -> None:
    assert hectare_decimals(square_metres) == decimals


def test_one_file_is_written_and_is_the_same_again(tmp_path: Path) -> None:
    write_html(report(), agreement(), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text == render_html(report(), agreement())


def test_a_path_that_is_no_text_does_not_spoil_the_report(tmp_path: Path) -> None:
    document = report()
    document["provenance"]["map"]["path"] = "maps/\udcff.tif"
    write_html(document, None, tmp_path / "report.html")
    assert "?.tif" in (tmp_path / "report.html").read_text(encoding="utf-8")
