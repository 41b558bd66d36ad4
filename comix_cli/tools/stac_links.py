"""Names of files as STAC documents write them, and as GDAL reads them.

References are written as they are, without escaping: the programs that follow them (pystac, GDAL)
take them for paths. Whoever reads one tries it as it is, and then unescaped.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

GEOJSON = "application/geo+json"
GEOTIFF = "image/tiff; application=geotiff"
COG = f"{GEOTIFF}; profile=cloud-optimized"
MEDIA_TYPES = {
    ".tif": GEOTIFF,
    ".tiff": GEOTIFF,
    ".gpkg": "application/geopackage+sqlite3",
    ".geojson": GEOJSON,
    ".png": "image/png",
    ".xml": "application/xml",
    ".qml": "application/xml",
    ".jp2": "image/jp2",
    ".nc": "application/netcdf",
    ".h5": "application/x-hdf5",
    ".he5": "application/x-hdf5",
    ".safetensors": "application/octet-stream",
}
# Schemes of object stores, and GDAL's names of them.
_STORES = {
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
    "abfs": "/vsiaz/",
    "abfss": "/vsiaz/",
    "oss": "/vsioss/",
}
_WEB = "/vsicurl/"
# Folders that a relative reference goes up at most; further away lies another tree of folders.
_MOST_UP = 3
# The multihash prefix of a SHA-256: the number of the function and its 32 bytes.
_SHA256 = "1220"


def reference(name: str | Path, folder: Path) -> str:
    """How a document in a folder refers to a file.

    Relative where the file lies near, else the whole path; URLs and GDAL's names of files on
    servers as URLs, and other names of GDAL's (`/vsizip/...`, `NETCDF:...`) as they are.

    Args:
        name: A path, seen from the current folder, a URL or a GDAL name.
        folder: Where the document will be.
    """
    text = str(name)
    if text.startswith(_WEB):
        return text.removeprefix(_WEB)
    for scheme, prefix in _STORES.items():
        if text.startswith(prefix):
            return f"{scheme}://{text.removeprefix(prefix)}"
    if text.startswith("/vsi") or (":" in text and not Path(text).exists()):
        return text
    path, home = Path(text).resolve(), folder.resolve()
    relative = os.path.relpath(path, home)
    far = Path(relative).parts.count(os.pardir) > _MOST_UP
    if far or Path(os.path.commonpath([path, home])) == Path(path.anchor):
        return str(path)
    return relative if relative.startswith(os.pardir) else f"./{relative}"


def resolved(href: str, document: str) -> str:
    """The path, URL or GDAL name that a document refers to.

    Args:
        href: The reference, which may be relative to the document.
        document: Path or URL of the document.
    """
    scheme = _scheme(href)[0]
    if scheme == "file":
        return url2pathname(urlsplit(href).path)
    if scheme or href.startswith("/vsi"):
        return href
    if is_url(document):
        return urljoin(document, href)
    folder = Path(document).absolute().parent
    plain, unescaped = (os.path.normpath(folder / name) for name in (href, unquote(href)))
    return unescaped if Path(unescaped).exists() and not Path(plain).exists() else plain


def gdal_name(href: str, document: str) -> str:
    """What GDAL calls the file that a document refers to; the arguments are those of `resolved`."""
    text = resolved(href, document)
    scheme, rest = _scheme(text)
    if is_url(text) or scheme == "ftp":
        return _WEB + text
    if scheme in _STORES:
        # Azure's own form has the account behind the container; GDAL has it from the environment.
        container, slash, key = rest.partition("/")
        return _STORES[scheme] + container.partition("@")[0] + slash + key
    return text


def is_url(text: str) -> bool:
    """Whether something is read over http(s)."""
    return _scheme(text)[0] in ("http", "https")


def _scheme(href: str) -> tuple[str, str]:
    """Scheme and rest of a URL; an empty scheme for paths."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(?://)?(.*)", href, re.DOTALL)
    return (found.group(1).lower(), found.group(2)) if found else ("", href)


def multihash(sha256: str) -> str:
    """The checksum that provenance has, `sha256:...`, as the file extension of STAC writes it."""
    return _SHA256 + sha256.removeprefix("sha256:")


def file_fields(path: Path) -> dict[str, Any]:
    """Size and checksum of a file, in the words of STAC's file extension."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return {"file:size": path.stat().st_size, "file:checksum": multihash(digest.hexdigest())}
