#!/usr/bin/env python3
"""A webhook receiver, and an HTTP server that misbehaves on request.

    hook.py [--secret whsec_...] [--cert FILE --key FILE] [--seed N]
            [--fault 0.1:reset-after]... [--fast] [--show]

Listens on a free loopback port, prints "port N" and serves until SIGTERM.
Standard library only.

What it answers is chosen by the path:

    /anything              200 {}
    /status/503            that status; add ?retry-after=TEXT
    /delay/250             200 after 250 ms
    /hang                  nothing, ever
    /hang-body             head and half a body, then nothing
    /trickle               one byte of body every 100 ms, 1000 of them
    /slow-headers          a header line every 100 ms, without end
    /reset-before          RST without reading the body
    /reset-after           RST after reading the request
    /close                 closes without an answer, having read it
    /close-second          200 for the first request of a connection; the next
                           one on it is read and the connection closed
    /endless-body          body without end (with ?length: says 2 GB)
    /endless-headers       headers without end
    /endless-interim       100 Continue without end
    /long-header           one header line without end
    /gzip-bomb             a small gzip of a lot of zeroes
    /redirect?to=URL       302 (default: /elsewhere)
    /truncated             fewer bytes than Content-Length says
    /truncated-chunk       chunked, without the last chunk
    /garbage               not HTTP
    /head?Name=value&...   200 with these headers
    /echo                  200, body: method, headers and length as JSON
    /size/N                200, N bytes of body
    /commit-then-close     same as /close, counted as delivered

Control, never recorded:

    POST /_control   {"rules": [{"path": "/x", "mode": "/status/503",
                     "times": 2}], "faults": {"reset-after": 0.1}, "seed": 1}
                     A rule answers requests whose path starts with "path" as
                     if "mode" had been asked for, "times" times (absent:
                     always); with "headers": {"name": "value"} only those
                     that have these.
    GET /_deliveries list of {n, time, method, path, headers, body, connection,
                     mode, signature}
    GET /_stats      {requests, connections, bad_signatures, ids: {id:
                     {count, first}}, duplicates}
    POST /_reset     forgets deliveries, rules and faults

With --show it also prints what arrives, one line per request.

With --fast it answers 200 to everything and keeps only counts, ids and arrival
times, for measurements.
"""
import argparse
import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import random
import signal
import socket
import ssl
import struct
import sys
import time
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_RECORDED_BODY = 256 * 1024
TOLERANCE = 300


class Refused(Exception):
    """The request cannot be read."""


class Book:
    """What arrived."""

    def __init__(self, secret=None, show=False):
        self.show = show
        self.keys = [
            base64.b64decode(part.removeprefix("whsec_"))
            for part in (secret or "").split()
        ]
        self.connections = 0
        self.reset()

    def reset(self):
        self.deliveries = []
        self.requests = 0
        self.bad_signatures = 0
        self.ids = {}

    def count_id(self, ident):
        entry = self.ids.get(ident)
        if entry is None:
            self.ids[ident] = [1, time.time_ns()]
        else:
            entry[0] += 1

    def check_signature(self, headers, body):
        """None if there is nothing to check, else whether it is right."""
        if not self.keys:
            return None
        ident = headers.get("webhook-id", "")
        stamp = headers.get("webhook-timestamp", "")
        if not ident or not stamp.isdigit():
            return False
        if abs(int(stamp) - time.time()) > TOLERANCE:
            return False
        signed = ident.encode() + b"." + stamp.encode() + b"." + body
        given = [
            part.removeprefix("v1,")
            for part in headers.get("webhook-signature", "").split()
            if part.startswith("v1,")
        ]
        for key in self.keys:
            digest = hmac.new(key, signed, hashlib.sha256).digest()
            expected = base64.b64encode(digest).decode()
            if any(hmac.compare_digest(expected, one) for one in given):
                return True
        return False

    def record(self, request, connection, mode):
        signature = self.check_signature(request.headers, request.body)
        if signature is False:
            self.bad_signatures += 1
        self.requests += 1
        ident = request.headers.get("webhook-id")
        if ident:
            self.count_id(ident)
        self.deliveries.append(
            {
                "n": self.requests,
                "time": time.time(),
                "method": request.method,
                "path": request.target,
                "headers": request.headers,
                "body": request.body[:MAX_RECORDED_BODY].decode("utf-8", "replace"),
                "length": len(request.body),
                "connection": connection,
                "mode": mode,
                "signature": signature,
            }
        )
        if self.show:
            self.print_delivery(self.deliveries[-1])

    @staticmethod
    def print_delivery(delivery):
        known = {None: "not checked", True: "valid", False: "NOT VALID"}
        print(
            "%(method)s %(path)s" % delivery,
            "signature " + known[delivery["signature"]],
            delivery["body"],
            sep="  ",
            flush=True,
        )

    def stats(self):
        return {
            "requests": self.requests,
            "connections": self.connections,
            "bad_signatures": self.bad_signatures,
            "unique": len(self.ids),
            "duplicates": sum(entry[0] - 1 for entry in self.ids.values()),
            "ids": {
                ident: {"count": entry[0], "first": entry[1] / 1e9}
                for ident, entry in self.ids.items()
            },
        }


class Request:
    def __init__(self, method, target, headers):
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""


async def read_head(reader):
    """Request line and headers; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3:
        raise Refused(lines[0])
    headers = {}
    for line in lines[1:-2]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(parts[0], parts[1], headers)


async def read_body(reader, headers):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            body += (await reader.readexactly(size + 2))[:-2]
            if size == 0:
                return body
    return await reader.readexactly(int(headers.get("content-length", 0)))


def answer(status, body=b"{}", headers=(), reason="X"):
    lines = ["HTTP/1.1 %d %s" % (status, reason)]
    names = [name.lower() for name, _ in headers]
    if "content-type" not in names:
        lines.append("Content-Type: application/json")
    lines.append("Content-Length: %d" % len(body))
    lines += ["%s: %s" % header for header in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def reset(writer):
    """Ends the connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Modes:
    """The ways to answer.  Each returns whether the connection stays open."""

    def __init__(self, writer, request, query):
        self.writer = writer
        self.request = request
        self.query = query

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def forever(self):
        while True:  # a bare future would be collected as garbage
            await asyncio.sleep(3600)

    async def ok(self, _):
        await self.send(answer(200))
        return True

    async def status(self, code):
        headers = []
        if "retry-after" in self.query:
            headers.append(("Retry-After", self.query["retry-after"]))
        await self.send(answer(int(code), headers=headers))
        return True

    async def delay(self, ms):
        await asyncio.sleep(int(ms) / 1000)
        return await self.ok(None)

    async def hang(self, _):
        await self.forever()

    async def hang_body(self, _):
        await self.send(answer(200, b"x" * 1000)[:-500])
        await self.forever()

    async def trickle(self, _):
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            await self.send(b"x")
            await asyncio.sleep(0.1)
        return True

    async def slow_headers(self, _):
        await self.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await self.send(b"X-More: x\r\n")
            await asyncio.sleep(0.1)

    async def close(self, _):
        return False

    commit_then_close = close

    async def reset_after(self, _):
        reset(self.writer)
        return False

    async def endless_body(self, _):
        length = b"Content-Length: 2147483648\r\n" if "length" in self.query else b""
        await self.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        while True:
            await self.send(b"x" * 65536)

    async def endless_headers(self, _):
        await self.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await self.send(b"X-More: and more\r\n" * 100)

    async def endless_interim(self, _):
        while True:
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    async def long_header(self, _):
        await self.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            await self.send(b"x" * 65536)

    async def gzip_bomb(self, _):
        body = gzip.compress(b"\0" * (64 * 1024 * 1024))
        await self.send(answer(200, body, [("Content-Encoding", "gzip")]))
        return True

    async def redirect(self, _):
        to = self.query.get("to", "/elsewhere")
        await self.send(answer(302, headers=[("Location", to)]))
        return True

    async def truncated(self, _):
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
        return False

    async def truncated_chunk(self, _):
        await self.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"
        )
        return False

    async def garbage(self, _):
        await self.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n" * 10)
        return False

    async def head(self, _):
        await self.send(answer(200, headers=list(self.query.items())))
        return True

    async def echo(self, _):
        request = self.request
        seen = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "length": len(request.body),
        }
        body = b"" if request.method == "HEAD" else json.dumps(seen).encode()
        await self.send(answer(200, body))
        return True

    async def size(self, count):
        await self.send(answer(200, b"x" * int(count)))
        return True


class Server:
    def __init__(self, args):
        self.book = Book(args.secret, args.show)
        self.rules = []
        self.faults = dict(args.faults)
        self.random = random.Random(args.seed)

    def choose(self, request):
        """The mode for a request, as a path and its query."""
        target = request.target
        for rule in self.rules:
            wanted = rule.get("headers", {}).items()
            if any(request.headers.get(name) != value for name, value in wanted):
                continue
            if target.startswith(rule["path"]) and rule.get("times", 1) > 0:
                if "times" in rule:
                    rule["times"] -= 1
                return rule["mode"]
        draw = self.random.random()
        for mode, probability in self.faults.items():
            draw -= probability
            if draw < 0:
                return "/" + mode
        return target

    def control(self, request):
        """The answer to a control request, or None if it is none."""
        path = urlsplit(request.target).path
        if path == "/_deliveries":
            return self.book.deliveries
        if path == "/_stats":
            return self.book.stats()
        if path == "/_reset":
            self.book.reset()
            self.rules = []
            self.faults = {}
            return {}
        if path == "/_control":
            wish = json.loads(request.body)
            self.rules += wish.get("rules", [])
            self.faults.update(wish.get("faults", {}))
            if "seed" in wish:
                self.random.seed(wish["seed"])
            return {}
        return None

    async def serve(self, reader, writer):
        self.book.connections += 1
        connection = self.book.connections
        try:
            served = 0
            while await self.one(reader, writer, connection, served):
                served += 1
        except (ConnectionError, asyncio.IncompleteReadError, Refused, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    async def one(self, reader, writer, connection, served):
        request = await read_head(reader)
        if request is None:
            return False

        mode = request.target
        if not request.target.startswith("/_"):
            mode = self.choose(request)
        if mode.startswith("/reset-before"):
            self.book.record(request, connection, mode)
            reset(writer)
            return False

        request.body = await read_body(reader, request.headers)
        told = self.control(request)
        if told is not None:
            writer.write(answer(200, json.dumps(told).encode()))
            await writer.drain()
            return True

        self.book.record(request, connection, mode)
        if mode.startswith("/close-second"):
            mode = "/close" if served > 0 else "/ok"
        return await self.misbehave(writer, request, mode)

    async def misbehave(self, writer, request, mode):
        url = urlsplit(mode)
        parts = url.path.strip("/").split("/")
        name = parts[0].replace("-", "_")
        modes = Modes(writer, request, dict(parse_qsl(url.query)))
        handler = getattr(modes, name, None)
        if name in ("send", "forever") or name.startswith("_") or not callable(handler):
            handler = modes.ok
        return await handler(unquote(parts[1]) if len(parts) > 1 else "0")


class FastProtocol(asyncio.Protocol):
    """Answers 200 to everything, as fast as this language allows."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def __init__(self, book):
        self.book = book
        self.rest = b""

    def connection_made(self, transport):
        self.book.connections += 1
        self.transport = transport

    def data_received(self, data):
        if self.rest:
            data = self.rest + data
        out = []
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            head = data[:end].lower()
            end += 4
            at = head.find(b"\r\ncontent-length:")
            if at >= 0:
                stop = head.find(b"\r\n", at + 2)
                end += int(head[at + 17 : stop if stop > 0 else None])
            if len(data) < end:
                break
            out.append(self.handle(head, data[:end]))
            data = data[end:]
        self.rest = data
        if out:
            self.transport.write(b"".join(out))

    def handle(self, head, message):
        path = message[message.find(b" ") + 1 :]
        if path.startswith(b"/_"):
            return self.control(path)
        book = self.book
        book.requests += 1
        at = head.find(b"\r\nwebhook-id:")
        if at >= 0:
            stop = head.find(b"\r\n", at + 2)
            begin = at + 13
            original = message[begin : stop if stop > 0 else len(head)]
            book.count_id(original.strip().decode("latin-1"))
        return self.ANSWER

    def control(self, path):
        book = self.book
        told = {}
        if path.startswith(b"/_stats"):
            told = book.stats()
            if b"brief" in path.split(b" ")[0]:
                del told["ids"]
        elif path.startswith(b"/_reset"):
            book.reset()
        return answer(200, json.dumps(told).encode())


def fault(text):
    probability, _, mode = text.partition(":")
    return mode, float(probability)


def parse_args(argv):
    parser = argparse.ArgumentParser(description="misbehaving webhook receiver")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--secret", help="verify Standard Webhooks signatures")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument(
        "--fault", dest="faults", type=fault, action="append", default=[],
        metavar="PROBABILITY:MODE",
    )
    return parser.parse_args(argv)


async def main(args):
    loop = asyncio.get_running_loop()
    tls = None
    if args.cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(args.cert, args.key)
    options = {"host": "127.0.0.1", "port": args.port, "ssl": tls, "backlog": 1024}
    if args.fast:
        book = Book()
        server = await loop.create_server(lambda: FastProtocol(book), **options)
    else:
        server = await asyncio.start_server(Server(args).serve, limit=2**20, **options)

    stop = loop.create_future()

    def end():
        if not stop.done():
            stop.set_result(None)

    loop.add_signal_handler(signal.SIGTERM, end)
    print("port %d" % server.sockets[0].getsockname()[1], flush=True)
    await stop


if __name__ == "__main__":
    try:
        asyncio.run(main(parse_args(sys.argv[1:])))
    except KeyboardInterrupt:
        pass
