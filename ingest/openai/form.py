"""A multipart/form-data body, taken in piece by piece under strict limits. Pure.

The client sends its fields as parts, and files after them. Files are not taken in: the first part
that is one ends the reading, so that it can be refused for what it is and not for its size.
"""

from __future__ import annotations

import contextlib
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

MAX_PARTS: Final = 64
MAX_FIELD: Final = 64 * 1024
_MAX_NAME: Final = 600
_MAX_HEADERS: Final = 8
_MAX_HEADER: Final = 2048


class MalformedForm(ValueError):
    """The bytes are not a form of plain fields; the message names the defect, never the content."""


class Form:
    """A form as it arrives: feed it until it is done, or has found a file.

    Attributes:
        fields: Names and values of the parts so far, in their order.
        file: The name of the field that is a file; nothing is read after its header.
        done: Whether the last boundary was seen.
    """

    def __init__(self, content_type: str) -> None:
        """Raises MalformedForm when ``content_type`` names no usable boundary."""
        self.fields: list[tuple[str, str]] = []
        self.file: str | None = None
        self.done = False
        self._header, self._value, self._data = bytearray(), bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        _, options = parse_options_header(content_type)
        try:
            boundary = options[b"boundary"]
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._end,
                },
                max_header_count=_MAX_HEADERS,
                max_header_size=_MAX_HEADER,
            )
        except (KeyError, FormParserError):
            raise MalformedForm("no usable boundary in Content-Type") from None

    def feed(self, chunk: bytes) -> None:
        """Take in more of the body.

        Raises:
            MalformedForm: it is not such a form, or breaks a limit.
        """
        if self.done or self.file is not None:
            return  # what follows the last boundary means nothing
        with contextlib.suppress(_File):
            try:
                self._parser.write(chunk)
            except FormParserError:
                raise MalformedForm("not multipart/form-data") from None

    def _part_begin(self) -> None:
        if len(self.fields) >= MAX_PARTS:
            raise MalformedForm(f"more than {MAX_PARTS} parts")
        self._headers.clear()
        self._data.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        name = bytes(self._header).lower()
        if name in self._headers:
            raise MalformedForm("a part's header is there twice")
        self._headers[name] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise MalformedForm("a part is no form-data with a name")
        if b"content-transfer-encoding" in self._headers:
            raise MalformedForm("a part has a transfer encoding")
        self._name = _text(options[b"name"])
        if not 1 <= len(self._name) <= _MAX_NAME:
            raise MalformedForm(f"a part's name has not 1 to {_MAX_NAME} characters")
        if b"filename" in options:
            self.file = self._name
            raise _File

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self._data) + end - start > MAX_FIELD:
            raise MalformedForm(f"a part of more than {MAX_FIELD} bytes")
        self._data += data[start:end]

    def _part_end(self) -> None:
        self.fields.append((self._name, _text(bytes(self._data))))

    def _end(self) -> None:
        self.done = True


class _File(Exception):
    """A part is a file: stop reading."""


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedForm("a part is not UTF-8") from None
