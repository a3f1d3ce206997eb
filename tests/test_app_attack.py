"A hostile visitor of `foodvision app`, over HTTP: no address and no payload gets at anything"

import asyncio
import base64
import contextlib
import io
import os
import re
import socket
import struct
import threading
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from PIL import Image
from test_app import App

from foodvision.drawing import draw_dish

KEEP_SECONDS, BODY_SECONDS, IDLE_SECONDS, MOST_BYTES = 20, 6, 2, 30_000_000
LARGEST_UPLOAD = 20_000_000
# The command as installed, with shorter limits. Whatever the process opens that is called "secret", and whomever it
# calls, is written down.
START = f"""
import os, sys, time
def note(event, given):
    if event == "open" and "secret" in str(given[0]) or event in ("socket.connect", "socket.getaddrinfo"):
        os.write(2, ascii(("NOTED", event, given)).encode() + b"\\n")
import foodvision.app as app, foodvision.guard as guard
app._KEEP_SECONDS, app._IDLE_SECONDS = {KEEP_SECONDS}, {IDLE_SECONDS}
guard._BODY_SECONDS, guard._MOST_BYTES, guard.LARGEST_UPLOAD = {BODY_SECONDS}, {MOST_BYTES}, {LARGEST_UPLOAD}
look = app.answer_photo
def held(*given, **options):
    while os.path.exists(os.environ["HOLD"]):
        time.sleep(0.05)
    return look(*given, **options)
app.answer_photo = held
announce = app._announce
def announced(host, port):
    sys.addaudithook(note)
    announce(host, port)
app._announce = announced
from foodvision.cli import main
sys.exit(main(sys.argv[1:]))
"""
PLAIN = httpx.Limits(max_keepalive_connections=0)


def bomb() -> bytes:
    "A PNG whose header claims 3,600 megapixels"

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def album(tmp_path_factory) -> Path:
    "Photos to find similar ones among, which say where they were taken; and files that only look like photos"
    folder = tmp_path_factory.mktemp("album")
    exif = Image.Exif()
    exif[0x010E] = "where we live"
    for number, name in enumerate(("pizza", "sushi", "donuts")):
        draw_dish(name, number, (400, 300)).save(folder / f"{name} at home.jpg", exif=exif)
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "torn.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory, offline, album):
    hold = tmp_path_factory.mktemp("hold") / "hold"  # while it is there, no answer is given
    options = ["--port", "0", "--similar", str(album)]
    environment = {**offline, "HOLD": str(hold)}
    running = App(
        "food101", tmp_path_factory.mktemp("temporary"), environment, *options, start=START
    )
    running.hold, running.album = hold, album
    running.noted = []
    reading = threading.Thread(
        target=lambda: running.noted.extend(running.process.stderr), daemon=True
    )
    reading.start()
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture(scope="module")
def photo() -> bytes:
    "A drawn dish as a JPEG"
    data = io.BytesIO()
    draw_dish("sushi", 300_000, (800, 600)).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> Path:
    "What no visitor may see: a text, a photo, and a link to it"
    folder = tmp_path_factory.mktemp("secret")
    (folder / "secret.txt").write_text("root:x:0:0:the secret")
    Image.new("RGB", (64, 64), "red").save(folder / "secret.jpg")
    (folder / "secret-link.jpg").symlink_to(folder / "secret.jpg")
    return folder


class Visitor:
    "Somebody with a program instead of a browser"

    def __init__(self, app, cookie=True):
        self.client = httpx.Client(base_url=app.address, trust_env=False, timeout=60, limits=PLAIN)
        self.session = f"s{time.monotonic_ns()}"
        if cookie:
            assert self.client.get("/").status_code == 200

    def upload(self, content: bytes, name="photo.jpg") -> str:
        response = self.client.post("/gradio_api/upload", files={"files": (name, content)})
        assert response.status_code == 200, response.text
        return response.json()[0]

    def join(self, sent, number=1, **more):
        data = {
            "data": [sent],
            "fn_index": number,
            "trigger_id": 4,
            "session_hash": self.session,
            **more,
        }
        return self.client.post("/gradio_api/queue/join", json=data)

    def answer(self, session=None) -> str:
        "All that the server says in a session, until it has said the answer"
        said = ""
        with self.client.stream(
            "GET", f"/gradio_api/queue/data?session_hash={session or self.session}"
        ) as response:
            for line in response.iter_lines():
                said += line
                if "process_completed" in line or "unexpected_error" in line:
                    break
        return said

    def look(self, sent, **more) -> str:
        "What the server says about something to look at"
        joined = self.join(sent, **more)
        return joined.text + (self.answer() if joined.status_code == 200 else "")


def own(path, **more) -> dict:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}


def written(app) -> dict:
    "Files of visitors in the app's folder, with their sizes"
    sizes = {}
    for path in app.temporary.glob("foodvision-app-*/visitors/*"):
        with contextlib.suppress(OSError):
            sizes[path] = path.stat().st_size
    return sizes


def unharmed(app, photo):
    "The app still answers"
    visitor = Visitor(app)
    assert "<ol>" in visitor.look(own(visitor.upload(photo)))


def test_a_photo_is_answered(app, photo):
    "What the attacks look like if they work"
    unharmed(app, photo)


def hostile(secret: Path, app) -> list:
    "Messages that name what was never sent by this visitor"
    text, picture = secret / "secret.txt", secret / "secret.jpg"
    [folder] = app.temporary.glob("foodvision-app-*")
    paths = [
        "/etc/passwd",
        text,
        picture,
        secret / "secret-link.jpg",
        os.path.relpath(picture, app.temporary),
        "secret.jpg",
        app.album / "pizza at home.jpg",
        os.path.relpath(app.album / "pizza at home.jpg", app.temporary),
        f"{folder}/examples/{os.path.relpath(picture, folder / 'examples')}",
        f"{folder}/visitors/../../../../../etc/passwd",
        f"file://{picture}",
        f"//{picture}",
        f"{picture}\0.jpg",
        picture.as_posix().replace("/", "%2F"),
        "~/.ssh/id_rsa",
        "",
        "/dev/stdin",
        "/dev/zero",
        "/proc/self/environ",
        f"{folder}",
        f"{folder}/examples",
        "data:image/png;base64,iVBORw0KGgo=",
    ]
    urls = [
        "http://203.0.113.7/x.jpg",
        "https://203.0.113.7/x.jpg",
        "http://example.org/x.jpg",
        "https://huggingface.co/x.jpg",
        "HTTP://203.0.113.7/x",
        "ftp://203.0.113.7/x",
        "//203.0.113.7/x",
    ]
    messages = [own(path) for path in [*paths, *urls]]
    messages += [own(path, is_stream=True) for path in (text, picture, urls[0])]
    messages += [
        own("x", url=f"/gradio_api/file={picture}"),
        own("", url=urls[0]),
        {"url": urls[0], "path": None},
        {"path": str(picture)},
        {"data": "data:image/png;base64,iVBORw0KGgo="},
        own(picture, url=urls[0], orig_name="x.svg"),
    ]
    messages += [
        str(picture),
        urls[0],
        [own(picture)],
        {"value": own(picture)},
        {"composite": own(picture), "layers": []},
        77,
        -1,
        1e9,
        True,
        {"__type__": "update", "value": own(picture)},
    ]
    return messages


@pytest.fixture
def nothing_got(app, secret, photo):
    "After the test: no secret was opened, nobody was called, nothing lies in the app's folder that was not sent there"
    first = len(app.noted)
    yield
    unharmed(app, photo)
    [folder] = app.temporary.glob("foodvision-app-*")
    noted = [line for line in app.noted[first:] if "NOTED" in line]
    assert not noted
    hidden = {(secret / name).read_bytes() for name in ("secret.txt", "secret.jpg")} | {
        Path("/etc/passwd").read_bytes()
    }
    assert not [
        path for path in folder.rglob("*") if path.is_file() and path.read_bytes() in hidden
    ]


def tells(said: str) -> bool:
    "Whether a response holds a secret, an answer about one, or how the server is laid out"
    return any(
        word in said
        for word in ("root:", "the secret", "<ol>", "<figure>", "Traceback", "site-packages")
    )


@pytest.mark.parametrize("number", [0, 1, 2])
def test_only_what_was_sent_is_looked_at(app, secret, number, nothing_got):
    visitor = Visitor(app)
    for sent in hostile(secret, app):
        said = visitor.look(sent, number=number)
        assert not tells(said), (sent, said)


WAYS = [
    "run/predict",
    "api/predict",
    "run/answer",
    "call/answer",
    "call/v2/answer",
    "call/predict",
    "run/load_example",
    "call/load_example",
    "component_server",
    "stream/1",
    "process_recording",
    "queue/join",
]


@pytest.mark.parametrize("way", WAYS)
def test_no_other_way_leads_to_a_file(app, secret, way, nothing_got):
    visitor = Visitor(app)
    for sent in hostile(secret, app):
        data = {
            "data": [sent],
            "fn_index": 1,
            "trigger_id": 4,
            "session_hash": visitor.session,
            "event_data": own("/etc/passwd"),
            "component_id": 4,
            "fn_name": "preprocess",
            "event_id": "x",
            "batched": True,
            "simple_format": True,
        }
        for body in (data, {**data, "data": sent}, {**data, "fn_index": 0}):
            response = visitor.client.post(f"/gradio_api/{way}", json=body)
            assert response.status_code >= 400 and not tells(response.text), (sent, response.text)


def test_files_are_not_read_back_by_their_path(app, secret, nothing_got):
    visitor = Visitor(app)
    for sent in hostile(secret, app):
        path = sent.get("path") if isinstance(sent, dict) else sent
        for prefix in ("file=", "file/", "proxy=", "stream/"):
            target = f"{app.address}/gradio_api/{prefix}{path}".replace("\0", "%00")
            response = visitor.client.get(target)
            assert response.status_code >= 400 and not tells(response.text), target
    for target in (
        "static",
        "assets",
        "svelte",
        "file",
        "gradio_api/custom_component/1/client/component",
    ):
        for way in ("../" * 9, "..%2f" * 9, "%2e%2e/" * 9, "/", "//", ".%00./" * 9, "..\\" * 9):
            raw = f"GET /{target}/{way}etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            assert "root:" not in said_to(app, raw.encode())


def said_to(app, raw: bytes) -> str:
    "The server's answer to raw bytes, which no client library has tidied up"
    with socket.create_connection(
        ("127.0.0.1", int(app.address.rsplit(":", 1)[1])), timeout=30
    ) as connection:
        connection.sendall(raw)
        received = b""
        while more := connection.recv(65536):
            received += more
    return received.decode("latin-1")


def routes() -> list[tuple[str, set]]:
    "Each address of the mounted page, with its methods"
    from foodvision import app as module

    with module._private_folder() as folder:
        server = module._server(module.build_app(SimpleNamespace(class_names=["pie"])), folder)
    mounted = server.config.app.inside.routes[-1].app
    return [(route.path, route.methods) for route in iterate(mounted.routes)]


def iterate(given):
    "Routes, those of included routers too"
    for route in given:
        inner = getattr(getattr(route, "original_router", route), "routes", None)
        yield from iterate(inner) if inner else ([route] if getattr(route, "methods", None) else [])


def test_every_other_address_is_closed(app, secret, nothing_got):
    open_to_get = (
        r"/|/theme\.css|/favicon\.ico|/(static|assets)/.*|/gradio_api/(queue/data|upload_progress)"
    )
    open_to_post = r"/gradio_api/(upload|queue/join|run/predict)"
    all_routes, visitor, tried = routes(), Visitor(app), 0
    assert len(all_routes) > 60 and {"/config", "/gradio_api/component_server"} <= {
        path for path, _ in all_routes
    }
    for path, methods in all_routes:
        target = re.sub(
            r"\{[^}]*\}",
            "1",
            path.replace("{api_name}", "predict").replace(
                "{path_or_url:path}", f"{secret}/secret.jpg"
            ),
        )
        for method in sorted(methods | {"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}):
            allowed = (
                open_to_get
                if method in ("GET", "HEAD")
                else open_to_post
                if method == "POST"
                else "no"
            )
            if not re.fullmatch(allowed, target):
                response = visitor.client.request(
                    method, target, params={"session_hash": visitor.session, "deep_link": "x"}
                )
                assert response.status_code in (404, 403), (method, target, response.status_code)
                tried += 1
    assert tried > 400


def test_a_visitor_without_the_page_gets_nothing(app, photo, nothing_got):
    owner, stranger = Visitor(app), Visitor(app, cookie=False)
    path = owner.upload(photo)
    for cookie in (None, "x", "../" * 10, "a" * 31, "*" * 32, path.rsplit("/", 1)[1][:32]):
        if cookie:
            stranger.client.cookies.set("foodvision", cookie)
        statuses = [
            stranger.client.post("/gradio_api/upload", files={"files": ("x", photo)}).status_code,
            stranger.join(own(path)).status_code,
            stranger.client.get(f"/gradio_api/file={path}").status_code,
        ]
        # A word of the right form may send, and has nothing to do with the owner's photo.
        assert statuses[1:] in ([404, 404], [403, 404])
        stranger.client.cookies.clear()


def test_another_visitor_s_photo_is_not_looked_at(app, photo, nothing_got):
    owner, other = Visitor(app), Visitor(app)
    path = owner.upload(photo)
    assert owner.client.get(f"/gradio_api/file={path}").content == photo
    assert other.client.get(f"/gradio_api/file={path}").status_code == 404
    assert other.join(own(path)).status_code == 403
    assert other.upload(photo) != path, "the same photo of two visitors is two files"
    assert owner.join(own(path)).status_code == 200
    assert not tells(other.answer(owner.session)), (
        "nobody reads along, even with the session's name"
    )
    assert "<ol>" in owner.answer()


@pytest.mark.parametrize(
    "name",
    ["../../../x.jpg", "/etc/x", "x.svg", "x.html", "a\0b.jpg", "ü" * 300, ".ssh", "<script>"],
)
def test_the_name_of_a_file_plays_no_part(app, name):
    visitor = Visitor(app)
    page = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    path = visitor.upload(page, name)
    assert re.fullmatch(r".*/foodvision-app-[^/]*/visitors/[0-9a-f]{32}-[0-9a-f]{32}", path)
    response = visitor.client.get(f"/gradio_api/file={path}")
    assert response.content == page and response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Type"] == "application/octet-stream"
    said = visitor.look(own(path))
    assert "trouble" in said and "<script" not in said


def test_bombs_and_garbage_get_a_sentence(app, photo):
    many = io.BytesIO()
    Image.new("1", (9000, 9000)).save(
        many,
        "GIF",
        save_all=True,
        append_images=[Image.new("1", (9000, 9000), i) for i in range(2)],
    )
    visitor = Visitor(app)
    for content in (
        bomb(),
        many.getvalue(),
        b"",
        b"\0" * 1000,
        photo[:2000],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ):
        said = visitor.look(own(visitor.upload(content)))
        assert "process_completed" in said and "Traceback" not in said
    unharmed(app, photo)


def pictures(said: str) -> list:
    "The pictures of an answer, the heat map first, then those of similar photos"
    found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", said)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


def test_of_similar_photos_small_pictures_are_served_and_nothing_else(app, photo, nothing_got):
    visitor = Visitor(app)
    said = visitor.look(own(visitor.upload(photo)))
    _, *similar = pictures(said)
    assert "Similar photos" in said and [max(one.size) for one in similar] == [160] * 3
    assert not any(
        one.getexif() or set(one.info) - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        for one in similar
    )
    assert not [
        word
        for word in (app.album.name, "at home", "where we live", "torn", "bomb")
        if word in said
    ]
    for path in app.album.iterdir():
        assert visitor.client.get(f"/gradio_api/file={path}").status_code == 404
    unreadable = "".join(line for line in app.noted if str(app.album) in line)
    assert "torn.jpg" in unreadable and "bomb.png" in unreadable and "Traceback" not in unreadable


def test_an_album_that_changes_and_goes_away(app, photo, nothing_got):
    "A photo that became a bomb, a pipe, a folder or nothing is passed over; the answer comes all the same"
    visitor, kept = Visitor(app), {path: path.read_bytes() for path in app.album.iterdir()}
    first, second, third = [path for path in kept if "at home" in path.name]
    first.write_bytes(bomb())
    second.unlink()
    os.mkfifo(second)
    third.unlink()
    third.mkdir()
    said = [visitor.look(own(visitor.upload(photo)))]
    second.unlink()
    third.rmdir()
    away = app.album.rename(app.album.with_name("away"))
    said += [visitor.look(own(visitor.upload(photo)))]
    away.rename(app.album)
    for path, content in kept.items():
        path.write_bytes(content)
    assert ["<ol>" in one and len(pictures(one)) == 1 for one in said] == [True, True]
    assert len(pictures(visitor.look(own(visitor.upload(photo))))) == 4


def endless(app, target: str, kind: str, head: bytes, piece: bytes, most: int) -> tuple[int, str]:
    "How many bytes of a body without an end the server takes, and what it says then"
    cookie = Visitor(app).client.cookies["foodvision"]
    lines = [
        f"POST /gradio_api/{target} HTTP/1.1",
        "Host: x",
        f"Cookie: foodvision={cookie}",
        f"Content-Type: {kind}",
        "Transfer-Encoding: chunked",
        "",
        "",
    ]
    sent = 0
    with socket.create_connection(
        ("127.0.0.1", int(app.address.rsplit(":", 1)[1])), timeout=60
    ) as connection:
        connection.sendall("\r\n".join(lines).encode())
        try:
            for part in [head, *[piece] * (most // len(piece))]:
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
                sent += len(part)
        except OSError:
            pass
        try:
            return sent, connection.recv(4096).decode("latin-1")
        except OSError:  # closed while we were still sending
            return sent, ""


FORM, FILE = (
    "multipart/form-data; boundary=xx",
    b'--xx\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n',
)
FIELD = b'--xx\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
ENDLESS = {
    "a file": ("upload", FORM, FILE, bytes(60_000)),
    "a field": ("upload", FORM, FIELD, b"x" * 60_000),
    "many files": ("upload", FORM, b"", (FILE + b"x\r\n") * 500),
    "many fields": ("upload", FORM, b"", (FIELD + b"x\r\n") * 500),
    "headers": ("upload", FORM, FILE[:-2], b"X: " + b"y" * 60_000),
    "before the first part": ("upload", FORM, b"", b"z" * 60_000),
    "a form without files": (
        "upload",
        "application/x-www-form-urlencoded",
        b"files=",
        b"x" * 60_000,
    ),
    "no form": ("upload", "image/jpeg", b"", bytes(60_000)),
    "a message": ("queue/join", "application/json", b'{"data":["', b"x" * 60_000),
    "an example": ("run/predict", "application/json", b'{"data":["', b"x" * 60_000),
    "to a closed address": ("component_server", FORM, FILE, bytes(60_000)),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_an_endless_request_is_cut_off(app, what, nothing_got):
    before = set(written(app))
    sent, said = endless(app, *ENDLESS[what], most=200_000_000)
    assert sent < 40_000_000 and said[9:12] in (
        "",
        "400",
        "404",
        "413",
    )  # the limit, and what lies in the system's buffers
    assert not set(written(app)) - before


def test_a_large_file_is_refused_by_its_announced_size(app, nothing_got):
    cookie = Visitor(app).client.cookies["foodvision"]
    response = said_to(
        app,
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nCookie: foodvision={cookie}\r\nContent-Type: {FORM}\r\n"
        "Content-Length: 99999999999\r\n\r\n".encode(),
    )
    assert response[9:12] == "413"


def open_for(connection, seconds: float, word: bytes) -> float:
    "How long a connection stays open on which one letter at a time is sent"
    begin = time.monotonic()
    connection.settimeout(0.5)
    while time.monotonic() - begin < seconds:
        try:
            connection.sendall(word)
            if not connection.recv(4096):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begin


SLOW = {
    "nothing": (b"", b""),
    "a letter at a time": (b"GET / HTTP/1.1\r\nX: ", b"y"),
    "after a whole request": (b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n", b"G"),
    "a body a letter at a time": (
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nCookie: foodvision=" + b"a" * 32 + b"\r\n"
        b"Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: 1000000\r\n\r\n" + FILE,
        b"y",
    ),
    "a message a letter at a time": (
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: x\r\nCookie: foodvision="
        + b"a" * 32
        + b"\r\n"
        b"Content-Length: 10000\r\n\r\n",
        b"y",
    ),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_slow_request_is_cut_off(app, what, nothing_got):
    first, word = SLOW[what]
    with socket.create_connection(
        ("127.0.0.1", int(app.address.rsplit(":", 1)[1])), timeout=30
    ) as connection:
        connection.sendall(first)
        assert open_for(connection, 60, word) < 60


def test_many_connections_that_say_nothing_keep_nobody_out_for_long(app, photo):
    port = int(app.address.rsplit(":", 1)[1])
    with contextlib.ExitStack() as stack:
        for _ in range(450):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        deadline = time.monotonic() + 60
        with httpx.Client(trust_env=False, limits=PLAIN, timeout=60) as client:
            while client.get(app.address).status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
    unharmed(app, photo)


def test_two_hundred_uploads_at_once(app, photo):
    "Those for which there is room are kept, the others are told; the disk is bounded, and all goes again"
    content = photo + bytes(300_000 - len(photo))
    visitor, largest, done = Visitor(app), [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            largest[0] = max(largest[0], sum(written(app).values()))

    async def upload(client):
        try:
            return (
                await client.post("/gradio_api/upload", files={"files": ("x.jpg", content)})
            ).status_code
        except httpx.TransportError:  # refused and closed while the photo was still being sent
            return 503

    async def all_at_once():
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(
            base_url=app.address,
            cookies=visitor.client.cookies,
            trust_env=False,
            timeout=120,
            limits=limits,
        ) as client:
            return await asyncio.gather(*[upload(client) for _ in range(200)])

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        statuses = asyncio.run(all_at_once())
    finally:
        done.set()
        watching.join()
    assert set(statuses) == {200, 503} and 20 <= statuses.count(200) <= 150
    assert 0 < largest[0] <= MOST_BYTES
    deadline = time.monotonic() + KEEP_SECONDS + 20
    while written(app) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not written(app)
    unharmed(app, photo)


def test_many_questions_at_once(app, photo):
    "The queue has an end; a message that finds no place is told so"
    visitor = Visitor(app)
    path = visitor.upload(photo)

    async def ask(client, number):
        data = {
            "data": [own(path)],
            "fn_index": 1,
            "trigger_id": 4,
            "session_hash": f"many{number}",
        }
        return (await client.post("/gradio_api/queue/join", json=data)).status_code

    async def all_at_once():
        async with httpx.AsyncClient(
            base_url=app.address, cookies=visitor.client.cookies, trust_env=False, timeout=120
        ) as client:
            return await asyncio.gather(*[ask(client, number) for number in range(250)])

    app.hold.touch()
    try:
        statuses = asyncio.run(all_at_once())
    finally:
        app.hold.unlink()
    assert set(statuses) == {200, 503}
