# SPDX-License-Identifier: MIT
"""A hub on this machine, for searches and downloads."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

SHIPPED = Path(__file__).resolve().parents[2] / "data/models/demo"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATED = "closed/model"
MARKUP = "<img src=x onerror=window.hit=1>"


class Hub:
    """Has the shipped model as own/er, and closed/model, which is gated and whose card is full of markup. While `hold` is
    set, the second half of the weights comes a thousand bytes at a time, until `goes_on` is set."""

    def __init__(self):
        self.files = {path.name: path.read_bytes() for path in SHIPPED.iterdir() if path.suffix != ".md"}
        self.hold = threading.Event()
        self.goes_on = threading.Event()
        self.queries = []
        self.tokens = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def changes(self):
        """What makes kvviz ask this hub."""
        return {"HF_ENDPOINT": f"http://127.0.0.1:{self.http.server_port}", "HF_HUB_OFFLINE": None}

    def stop(self):
        self.goes_on.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, request):
        url = urlparse(request.path)
        self.tokens.append(request.headers.get("Authorization"))
        if url.path == "/api/models":
            self.queries.append({name: values[0] for name, values in parse_qs(url.query).items()})
            listed = [
                {"id": "own/er", "downloads": 4321, "likes": 5, "gated": False, "lastModified": "2024-09-25T12:32:28.000Z"},
                {"id": GATED, "downloads": 12, "likes": 3, "gated": "manual", "lastModified": "2023-01-02T00:00:00.000Z"},
            ]
            return self.send(request, json.dumps(listed).encode(), "application/json")
        if url.path.startswith("/api/models/"):
            return self.send(request, json.dumps(self.card(url.path)).encode(), "application/json")
        name = url.path.rsplit("/", 1)[1]
        if url.path.startswith(f"/{GATED}/"):
            return self.refuse(request)
        if name not in self.files:
            return self.send(request, b"", "text/plain", 404, {"X-Error-Code": "EntryNotFound"})
        contents = self.files[name]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{blob(contents)}"'}
        return self.send(
            request, contents, "application/octet-stream", headers=headers, half=self.hold.is_set() and name == "model.safetensors"
        )

    def card(self, path):
        gated = path.startswith(f"/api/models/{GATED}/")
        files = [{"rfilename": name, "size": len(contents), "blobId": blob(contents)} for name, contents in self.files.items()]
        about = {
            "id": GATED if gated else "own/er",
            "sha": COMMIT,
            "gated": "manual" if gated else False,
            "siblings": files,
            "author": MARKUP if gated else "own",
            "downloads": 12 if gated else 4321,
            "likes": 3 if gated else 5,
            "pipeline_tag": MARKUP if gated else "text-generation",
            "tags": [f"{MARKUP}{i}" if gated else f"tag{i}" for i in range(11)],
            "cardData": {"license": MARKUP if gated else "mit"},
        }
        return about

    def refuse(self, request):
        anonymous = request.headers.get("Authorization") is None
        self.send(request, b"", "text/plain", 401 if anonymous else 403, {"X-Error-Code": "GatedRepo"})

    def send(self, request, contents, kind, status=200, headers=None, half=False):
        request.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(contents)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        try:
            middle = len(contents) // 2 if half else 0
            request.wfile.write(contents[:middle])
            request.wfile.flush()
            while half and middle < len(contents) and not self.goes_on.wait(0.05):
                request.wfile.write(contents[middle : middle + 1000])
                request.wfile.flush()
                middle += 1000
            request.wfile.write(contents[middle:])
        except (BrokenPipeError, ConnectionResetError):
            request.close_connection = True


def blob(contents):
    """What git calls a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()
