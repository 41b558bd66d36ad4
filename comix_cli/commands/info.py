"""`comix info`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from comix_cli.commands.display import how_trained, print_table
from comix_cli.commands.options import CommonState, common_options
from comix_cli.errors import UsageError

Rows = list[Sequence[str]]


@click.command("info", short_help="Look into a model or a raster.")
@click.argument("file", required=False)
@click.option("--backends", is_flag=True, help="Tell what computes the deformable operator here.")
@click.option("--src-crs", metavar="CRS", help="CRS of a raster that carries none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@common_options
@click.pass_obj
def command(
    state: CommonState, file: str | None, backends: bool, src_crs: str | None, as_json: bool
) -> None:
    """Show what a model expects and was trained on, or the grid and bands of a raster.

    \b
    comix info model.safetensors
    comix info hsi.tif -v
    comix info --backends
    """
    if (file is None) != backends:
        raise UsageError("give a file, or --backends alone")
    document = _about(file, src_crs)
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    elif document["kind"] == "backends":
        _print_backends(document)
    elif document["kind"] == "model":
        _print_model(document, detailed=state.verbosity > 0)
    else:
        _print_raster(document, detailed=state.verbosity > 0)


def _about(file: str | None, src_crs: str | None) -> dict[str, Any]:
    if file is None:
        from comix_cli.tools.backends import describe_backends

        return describe_backends()
    from comix_cli.tools.info import info

    return info(file, src_crs)


def _print_backends(document: dict[str, Any]) -> None:
    print_table(
        "Backends of the deformable operator, the fastest first",
        ("name", "works here"),
        [[name, reason or "yes"] for name, reason in document["backends"].items()],
    )
    print_table(
        "What auto picks",
        ("device", "number type", "window", "backend", "faster ones passed over"),
        [
            [
                job["device"],
                job["dtype"],
                f"{job['kernel']} x {job['kernel']}",
                job["picked"],
                "; ".join(f"{name}: {reason}" for name, reason in job["passed_over"].items()),
            ]
            for job in document["auto"]
        ],
    )


def _print_model(document: dict[str, Any], *, detailed: bool) -> None:
    training: dict[str, Any] = {"ground_truth": {"path": "?", "field": "?"}}
    training |= document["training"]
    preset = f" ({training['preset']})" if "preset" in training else ""
    rows: Rows = [
        ["modalities", document["modalities"]],
        ["model", f"{document['model']}{preset}, {document['size']}"],
        ["window", f"{document['window']} pixels of {document['gsd_m']:g} m"],
        *(["input", _input(record)] for record in document["inputs"]),
        ["trained", f"{how_trained(training)}, {training.get('date', '?')}"],
        ["ground truth", "{path}, field {field}".format_map(training["ground_truth"])],
    ]
    if detailed:
        rows += [[f"spec: {key}", str(value)] for key, value in document["spec"].items()]
    _print_facts(document["path"], rows)
    pixels = training.get("labelled_pixels", {})
    print_table(
        "Classes",
        ("name", "code", "colour", "training pixels"),
        [
            [c["name"], str(c["code"]), _hex(c["color"]), str(pixels.get(c["name"], "-"))]
            for c in document["classes"]
        ],
    )


def _input(record: dict[str, Any]) -> str:
    used, count = len(record["bands"]), record["count"]
    dropped = f", {len(record['dropped'])} dropped" if record["dropped"] else ""
    reach = _reach(record["wavelengths_nm"])
    how = f", {record['resampling']}" if record["resampling"] else ""
    return f"{record['name']}: {used} of {count} bands{dropped}{reach}{how}"


def _print_raster(document: dict[str, Any], *, detailed: bool) -> None:
    grid, table = document["grid"], document["band_table"]
    bad = sum(not band["good"] for band in table)
    rows: Rows = [
        ["format", document["driver"]],
        ["grid", f"{grid['width']} x {grid['height']} pixels of "
                 f"{grid['resolution'][0]:g} x {grid['resolution'][1]:g}"],
        ["crs", grid["crs"] or "none"],
        ["bounds", ", ".join(f"{value:.10g}" for value in grid["bounds"])],
        ["bands", f"{document['bands']} of {document['dtype']}"
                  f"{_reach(band['wavelength_nm'] for band in table)}"
                  f"{f', {bad} marked bad' if bad else ''}"],
        ["nodata", "none" if document["nodata"] is None else f"{document['nodata']}"],
    ]  # fmt: skip
    if document["kind"] == "map":
        rows += [["made by", f"comix {document['tags'].get('COMIX_VERSION', '(another program)')}"]]
    _print_facts(document["path"], rows)
    if document["kind"] == "map":
        classes = [[c["name"], str(c["code"]), _hex(c["color"])] for c in document["classes"]]
        print_table("Classes", ("name", "code", "colour"), classes)
    if detailed:
        _print_bands(table)


def _print_bands(table: list[dict[str, Any]]) -> None:
    rows = [
        [
            b["name"],
            str(b["band"]),
            _nm(b["wavelength_nm"]),
            _nm(b["fwhm_nm"]),
            "" if b["good"] else "bad",
        ]
        for b in table
    ]
    print_table("Bands", ("name", "band", "wavelength (nm)", "fwhm (nm)", ""), rows)


def _print_facts(title: str, rows: Rows) -> None:
    width = max(len(row[0]) for row in rows)
    click.echo(title)
    for name, value in rows:
        click.echo(f"  {name:<{width}}  {value}")


def _reach(wavelengths: Iterable[float | None]) -> str:
    known = [nm for nm in wavelengths if nm is not None]
    return f", {min(known):.0f}-{max(known):.0f} nm" if known else ""


def _nm(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _hex(color: Sequence[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)
