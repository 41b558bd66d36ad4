"""A QGIS style beside the map: it is what QGIS loads by itself when the map is dropped into it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from comix_cli.mapping.gis_metadata import clean_text
from comix_cli.scene.legend import NO_CLASS, Legend

# A style that somebody saved from QGIS has no such line, and is somebody's work.
_MARK = "written by comix"
_HEAD = f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<!-- {_MARK} -->\n"
# QGIS skips what it does not know and fills in what is missing, in newer versions too.
_VERSION = "3.22.0"


def style_path(map_path: Path) -> Path:
    """Where QGIS looks for the style of a map."""
    return map_path.with_suffix(".qml")


def is_our_style(path: Path) -> bool:
    """Whether comix wrote this style, and nobody changed it in QGIS since."""
    try:
        with path.open("rb") as stream:
            return _MARK.encode() in stream.read(200)
    except OSError:
        return False


def style_document(legend: Legend) -> str:
    """The style: a palette with names; pixels without class are transparent."""
    root = ET.Element("qgis", {"version": _VERSION, "styleCategories": "Symbology"})
    attributes = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"}
    renderer = ET.SubElement(ET.SubElement(root, "pipe"), "rasterrenderer", attributes)
    listed = ET.SubElement(ET.SubElement(renderer, "rasterTransparency"), "singleValuePixelList")
    nothing = str(NO_CLASS)
    ET.SubElement(
        listed,
        "pixelListEntry",
        {"min": nothing, "max": nothing, "percentTransparent": "100"},
    )
    palette = ET.SubElement(renderer, "colorPalette")
    for entry in legend:
        color = "#{:02x}{:02x}{:02x}".format(*entry.color)
        found = {"value": str(entry.code), "color": color, "label": clean_text(entry.name)}
        ET.SubElement(palette, "paletteEntry", {**found, "alpha": "255"})
    ET.indent(root)
    return _HEAD + ET.tostring(root, encoding="unicode") + "\n"
