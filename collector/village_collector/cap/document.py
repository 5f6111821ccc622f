"""XML from outside, read without giving it any power: no DTD, no entities, no network, and bounded in length, depth and number.

lxml and not defusedxml: the same parser must read what the signature covers, or two parsers could see two documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml import etree

#: Four minutes of speech at 128 kbit/s are 4 MB, 5.3 MB in base64.
MAX_BYTES = 8 * 1024 * 1024
#: An alert has six levels, its signature eight.
MAX_DEPTH = 16
#: A province has some 1,500 townships: each area with its geocodes takes five elements.
MAX_ELEMENTS = 20_000


class InvalidAlert(ValueError):
    """The text is no alert that may be read; it says where and why."""


def parse_document(content: bytes) -> etree._Element:
    """Return the root of a document.

    Raises:
        InvalidAlert: too long, too deep, too many elements, not well-formed, or it brings a DTD.
    """
    # Costs 25 MB with the verification of signatures.
    from lxml import etree

    if len(content) > MAX_BYTES:
        raise InvalidAlert(f"{len(content)} bytes are over the limit of {MAX_BYTES}")
    try:
        root = etree.fromstring(content, hardened_parser())
    except etree.XMLSyntaxError as error:
        raise InvalidAlert(f"not well-formed XML: {_plain(error)}") from None
    except ValueError as error:
        raise InvalidAlert(f"not XML: {str(error)[:200]}") from None
    info = root.getroottree().docinfo
    if info.internalDTD is not None or info.externalDTD is not None:
        raise InvalidAlert("a document type declaration (DOCTYPE) is not taken")
    _check_shape(root)
    return root


def hardened_parser() -> etree.XMLParser:
    """Return a parser that expands nothing, fetches nothing and keeps libxml2's own limits."""
    from lxml import etree

    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        recover=False,
    )


def _check_shape(root: etree._Element) -> None:
    from lxml import etree

    if next(root.iter(etree.Entity), None) is not None:
        raise InvalidAlert("an entity of its own is not taken")
    level, elements = [root], 0
    for _ in range(MAX_DEPTH):
        elements += len(level)
        if elements > MAX_ELEMENTS:
            raise InvalidAlert(f"more than {MAX_ELEMENTS} elements")
        level = [child for element in level for child in element]
        if not level:
            return
    raise InvalidAlert(f"deeper than {MAX_DEPTH} levels")


def _plain(error: Exception) -> str:
    # Quotes the document, which may hold anything.
    return "".join(character if character.isprintable() else " " for character in str(error))[:200]
