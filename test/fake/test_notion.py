#!/usr/bin/env python3
"""Checks the stand-in against contracts/notion.md: what is accepted, what is
refused, and exactly where the borders are."""
import json
import unittest

from fake_client import Fake, block, para, text

EMOJI = "\U0001f4a1"


class Base(unittest.TestCase):
    ARGS = ("--token", "ntn_a:alice", "--token", "ntn_b:bob", "--rate", "0")

    @classmethod
    def setUpClass(cls):
        cls.fake = Fake(*cls.ARGS)

    @classmethod
    def tearDownClass(cls):
        bugs = cls.fake.look("stats")["bugs"]
        code = cls.fake.close()
        assert not bugs, bugs[0]
        assert code == 0, code

    def setUp(self):
        self.fake.token = "ntn_a"
        self.fake.control("reset")
        made = self.fake.control("create_database", user="alice",
                                 preset="notebooks")
        self.root, self.db = made["page"], made["id"]
        self.source, self.ids = made["data_source_id"], made["properties"]

    def page(self, **more):
        answer = self.fake.row(self.source, **more)
        self.assertEqual(answer.status, 200, answer)
        return answer.json["id"]

    def refused(self, answer, pattern=None, status=400,
                code="validation_error"):
        self.assertEqual((answer.status, answer.code), (status, code), answer)
        self.assertEqual(answer.json["object"], "error")
        if pattern:
            self.assertRegex(answer.json["message"], pattern)
        return answer

    def accepted(self, answer):
        self.assertEqual(answer.status, 200, answer)
        return answer.json


class Envelope(Base):
    def test_token_and_version(self):
        get = self.fake.get
        self.refused(get("users/me", headers={"Authorization": None}),
                     "invalid", 401, "unauthorized")
        self.refused(get("users/me", headers={"Authorization": "Bearer no"}),
                     "invalid", 401, "unauthorized")
        self.refused(get("users/me", headers={"Notion-Version": None}),
                     None, 400, "missing_version")
        answer = self.refused(get("users/me", headers={
            "Notion-Version": "2026-03-12"}))
        self.assertEqual(answer.json["message"].count('`"20'), 8)
        me = self.accepted(get("users/me"))
        self.assertEqual(me["type"], "bot")
        self.assertEqual(me["bot"]["workspace_limits"]
                         ["max_file_upload_size_in_bytes"], 5242880)

    def test_request_ids(self):
        for answer in (self.fake.get("users/me"), self.fake.get("pages/AAA")):
            self.assertEqual(answer.headers["x-notion-request-id"],
                             answer.json["request_id"])
            self.assertTrue(answer.headers["cf-ray"])

    def test_urls_and_paths(self):
        self.refused(self.fake.get("nonsense"), None, 400,
                     "invalid_request_url")
        self.refused(self.fake.post("databases/%s/query" % self.db, {}), None,
                     400, "invalid_request_url")
        answer = self.fake.get("blocks/AAA")
        self.assertEqual(answer.json["message"],
                         "path failed validation: path.block_id should be a "
                         "valid uuid, instead was `\"AAA\"`.")

    def test_json(self):
        for raw in (b"{", b"[1", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff{}",
                    b'{"a":"\\ud800"}', b"[" * 100000):
            self.refused(self.fake.post("search", raw=raw), None, 400,
                         "invalid_json")
        self.refused(self.fake.post("search", raw=b"[]"))
        self.accepted(self.fake.post("search"))
        self.refused(self.fake.post("search", {}, headers={
            "Content-Type": "application/x-www-form-urlencoded"}), None, 400,
            "invalid_request")

    def test_ids_dashed_or_not(self):
        page = self.page()
        for ident in (page, page.replace("-", ""), page.upper()):
            self.assertEqual(
                self.accepted(self.fake.get("pages/" + ident))["id"], page)

    def test_ids_share_a_long_beginning(self):
        one, two = self.page(), self.page()
        self.assertEqual(one[:16], two[:16])
        self.assertEqual(one[14:16], "81")
        self.assertNotEqual(one, two)

    def test_unshared_and_foreign_look_like_missing(self):
        page = self.page()
        missing = self.refused(
            self.fake.get("pages/00000000-0000-0000-0000-000000000000"),
            "Could not find page with ID", 404, "object_not_found")
        self.assertIn("integration_id", missing.json["additional_data"])
        self.fake.control("unshare", id=self.db)
        self.refused(self.fake.get("pages/" + page), "Could not find page",
                     404, "object_not_found")
        self.refused(self.fake.get("data_sources/" + self.source),
                     "Could not find database", 404, "object_not_found")
        self.refused(self.fake.row(self.source), "Could not find database",
                     404, "object_not_found")
        self.fake.control("share", id=self.db)
        self.accepted(self.fake.get("pages/" + page))
        self.fake.token = "ntn_b"
        self.refused(self.fake.get("pages/" + page), None, 404,
                     "object_not_found")


class Shapes(Base):
    """Which blocks are blocks."""

    def setUp(self):
        super().setUp()
        self.at = self.page()

    def ok(self, *blocks):
        return self.accepted(self.fake.append(self.at, list(blocks)))

    def no(self, *blocks, pattern=None):
        before = len(self.fake.kids(self.at))
        self.refused(self.fake.append(self.at, list(blocks)), pattern)
        self.assertEqual(len(self.fake.kids(self.at)), before)

    def test_every_type(self):
        kinds = [block(k) for k in (
            "paragraph", "bulleted_list_item", "numbered_list_item", "to_do",
            "toggle", "quote", "callout", "heading_1", "heading_2",
            "heading_3", "heading_4")]
        kinds += [{"type": "divider", "divider": {}},
                  {"code": {"rich_text": [], "language": "plain text"}},
                  {"equation": {"expression": "x"}},
                  {"bookmark": {"url": "https://a.b"}},
                  {"image": {"type": "external",
                             "external": {"url": "https://a.b/c.png"}}},
                  {"table_of_contents": {}}, {"breadcrumb": {}},
                  {"object": "block", "table": {
                      "table_width": 1, "children": [
                          {"table_row": {"cells": [[text("a")]]}}]}}]
        got = self.ok(*kinds)["results"]
        self.assertEqual(len(got), len(kinds))
        for sent, back in zip(kinds, got):
            self.assertIn(back["type"], sent)
            self.assertEqual(back["object"], "block")
            self.assertNotIn("children", back[back["type"]])
            self.assertNotIn("archived", back)
            self.assertFalse(back["in_trash"])
            self.assertRegex(back["created_time"], r":00\.000Z$")
            self.assertRegex(back["last_edited_time"], r":00\.000Z$")
            self.assertEqual(back["parent"],
                             {"type": "page_id", "page_id": self.at})
        self.assertEqual(got[0]["created_by"]["id"],
                         self.fake.get("users/me").json["id"])

    def test_one_type_key(self):
        self.no({**para(), **block("quote")}, pattern="not present")
        self.no({"type": "quote", **{k: v for k, v in para().items()
                                     if k != "type"}})
        self.no({"type": "paragraph"}, pattern="should be defined")
        self.no({"nonsense": {"rich_text": []}}, pattern="not present")
        self.no({}, pattern="should be defined")
        self.no("text", pattern="an object")

    def test_unknown_keys(self):
        for extra in ("archived", "in_trash", "has_children", "id",
                      "children"):
            self.no({**para(), extra: False},
                    pattern=r"body\.children\[0\]\.%s should be not present"
                    % extra)
        self.no(para(checked=True))
        self.no(para(nonsense=1))

    def test_children_only_where_legal(self):
        for kind in ("paragraph", "bulleted_list_item", "numbered_list_item",
                     "to_do", "toggle", "quote", "callout"):
            self.ok(block(kind, children=[para()]))
        self.no({"divider": {"children": []}})
        self.no({"code": {"rich_text": [], "language": "c",
                          "children": [para()]}})
        self.no({"image": {"external": {"url": "https://a.b"},
                           "children": []}})
        self.no(block("heading_1", children=[para()]))
        self.ok(block("heading_1", children=[para()], is_toggleable=True))

    def test_rich_text(self):
        self.ok({"paragraph": {"rich_text": []}})
        self.ok({"paragraph": {"rich_text": [{"text": {"content": ""}}]}})
        self.no({"paragraph": {}}, pattern="rich_text should be defined")
        self.no({"paragraph": {"rich_text": "x"}}, pattern="an array")
        self.no({"paragraph": {"rich_text": [{"text": {}}]}})
        self.no({"paragraph": {"rich_text": [{"type": "text"}]}})
        self.no({"paragraph": {"rich_text": [
            {"text": {"content": "x", "link": {"type": "url",
                                               "url": "https://a.b"}}}]}},
                pattern="link.type should be not present")
        self.no({"paragraph": {"rich_text": [
            {"text": {"content": "x"}, "annotations": {"bold": "yes"}}]}})
        self.no({"paragraph": {"rich_text": [
            {"text": {"content": "x"}, "annotations": {"color": "teal"}}]}})
        self.no(para(color="teal"))
        item = self.ok({"paragraph": {"rich_text": [
            {**text("x", "https://a.b", bold=True), "plain_text": "x",
             "href": None}]}})["results"][0]["paragraph"]["rich_text"][0]
        self.assertEqual(item, {
            "type": "text",
            "text": {"content": "x", "link": {"url": "https://a.b"}},
            "annotations": {"bold": True, "italic": False,
                            "strikethrough": False, "underline": False,
                            "code": False, "color": "default"},
            "plain_text": "x", "href": "https://a.b"})

    def test_links(self):
        for url in ("https://a.b/c?d=e#f", "http://x", "mailto:a@b.c"):
            self.ok({"paragraph": {"rich_text": [text("x", url)]}})
        for url in ("ftp://a.b", "javascript:1", "/relative", "a.b",
                    "https://a b"):
            self.no({"paragraph": {"rich_text": [text("x", url)]}},
                    pattern="Invalid URL for link")
        self.no({"paragraph": {"rich_text": [
            {"text": {"content": "x", "link": {"url": ""}}}]}})

    def test_code_language(self):
        self.no({"code": {"rich_text": []}}, pattern="language")
        self.no({"code": {"rich_text": [], "language": "text"}})
        self.no({"code": {"rich_text": [], "language": "Python"}})
        self.ok({"code": {"rich_text": [], "language": "java/c/c++/c#"}})

    def test_tables(self):
        def table(width, *rows):
            return {"table": {"table_width": width, "children": [
                {"table_row": {"cells": [[text("c")]] * n}} for n in rows]}}
        made = self.ok(table(2, 2, 2))["results"][0]
        self.assertTrue(made["has_children"])
        self.no(table(2), pattern="length")
        self.no({"table": {"table_width": 1}}, pattern="defined")
        self.no(table(2, 2, 1), pattern="Number of cells")
        self.no(table(2, 3), pattern="Number of cells")
        self.no({"table": {"table_width": 1, "children": [para()]}})
        self.no({"table_row": {"cells": [[]]}}, pattern="table_row")
        row = {"table_row": {"cells": [[text("c")]] * 2}}
        self.accepted(self.fake.append(made["id"], [row]))
        row["table_row"]["cells"].append([])
        self.refused(self.fake.append(made["id"], [row]), "Number of cells")
        self.refused(self.fake.append(made["id"], [para()]))
        # Second tier may hold a table, the third may not.
        self.ok(block("toggle", children=[table(1, 1)]))
        self.no(block("toggle", children=[para(children=[table(1, 1)])]))

    def test_media(self):
        self.no({"image": {"caption": []}})
        self.no({"image": {"external": {"url": "https://a.b"},
                           "file_upload": {"id": self.at}}})
        self.no({"image": {"external": {"url": "nonsense"}}})
        self.no({"image": {"type": "file", "file": {"url": "https://a.b"}}})

    def test_upload(self):
        up = self.accepted(self.fake.post("file_uploads", {
            "mode": "single_part", "filename": "a.png",
            "content_type": "image/png"}))
        self.assertEqual(up["status"], "pending")
        image = {"image": {"type": "file_upload",
                           "file_upload": {"id": up["id"]}}}
        self.no(image)
        raw = (b'--B\r\nContent-Disposition: form-data; name="file"; '
               b'filename="a.png"\r\n\r\nPNG\r\n--B--\r\n')
        up = self.accepted(self.fake.post(
            "file_uploads/%s/send" % up["id"], raw=raw,
            headers={"Content-Type": "multipart/form-data; boundary=B"}))
        self.assertEqual((up["status"], up["content_length"]),
                         ("uploaded", 3))
        back = self.ok(image)["results"][0]["image"]
        self.assertEqual(back["type"], "file")
        self.assertIn("expiry_time", back["file"])


class Limits(Base):
    """Exactly at the border and one beyond."""

    def setUp(self):
        super().setUp()
        self.at = self.page()

    def ok(self, *blocks):
        return self.accepted(self.fake.append(self.at, list(blocks)))

    def no(self, *blocks, pattern=None):
        self.refused(self.fake.append(self.at, list(blocks)), pattern)

    def test_2000_units(self):
        self.ok(para("x" * 2000))
        self.no(para("x" * 2001), pattern=r"body failed validation: "
                r"body\.children\[0\]\.paragraph\.rich_text\[0\]\.text\."
                r"content\.length should be ≤ `2000`, instead was `2001`\.")
        self.ok(para("ж" * 2000))
        self.ok(para(EMOJI * 1000))
        self.ok(para("x" * 1998 + EMOJI))
        # 2000 code points, 2001 units.
        self.no(para("x" * 1999 + EMOJI), pattern="was `2001`")

    def test_links_and_equations(self):
        url = "https://a.b/" + "x" * 1988
        self.ok({"paragraph": {"rich_text": [text("x", url)]}})
        self.no({"paragraph": {"rich_text": [text("x", url + "x")]}},
                pattern="url.length should be ≤ `2000`")
        self.ok({"equation": {"expression": "x" * 1000}})
        self.no({"equation": {"expression": "x" * 1001}})

    def test_100_elements(self):
        self.ok(*[para()] * 100)
        self.no(*[para()] * 101, pattern=r"body\.children\.length should be "
                r"≤ `100`, instead was `101`")
        self.ok({"paragraph": {"rich_text": [text("x")] * 100}})
        self.no({"paragraph": {"rich_text": [text("x")] * 101}},
                pattern=r"rich_text\.length")
        self.ok(block("toggle", children=[para()] * 100))
        self.no(block("toggle", children=[para()] * 101))
        self.refused(self.fake.append(self.at, []))

    def test_1000_blocks(self):
        def load(last):
            return [block("toggle", children=[para()] * 99)] * 9 + \
                [block("toggle", children=[para()] * last)]
        self.ok(*load(99))
        self.no(*load(100), pattern="1001")

    def test_500_kb(self):
        def body(size):
            blocks = [para("x" * 1990) for _ in range(100)]
            blocks = [{"paragraph": {"rich_text": [text("x" * 2000)] * 2}}] * 99
            raw = json.dumps({"children": blocks + [para("")]}).encode()
            fill = size - len(raw)
            return raw[:-1] + b" " * fill + b"}"
        path = "blocks/%s/children" % self.at
        self.accepted(self.fake.patch(path, raw=body(500_000)))
        self.refused(self.fake.patch(path, raw=body(500_001)), "500001")

    def test_three_tiers(self):
        three = block("bulleted_list_item", children=[
            block("bulleted_list_item", children=[para("leaf")])])
        self.ok(three)
        self.no(block("toggle", children=[three]),
                pattern=r"toggle\.children\[0\]\.bulleted_list_item\.children"
                r"\[0\]\.bulleted_list_item\.children should be not present")
        # Deeper by a second request is legal.
        top = self.ok(three)["results"][0]["id"]
        leaf = self.fake.kids(self.fake.kids(top)[0]["id"])[0]["id"]
        self.accepted(self.fake.append(leaf, [three]))

    def test_create_page_counts_children_as_top(self):
        def create(children):
            return self.fake.post("pages", {
                "parent": {"data_source_id": self.source},
                "properties": {}, "children": children})
        self.accepted(create([para()] * 100))
        self.refused(create([para()] * 101))
        self.refused(create([para(children=[para(children=[
            para(children=[])])])]), "not present")

    def test_short_texts(self):
        made = self.fake.control("create_database", title="T", properties={
            "Name": {"title": {}}, "E": {"email": {}},
            "P": {"phone_number": {}}, "U": {"url": {}},
            "S": {"select": {}}, "M": {"multi_select": {}}})
        source = made["data_source_id"]

        def row(**props):
            return self.fake.row(source, **props)
        self.accepted(row(E={"email": "x" * 200}, P={"phone_number": None}))
        self.refused(row(E={"email": "x" * 201}))
        self.refused(row(P={"phone_number": "1" * 201}))
        self.accepted(row(U={"url": "https://a/" + "x" * 1990}))
        self.refused(row(U={"url": "https://a/" + "x" * 1991}))
        for key, kind in (("U", "url"), ("E", "email"), ("P", "phone_number")):
            self.refused(row(**{key: {kind: ""}}))
        self.accepted(row(S={"select": {"name": "x" * 100}}))
        self.refused(row(S={"select": {"name": "x" * 101}}))
        self.refused(row(S={"select": {"name": "a,b"}}), "commas")
        self.refused(row(M={"multi_select": [{"name": "a,b"}]}), "commas")
        many = [{"name": str(i)} for i in range(101)]
        self.accepted(row(M={"multi_select": many[:100]}))
        self.refused(row(M={"multi_select": many}))


class Pages(Base):
    def test_create_and_read(self):
        answer = self.accepted(self.fake.post("pages", {
            "parent": {"type": "data_source_id",
                       "data_source_id": self.source},
            "properties": {
                "Name": {"title": [text("A"), text("B")]},
                self.ids["rmirror ID"]: {"rich_text": [text("m")]},
                "Pages": {"number": 3},
                "Tags": {"multi_select": [{"name": "Work"}]},
                "Status": {"select": {"name": "Synced"}},
                "Last Modified": {"date": {"start": "2026-01-01T00:00:00Z"}}},
        }))
        self.assertNotIn("archived", answer)
        self.assertEqual(answer["parent"], {
            "type": "data_source_id", "data_source_id": self.source,
            "database_id": self.db})
        self.assertTrue(answer["url"].startswith("https://app.notion.com/p/"))
        self.assertRegex(answer["created_time"], r":00\.000Z$")
        props = answer["properties"]
        self.assertEqual(props["Name"]["id"], "title")
        self.assertIn("%", props["Pages"]["id"])
        self.assertEqual(props["Pages"]["number"], 3)
        self.assertEqual(props["Status"]["select"]["color"], "green")
        self.assertEqual(props["Last Modified"]["date"]["start"],
                         "2026-01-01T00:00:00.000+00:00")
        self.assertEqual(props["Synced At"]["date"], None)
        back = self.fake.get("pages/" + answer["id"]).json
        self.assertEqual(back["properties"], props)

    def test_wrong_values(self):
        for name, value, pattern in (
                ("Nope", {"number": 1}, "Nope is not a property that exists"),
                ("Pages", {"rich_text": []}, "Pages is expected to be number"),
                ("Pages", {"number": "3"}, "a number"),
                ("Pages", {"number": True}, "a number"),
                ("Pages", 3, "an object"),
                ("rmirror ID", {"rich_text": "x"}, "an array"),
                ("Last Modified", {"date": {"start": "yesterday"}}, "ISO"),
                ("Last Modified", {"date": {}}, "defined"),
                ("Tags", {"multi_select": None}, "array"),
                ("Status", {"select": {"name": ""}}, "length"),
                ("Status", {"select": {"name": "Synced", "color": "red"}},
                 "Cannot update color"),
                ("Pages", {"number": 1, "extra": 1}, "not present")):
            self.refused(self.fake.row(self.source, **{name: value}), pattern)
        count = self.fake.look("dump")["pages"]
        self.assertEqual(len(count), 1)      # the top page only
        self.refused(self.fake.post("pages", {
            "parent": {"data_source_id": self.source}, "archived": False}))
        self.refused(self.fake.post("pages", {"properties": {}}),
                     "parent should be defined")

    def test_ids_survive_a_rename(self):
        page = self.page()
        self.fake.control("rename_column", data_source=self.source,
                          column="Pages", name="Sheets")
        self.refused(self.fake.patch("pages/" + page, {
            "properties": {"Pages": {"number": 1}}}), "not a property")
        back = self.accepted(self.fake.patch("pages/" + page, {
            "properties": {self.ids["Pages"]: {"number": 1}}}))
        self.assertEqual(back["properties"]["Sheets"]["number"], 1)

    def test_patch_merges(self):
        page = self.page(marker="m", Pages={"number": 1})
        back = self.accepted(self.fake.patch("pages/" + page, {
            "properties": {"Pages": {"number": None}}}))["properties"]
        self.assertIsNone(back["Pages"]["number"])
        self.assertEqual(back["rmirror ID"]["rich_text"][0]["plain_text"], "m")

    def test_page_below_page(self):
        def create(props):
            return self.fake.post("pages", {"parent": {"page_id": self.root},
                                            "properties": props})
        self.accepted(create({"title": {"title": [text("T")]}}))
        # Seen in old examples, but not in the published types.
        self.refused(create({"title": [text("T")]}))
        self.refused(create({"Pages": {"number": 1}}), "not a property")
        self.refused(self.fake.post("pages", {
            "parent": {"workspace": True}, "properties": {}}), "Internal")
        self.accepted(self.fake.post("pages", {
            "parent": {"page_id": self.root}, "properties": {},
            "position": {"type": "page_start"}}))
        self.refused(self.fake.post("pages", {
            "parent": {"page_id": self.root}, "properties": {},
            "position": {"type": "start"}}))

    def test_database_parent_needs_one_source(self):
        body = {"parent": {"database_id": self.db}, "properties": {}}
        self.accepted(self.fake.post("pages", body))
        self.fake.control("add_data_source", database=self.db)
        self.refused(self.fake.post("pages", body), "multiple data sources")
        self.assertEqual(len(self.fake.get(
            "databases/" + self.db).json["data_sources"]), 2)
        self.page()

    def test_archive(self):
        page = self.page()
        self.accepted(self.fake.append(page, [para()]))
        leaf = self.fake.kids(page)[0]["id"]
        self.assertFalse(self.fake.get("pages/" + page).json["is_archived"])
        self.fake.control("archive", id=page)
        answer = self.accepted(self.fake.patch("pages/" + page,
                                               {"properties": {}}))
        self.assertTrue(answer["is_archived"])
        self.assertFalse(answer["in_trash"])
        self.fake.control("archive", id=page, writes="refuse")
        self.refused(self.fake.append(page, [para()]), "archived")
        self.refused(self.fake.delete("blocks/" + leaf), "archived")
        self.assertEqual(len(self.fake.kids(page)), 1)
        self.refused(self.fake.patch("pages/" + page, {"is_archived": False}))
        self.fake.control("unarchive", id=page)
        self.accepted(self.fake.delete("blocks/" + leaf))

    def test_trash(self):
        page = self.page()
        inner = self.fake.append(page, [block("toggle", children=[para()])]) \
            .json["results"][0]["id"]
        leaf = self.fake.kids(inner)[0]["id"]
        self.assertTrue(self.accepted(self.fake.patch(
            "pages/" + page, {"in_trash": True}))["in_trash"])
        self.assertTrue(self.fake.get("pages/" + page).json["in_trash"])
        self.assertTrue(self.fake.get("blocks/" + leaf).json["in_trash"])
        for answer in (
                self.fake.patch("pages/" + page, {"properties": {}}),
                self.fake.append(page, [para()]),
                self.fake.append(inner, [para()]),
                self.fake.patch("blocks/" + leaf, para()),
                self.fake.delete("blocks/" + page)):
            self.refused(answer, "archived")
        self.assertEqual(
            self.fake.append(page, [para()]).json["message"],
            "Can't edit block that is archived. You must unarchive the block "
            "before editing.")
        self.accepted(self.fake.patch("pages/" + page, {"in_trash": False}))
        self.assertFalse(self.fake.get("blocks/" + leaf).json["in_trash"])
        self.refused(self.fake.patch("pages/" + page, {"archived": True}),
                     "archived should be not present")

    def test_erase_content(self):
        page = self.page(marker="m")
        self.fake.append(page, [para()] * 5)
        self.accepted(self.fake.patch("pages/" + page,
                                      {"erase_content": True}))
        self.assertEqual(self.fake.kids(page), [])


class Blocks(Base):
    def setUp(self):
        super().setUp()
        self.at = self.page()

    def names(self, parent=None):
        return [b["paragraph"]["rich_text"][0]["plain_text"]
                for b in self.fake.kids(parent or self.at)]

    def test_position_trap(self):
        put = self.fake.append
        first = put(self.at, [para("a"), para("b"), para("c")]).json["results"]
        end = put(self.at, [para("d")], {"type": "end"}).json["results"]
        self.assertEqual(len(end), 1)
        start = put(self.at, [para("0")], {"type": "start"}).json["results"]
        self.assertEqual(len(start), 5)
        self.assertEqual(start[1]["id"], first[0]["id"])
        after = put(self.at, [para("b1"), para("b2")], {
            "type": "after_block",
            "after_block": {"id": first[1]["id"]}}).json["results"]
        self.assertEqual(len(after), 4)
        self.assertEqual(self.names(),
                         ["0", "a", "b", "b1", "b2", "c", "d"])

    def test_position_refusals(self):
        ident = self.fake.append(self.at, [para()]).json["results"][0]["id"]
        path = "blocks/%s/children" % self.at
        for extra in ({"after": ident}, {"position": "end"},
                      {"position": {"type": "page_end"}},
                      {"position": {"type": "after_block"}},
                      {"position": {"type": "end", "after_block": {}}},
                      {"position": {"type": "after_block",
                                    "after_block": ident}}):
            self.refused(self.fake.patch(path, {"children": [para()],
                                                **extra}))
        other = self.fake.append(ident, [para()]).json["results"][0]["id"]
        after = {"type": "after_block", "after_block": {"id": other}}
        self.refused(self.fake.append(self.at, [para()], after), "child of")
        self.fake.control("trash", id=ident)
        after["after_block"]["id"] = ident
        self.refused(self.fake.append(self.at, [para()], after), "child of")
        self.fake.control("purge", id=ident)
        self.refused(self.fake.append(self.at, [para()], after), None, 404,
                     "object_not_found")

    def test_pagination(self):
        for i in range(3):
            self.fake.append(self.at, [para("%d" % (i * 100 + j))
                                       for j in range(100)])
        self.fake.append(self.at, [para("300")])
        path, seen, cursor = "blocks/%s/children" % self.at, [], None
        while True:
            got = self.accepted(self.fake.get(path + (
                "?start_cursor=" + cursor if cursor else "")))
            self.assertEqual((got["object"], got["type"], got["block"]),
                             ("list", "block", {}))
            self.assertLessEqual(len(got["results"]), 100)
            seen += [b["paragraph"]["rich_text"][0]["plain_text"]
                     for b in got["results"]]
            cursor = got["next_cursor"]
            self.assertEqual(got["has_more"], cursor is not None)
            if cursor is None:
                break
        self.assertEqual(seen, [str(i) for i in range(301)])
        for query in ("page_size=101", "page_size=0", "page_size=x",
                      "start_cursor=", "start_cursor=null",
                      "start_cursor=" + self.db, "nonsense=1"):
            self.refused(self.fake.get(path + "?" + query))

    def test_update(self):
        ident = self.fake.append(self.at, [block("to_do", "a")]) \
            .json["results"][0]["id"]
        back = self.accepted(self.fake.patch("blocks/" + ident,
                                             {"to_do": {"checked": True}}))
        self.assertTrue(back["to_do"]["checked"])
        self.assertEqual(back["to_do"]["rich_text"][0]["plain_text"], "a")
        self.accepted(self.fake.patch("blocks/" + ident, {
            "to_do": {"rich_text": [text("b")]}}))
        self.refused(self.fake.patch("blocks/" + ident, para()), "type")
        self.refused(self.fake.patch("blocks/" + ident, {
            "to_do": {"rich_text": [], "children": []}}), "not present")
        self.refused(self.fake.patch("blocks/" + ident, {"archived": True}))
        self.refused(self.fake.patch("blocks/" + ident, {}))
        toggle = self.fake.append(self.at, [block("toggle")]) \
            .json["results"][0]["id"]
        self.refused(self.fake.patch("blocks/" + toggle, {
            "toggle": {"color": "red"}}), "rich_text should be defined")

    def test_delete(self):
        ident = self.fake.append(self.at, [block("toggle", children=[
            para()])]).json["results"][0]["id"]
        leaf = self.fake.kids(ident)[0]["id"]
        self.assertTrue(self.accepted(
            self.fake.delete("blocks/" + ident))["in_trash"])
        self.assertEqual(self.fake.kids(self.at), [])
        self.refused(self.fake.delete("blocks/" + ident), "archived")
        self.refused(self.fake.delete("blocks/" + leaf), "archived ancestor")
        self.accepted(self.fake.patch("blocks/" + ident, {"in_trash": False}))
        self.assertEqual(len(self.fake.kids(self.at)), 1)
        # Pages and databases are blocks, too.
        self.accepted(self.fake.delete("blocks/" + self.at))
        self.assertTrue(self.fake.get("pages/" + self.at).json["in_trash"])
        self.accepted(self.fake.delete("blocks/" + self.db))
        self.assertTrue(self.fake.get("data_sources/" + self.source)
                        .json["in_trash"])

    def test_parents_that_take_none(self):
        for sent in ({"divider": {}},
                     {"code": {"rich_text": [], "language": "c"}},
                     block("heading_2"), {"equation": {"expression": "x"}}):
            ident = self.fake.append(self.at, [sent]).json["results"][0]["id"]
            self.refused(self.fake.append(ident, [para()]),
                         "does not support children")
        self.refused(self.fake.append(self.db, [para()]), "children")


if __name__ == "__main__":
    unittest.main()
