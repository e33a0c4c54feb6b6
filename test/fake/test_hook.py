"""Tests of hook.py: that it breaks the way it says and counts what arrives."""
import base64
import gzip
import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import unittest

HOOK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hook.py")
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


class Hook:
    def __init__(self, *args):
        self.process = subprocess.Popen(
            [sys.executable, HOOK, *args], stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline().split()[1])

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body of one request on its own connection."""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path):
        return json.loads(self.ask("GET", path)[2])

    def control(self, **wish):
        self.ask("POST", "/_control", json.dumps(wish))

    def raw(self, path, size=65536):
        """The first bytes of the answer to a bare request."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            data = b""
            while len(data) < size:
                part = sock.recv(65536)
                if not part:
                    break
                data += part
            return data


def signed(secret, ident, stamp, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = ("%s.%s." % (ident, stamp)).encode() + body
    digest = hmac.new(key, text, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


class NormalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hook = Hook("--secret", SECRET)

    @classmethod
    def tearDownClass(cls):
        cls.hook.stop()

    def setUp(self):
        self.hook.ask("POST", "/_reset")

    def test_records(self):
        self.hook.ask("POST", "/a?b=c", b"\xc3\xa4", {"webhook-id": "m1", "X-Y": "z"})
        self.hook.ask("POST", "/a?b=c", b"again", {"webhook-id": "m1"})
        first, second = self.hook.get("/_deliveries")
        self.assertEqual((first["method"], first["path"]), ("POST", "/a?b=c"))
        self.assertEqual((first["body"], first["length"]), ("ä", 2))
        self.assertEqual(first["headers"]["x-y"], "z")
        self.assertNotEqual(first["connection"], second["connection"])
        stats = self.hook.get("/_stats")
        self.assertEqual((stats["requests"], stats["duplicates"]), (2, 1))
        self.assertEqual(stats["ids"]["m1"]["count"], 2)
        self.assertLess(abs(stats["ids"]["m1"]["first"] - time.time()), 60)

    def test_keeps_connections(self):
        connection = self.hook.connect()
        for _ in range(3):
            connection.request("POST", "/ok", b"x")
            connection.getresponse().read()
        connection.close()
        self.assertEqual(len({d["connection"] for d in self.hook.get("/_deliveries")}), 1)

    def test_status(self):
        status, headers, _ = self.hook.ask("GET", "/status/503?retry-after=7")
        self.assertEqual((status, headers["Retry-After"]), (503, "7"))

    def test_redirect(self):
        status, headers, _ = self.hook.ask("GET", "/redirect?to=http://x/y")
        self.assertEqual((status, headers["Location"]), (302, "http://x/y"))

    def test_bomb(self):
        _, headers, body = self.hook.ask("GET", "/gzip-bomb")
        self.assertEqual(headers["Content-Encoding"], "gzip")
        self.assertLess(len(body), 200000)
        self.assertEqual(len(gzip.decompress(body)), 64 * 1024 * 1024)

    def test_closing(self):
        for path in ("/close", "/commit-then-close"):
            self.assertEqual(self.hook.raw(path), b"")
        for path in ("/reset-after", "/reset-before"):
            with self.assertRaises(ConnectionResetError):
                self.hook.raw(path)
        self.assertEqual(self.hook.get("/_stats")["requests"], 4)

    def test_close_second(self):
        connection = self.hook.connect()
        connection.request("POST", "/close-second", b"x")
        self.assertEqual(connection.getresponse().read(), b"{}")
        connection.request("POST", "/close-second", b"y")
        with self.assertRaises(http.client.RemoteDisconnected):
            connection.getresponse()
        connection.close()
        self.assertEqual(self.hook.get("/_stats")["requests"], 2)

    def test_endless(self):
        for path in ("/endless-body", "/endless-headers", "/endless-interim", "/long-header"):
            self.assertGreaterEqual(len(self.hook.raw(path, 10**6)), 10**6)

    def test_incomplete(self):
        for path in ("/truncated", "/truncated-chunk"):
            with self.assertRaises(http.client.IncompleteRead):
                self.hook.ask("GET", path)
        with self.assertRaises(http.client.BadStatusLine):
            self.hook.ask("GET", "/garbage")

    def test_slow(self):
        begin = time.monotonic()
        self.hook.ask("GET", "/delay/200")
        self.assertGreaterEqual(time.monotonic() - begin, 0.2)
        for path in ("/hang", "/hang-body"):
            connection = http.client.HTTPConnection("127.0.0.1", self.hook.port, timeout=0.2)
            with self.assertRaises(TimeoutError):
                connection.request("GET", path)
                connection.getresponse().read()
            connection.close()

    def test_rules(self):
        self.hook.control(rules=[{"path": "/r", "mode": "/status/500", "times": 2}])
        seen = [self.hook.ask("GET", "/r")[0] for _ in range(3)]
        self.assertEqual(seen, [500, 500, 200])
        refuse = {"path": "/r", "mode": "/status/401", "headers": {"x-key": "old"}}
        self.hook.control(rules=[refuse])
        for key, status in (("old", 401), ("new", 200)):
            self.assertEqual(self.hook.ask("GET", "/r", headers={"X-Key": key})[0], status)

    def test_faults(self):
        def run():
            self.hook.control(faults={"status/500": 0.5}, seed=3)
            return [self.hook.ask("GET", "/ok")[0] for _ in range(20)]

        first = run()
        self.assertEqual(set(first), {200, 500})
        self.assertEqual(run(), first)

    def test_signatures(self):
        now = str(int(time.time()))
        good = signed(SECRET, "m1", now, b"body")
        cases = (
            (good, now, b"body", True),
            ("v1,AAAA " + good, now, b"body", True),
            (good, now, b"bodY", False),
            (good.replace("v1,", "v2,"), now, b"body", False),
            (signed(SECRET, "m1", "1000000000", b"body"), "1000000000", b"body", False),
            ("", now, b"body", False),
        )
        for signature, stamp, body, expected in cases:
            self.hook.ask(
                "POST", "/ok", body,
                {
                    "webhook-id": "m1",
                    "webhook-timestamp": stamp,
                    "webhook-signature": signature,
                },
            )
            self.assertIs(self.hook.get("/_deliveries")[-1]["signature"], expected)
        self.assertEqual(self.hook.get("/_stats")["bad_signatures"], 4)


class ShowTest(unittest.TestCase):
    def test_prints(self):
        hook = Hook("--show", "--secret", SECRET)
        self.addCleanup(hook.stop)
        stamp = str(int(time.time()))
        good = {
            "webhook-id": "m1",
            "webhook-timestamp": stamp,
            "webhook-signature": signed(SECRET, "m1", stamp, b"{}"),
        }
        hook.ask("POST", "/a", b"{}", good)
        hook.ask("POST", "/a", b"[]", good)
        lines = [hook.process.stdout.readline() for _ in range(2)]
        self.assertEqual(lines[0], "POST /a  signature valid  {}\n")
        self.assertEqual(lines[1], "POST /a  signature NOT VALID  []\n")


class FastTest(unittest.TestCase):
    def test_counts(self):
        hook = Hook("--fast")
        self.addCleanup(hook.stop)
        request = b"POST /x HTTP/1.1\r\nWebhook-Id: Aa%d\r\nContent-Length: 3\r\n\r\nabc"
        data = b"".join(request % n for n in (1, 2, 2))
        with socket.create_connection(("127.0.0.1", hook.port), timeout=10) as sock:
            for begin in range(0, len(data), 50):  # however it is cut
                sock.sendall(data[begin : begin + 50])
            answer = b""
            while answer.count(b"{}") < 3:
                answer += sock.recv(65536)
        stats = hook.get("/_stats")
        self.assertEqual((stats["requests"], stats["duplicates"]), (3, 1))
        self.assertEqual(stats["ids"]["Aa2"]["count"], 2)
        self.assertNotIn("ids", hook.get("/_stats?brief"))
        hook.get("/_reset")
        self.assertEqual(hook.get("/_stats")["requests"], 0)


if __name__ == "__main__":
    unittest.main()
