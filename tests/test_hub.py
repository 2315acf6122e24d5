"""Uploading, against a server that answers as the Hub does: only what was asked for, never over what others made."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

UPLOAD = "import sys; from pathlib import Path; from verl_rzero.publish import hub; hub.check_login(); "
PUSH = UPLOAD + "print(hub.push(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == 'true'))"


class Hub(BaseHTTPRequestHandler):
    """Knows the token "right"; keeps files as {"models/owner/name": {path: content}} and who made what private."""

    def do_GET(self) -> None:
        files = self.server.files.get(self._repo())
        if self.headers["Authorization"] != "Bearer right":
            self._answer(401, {"error": "Invalid credentials"})
        elif self.path == "/api/whoami-v2":
            self._answer(200, {"name": "owner", "type": "user", "auth": {}})
        elif files is None:
            self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in self.path:
            self._answer(200, [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in files])
        else:
            siblings = [{"rfilename": name} for name in files]
            self._answer(200, {"id": self._repo().partition("/")[2], "sha": "0" * 40, "siblings": siblings})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            repo = f"{asked['type']}s/{name}"
            self.server.files[repo] = {".gitattributes": ""}
            self.server.private[repo] = asked["visibility"] == "private"
            path = f"datasets/{name}" if asked["type"] == "dataset" else name
            self._answer(200, {"url": f"http://{self.headers['Host']}/{path}"})
        elif "/preupload/" in self.path:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._answer(200, {"files": [{**file, "shouldIgnore": False} for file in files]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"]).decode("latin1")
                    self.server.files[self._repo()][line["value"]["path"]] = content
                elif line["key"] == "deletedFile":
                    del self.server.files[self._repo()][line["value"]["path"]]
            self._answer(
                200, {"commitUrl": f"http://{self.headers['Host']}/owner/name/commit/0", "commitOid": "0" * 40}
            )
        else:
            self._answer(200, {})  # validation of a card's head

    def _repo(self) -> str:
        return "/".join(self.path.partition("?")[0].split("/")[2:5])

    def _answer(self, code: int, value: object, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response(code)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.private = {}, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "README.md").write_text("---\ntags: [x]\n---\nA card.\n")
    (path / "rzero_export.json").write_text("{}")
    return path


def python(code: str, *words: object, home: Path, port: int, token: str = "right", **more: str):
    env = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_TOKEN": token, **more}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_a_new_repository_is_made_as_asked_and_can_be_pushed_to_again(hub, folder, tmp_path):
    for kind, private in (("model", "true"), ("dataset", "false")):
        ran = python(PUSH, folder, "owner/name", kind, private, home=tmp_path, port=hub.server_port)
        assert ran.returncode == 0, ran.stderr
        path = "datasets/owner/name" if kind == "dataset" else "owner/name"
        assert ran.stdout == f"pushed   http://127.0.0.1:{hub.server_port}/{path}\n"
    assert hub.private == {"models/owner/name": True, "datasets/owner/name": False}
    assert sorted(hub.files["models/owner/name"]) == [".gitattributes", "README.md", "rzero_export.json"]

    more = ("model-00002-of-00002.safetensors", "votes/round_9.parquet", "added-by-hand.gguf", "LICENSE")
    hub.files["models/owner/name"] |= dict.fromkeys(more, "")
    (folder / "README.md").write_text("---\ntags: [x]\n---\nA better card.\n")
    ran = python(PUSH, folder, "owner/name", "model", "true", home=tmp_path, port=hub.server_port)
    assert ran.returncode == 0, ran.stderr
    assert hub.files["models/owner/name"]["README.md"].endswith("A better card.\n")
    stay = {".gitattributes", "README.md", "rzero_export.json", "added-by-hand.gguf", "LICENSE"}
    assert {*hub.files["models/owner/name"]} == stay


def test_a_repository_with_other_things_in_it_is_left_alone(hub, folder, tmp_path):
    hub.files["models/owner/name"] = {"README.md": "Theirs."}
    ran = python(PUSH, folder, "owner/name", "model", "true", home=tmp_path, port=hub.server_port)
    assert "UserError: to=owner/name: there is a model of this name already" in ran.stderr
    assert hub.files["models/owner/name"] == {"README.md": "Theirs."}


@pytest.mark.parametrize(
    ("token", "more", "message"),
    [
        ("", {}, "not logged in"),
        ("wrong", {}, "did not accept the login"),
        ("right", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ("right", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "did not accept the login"),
    ],
)
def test_without_a_login_or_a_hub_it_says_so(hub, tmp_path, token, more, message):
    ran = python(UPLOAD, home=tmp_path, port=hub.server_port, token=token, **more)
    assert ran.stderr.splitlines()[-1].startswith("verl_rzero.base.errors.UserError: push=true: ")
    assert message in ran.stderr
    assert hub.files == {}
