"""A docker engine of a few lines: the API calls that a plan needs, on a Unix socket, running locally.

A created container's command is run by a shell with its mounted folder in place of /workspace and
``tools`` first on the PATH, so that a plan's script really runs.
"""

from __future__ import annotations

import json
import os
import socketserver
import struct
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, tools: Path, images: tuple[str, ...]) -> None:
        super().__init__(str(path), Handler)
        self.tools, self.images = tools, images
        self.created: list[dict] = []
        self.removed: list[str] = []
        self.status = 0
        self.output = b""

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def run(self) -> None:
        spec = self.created[-1]
        host, _, inside = spec["HostConfig"]["Binds"][0].rpartition(":")[0].partition(":")
        command = [part.replace(inside, host) for part in spec["Cmd"]]
        environment = {**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.status, self.output = done.returncode, done.stdout


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Silent."""

    def address_string(self):
        return "unix"

    def answer(self, status: int, body: object = None, raw: bytes | None = None) -> None:
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else b"")
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if raw is None else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def route(self) -> str:
        path = self.path.split("?")[0]
        return path[path.index("/", 1):] if path.startswith("/v1.") else path

    def do_GET(self):
        route = self.route()
        if route == "/_ping":
            self.answer(200, raw=b"OK")
        elif route == "/version":
            self.answer(200, {"ApiVersion": "1.41", "Version": "fake"})
        elif route.startswith("/images/"):
            name = route[len("/images/"):-len("/json")]
            known = name in self.server.images
            self.answer(*((200, {"Id": "sha256:1", "RepoTags": [name]}) if known
                          else (404, {"message": "No such image"})))
        elif route.endswith("/logs"):
            frame = struct.pack(">BxxxL", 1, len(self.server.output)) + self.server.output
            self.answer(200, raw=frame)
        elif route.startswith("/containers/"):
            self.answer(200, {"Id": "c1", "Config": {"Tty": False}, "State": {}, "Name": "/c1"})
        else:
            self.answer(404, {"message": route})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}") if length else {}
        route = self.route()
        if route == "/containers/create":
            self.server.created.append(body)
            self.answer(201, {"Id": "c1", "Warnings": []})
        elif route.endswith("/start"):
            self.server.run()
            self.answer(204)
        elif route.endswith("/wait"):
            self.answer(200, {"StatusCode": self.server.status})
        else:
            self.answer(404, {"message": route})

    def do_DELETE(self):
        self.server.removed.append(self.route())
        self.answer(204)
