#!/usr/bin/env python3
"""Checks the stand-in as a service: databases, queries, rate windows, lost
answers, OAuth, webhooks, the acts of the user, the oracles."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from fake_client import Fake, block, para, text
from test_notion import Base


class Databases(Base):
    def create(self, **body):
        body.setdefault("parent", {"type": "page_id", "page_id": self.root})
        return self.fake.post("databases", body)

    def test_create(self):
        got = self.accepted(self.create(
            title=[text("Mine")], is_inline=True, initial_data_source={
                "properties": {"Task": {"title": {}}, "Done": {"checkbox": {}},
                               "State": {"select": {"options": [
                                   {"name": "A", "color": "green"}]}}}}))
        self.assertEqual(got["object"], "database")
        self.assertRegex(got["created_time"], r"\.\d{3}\+00:00$")
        self.assertNotIn("properties", got)
        source = got["data_sources"][0]
        self.assertNotEqual(source["id"], got["id"])
        self.assertEqual(source["name"], "Mine")
        back = self.accepted(self.fake.get("data_sources/" + source["id"]))
        self.assertEqual(back["parent"]["database_id"], got["id"])
        self.assertEqual(back["properties"]["Task"]["id"], "title")
        ident = back["properties"]["Done"]["id"]
        self.assertRegex(ident, r"%[0-9A-F]{2}|~|_")
        self.assertEqual([b["type"] for b in self.fake.kids(self.root)],
                         ["child_database"] * 2)

    def test_create_refusals(self):
        self.refused(self.create(properties={"Name": {"title": {}}}),
                     "properties should be not present")
        for props in ({}, {"A": {"title": {}}, "B": {"title": {}}},
                      {"A": {"title": {}}, "B": {"nonsense": {}}},
                      {"A": {"title": {}}, "B": {"number": {}, "date": {}}},
                      {"A": {"title": {}},
                       "B": {"select": {"options": [{"name": "a,b"}]}}}):
            self.refused(self.create(initial_data_source={
                "properties": props}))
        self.refused(self.create(parent={"page_id": self.root}), "parent.type")

    def test_columns(self):
        path = "data_sources/" + self.source

        def patch(**props):
            return self.fake.patch(path, {"properties": props})
        got = self.accepted(patch(New={"rich_text": {}}))["properties"]
        ident = got["New"]["id"]
        # Adding what is there again changes nothing.
        got = self.accepted(patch(New={"rich_text": {}}))["properties"]
        self.assertEqual(got["New"]["id"], ident)
        got = self.accepted(patch(**{ident: {"name": "Old"}}))["properties"]
        self.assertEqual(got["Old"]["id"], ident)
        self.accepted(patch(Old=None))
        self.refused(patch(Old=None), "not a property")
        self.refused(patch(Old={"name": "x"}), "not a property")
        self.refused(patch(Name=None), "title")
        self.refused(patch(T2={"title": {}}), "title")
        self.refused(patch(Name={"rich_text": {}}), "title")
        self.refused(patch(Path={"name": "Tags"}), "already")
        self.refused(self.fake.patch("data_sources/" + self.db, {}), None,
                     404, "object_not_found")


class Query(Base):
    def query(self, **body):
        return self.fake.post("data_sources/%s/query" % self.source, body)

    def titles(self, **body):
        return [p["properties"]["Name"]["title"][0]["plain_text"]
                for p in self.accepted(self.query(**body))["results"]]

    def test_filters(self):
        self.page(title="a", marker="1:nb:a", Pages={"number": 1},
                  Tags={"multi_select": [{"name": "x"}, {"name": "y"}]})
        self.page(title="b", marker="1:nb:b", Pages={"number": 2},
                  Status={"select": {"name": "Error"}})
        self.page(title="c")

        def by(name, **condition):
            return {"property": name, **condition}
        for want, test in (
                ("a", by("rmirror ID", rich_text={"equals": "1:nb:a"})),
                ("b", by(self.ids["rmirror ID"],
                         rich_text={"equals": "1:nb:b"})),
                ("ba", by("rmirror ID", rich_text={"starts_with": "1:"})),
                ("b", by("rmirror ID", rich_text={"contains": "nb:b"})),
                ("c", by("rmirror ID", rich_text={"is_empty": True})),
                ("b", by("Status", select={"equals": "Error"})),
                ("ca", by("Status", select={"is_empty": True})),
                ("a", by("Tags", multi_select={"contains": "y"})),
                ("b", by("Pages", number={"greater_than": 1})),
                ("a", by("Name", title={"equals": "a"})),
                ("ba", {"or": [by("Pages", number={"equals": 1}),
                               by("Pages", number={"equals": 2})]}),
                ("", {"and": [by("Pages", number={"equals": 1}),
                              {"or": [by("Pages", number={"equals": 2})]}]})):
            self.assertEqual("".join(self.titles(filter=test)), want, test)
        for test in (by("Nope", rich_text={"equals": "x"}),
                     by("Pages", rich_text={"equals": "x"}),
                     by("rmirror ID", rich_text={"equals": 1}),
                     by("rmirror ID", rich_text={"is": "x"}),
                     by("rmirror ID", rich_text={}), by("rmirror ID"), {},
                     {"and": [{"or": [{"and": []}]}]}):
            self.refused(self.query(filter=test))
        self.refused(self.query(filter=by("Nope", number={"equals": 1})),
                     "Could not find property with name or id: Nope")

    def test_times(self):
        self.page(title="old")
        self.fake.control("advance", seconds=3600)
        new = self.page(title="new")
        edited = self.fake.get("pages/" + new).json["last_edited_time"]
        for op, want in (("on_or_after", ["new"]), ("after", []),
                         ("before", ["old"])):
            self.assertEqual(self.titles(filter={
                "timestamp": "last_edited_time",
                "last_edited_time": {op: edited}}), want)
        for way, want in (("ascending", ["old", "new"]),
                          ("descending", ["new", "old"])):
            self.assertEqual(self.titles(sorts=[
                {"timestamp": "last_edited_time", "direction": way}]), want)
        self.refused(self.query(sorts=[{"property": "Nope",
                                        "direction": "ascending"}]))

    def test_trash_and_content_edits(self):
        page = self.page(title="a")
        self.fake.patch("pages/" + page, {"in_trash": True})
        self.assertEqual(self.titles(), [])
        self.assertEqual(self.titles(in_trash=True), ["a"])
        self.refused(self.query(archived=True))

    def test_pages_of_results(self):
        for i in range(5):
            self.page(title=str(i))
        first = self.query(page_size=2).json
        self.assertEqual(first["type"], "page_or_data_source")
        self.assertEqual((len(first["results"]), first["has_more"]), (2, True))
        cursor, seen = first["next_cursor"], 2
        while cursor:
            got = self.query(page_size=2, start_cursor=cursor).json
            seen, cursor = seen + len(got["results"]), got["next_cursor"]
        self.assertEqual(seen, 5)
        for body in ({"page_size": 101}, {"start_cursor": self.db},
                     {"page_size": "2"}):
            self.refused(self.query(**body))

    def test_row_limit(self):
        self.fake.control("set", query_limit=3)
        for i in range(4):
            self.page(title=str(i))
        got = self.query(page_size=2).json
        self.assertEqual(got["request_status"], {"type": "complete"})
        got = self.query(page_size=2, start_cursor=got["next_cursor"]).json
        self.assertFalse(got["has_more"])
        self.assertEqual(got["request_status"]["incomplete_reason"],
                         "query_result_limit_reached")
        self.fake.control("set", query_limit=10000)

    def test_lag(self):
        self.fake.control("set", query_lag=60)
        page = self.page(title="a", marker="m")
        self.assertEqual(self.titles(), [])
        self.accepted(self.fake.get("pages/" + page))
        self.fake.control("advance", seconds=61)
        self.assertEqual(self.titles(), ["a"])
        self.fake.patch("pages/" + page, {"in_trash": True})
        self.assertEqual(self.titles(), ["a"])      # still
        self.fake.control("advance", seconds=61)
        self.assertEqual(self.titles(), [])
        self.fake.control("set", query_lag=0)

    def test_search(self):
        self.fake.control("set", search_lag=60)
        self.page(title="needle")

        def found(**body):
            return [r["object"] for r in self.accepted(
                self.fake.post("search", body))["results"]]
        self.assertEqual(found(query="needle"), [])
        self.fake.control("advance", seconds=61)
        self.assertEqual(found(query="NEEDLE"), ["page"])
        self.assertEqual(found(query="Notebooks", filter={
            "property": "object", "value": "data_source"}), ["data_source"])
        self.refused(self.fake.post("search", {"filter": {
            "property": "object", "value": "database"}}))
        self.fake.control("set", search_lag=0)


class Rate(unittest.TestCase):
    def test_window(self):
        fake = Fake("--token", "ntn_a:alice", "--token", "ntn_b:bob",
                    "--rate", "20", "--window", "2")
        try:
            answers = [fake.get("users/me") for _ in range(20)]
            self.assertEqual({a.status for a in answers}, {200})
            refused = fake.get("users/me")
            self.assertEqual((refused.status, refused.code),
                             (429, "rate_limited"))
            wait = int(refused.headers["Retry-After"])
            self.assertIn(wait, (1, 2))
            self.assertEqual(refused.json["additional_data"], {
                "rate_limit_reason": "public_api_request_rate_limit",
                "retry_after": str(wait)})
            fake.token = "ntn_b"
            self.assertEqual(fake.get("users/me").status, 200)
            fake.token = "ntn_a"
            time.sleep(wait + 0.05)
            self.assertEqual(fake.get("users/me").status, 200)
            self.assertEqual(fake.look("stats")["rate_refusals"], 1)
        finally:
            fake.close()

    def test_default_is_180_a_minute(self):
        fake = Fake("--token", "ntn_a")
        try:
            got = [fake.get("users/me").status for _ in range(181)]
            self.assertEqual(got, [200] * 180 + [429])
            fake.control("advance", seconds=60)
            self.assertEqual(fake.get("users/me").status, 200)
        finally:
            fake.close()

    def test_workspace_window(self):
        fake = Fake("--token", "ntn_a:alice", "--token", "ntn_c:alice",
                    "--workspace-rate", "3")
        try:
            fake.control("set", workspace_retry_after=90)
            for token in ("ntn_a", "ntn_c", "ntn_a"):
                fake.token = token
                self.assertEqual(fake.get("users/me").status, 200)
            got = fake.get("users/me")
            self.assertEqual(got.headers["Retry-After"], "90")
            self.assertEqual(got.json["additional_data"]["rate_limit_reason"],
                             "public_api_space_request_rate_limit")
        finally:
            fake.close()

    def test_free_plan(self):
        fake = Fake("--token", "ntn_a", "--pat", "ntn_p", "--rate", "0",
                    "--block-limit", "14")
        try:
            made = fake.control("create_database", preset="notebooks")
            page = fake.row(made["data_source_id"]).json["id"]  # the third
            fake.append(page, [para()] * 10)
            fake.delete("blocks/" + fake.kids(page)[0]["id"])   # no refund
            self.assertEqual(fake.append(page, [para()]).status, 200)
            for got in (fake.append(page, [para()]),
                        fake.row(made["data_source_id"])):
                self.assertEqual((got.status, got.code),
                                 (403, "restricted_resource"))
                self.assertEqual(got.json["additional_data"],
                                 {"block_limit": "block_creation"})
            self.assertEqual(len(fake.kids(page)), 10)
            fake.token = "ntn_p"
            self.assertEqual(fake.append(page, [para()]).status, 200)
        finally:
            fake.close()


class Faults(Base):
    LOST = (http.client.HTTPException, OSError)

    def setUp(self):
        super().setUp()
        self.at = self.page()

    def fault(self, name, **more):
        more.setdefault("times", 1)
        self.fake.control(fault=name, match={
            "method": "PATCH", "path": "^/v1/blocks/.*/children$"}, **more)

    def append(self, **more):
        return self.fake.append(self.at, [para()], **more)

    def count(self):
        return len(self.fake.kids(self.at))

    def test_nothing_written(self):
        for name, status, code in (
                ("reject_500", 500, "internal_server_error"),
                ("reject_503", 503, "service_unavailable"),
                ("409", 409, "conflict_error"),
                ("529", 529, "service_overload"),
                ("rate_429:public_api_request_blocked", 429, "rate_limited"),
                ("403_block_limit", 403, "restricted_resource")):
            self.fault(name)
            got = self.append()
            self.assertEqual((got.status, got.code), (status, code))
            self.assertEqual(self.count(), 0)
        self.accepted(self.append())

    def test_edge(self):
        for name, status in (("edge_403_html", 403), ("reject_502_html", 502)):
            self.fault(name)
            got = self.append()
            self.assertEqual((got.status, got.json), (status, None))
            self.assertIn("text/html", got.headers["Content-Type"])
            self.assertIsNone(got.headers["x-notion-request-id"])
            self.assertIsNotNone(got.headers["cf-ray"])
            self.assertEqual(self.count(), 0)

    def test_written_but_answered_wrong(self):
        for n, (name, status) in enumerate((
                ("commit_500", 500), ("commit_502_html", 502),
                ("commit_503", 503), ("commit_504", 504)), 1):
            self.fault(name)
            self.assertEqual(self.append().status, status)
            self.assertEqual(self.count(), n)

    def test_guidance(self):
        self.fault("commit_503_guidance")
        got = self.append()
        more = got.json["additional_data"]
        self.assertEqual(got.code, "service_unavailable")
        self.assertEqual(more["committed_resource_id"], self.at)
        self.assertEqual(more["committed_child_ids"],
                         [b["id"] for b in self.fake.kids(self.at)])
        self.fake.control(fault="commit_503_guidance", times=1,
                          match={"path": "pages$"})
        got = self.fake.row(self.source).json["additional_data"]
        self.accepted(self.fake.get("pages/" + got["committed_resource_id"]))
        self.fake.control(fault="commit_503_guidance", times=1,
                          match={"method": "PATCH", "path": "pages/"})
        got = self.fake.patch("pages/" + self.at, {
            "properties": {"Pages": {"number": 1}}}).json["additional_data"]
        self.assertNotIn("committed_resource_id", got)

    def test_lost_answers(self):
        for name, written in (("commit_close", 1), ("commit_reset", 1),
                              ("close_before_read", 0), ("close", 0),
                              ("reset", 0), ("short_body", 1)):
            before = self.count()
            self.fault(name)
            with self.assertRaises(self.LOST):
                self.append()
            self.assertEqual(self.count() - before, written, name)

    def test_hang(self):
        for name, written in (("commit_hang", 1), ("hang", 0)):
            before = self.count()
            self.fault(name, seconds=30)
            conn = self.fake.connect(timeout=0.5)
            with self.assertRaises(socket.timeout):
                self.append(conn=conn)
            conn.close()
            self.assertEqual(self.count() - before, written)

    def test_bad_bodies(self):
        self.fault("truncated_json")
        got = self.append()
        self.assertEqual((got.status, got.json), (200, None))
        self.assertTrue(got.raw.startswith(b"{"))
        self.fault("empty_200")
        self.assertEqual(self.append().raw, b"")
        self.fault("trickle:0.4")
        before = time.monotonic()
        self.accepted(self.append())
        self.assertGreater(time.monotonic() - before, 0.3)
        self.assertEqual(self.count(), 3)

    def test_refused_requests_use_up_no_fault(self):
        self.fault("commit_close")
        self.refused(self.fake.append(self.at, [{}]))
        with self.assertRaises(self.LOST):
            self.append()

    def test_times_after_probability(self):
        self.fault("reject_500", times=2, after=1)
        got = [self.append().status for _ in range(5)]
        self.assertEqual(got, [200, 500, 500, 200, 200])
        rows = []
        for _ in range(2):
            self.fake.control("clear")
            self.fake.control("faults", seed=7)
            self.fault("reject_500", times=None, probability=0.5)
            rows.append([self.append().status for _ in range(30)])
        self.assertEqual(rows[0], rows[1])
        self.assertEqual(set(rows[0]), {200, 500})
        self.fake.control("faults", enabled=False)
        self.assertEqual(self.append().status, 200)
        self.fake.control("faults", enabled=True)
        with self.assertRaises(AssertionError):
            self.fault("nonsense")

    def test_match_body_and_user(self):
        self.fake.control(fault="reject_500", match={"body": "poison",
                                                     "user": "alice"})
        self.accepted(self.append())
        self.assertEqual(self.fake.append(
            self.at, [para("poison")]).status, 500)

    def test_arrivals_show_a_resend(self):
        self.fault("commit_close")
        conn = self.fake.connect()
        self.fake.get("users/me", conn=conn)
        last = self.fake.look("stats")["arrived"]
        for _ in range(2):
            try:
                self.append(conn=conn)
            except self.LOST:
                conn.connect()
        got = self.fake.look("arrivals?method=PATCH&since=%d" % last)
        conn.close()
        self.assertEqual(len(got), 2)
        self.assertEqual(got[0]["body_sha256"], got[1]["body_sha256"])
        self.assertNotEqual(got[0]["conn"], got[1]["conn"])
        self.assertEqual([g["committed"] for g in got], [True, True])
        self.assertEqual([g["status"] for g in got], [None, 200])
        self.assertLess(got[0]["at"], got[1]["at"])

    def test_down(self):
        self.fake.control("down", mode="close")
        with self.assertRaises(self.LOST):
            self.append()
        self.fake.control("down", mode="503")
        self.assertEqual(self.append().status, 503)
        self.fake.control("up")
        self.fake.control("down", mode="refuse", seconds=0.4)
        time.sleep(0.15)
        self.fake.conn.close()
        self.fake.conn = None
        with self.assertRaises(ConnectionRefusedError):
            self.append()
        self.fake.conn = None
        time.sleep(0.5)
        self.accepted(self.append())

    def test_latency(self):
        self.fake.control("latency", seconds=0.2)
        before = time.monotonic()
        self.append()
        self.assertGreater(time.monotonic() - before, 0.19)
        self.fake.control("clear")

    def test_parallel(self):
        failed = []

        def work(n):
            conn = self.fake.connect()
            for i in range(40):
                got = self.fake.append(self.at, [para("%d.%d" % (n, i))],
                                       conn=conn)
                if got.status != 200:
                    failed.append(got)
            conn.close()
        before = time.monotonic()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertFalse(failed)
        self.assertGreater(320 / (time.monotonic() - before), 100)
        page = self.fake.look("text?page=" + self.at)
        self.assertEqual(len(page["blocks"]), 320)

    def test_http_details(self):
        with socket.create_connection(("127.0.0.1", self.fake.port)) as s:
            body = json.dumps({"children": [para()]}).encode()
            s.sendall(b"PATCH /v1/blocks/%s/children HTTP/1.1\r\n"
                      b"Authorization: Bearer ntn_a\r\n"
                      b"Notion-Version: 2026-03-11\r\n"
                      b"Content-Type: application/json\r\n"
                      b"Accept-Encoding: gzip\r\nExpect: 100-continue\r\n"
                      b"Transfer-Encoding: chunked\r\n"
                      b"Connection: close\r\n\r\n" % self.at.encode())
            self.assertIn(b"100 Continue", s.recv(100))
            s.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            got = b""
            while chunk := s.recv(65536):
                got += chunk
        self.assertIn(b"200 OK", got)
        self.fake.append(self.at, [para("long " * 300)])
        answer = self.fake.get("blocks/%s/children" % self.at,
                               headers={"Accept-Encoding": "gzip"})
        self.assertEqual(answer.headers["Content-Encoding"], "gzip")
        self.fake.control("set", chunked=True)
        answer = self.fake.get("users/me")
        self.fake.control("set", chunked=False)
        self.assertEqual(answer.headers["Transfer-Encoding"], "chunked")
        self.accepted(answer)


class OAuth(Base):
    ARGS = (*Base.ARGS, "--oauth-client", "id:secret")

    def token(self, secret="secret", **body):
        auth = base64.b64encode(b"id:" + secret.encode()).decode()
        return self.fake.post("oauth/token", body, headers={
            "Authorization": "Basic " + auth})

    def exchange(self):
        code = self.fake.control("oauth_code", user="carol")["code"]
        return code, self.accepted(self.token(
            grant_type="authorization_code", code=code,
            redirect_uri="https://a.b"))

    def test_code_is_good_once(self):
        code, got = self.exchange()
        self.assertEqual(got["token_type"], "bearer")
        self.assertNotIn("expires_in", got)
        self.refused(self.token(grant_type="authorization_code", code=code),
                     None, 400, "invalid_grant")
        self.fake.token = got["access_token"]
        self.assertEqual(self.fake.get("users/me").json["bot"]
                         ["workspace_id"], got["workspace_id"])

    def test_rotation(self):
        _, old = self.exchange()
        new = self.accepted(self.token(grant_type="refresh_token",
                                       refresh_token=old["refresh_token"]))
        self.assertNotEqual(new["access_token"], old["access_token"])
        self.assertNotEqual(new["refresh_token"], old["refresh_token"])
        self.assertEqual(new["bot_id"], old["bot_id"])
        self.fake.token = old["access_token"]
        self.refused(self.fake.get("users/me"), None, 401, "unauthorized")
        self.refused(self.token(grant_type="refresh_token",
                                refresh_token=old["refresh_token"]),
                     None, 400, "invalid_grant")
        self.fake.token = new["access_token"]
        self.accepted(self.fake.get("users/me"))

    def test_recording_hides_tokens(self):
        with tempfile.TemporaryDirectory() as d:
            fake = Fake("--oauth-client", "id:secret", "--record", d + "/r")
            code = fake.control("oauth_code", user="carol")["code"]
            auth = base64.b64encode(b"id:secret").decode()
            got = fake.post("oauth/token", {
                "grant_type": "authorization_code", "code": code},
                headers={"Authorization": "Basic " + auth}).json
            fake.close()
            with open(d + "/r") as f:
                text = f.read()
        self.assertIn(got["workspace_id"], text)
        for secret in (got["access_token"], got["refresh_token"], auth):
            self.assertNotIn(secret, text)

    def test_client_and_form(self):
        self.assertEqual(self.token("wrong", grant_type="x").status, 401)
        self.refused(self.token(grant_type="password"))
        self.fake.control("set", oauth_error="rfc")
        got = self.token(grant_type="refresh_token", refresh_token="x")
        self.fake.control("set", oauth_error="notion")
        self.assertEqual((got.status, got.json["error"]),
                         (400, "invalid_grant"))

    def test_revoked_by_the_user(self):
        self.fake.control("revoke_token", token="ntn_b")
        self.fake.token = "ntn_b"
        self.refused(self.fake.get("users/me"), None, 401, "unauthorized")
        self.fake.control("add_token", token="ntn_b", user="bob")
        self.accepted(self.fake.get("users/me"))


class User(Base):
    def test_acts(self):
        fake, page = self.fake, self.page(title="P")
        made = fake.append(page, [block("toggle", children=[block("to_do")]),
                                  para("b")]).json["results"]
        todo = fake.kids(made[0]["id"])[0]["id"]
        fake.control("check", id=todo)
        self.assertTrue(fake.get("blocks/" + todo).json["to_do"]["checked"])
        fake.control("edit_text", id=made[1]["id"], text="changed")
        back = fake.get("blocks/" + made[1]["id"]).json
        self.assertEqual(back["paragraph"]["rich_text"][0]["plain_text"],
                         "changed")
        me = fake.get("users/me").json["id"]
        self.assertEqual(back["created_by"]["id"], me)
        self.assertNotEqual(back["last_edited_by"]["id"], me)
        own = fake.control("user_block", parent=page, text="mine",
                           position={"after": made[0]["id"]})["id"]
        self.assertEqual([b["id"] for b in fake.kids(page)],
                         [made[0]["id"], own, made[1]["id"]])
        self.assertNotEqual(fake.get("blocks/" + own).json["created_by"]["id"],
                            me)
        fake.control("comment", id=made[0]["id"], text="why")
        self.assertEqual(len(fake.get("comments?block_id=" + made[0]["id"])
                             .json["results"]), 1)
        fake.control("trash", id=made[0]["id"])
        self.assertEqual(len(fake.kids(page)), 2)
        fake.control("restore", id=made[0]["id"])
        fake.control("move", id=own, index=0)
        self.assertEqual(fake.kids(page)[0]["id"], own)
        fake.control("delete_column", data_source=self.source, column="Tags")
        self.refused(fake.patch("pages/" + page, {"properties": {
            self.ids["Tags"]: {"multi_select": []}}}), "not a property")
        fake.control("purge", id=page)
        self.refused(fake.get("pages/" + page), None, 404, "object_not_found")

    def test_checkbox_of_a_row(self):
        made = self.fake.control("create_database", preset="todos")
        row = self.fake.control("create_row",
                                data_source=made["data_source_id"],
                                title="Milk")["id"]
        self.fake.control("check", id=row)
        back = self.fake.get("pages/" + row).json["properties"]
        self.assertTrue(back["Completed"]["checkbox"])


class Webhooks(Base):
    def events(self, **more):
        got = self.fake.control("webhooks", user="alice", **more)
        return [json.loads(d["body"]) for d in got["deliveries"]]

    def test_signature(self):
        got = self.fake.control("webhook_subscribe", user="alice")
        token = json.loads(got["deliveries"][0]["body"])["verification_token"]
        page = self.page()
        self.fake.control("webhooks", user="alice")
        self.fake.patch("pages/" + page, {"properties": {
            "Pages": {"number": 1}}})
        got = self.fake.control("webhooks", user="alice")["deliveries"]
        self.assertEqual(len(got), 1)
        digest = hmac.new(token.encode(), got[0]["body"].encode(),
                          hashlib.sha256).hexdigest()
        self.assertEqual(got[0]["headers"]["X-Notion-Signature"],
                         "sha256=" + digest)
        body = json.loads(got[0]["body"])
        self.assertEqual(body["type"], "page.properties_updated")
        self.assertEqual(body["entity"], {"id": page, "type": "page"})
        self.assertEqual(body["data"]["updated_properties"],
                         [self.ids["Pages"]])
        self.assertEqual(body["data"]["parent"], {
            "id": self.db, "type": "database", "data_source_id": self.source})

    def test_aggregation_and_disorder(self):
        self.fake.control("webhook_subscribe", user="alice")
        page = self.page()
        self.events()
        for n in range(3):
            self.fake.patch("pages/" + page, {"properties": {
                "Pages": {"number": n}}})
        self.fake.control("trash", id=page)
        self.fake.control("restore", id=page)
        self.assertEqual([e["type"] for e in self.events(keep=True)],
                         ["page.properties_updated"])
        self.assertEqual(len(self.events(aggregate=False, keep=True)), 5)
        self.fake.control("set", seed=3)
        got = self.events(aggregate=False, duplicates=2, shuffle=True)
        self.assertEqual((len(got), len({e["id"] for e in got})), (15, 5))


class Oracle(Base):
    def fill(self):
        page = self.page(title="Physics", marker="1:notebook:abc",
                         Tags={"multi_select": [{"name": "Work"}]})
        self.fake.append(page, [
            {"toggle": {"rich_text": [text("Page %d" % n, "https://r.m/p/%d"
                                           "?rm=%d" % (n, n), bold=True)],
                        "children": [para("text %d" % n),
                                     block("to_do", "do", checked=True)]}}
            for n in (1, 2)])
        return page

    def test_dump(self):
        page = self.fill()
        dump = self.fake.look("dump")
        mine = [p for p in dump["pages"] if p["id"] == page][0]
        self.assertEqual(mine["marker"], "1:notebook:abc")
        self.assertEqual(mine["properties"]["Tags"], ["Work"])
        self.assertEqual([b["href"] for b in dump["blocks"]
                          if b["parent"] == page],
                         ["https://r.m/p/1?rm=1", "https://r.m/p/2?rm=2"])
        self.assertEqual(dump["duplicates"], [])
        # The same page of a notebook under another operation: a duplicate.
        self.fake.append(page, [{"toggle": {"rich_text": [
            text("Page 1", "https://r.m/p/1?rm=9")]}}])
        self.fake.control("duplicate", id=page)
        got = {(d["object"], d["marker"])
               for d in self.fake.look("dump")["duplicates"]}
        self.assertEqual(got, {("page", "1:notebook:abc"),
                               ("block", "https://r.m/p/1")})

    def test_text(self):
        page = self.fill()
        got = self.fake.look("text?page=" + page)
        self.assertEqual([(b["title"], b["text"]) for b in got["blocks"]],
                         [("Page 1", "text 1\ndo"), ("Page 2", "text 2\ndo")])
        self.assertEqual(
            self.fake.look("text?marker=1:notebook:abc")["id"], page)

    def test_tree(self):
        self.fill()
        tree = self.fake.look("tree?text=1")
        for line in ("📄 rmirror", "🗂  Notebooks  (1 page, 6 blocks)",
                     "📓 Physics", "▾ Page 1", "☑ do", "Tags: #Work"):
            self.assertIn(line, tree)

    def test_state_log_and_record(self):
        with tempfile.TemporaryDirectory() as d:
            args = ["--token", "ntn_a:alice", "--state", d + "/s",
                    "--log", d + "/l", "--record", d + "/r"]
            fake = Fake(*args)
            made = fake.control("create_database", preset="notebooks")
            page = fake.row(made["data_source_id"], marker="m").json["id"]
            self.assertEqual(fake.close(), 0)
            with open(d + "/r") as f:
                line = json.loads(f.read())
            self.assertEqual(line["response"]["id"], page)
            self.assertNotIn("ntn_a", json.dumps(line))
            self.assertTrue(os.path.getsize(d + "/l"))
            fake = Fake(*args)
            self.assertEqual(fake.get("pages/" + page).status, 200)
            fake.close()

    def test_sigterm(self):
        here = os.path.dirname(os.path.abspath(__file__))
        process = subprocess.Popen(
            [sys.executable, here + "/notion.py"], stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True)
        self.assertRegex(process.stdout.readline(), r"^port \d+$")
        process.terminate()
        self.assertEqual(process.wait(5), 0)
        process.stdout.close()


class Storm(Base):
    """Whatever is thrown at it, the stand-in must not break."""

    def test_noise(self):
        dice = random.Random(5)
        page = self.page()
        values = [None, True, 0, -1, 1.5, "", "x", [], {}, [[]], [{}], page,
                  {"type": "text"}, {"rich_text": []}, {"children": [para()]},
                  [text("x")], para(), {"id": page}, {"title": []}]
        keys = ["children", "position", "parent", "properties", "filter",
                "sorts", "page_size", "start_cursor", "in_trash", "title",
                "initial_data_source", "paragraph", "to_do", "icon", "type"]
        paths = [("PATCH", "blocks/%s/children" % page),
                 ("PATCH", "blocks/" + page), ("PATCH", "pages/" + page),
                 ("POST", "pages"), ("POST", "databases"), ("POST", "search"),
                 ("POST", "data_sources/%s/query" % self.source),
                 ("PATCH", "data_sources/" + self.source),
                 ("POST", "oauth/token"), ("POST", "file_uploads")]
        for _ in range(1500):
            method, path = dice.choice(paths)
            body = {dice.choice(keys): dice.choice(values)
                    for _ in range(dice.randint(0, 3))}
            got = self.fake.call(method, "/v1/" + path, body)
            self.assertLess(got.status, 500, (path, body, got))


if __name__ == "__main__":
    unittest.main()
