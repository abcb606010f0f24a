# SPDX-License-Identifier: MIT
"""kvviz serve as a process of its own, and what the command line computes."""

import functools
import json
import os
import queue
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

KVVIZ = ""  # set by run.py


def environment(home, changes=None):
    """Nothing of the user's: no cache, no tokens, no network unless a test names a hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "KVVIZ_TOKEN", "TRANSFORMERS_"))}
    kept.update(HOME=str(home), HF_HOME=str(home), HF_HUB_OFFLINE="1", NO_PROXY="127.0.0.1,localhost")
    for name, value in (changes or {}).items():
        kept.pop(name, None) if value is None else kept.update({name: value})
    return kept


class Server:
    """A server on a port that is free, unless `port` names one. Its folder holds what it is given, and goes with it."""

    def __init__(self, *arguments, port=0, changes=None, home=None):
        self.folder = tempfile.TemporaryDirectory()
        self.errors = (Path(self.folder.name) / "stderr").open("w+")
        self.process = subprocess.Popen(
            [KVVIZ, "serve", "--port", str(port), *arguments],
            cwd=self.folder.name,
            env=environment(home or self.folder.name, changes),
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        try:
            self.url = self._address(limit=30)
        except Exception:
            self.stop()
            raise
        self.port = int(self.url.rsplit(":", 1)[1].strip("/"))

    def _address(self, limit):
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            found = re.search(r"http://\S+", lines.get(timeout=limit))
        except queue.Empty:
            found = None
        if found is None:
            raise RuntimeError(f"kvviz serve names no address: {self.messages()}")
        return found[0]

    def messages(self):
        self.errors.seek(0)
        return self.errors.read()

    def ask(self, path, body=None, token=None):
        """The JSON that a route answers with."""
        with urllib.request.urlopen(self._request(path, body, token), timeout=60) as answer:
            return json.load(answer)

    def status(self, path, body=None, token=None):
        try:
            with urllib.request.urlopen(self._request(path, body, token), timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def matrices(self, path, body=None):
        """A message of matrices: its header, and lists by name."""
        with urllib.request.urlopen(self._request(path, body, None), timeout=60) as answer:
            return parse_matrices(answer.read())

    def _request(self, path, body, token):
        request = urllib.request.Request(f"{self.url}api/{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        return request

    def wait_ready(self, state="ready", limit=30):
        end = time.monotonic() + limit
        while self.ask("model")["state"] != state:
            if time.monotonic() > end:
                raise RuntimeError(f"the model is not {state}: {self.ask('model')}; {self.messages()}")
            time.sleep(0.02)
        return self

    def load(self, model="demo"):
        """Loads a model past the page; what other clients do."""
        with urllib.request.urlopen(self._request("models/load", {"id": model}, None), timeout=60) as answer:
            answer.read()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def parse_matrices(body):
    """The last of what docs/http_api.md calls messages of matrices, with its arrays as members."""
    import numpy

    at = 0
    while True:
        assert body[at : at + 4] == b"KVM1", body[at : at + 40]
        start = at + 8
        end = start + int.from_bytes(body[at + 4 : start], "little")
        header, at = json.loads(body[start:end]), end
        for array in header["arrays"]:
            dtype = numpy.dtype({"float32": "<f4", "int32": "<i4", "uint8": "u1"}[array["dtype"]])
            values = numpy.frombuffer(body, dtype, int(numpy.prod(array["shape"])), at).reshape(array["shape"])
            header[array["name"]] = values
            at += (values.nbytes + 7) // 8 * 8
        assert "error" not in header, header
        if "progress" not in header:
            return header


@functools.lru_cache(maxsize=None)
def command(*arguments):
    """What `kvviz ... --json -` says."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [KVVIZ, *arguments, "--json", "-"],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"kvviz {' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def rows(result, table, **where):
    """Rows of a table in which these columns have these values."""
    found = [row for row in result["tables"][table]["rows"] if all(row[name] == value for name, value in where.items())]
    assert found, f"no row of {table} with {where}"
    return found


def row(result, table, **where):
    found = rows(result, table, **where)
    assert len(found) == 1, found
    return found[0]
