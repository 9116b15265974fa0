"""The files of a Pascal VOC data set: its lists, its XML, and which belongs to which."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from xml.etree import ElementTree

from ..errors import UserError
from .annotations import IMAGE_ENDINGS, path_inside
from .values import shown

Names = tuple[str, ...]
"""What a line of a list may name, the likeliest first."""

# As the development kit marks whether an image holds a class: "000012 -1".
_FLAG = re.compile(r"\s+(-1|0|1)$")
_ENDING = re.compile(rf"({'|'.join(map(re.escape, (*IMAGE_ENDINGS, '.xml')))})$", re.IGNORECASE)
_DECLARATION = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
# The first bytes of a file that say its encoding; those of UTF-32 begin with those of UTF-16.
_BEGINNINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    ("<".encode("utf-16-le"), "utf-16-le"),
    ("<".encode("utf-16-be"), "utf-16-be"),
)


def root_of(image_list: Path) -> Path:
    """The folder that holds Annotations and JPEGImages, however deep the list lies in it.

    It is the one above the list's ``ImageSets`` or, of a list elsewhere, the nearest above it with ``Annotations``.
    """
    above = image_list.parents
    likely = (folder.parent for folder in above if folder.name == "ImageSets")
    others = (folder for folder in above if (folder / "Annotations").is_dir())
    return next(likely, None) or next(others, image_list.parent)


def read_list(image_list: Path) -> list[Names]:
    """What each line of a list of images names; raises UserError if it can not be read.

    A line is a name, which may hold spaces and folders. The marks -1, 0 and 1 of the development kit, if all lines
    have one, are no part of it, nor are quotes around it or the ending of a file.
    """
    text = _decoded(_bytes_of(image_list), image_list)
    lines = [line for line in map(str.strip, re.split("[\r\n]", text)) if line]
    has_flags = all(map(_FLAG.search, lines))
    return [_names(line, has_flags) for line in lines]


def annotation_file(image_list: Path, names: Names) -> tuple[str, Path]:
    """The name in a list that has an XML file, and the file; UserError if it would be outside the data set's folder.

    If none has, it is the whole line, which the error will name.
    """
    folder = root_of(image_list) / "Annotations"
    files = [path_inside(folder, f"{name}.xml", image_list) for name in names]
    return next((found for found in zip(names, files, strict=True) if found[1].is_file()), (names[0], files[0]))


def image_file(image_list: Path, name: str, filename: str) -> Path:
    """``JPEGImages/<name>.jpg``, or with the ending of the XML's ``filename``, or with that of the file there is."""
    folder = root_of(image_list) / "JPEGImages"
    ending = Path(filename).suffix
    ending = ending if ending.lower() in IMAGE_ENDINGS else ".jpg"
    image = path_inside(folder, f"{name}{ending}", image_list)
    if image.is_file():
        return image
    endings = [*IMAGE_ENDINGS, *map(str.upper, IMAGE_ENDINGS), *([""] if _ENDING.search(name) else [])]
    others = (path_inside(folder, f"{name}{other}", image_list) for other in endings)
    return next((other for other in others if other.is_file()), image)


def read_xml(file: Path) -> ElementTree.Element:
    """The root element of an annotation file, in the encoding it declares; raises UserError if it is not plain XML."""
    data = _bytes_of(file)
    declared = _DECLARATION.match(data)
    text = _decoded(data, file, declared.group(1).decode() if declared else None)
    if "\0" in text:  # the parser would look for UTF-16 in it, in which the next test could not find anything
        raise UserError(f"{file}: not XML: it holds characters of value 0")
    # Entities, which can expand without bound, need a document type, and VOC has none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{file}: a document type or entity is declared, which VOC files do not need")
    try:
        root = ElementTree.fromstring(text)  # of text, whatever encoding it declares
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{file}: not XML: {error}") from None
    if root.tag != "annotation" and root.find("object") is None and root.find("size") is None:
        raise UserError(f"{file}: expected VOC's element annotation, got {shown(root.tag)}")
    return root


def class_name_of(item: ElementTree.Element) -> str:
    """The class of an ``object`` element."""
    return (item.findtext("name") or "").strip()


def _names(line: str, has_flag: bool) -> Names:
    forms = [line, _FLAG.sub("", line)] if has_flag else [line]
    forms += [form[1:-1] for form in forms if len(form) > 2 and form[0] == form[-1] == '"']
    forms += [_ENDING.sub("", form) for form in forms]
    return tuple(dict.fromkeys(forms))


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None


def _decoded(data: bytes, file: Path, declared: str | None = None) -> str:
    """The text of a file: its first bytes say the encoding, or its declaration, or it is UTF-8."""
    encoding = next((name for begin, name in _BEGINNINGS if data.startswith(begin)), None)
    if encoding is None and declared and not re.match("utf-?(8|16|32)", declared, re.IGNORECASE):
        encoding = declared
    # A declaration that can be read byte by byte is not in UTF-16, whatever it says: .NET's writers do that.
    try:
        return data.decode(encoding or "utf-8")
    except LookupError:
        raise UserError(f"{file}: its encoding {shown(encoding)} is not known; save it as UTF-8") from None
    except UnicodeError:
        expected = encoding or "UTF-8"
        raise UserError(f"{file}: expected {expected} text; save it as UTF-8") from None
