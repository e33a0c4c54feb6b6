"""Starts the stand-in and talks to it; for the self tests."""
import http.client
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = "2026-03-11"


def text(content, url=None, **marks):
    """One rich_text item."""
    item = {"type": "text", "text": {"content": content}}
    if url:
        item["text"]["link"] = {"url": url}
    if marks:
        item["annotations"] = marks
    return item


def block(kind, content="x", **more):
    """A block with rich_text; more keys go inside the type object."""
    return {"type": kind, kind: {"rich_text": [text(content)], **more}}


def para(content="x", **more):
    return block("paragraph", content, **more)


class Answer:
    def __init__(self, status, headers, raw):
        self.status = status
        self.headers = headers
        self.raw = raw
        try:
            self.json = json.loads(raw)
        except ValueError:
            self.json = None

    @property
    def code(self):
        return self.json and self.json.get("code")

    def __repr__(self):
        return "<%s %s>" % (self.status, self.raw[:300])


class Fake:
    """A running stand-in."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "notion.py"),
             "--exit-with-stdin", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.token = "ntn_a"
        self.conn = None

    def close(self):
        self.process.stdin.close()
        code = self.process.wait(10)
        self.process.stdout.close()
        if self.conn:
            self.conn.close()
        return code

    def connect(self, timeout=20):
        return http.client.HTTPConnection("127.0.0.1", self.port,
                                          timeout=timeout)

    def call(self, method, path, body=None, conn=None, headers=None, raw=None):
        """One request.  Never sends twice; a lost answer raises."""
        heads = {"Authorization": "Bearer " + self.token,
                 "Notion-Version": VERSION}
        if body is not None or raw is not None:
            heads["Content-Type"] = "application/json"
        heads.update(headers or {})
        heads = {k: v for k, v in heads.items() if v is not None}
        data = raw if raw is not None else \
            None if body is None else json.dumps(body).encode()
        own = conn is None
        if own:
            conn = self.conn = self.conn or self.connect()
        try:
            conn.request(method, path, data, heads)
            answer = conn.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            conn.close()
            if own:
                self.conn = None
            raise

    def get(self, path, **more):
        return self.call("GET", "/v1/" + path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", "/v1/" + path, body, **more)

    def patch(self, path, body=None, **more):
        return self.call("PATCH", "/v1/" + path, body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", "/v1/" + path, **more)

    def control(self, cmd=None, **spec):
        if cmd:
            spec["cmd"] = cmd
        answer = self.call("POST", "/_control", spec)
        if answer.status != 200:
            raise AssertionError(answer.json)
        return answer.json

    def look(self, path):
        answer = self.call("GET", "/_" + path)
        return answer.raw.decode() if answer.json is None else answer.json

    # --- often needed ---

    def row(self, source, title="Row", marker=None, **props):
        values = {"Name": {"title": [text(title)]}, **props}
        if marker:
            values["rmirror ID"] = {"rich_text": [text(marker)]}
        return self.post("pages", {"parent": {"data_source_id": source},
                                   "properties": values})

    def append(self, parent, children, position=None, **more):
        body = {"children": children}
        if position:
            body["position"] = position
        return self.patch("blocks/%s/children" % parent, body, **more)

    def kids(self, parent):
        return self.get("blocks/%s/children?page_size=100"
                        % parent).json["results"]
