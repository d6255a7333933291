from __future__ import annotations

import random

import httpx2
import pytest

from ingest.openai.form import MAX_FIELD, MAX_PARTS, Form, MalformedForm

TYPE = "multipart/form-data; boundary=b"


def part(header: str, value: str = "x") -> bytes:
    return f"--b\r\n{header}\r\n\r\n{value}\r\n".encode()


def named(name: str, value: str = "x") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', value)


def parsed(body: bytes, content_type: str = TYPE, step: int = 1 << 20) -> Form:
    form = Form(content_type)
    for start in range(0, len(body), step):
        form.feed(body[start : start + step])
    return form


def test_what_a_client_sends_comes_out_however_it_is_cut() -> None:
    data = {"prompt": "päper\r\nboat --b", "metadata[a]": "", "seed": "7"}
    sent = httpx2.Request("POST", "http://x/", data=data, files={"_": ("", b"")})
    body = b"".join(named(k, v) for k, v in data.items()) + b"--b--\r\n"
    for step in (1, 2, 3, 7, 64, 4096):
        form = parsed(body, step=step)
        assert (form.done, form.fields) == (True, list(data.items()))
    found = parsed(sent.read(), sent.headers["content-type"]).fields
    assert found == [*data.items(), ("_", "")]


def test_an_empty_form_is_one() -> None:
    assert parsed(b"--b--\r\n").fields == []


def test_a_file_ends_the_reading_at_its_header() -> None:
    body = named("prompt") + part(
        'Content-Disposition: form-data; name="input_reference"; filename="a.png"\r\n'
        "Content-Type: image/png",
        "\x00" * 100_000,
    )
    for step in (1, 1 << 20):
        form = parsed(body[:3000], step=step)
        assert (form.file, form.fields, form.done) == ("input_reference", [("prompt", "x")], False)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "b" * 999,
    ],
)
def test_without_a_usable_boundary_there_is_no_form(content_type: str) -> None:
    with pytest.raises(MalformedForm):
        parsed(b"--b--\r\n", content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b'{"prompt": "x"}',
        named("a") * (MAX_PARTS + 1),
        named("a", "x" * (MAX_FIELD + 1)),
        named("n" * 601),
        named(""),
        part("Content-Disposition: form-data"),
        part('Content-Disposition: attachment; name="a"'),
        part("X: y"),
        part('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64'),
        part(
            'Content-Disposition: form-data; name="a"\r\ncontent-disposition: form-data; name="b"'
        ),
        part('Content-Disposition: form-data; name="a"\r\n' + "X: " + "y" * 5000),
        part(
            'Content-Disposition: form-data; name="a"' + "".join(f"\r\nX{n}: y" for n in range(9))
        ),
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n',
    ],
)
def test_what_breaks_a_limit_or_the_form_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedForm):
        parsed(body)


def test_a_body_that_ends_early_is_not_done() -> None:
    whole = named("a") + b"--b--\r\n"
    assert [n for n in range(len(whole)) if parsed(whole[:n]).done] in (
        [],
        [len(whole) - 2, len(whole) - 1],
    )


def test_random_damage_is_malformed_or_a_form_and_nothing_else() -> None:
    draw = random.Random(7)
    whole = named("prompt", "a fox") + named("seed", "7") + b"--b--\r\n"
    for _ in range(2000):
        body = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            body[draw.randrange(len(body))] = draw.randrange(256)
        try:
            form = parsed(bytes(body), step=draw.randint(1, len(body)))
        except MalformedForm:
            continue
        assert len(form.fields) <= 2
