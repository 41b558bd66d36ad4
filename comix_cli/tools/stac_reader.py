"""Every STAC item below a document, from files or over http(s)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pystac
import pystac.errors

from comix_cli import __version__
from comix_cli.errors import InputError
from comix_cli.tools.stac_links import GEOJSON, is_url, resolved

# Versions of STAC with a larger first number may mean something else by the same names.
_NEWEST = 1
_TIMEOUT_S = 60.0
_BELOW = ("child", "item")


@dataclass(frozen=True)
class FoundItem:
    """An item and where it stands.

    Attributes:
        item: The item, brought to the version of STAC that pystac speaks.
        document: Path or URL that its references are relative to.
        where: Where it stands, for messages.
    """

    item: pystac.Item
    document: str
    where: str


@dataclass(frozen=True)
class _Page:
    """A document that is still to be read, and the one that links to it."""

    href: str
    parent: str | None = None


def items_below(path: str) -> Iterator[FoundItem]:
    """The items of a catalog, a collection, an item collection or an item, in order.

    Children are followed, of collections of a STAC API the pages of items, too. Nothing is read
    twice.

    Args:
        path: A local file, or an http(s) URL.

    Raises:
        InputError: A document cannot be read, is no STAC, or of a later version of it.
    """
    todo, seen = [_Page(path)], set[str]()
    while todo:
        page = todo.pop(0)
        name = page.href if is_url(page.href) else str(Path(page.href).resolve())
        if name in seen:
            continue
        seen.add(name)
        document = _read(page)
        kind = _kind(document, page)
        if kind == "Feature":
            yield FoundItem(_item(document, page.href), page.href, page.href)
        elif kind == "FeatureCollection":
            yield from _of_collection(document, page)
        todo = [*_next_pages(document, kind, page), *todo]


def _read(page: _Page) -> Mapping[str, Any]:
    try:
        document = json.loads(_fetched(page.href))
    except (OSError, HTTPException) as error:
        raise _cannot_read(_reason(error), page) from error
    except ValueError as error:  # neither JSON nor text
        raise InputError(
            f"is no STAC: no JSON ({error})",
            path=page.href,
            remedy=_linked(page, "give a STAC catalog, collection or item"),
        ) from error
    if not isinstance(document, dict):
        raise _no_stac("a JSON document without a type", page)
    return document


def _fetched(href: str) -> bytes:
    if not is_url(href):
        return Path(href).read_bytes()
    agent = {"User-Agent": f"comix/{__version__}", "Accept": f"application/json, {GEOJSON}"}
    # What is not allowed in a URL, such as spaces, is escaped; what is, and escapes, are kept.
    url = quote(href, safe="%/:=&?~#+!$,;'@()*[]")
    with urlopen(Request(url, headers=agent), timeout=_TIMEOUT_S) as answer:
        found: bytes = answer.read()
        return found


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError):
        return str(error.reason)
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return str(getattr(error, "strerror", None) or error)


def _cannot_read(reason: str, page: _Page) -> InputError:
    return InputError(
        f"cannot be read: {reason}", path=page.href, remedy=_linked(page, "check the name")
    )


def _linked(page: _Page, otherwise: str) -> str:
    """What helps: where the link stands that led here, or what else to give."""
    return f"{page.parent} links to it" if page.parent else otherwise


def _no_stac(what: str, page: _Page) -> InputError:
    return InputError(
        f"is no STAC, but {what}",
        path=page.href,
        remedy=_linked(page, "give a STAC catalog, collection, item or list of items"),
    )


def _kind(document: Mapping[str, Any], page: _Page) -> str:
    """`Catalog`, `Collection`, `Feature` or `FeatureCollection`.

    Raises:
        InputError: It is none of them, or of a later version of STAC.
    """
    if document.get("type") == "FeatureCollection":
        return "FeatureCollection"
    if "stac_version" not in document:
        raise _no_stac(f"JSON of type {document.get('type')!r} without a stac_version", page)
    _check_version(document, page.href)
    kind = document.get("type")
    if kind in ("Catalog", "Collection", "Feature"):
        return str(kind)
    if "links" in document and kind is None:  # before 1.0 catalogs did not say what they are
        return "Catalog"
    raise _no_stac(f"JSON of type {kind!r}", page)


def _check_version(document: Mapping[str, Any], where: str) -> None:
    version = str(document["stac_version"])
    first = version.partition(".")[0]
    if not first.isdecimal() or int(first) > _NEWEST:
        raise InputError(
            f"is of STAC version {version}, and this comix reads versions up to {_NEWEST}.x",
            path=where,
            remedy="upgrade comix",
        )


def _of_collection(document: Mapping[str, Any], page: _Page) -> Iterator[FoundItem]:
    """The items of an item collection; where they say where they are at home, that counts."""
    for position, feature in enumerate(document.get("features", ())):
        if not isinstance(feature, dict) or "stac_version" not in feature:
            raise _no_stac(f"GeoJSON whose feature {position + 1} is no STAC item", page)
        where = f"{page.href}, item {feature.get('id')}"
        _check_version(feature, where)
        item = _item(feature, where)
        home = item.get_self_href()
        yield FoundItem(item, home if home and is_url(home) else page.href, where)


def _item(document: Mapping[str, Any], where: str) -> pystac.Item:
    try:
        return pystac.Item.from_dict(dict(document), migrate=True)
    except (KeyError, TypeError, ValueError, AttributeError, pystac.errors.STACError) as error:
        raise InputError(
            f"is damaged as a STAC item ({type(error).__name__}: {error})",
            path=where,
            remedy="check it with a STAC validator",
        ) from error


def _next_pages(document: Mapping[str, Any], kind: str, page: _Page) -> list[_Page]:
    """What the document links to and is to be read as well."""
    links = [each for each in document.get("links", ()) if isinstance(each, dict)]
    if kind == "Feature":
        return []
    if kind == "FeatureCollection":
        # A saved answer of a server is what was asked for; only a live one has further pages.
        wanted: tuple[str, ...] = ("next",) if is_url(page.href) else ()
        links = [each for each in links if each.get("method", "GET") == "GET"]
    else:
        wanted = _BELOW if any(each.get("rel") in _BELOW for each in links) else ("items",)
    return [
        _Page(resolved(str(each["href"]), page.href), page.href)
        for each in links
        if each.get("rel") in wanted and "href" in each
    ]
