"""The style that QGIS loads with the map."""

from pathlib import Path
from xml.etree import ElementTree as ET

from comix_cli.mapping.qgis import is_our_style, style_document, style_path
from comix_cli.scene.legend import ClassEntry, Legend

LEGEND = Legend((ClassEntry(1, "roof", (255, 0, 10)), ClassEntry(7, 'a & b <"é">', (1, 2, 3))))


def test_the_style_is_a_palette_with_names_and_colours() -> None:
    document = style_document(LEGEND)
    assert document.startswith("<!DOCTYPE qgis ")
    root = ET.fromstring(document)
    assert root.tag == "qgis"
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    entries = renderer.findall("colorPalette/paletteEntry")
    assert [(e.get("value"), e.get("color"), e.get("label"), e.get("alpha")) for e in entries] == [
        ("1", "#ff000a", "roof", "255"),
        ("7", "#010203", 'a & b <"é">', "255"),
    ]
    nothing = renderer.find("rasterTransparency/singleValuePixelList/pixelListEntry")
    assert nothing is not None
    assert nothing.attrib == {"min": "0", "max": "0", "percentTransparent": "100"}


def test_a_style_saved_by_somebody_is_not_ours(tmp_path: Path) -> None:
    path = style_path(tmp_path / "map.v2.tif")
    assert path.name == "map.v2.qml"
    assert not is_our_style(path)
    path.write_text(style_document(LEGEND), encoding="utf-8")
    assert is_our_style(path)
    path.write_text("<!DOCTYPE qgis>\n<qgis/>")
    assert not is_our_style(path)
