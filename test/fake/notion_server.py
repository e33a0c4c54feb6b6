"""The HTTP server.

It reads raw requests itself, because tests need to see every arrival per
connection (a silent resend looks like nothing at all from above) and to break
answers at any byte.
"""
import asyncio
import collections
import gzip
import hashlib
import json
import os
import pickle
import re
import socket
import struct
import sys
import traceback
import urllib.parse
from email.utils import formatdate

import notion_api
import notion_call
import notion_faults
from notion_control import Control
from notion_schema import SERVED_VERSION, VERSIONS, ApiError, bad
from notion_store import Store

MAX_HEAD = 65536
HARD_BODY_CAP = 64 * 1024 * 1024
HANG_SECONDS = 120
STATUS_TEXT = {200: "OK", 400: "Bad Request", 401: "Unauthorized",
               403: "Forbidden", 404: "Not Found", 409: "Conflict",
               413: "Payload Too Large", 429: "Too Many Requests",
               500: "Internal Server Error", 502: "Bad Gateway",
               503: "Service Unavailable", 504: "Gateway Timeout",
               529: "Site is overloaded"}

DEFAULTS = {
    "rate": 180, "window": 60.0, "window_align": "first",
    "workspace_rate": None, "workspace_window": 60.0,
    "workspace_retry_after": None,
    "max_body": 500_000, "payload_status": 400, "query_limit": 10_000,
    "max_upload": 5_242_880, "trash_query": "only", "oauth_error": "notion",
    "gzip": True, "chunked": False, "idle_close": None,
    "close_after_requests": None,
}

# Members that a recording must not show.
SECRETS = ("access_token", "refresh_token", "token", "client_secret")


class Request:
    __slots__ = ("method", "target", "path", "query", "headers", "version",
                 "body", "conn", "entry", "token")


class Reply:
    def __init__(self, status, body, headers=None, kind="application/json"
                 "; charset=utf-8", request_id=None):
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.kind = kind
        self.request_id = request_id


class Drop(Exception):
    """End the connection without (or within) an answer."""

    def __init__(self, how, seconds=None):
        super().__init__(how)
        self.how = how
        self.seconds = seconds


def to_json(value):
    return json.dumps(value, ensure_ascii=False,
                      separators=(",", ":")).encode()


class Server:
    def __init__(self, settings, store, faults):
        self.settings = settings
        self.store = store
        self.faults = faults
        self.windows = notion_faults.Windows()
        self.arrivals = collections.deque(maxlen=200_000)
        self.arrived = 0
        self.connections = 0
        self.open = set()
        self.counts = collections.Counter()
        self.bugs = []
        self.log_file = self.record_file = None
        self.state_path = None
        self.listener = None
        self.port = None
        self.control = Control(self)

    # --- listening ---

    async def listen(self, port):
        self.listener = await asyncio.start_server(
            self.connection, "127.0.0.1", port, limit=MAX_HEAD, backlog=512)
        self.port = self.listener.sockets[0].getsockname()[1]

    def refuse(self):
        """No longer listens: connections are refused."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        for writer in list(self.open):
            writer.transport.abort()

    async def reopen(self):
        if self.listener is None:
            await self.listen(self.port)

    def reset(self):
        """As new, but for the settings and the tokens."""
        old = self.store
        seed = old.random.getrandbits(32)
        self.store = Store(seed)
        self.store.connection_name = old.connection_name
        self.store.query_lag, self.store.search_lag = \
            old.query_lag, old.search_lag
        self.store.clock.offset = old.clock.offset
        self.store.oauth_clients = old.oauth_clients
        for entry in old.tokens.values():
            if entry.kind != "oauth":
                self.store.add_token(entry.token, entry.ws.user, entry.kind)
                self.store.workspace(entry.ws.user).block_limit = \
                    entry.ws.block_limit
        self.faults.rules.clear()
        self.faults.down, self.faults.latency = None, (0.0, 0.0)
        self.windows = notion_faults.Windows()
        self.clear_log()

    def clear_log(self):
        self.arrivals.clear()
        self.counts.clear()
        self.bugs.clear()

    # --- one connection ---

    async def connection(self, reader, writer):
        self.connections += 1
        conn = self.connections
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open.add(writer)
        served = 0
        try:
            while True:
                request = await self.read_head(reader, conn)
                if request is None:
                    break
                keep = await self.one_request(request, reader, writer)
                served += 1
                if not keep or served == self.settings["close_after_requests"]:
                    break
        except Drop as drop:
            await self.drop(writer, drop)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            self.open.discard(writer)
            try:
                writer.close()
            except RuntimeError:
                pass

    async def read_head(self, reader, conn):
        try:
            raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"),
                                         self.settings["idle_close"])
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        lines = raw[:-4].decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            return None
        request = Request()
        request.method, request.target, request.version = parts
        request.conn = conn
        path, _, query = request.target.partition("?")
        request.path = path
        request.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        request.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            request.headers[name.strip().lower()] = value.strip()
        request.body = b""
        request.token = None
        request.entry = {}
        return request

    async def read_body(self, request, reader, writer):
        head = request.headers
        if head.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in head.get("transfer-encoding", "").lower():
            parts = []
            while True:
                size = int((await reader.readuntil(b"\r\n"))
                           .split(b";")[0], 16)
                if size:
                    parts.append(await reader.readexactly(size))
                await reader.readuntil(b"\r\n")
                if not size:
                    break
                if sum(map(len, parts)) > HARD_BODY_CAP:
                    raise Drop("close")
            request.body = b"".join(parts)
            return
        length = head.get("content-length", "0")
        if not length.isdigit() or int(length) > HARD_BODY_CAP:
            raise Drop("close")
        if int(length):
            request.body = await reader.readexactly(int(length))

    async def one_request(self, request, reader, writer):
        keep = request.version == "HTTP/1.1" and \
            request.headers.get("connection", "").lower() != "close"
        if request.path.startswith("/_"):
            await self.read_body(request, reader, writer)
            status, kind, body = await self.control.handle(request)
            await self.send(writer, request, Reply(status, body, kind=kind),
                            keep)
            return keep
        self.arrive(request)
        if self.faults.down == "close":
            self.finish(request, "down")
            raise Drop("close")
        args = (request.method, request.path,
                request.token.ws.user if request.token else None,
                request.token.token if request.token else None)
        early = self.faults.pick(True, *args)
        if early is not None:
            self.finish(request, early.fault)
            raise Drop("close")
        await self.read_body(request, reader, writer)
        if request.body:
            request.entry["body_sha256"] = hashlib.sha256(
                request.body).hexdigest()
            request.entry["bytes"] = len(request.body)
            request.entry["about"] = about(request)
        base, jitter = self.faults.latency
        if base or jitter:
            await asyncio.sleep(base + jitter * self.faults.random.random())
        if self.faults.down == "hang":
            self.finish(request, "down")
            raise Drop("hang")
        rule = self.faults.pick(False, *args, request.body)
        reply, call = self.answer(request, rule)
        if request.method == "GET" and request.path.startswith("/v1/pages/") \
                and reply.status == 200 and TRASH.search(reply.body):
            request.entry["about"] = ["in trash"]
        await self.deliver(writer, request, reply, call, rule, keep)
        return keep

    # --- the log ---

    def arrive(self, request):
        """Before anything is decided: this is the raw truth."""
        auth = request.headers.get("authorization", "")
        if auth.startswith("Bearer "):
            request.token = self.store.tokens.get(auth[7:])
        self.arrived += 1
        request.entry = {
            "n": self.arrived, "conn": request.conn,
            "at": round(self.store.clock.monotonic(), 6),
            "time": round(self.store.clock.now(), 3),
            "method": request.method, "path": request.path,
            "query": request.target.partition("?")[2],
            "user": request.token.ws.user if request.token else None,
            "body_sha256": None, "bytes": 0, "status": None, "code": None,
            "about": [], "fault": None, "committed": False}
        self.arrivals.append(request.entry)
        self.counts["%s %s" % (request.method, shape(request.path))] += 1

    def finish(self, request, fault, reply=None, call=None):
        entry = request.entry
        entry["fault"] = fault
        if call is not None:
            entry["committed"] = call.wrote
        if reply is not None:
            entry["status"] = reply.status
            self.counts["status %d" % reply.status] += 1
        if fault:
            self.counts["fault " + fault] += 1
        if self.log_file:
            self.log_file.write(json.dumps(entry) + "\n")
            self.log_file.flush()
        if self.record_file:
            self.record(request, reply)

    def record(self, request, reply):
        def loads(raw):
            try:
                value = json.loads(raw) if raw else None
            except (ValueError, RecursionError):
                return raw.decode("utf-8", "replace")
            if isinstance(value, dict) and "/oauth/" in request.path:
                value = {k: "(blank)" if k in SECRETS and v else v
                         for k, v in value.items()}
            return value
        heads = {k: v for k, v in request.headers.items()
                 if k != "authorization"}
        self.record_file.write(json.dumps({
            **request.entry, "headers": heads, "body": loads(request.body),
            "response": loads(reply.body) if reply else None},
            ensure_ascii=True) + "\n")
        self.record_file.flush()

    # --- deciding ---

    def answer(self, request, rule):
        """The reply, and the call if one was made."""
        call = None
        request_id = self.store.new_id(True)
        if self.faults.down == "503":
            return self.error_reply(ApiError(
                *notion_faults.REFUSALS["reject_503"]), request, request_id), \
                None
        if rule is not None:
            html = {"reject_502_html": (502, "502 Bad Gateway"),
                    "edge_403_html": (403, "Attention Required!")}.get(
                        rule.fault)
            if html:
                # From the edge: no x-notion-request-id.
                return html_reply(*html), None
            if rule.fault == "late_close":
                asyncio.get_running_loop().call_later(
                    rule.seconds or 1, self.late, request)
            if rule.fault in notion_faults.DROPS:
                return None, None
            refused = notion_faults.refusal(rule, self.settings,
                                            self.store.clock.now())
            if refused is not None:
                return self.error_reply(refused, request, request_id), None
        try:
            call = self.admit(request)
            value = notion_api.perform(call)
            if request.method == "GET":
                request.entry["about"] = childless(value)
            value["request_id"] = request_id
            reply = Reply(200, to_json(value), request_id=request_id)
        except ApiError as error:
            reply = self.error_reply(error, request, request_id)
            if rule is not None:
                rule.hits -= 1      # nothing happened that could be hidden
                request.entry["spared"] = rule.fault
            return reply, call
        except Exception:
            # A bug of the stand-in, never of its client: loud.
            self.bugs.append(traceback.format_exc())
            sys.stderr.write(self.bugs[-1])
            reply = self.error_reply(
                ApiError(500, "stand_in_bug", self.bugs[-1]), request,
                request_id)
            return reply, call
        if rule is not None:
            reply = self.afterwards(rule, call, reply, request, request_id)
        return reply, call

    def late(self, request):
        """Does the work of a request whose connection is gone."""
        try:
            call = self.admit(request)
            notion_api.perform(call)
            request.entry["committed"] = call.wrote
        except ApiError as error:
            request.entry["code"] = error.code
        except Exception:
            self.bugs.append(traceback.format_exc())
            sys.stderr.write(self.bugs[-1])

    def admit(self, request):
        """What holds for every endpoint: token, version, rate."""
        settings, store = self.settings, self.store
        oauth = request.path.startswith("/v1/oauth/")
        if not oauth and request.token is None:
            raise ApiError(401, "unauthorized", "API token is invalid.")
        version = request.headers.get("notion-version")
        if not version:
            raise bad("Notion-Version header failed validation: "
                      "Notion-Version header should be defined, instead was "
                      "`undefined`.", "missing_version")
        if version not in VERSIONS:
            raise bad("Notion-Version header failed validation: "
                      "Notion-Version header should be one of: %s, instead "
                      "was `\"%s\"`." % (", ".join('`"%s"`' % v
                                                   for v in VERSIONS), version))
        if version != SERVED_VERSION:
            raise bad("This stand-in serves Notion-Version %s only, not %s."
                      % (SERVED_VERSION, version), "invalid_request")
        if not oauth:
            now = store.clock.monotonic()
            wait = self.windows.take(request.token.bot, settings["rate"],
                                     settings["window"], now,
                                     settings["window_align"]) \
                if settings["rate"] else None
            if wait is not None:
                raise notion_faults.too_many(notion_faults.REASONS[0],
                                             whole_seconds(wait))
            if settings["workspace_rate"]:
                wait = self.windows.take(
                    request.token.ws.id, settings["workspace_rate"],
                    settings["workspace_window"], now,
                    settings["window_align"])
                if wait is not None:
                    raise notion_faults.too_many(
                        notion_faults.REASONS[1],
                        settings["workspace_retry_after"]
                        or whole_seconds(wait))
        return notion_call.Call(self, request.token, request.method,
                                request.path, request.query, request.headers,
                                request.body)

    def error_reply(self, error, request, request_id):
        request.entry["code"] = error.code
        request.entry["message"] = error.message
        if getattr(error, "rfc", False):
            body = {"error": error.code, "error_description": error.message,
                    "request_id": request_id}
        else:
            body = {"object": "error", "status": error.status,
                    "code": error.code, "message": error.message}
            if error.additional:
                body["additional_data"] = error.additional
            body["request_id"] = request_id
        return Reply(error.status, to_json(body), dict(error.headers),
                     request_id=request_id)

    def afterwards(self, rule, call, reply, request, request_id):
        """The work is done; what the client gets to hear of it."""
        fault = rule.fault
        if fault == "commit_503_guidance":
            if not call.wrote:
                rule.hits -= 1
                return reply
            return self.error_reply(notion_faults.saved_late(call), request,
                                    request_id)
        if fault == "commit_502_html":
            return html_reply(502, "502 Bad Gateway")
        if fault in notion_faults.AFTERWARDS:
            status, code, message = notion_faults.AFTERWARDS[fault]
            return self.error_reply(
                ApiError(status, code, rule.message or message), request,
                request_id)
        if fault == "truncated_json":
            reply.body = reply.body[:len(reply.body) // 2].decode(
                "utf-8", "ignore").encode()
        if fault == "body":
            reply.body = notion_faults.BODIES[rule.detail](reply.body)
        if fault == "empty_200":
            reply.body = b""
        return reply

    # --- delivering ---

    async def deliver(self, writer, request, reply, call, rule, keep):
        fault = rule.fault if rule is not None and \
            "spared" not in request.entry else None
        drops = {"commit_close": "close", "commit_reset": "reset",
                 "commit_hang": "hang", "close": "close", "reset": "reset",
                 "hang": "hang", "late_close": "close"}
        if fault in drops:
            self.finish(request, fault, None, call)
            raise Drop(drops[fault], rule.seconds)
        if fault == "slow":
            await asyncio.sleep(float(rule.detail or rule.seconds or 1))
        self.finish(request, fault, reply, call)
        if fault == "trickle":
            await self.trickle(writer, request, reply, keep,
                               float(rule.detail or rule.seconds or 2))
        elif fault == "short_body":
            head, body = self.encode(request, reply, False)
            writer.write(head + body[:len(body) // 2])
            await writer.drain()
            raise Drop("close")
        else:
            await self.send(writer, request, reply, keep)

    def encode(self, request, reply, keep):
        body = reply.body
        heads = {"Date": formatdate(usegmt=True), "Content-Type": reply.kind}
        if reply.request_id:
            heads["x-notion-request-id"] = reply.request_id
        heads["CF-RAY"] = "%016x-FAK" % (request.entry.get("n") or 0)
        heads.update(reply.headers)
        if self.settings["gzip"] and len(body) > 1024 and \
                "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1)
            heads["Content-Encoding"] = "gzip"
            heads["Vary"] = "Accept-Encoding"
        if self.settings["chunked"] and request.version == "HTTP/1.1" and body:
            heads["Transfer-Encoding"] = "chunked"
            cut = max(1, len(body) // 3)
            body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (
                body[i:i + cut] for i in range(0, len(body), cut))) + \
                b"0\r\n\r\n"
        else:
            heads["Content-Length"] = str(len(body))
        heads["Connection"] = "keep-alive" if keep else "close"
        first = "HTTP/1.1 %d %s\r\n" % (reply.status,
                                        STATUS_TEXT.get(reply.status, "-"))
        return (first + "".join("%s: %s\r\n" % h for h in heads.items())
                + "\r\n").encode("latin-1", "replace"), body

    async def send(self, writer, request, reply, keep):
        head, body = self.encode(request, reply, keep)
        writer.write(head + body)
        await writer.drain()

    async def trickle(self, writer, request, reply, keep, seconds):
        head, body = self.encode(request, reply, keep)
        writer.write(head)
        step = max(1, len(body) // 20)
        for i in range(0, len(body), step):
            writer.write(body[i:i + step])
            await writer.drain()
            await asyncio.sleep(seconds / 20)

    async def drop(self, writer, drop):
        if drop.how == "hang":
            await asyncio.sleep(drop.seconds or HANG_SECONDS)
        if drop.how == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))
            writer.transport.abort()

    # --- state ---

    def save(self):
        if not self.state_path:
            return False
        part = self.state_path + ".part"
        with open(part, "wb") as f:
            pickle.dump(self.store, f)
        os.replace(part, self.state_path)
        return True


def html_reply(status, title):
    return Reply(status, (notion_faults.HTML % (title, title)).encode(),
                 kind="text/html; charset=UTF-8")


def whole_seconds(wait):
    return max(1, int(-(-wait // 1)))


# rmsync's markers of rows and of blocks, and the page below which a page is to
# be made.
ABOUT_PAGE = re.compile(rb'"(\d+:[a-z]+:[^"\\]+)"|"page_id" *: *"([0-9a-f-]+)"')
ABOUT_BLOCK = re.compile(rb'(/n/[^/?"]+/[pht]/[^/?"]*)()\?rm=')


TRASH = re.compile(rb'"in_trash": *true')


def about(request):
    """What it makes or looks for, for judges: markers, the parent page; or
    that it puts a page into the trash.  (Of a page that was read it says
    whether it was there.)"""
    if request.method == "POST":
        pattern = ABOUT_PAGE
    elif request.path.endswith("/children"):
        pattern = ABOUT_BLOCK
    elif request.path.startswith("/v1/pages/"):
        return ["trash"] if TRASH.search(request.body) else []
    else:
        return []
    return sorted({(a or b).decode(errors="replace")
                   for a, b in pattern.findall(request.body)})


def childless(value):
    """The blocks that a list shows to have nothing below them."""
    return [block["id"] for block in value.get("results", ())
            if block.get("has_children") is False]


def shape(path):
    """A path with its ids taken out, for counting."""
    return "/".join("{id}" if len(p.replace("-", "")) == 32 else p
                    for p in path.split("/"))
