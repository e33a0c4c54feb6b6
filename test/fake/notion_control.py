"""The side door for tests: faults, the user in front of Notion, oracles.

POST /_control takes one command or a list of them; every method cmd_x below
is the command "x" and its docstring the manual.  Nothing here counts as a
request or needs a token.
"""
import asyncio
import copy
import hashlib
import hmac
import json
import urllib.parse
import urllib.request

import notion_blocks
import notion_query
import notion_schema as schema
import notion_view
from notion_schema import ApiError, dashed
from notion_store import accepts_child

NOTEBOOK_COLUMNS = {
    "Name": ("title", {}), "rmirror ID": ("rich_text", {}),
    "Path": ("rich_text", {}), "Tags": ("multi_select", {}),
    "Pages": ("number", {"format": "number"}), "Last Modified": ("date", {}),
    "Synced At": ("date", {}),
    "Status": ("select", {"options": [{"name": "Synced", "color": "green"},
                                      {"name": "Error", "color": "red"}]})}
TODO_COLUMNS = {
    "Task": ("title", {}), "Completed": ("checkbox", {}),
    "Workflow": ("select", {}), "Notebook": ("rich_text", {}),
    "Notebook UUID": ("rich_text", {}), "rmirror ID": ("rich_text", {}),
    "Page": ("number", {"format": "number"}), "Date Written": ("date", {}),
    "Link to Source": ("url", {})}
PRESETS = {"notebooks": ("Notebooks", NOTEBOOK_COLUMNS),
           "todos": ("To-dos", TODO_COLUMNS)}
PERSON_BLOCKS = ("block", "page", "database", "data_source")


class Refused(Exception):
    """A command that makes no sense."""


class Control:
    def __init__(self, server):
        self.server = server

    @property
    def store(self):
        return self.server.store

    # --- HTTP ---

    async def handle(self, request):
        """(status, content type, body)"""
        kind = "application/json; charset=utf-8"
        try:
            if request.path == "/_control" and request.method == "POST":
                value = await self.commands(json.loads(request.body))
            elif request.method == "GET":
                value = self.look(request.path, {
                    k: v[0] for k, v in request.query.items()})
            else:
                raise Refused("POST /_control or GET /_dump, /_tree, /_text, "
                              "/_arrivals, /_stats")
        except Refused as error:
            return 400, kind, self.fail(str(error))
        except ApiError as error:
            return 400, kind, self.fail(error.message)
        except (KeyError, ValueError, TypeError) as error:
            return 400, kind, self.fail("%s: %s" % (type(error).__name__,
                                                    error))
        if isinstance(value, str):
            return 200, "text/plain; charset=utf-8", value.encode()
        return 200, kind, json.dumps(value, ensure_ascii=False,
                                     indent=1).encode()

    @staticmethod
    def fail(message):
        return json.dumps({"error": message}, ensure_ascii=False).encode()

    async def commands(self, spec):
        if isinstance(spec, list):
            return [await self.command(s) for s in spec]
        return await self.command(spec)

    async def command(self, spec):
        name = spec.get("cmd", "fault" if "fault" in spec else None)
        method = getattr(self, "cmd_%s" % name, None)
        if method is None:
            raise Refused("no command %r; there are: %s" % (name, ", ".join(
                sorted(m[4:] for m in dir(self) if m.startswith("cmd_")))))
        value = method(spec)
        if asyncio.iscoroutine(value):
            value = await value
        return {"ok": True, **(value or {})}

    # --- oracles ---

    def look(self, path, query):
        store = self.store
        user = query.get("user")
        if path == "/_dump":
            return notion_view.dump(store, user, query.get("trashed") == "1")
        if path == "/_tree":
            if query.get("text") == "1":
                return notion_view.tree_text(store, user,
                                             int(query.get("width", 100)))
            return notion_view.dump(store, user)["workspaces"]
        if path == "/_text":
            page = self.page_for(query)
            value = notion_view.page_text(page)
            if query.get("format") == "text":
                return "\n\n".join(v["title"] + "\n" + v["text"]
                                   for v in value) + "\n"
            return {"id": page.id, "title": page.plain_title(),
                    "marker": notion_view.marker_of(page), "blocks": value}
        if path == "/_arrivals":
            return self.arrivals(query)
        if path == "/_stats":
            return self.stats()
        if path == "/_rules":
            return self.cmd_rules({})
        raise Refused("nothing at " + path)

    def page_for(self, query):
        if "page" in query:
            return self.node({"id": query["page"]}, ("page",))
        for node in self.store.nodes.values():
            if node.kind == "page" and not node.in_trash() and \
                    query.get("user") in (None, node.ws.user) and (
                        query.get("marker") == notion_view.marker_of(node)
                        if "marker" in query else
                        query.get("title") == node.plain_title()):
                return node
        raise Refused("no such page")

    def arrivals(self, query):
        since = int(query.get("since", 0))
        return [e for e in self.server.arrivals if e["n"] > since
                and query.get("method") in (None, e["method"])
                and query.get("path", "") in e["path"]
                and query.get("user") in (None, e["user"])]

    def stats(self):
        server = self.server
        live = {}
        for node in self.store.nodes.values():
            if not node.in_trash():
                live[node.kind] = live.get(node.kind, 0) + 1
        bots = {t.bot: t.ws.user for t in self.store.tokens.values()}
        return {"arrived": server.arrived, "connections": server.connections,
                "open": len(server.open), "counts": dict(server.counts),
                "rate_refusals": server.windows.refused,
                "rate_peak": {bots.get(k, k): v
                              for k, v in server.windows.peak.items()},
                "live": live, "lagging": len(self.store.lagging),
                "blocks_made": {w.user: w.blocks_made for w in
                                self.store.workspaces.values()},
                "settings": server.settings, "bugs": server.bugs,
                "faults": self.cmd_rules({})["rules"]}

    # --- looking things up for commands ---

    def ws(self, spec):
        user = spec.get("user")
        if user is None:
            if not self.store.workspaces:
                return self.store.workspace("alice")
            return next(iter(self.store.workspaces.values()))
        return self.store.workspace(user)

    def node(self, spec, kinds=PERSON_BLOCKS, key="id"):
        ident = spec[key]
        node = self.store.nodes.get(dashed(ident)
                                    if schema.UUID_RE.match(ident) else ident)
        if node is None or node.kind not in kinds:
            raise Refused("no %s with id %s" % (" or ".join(kinds), ident))
        return node

    def root(self, ws):
        """The page the user shared with the connection."""
        for page in ws.pages:
            if page.kind == "page" and not page.trashed:
                return page
        return self.store.create_page(ws, None, {"title": rich("rmirror")},
                                      ws.person, user=True)

    # --- faults and knobs ---

    def cmd_fault(self, spec):
        """Adds a rule: {"fault", "match", "times", "after", "probability",
        "seconds", "retry_after", "message"}.  "cmd" may be left out."""
        return {"id": self.server.faults.add(spec).id}

    def cmd_rules(self, spec):
        """Lists the rules with their hits."""
        return {"rules": [r.show() for r in self.server.faults.rules]}

    def cmd_clear(self, spec):
        """Removes all rules, or the one with "id"; ends down and latency."""
        faults = self.server.faults
        if "id" in spec:
            faults.rules = [r for r in faults.rules if r.id != spec["id"]]
        else:
            faults.rules.clear()
            faults.latency = (0.0, 0.0)
            return self.cmd_up(spec)

    def cmd_faults(self, spec):
        """{"enabled": bool, "seed": n}: all rules on or off; their dice."""
        faults = self.server.faults
        faults.enabled = bool(spec.get("enabled", faults.enabled))
        if "seed" in spec:
            faults.random.seed(spec["seed"])
        return {"enabled": faults.enabled}

    def cmd_down(self, spec):
        """{"mode": "close" | "503" | "hang" | "refuse", "seconds": n}.  With
        refuse only a --control-port (or the time) brings it back."""
        mode = spec.get("mode", "close")
        if mode not in ("close", "503", "hang", "refuse"):
            raise Refused("mode is close, 503, hang or refuse")
        loop = asyncio.get_running_loop()
        self.server.faults.down = mode
        if mode == "refuse":
            # After this answer has gone out.
            loop.call_later(0.05, self.server.refuse)
        if "seconds" in spec:
            loop.call_later(spec["seconds"],
                            lambda: loop.create_task(self.up()))

    async def up(self):
        self.server.faults.down = None
        await self.server.reopen()

    def cmd_up(self, spec):
        """Ends down."""
        async def go():
            await self.up()
            return {}
        return go()

    def cmd_latency(self, spec):
        """{"seconds": s, "jitter": s} before every answer."""
        self.server.faults.latency = (float(spec.get("seconds", 0)),
                                      float(spec.get("jitter", 0)))

    def cmd_set(self, spec):
        """Settings: query_lag, search_lag (seconds or [low, high]), seed,
        block_limit (per user), and the keys of /_stats "settings"."""
        for key, value in spec.items():
            if key in ("cmd", "user"):
                continue
            if key in ("query_lag", "search_lag"):
                span = value if isinstance(value, list) else [value, value]
                setattr(self.store, key, (float(span[0]), float(span[1])))
            elif key == "seed":
                self.store.random.seed(value)
            elif key == "block_limit":
                for ws in ([self.ws(spec)] if "user" in spec
                           else self.store.workspaces.values()):
                    ws.block_limit = value
            elif key in self.server.settings:
                self.server.settings[key] = value
            else:
                raise Refused("no setting %r; there are: %s" % (
                    key, ", ".join(sorted(self.server.settings))))
            if key in ("rate", "window", "window_align", "workspace_rate",
                       "workspace_window"):
                self.server.windows.state.clear()
        return {"settings": self.server.settings}

    def cmd_advance(self, spec):
        """{"seconds": n}: pushes the clock (times, windows, lags) on."""
        self.store.clock.offset += float(spec["seconds"])
        return {"offset": self.store.clock.offset}

    def cmd_clear_log(self, spec):
        """Forgets arrivals and counters."""
        self.server.clear_log()

    def cmd_reset(self, spec):
        """Forgets everything but settings and given tokens."""
        self.server.reset()

    def cmd_save(self, spec):
        """Writes --state now."""
        return {"saved": self.server.save()}

    # --- workspaces, tokens ---

    def cmd_workspace(self, spec):
        """{"user"}: the workspace with its shared top page, made if need be."""
        ws = self.ws(spec)
        return {"user": ws.user, "id": ws.id, "person": ws.person,
                "page": self.root(ws).id}

    def cmd_add_token(self, spec):
        """{"token", "user", "kind": "internal" | "pat" | "oauth"}"""
        entry = self.store.add_token(spec["token"], spec.get("user", "alice"),
                                     spec.get("kind", "internal"),
                                     spec.get("refresh"))
        return {"bot": entry.bot}

    def cmd_revoke_token(self, spec):
        """{"token"} or {"user"}: from now on 401."""
        gone = [t for t, e in self.store.tokens.items()
                if t == spec.get("token") or e.ws.user == spec.get("user")]
        for token in gone:
            entry = self.store.drop_token(token)
            if entry.refresh and spec.get("refresh_too"):
                self.store.refresh_tokens[entry.refresh] = None
        return {"revoked": len(gone)}

    def cmd_oauth_client(self, spec):
        """{"id", "secret"}"""
        self.store.oauth_clients[spec["id"]] = spec["secret"]

    def cmd_oauth_code(self, spec):
        """{"user"}: the user agreed; a code good for one exchange."""
        code = "%032x" % self.store.random.getrandbits(128)
        self.store.oauth_codes[code] = self.ws(spec).user
        return {"code": code}

    def cmd_oauth_tokens(self, spec):
        """{"user"}: the live OAuth pairs."""
        return {"tokens": [
            {"token": t.token, "refresh": t.refresh, "bot": t.bot}
            for t in self.store.tokens.values() if t.kind == "oauth"
            and spec.get("user") in (None, t.ws.user)]}

    # --- what the user makes ---

    def cmd_create_page(self, spec):
        """{"user", "title", "parent"?}: a page; without parent at the top."""
        ws = self.ws(spec)
        parent = self.node(spec, ("page",), "parent") if "parent" in spec \
            else None
        page = self.store.create_page(
            parent.ws if parent else ws, parent,
            {"title": rich(spec.get("title", "Untitled"))}, ws.person, True)
        return {"id": page.id}

    def cmd_create_database(self, spec):
        """{"user", "parent"?, "preset": "notebooks" | "todos"} or {"title",
        "properties": as in the API}: ids of database, data source, columns."""
        ws = self.ws(spec)
        parent = self.node(spec, ("page",), "parent") if "parent" in spec \
            else self.root(ws)
        title, columns = PRESETS.get(spec.get("preset"), ("Database", None))
        if "properties" in spec:
            columns = {n: schema.property_config(c, "properties." + n)[:2]
                       for n, c in spec["properties"].items()}
        if columns is None:
            columns = {"Name": ("title", {})}
        db, source = self.store.create_database(
            ws, parent, rich(spec.get("title", title)),
            spec.get("is_inline", True), columns, ws.person, True)
        return {"id": db.id, "data_source_id": source.id, "page": parent.id,
                "properties": {p.name: p.id for p in source.schema.values()}}

    def cmd_create_row(self, spec):
        """{"data_source", "title", "properties": {name: API value}}: the user
        adds a row."""
        source = self.node(spec, ("data_source",), "data_source")
        page = self.store.create_page(source.ws, source,
                                      {"title": rich(spec.get("title", ""))},
                                      source.ws.person, True)
        for name, value in spec.get("properties", {}).items():
            self.cmd_set_property({"id": page.id, "property": name,
                                   "value": value})
        return {"id": page.id}

    # --- what the user does ---

    def cmd_trash(self, spec):
        """{"id"}: a page, block, database or data source goes to the trash."""
        node = self.node(spec)
        self.store.trash(node, True, node.ws.person)

    cmd_delete_block = cmd_trash

    def cmd_restore(self, spec):
        """{"id"}: back from the trash."""
        node = self.node(spec)
        self.store.trash(node, False, node.ws.person)

    def cmd_purge(self, spec):
        """{"id"}: gone from the trash, too; answers 404 from now on."""
        node = self.node(spec)
        for n in list(node.walk()):
            self.store.nodes.pop(n.id, None)
        (node.parent.children if node.parent else node.ws.pages).remove(node)

    def cmd_unshare(self, spec):
        """{"id"}: the connection no longer sees it or what is below."""
        self.node(spec).shared = False

    def cmd_share(self, spec):
        """{"id"}: undoes unshare."""
        self.node(spec).shared = True

    def cmd_rename_column(self, spec):
        """{"data_source", "column", "name"}"""
        source, prop = self.column(spec)
        prop.name = spec["name"]
        self.schema_event(source, prop, "updated")

    def cmd_delete_column(self, spec):
        """{"data_source", "column"}"""
        source, prop = self.column(spec)
        del source.schema[prop.id]
        self.schema_event(source, prop, "deleted")

    def cmd_add_column(self, spec):
        """{"data_source", "name", "type", "settings"?}"""
        source = self.node(spec, ("data_source",), "data_source")
        prop = self.store.add_property(source, spec["name"], spec["type"],
                                       spec.get("settings", {}))
        self.schema_event(source, prop, "created")
        return {"property": prop.id}

    def column(self, spec):
        source = self.node(spec, ("data_source",), "data_source")
        prop = self.store.find_property(source, spec["column"])
        if prop is None:
            raise Refused("no column " + spec["column"])
        return source, prop

    def schema_event(self, source, prop, action):
        self.store.event("data_source.schema_updated", source,
                         source.ws.person, updated_properties=[
                             {"id": prop.id, "name": prop.name,
                              "action": action}])

    def cmd_add_data_source(self, spec):
        """{"database", "title"}: a second data source in the database."""
        db = self.node(spec, ("database",), "database")
        source = self.store.create_data_source(
            db, rich(spec.get("title", "Second")), {"Name": ("title", {})},
            db.ws.person, True)
        return {"id": source.id}

    def cmd_edit_text(self, spec):
        """{"id", "text", "keep_link"?}: the user rewrites a block's text or a
        page's title.  The link of the first run stays unless told."""
        node = self.node(spec, ("block", "page"))
        if node.kind == "page":
            self.store.set_values(node, {"title": rich(spec["text"])},
                                  node.ws.person)
            return
        href = notion_view.href_of(node) if spec.get("keep_link", True) \
            else None
        self.store.set_content(node, {"rich_text": rich(spec["text"], href)},
                               node.ws.person)

    def cmd_check(self, spec):
        """{"id", "checked"?, "property"?}: ticks a to_do block, or a
        checkbox of a row (the first one, if not named)."""
        node = self.node(spec, ("block", "page"))
        checked = bool(spec.get("checked", True))
        if node.kind == "block":
            if node.type != "to_do":
                raise Refused("not a to_do block")
            self.store.set_content(node, {"checked": checked}, node.ws.person)
            return
        for prop in node.parent.schema.values():
            if prop.type == "checkbox" and spec.get("property") in (
                    None, prop.name, prop.id):
                self.store.set_values(node, {prop.id: checked},
                                      node.ws.person)
                return
        raise Refused("no such checkbox")

    def cmd_set_property(self, spec):
        """{"id", "property", "value"}: value as in the API."""
        page = self.node(spec, ("page",))
        prop = self.store.find_property(page.parent, spec["property"])
        if prop is None:
            raise Refused("no column " + spec["property"])
        value = schema.property_value(spec["value"], "value", prop.name,
                                      prop.type)
        if prop.type in ("select", "status") and value:
            value = self.store.pick_option(prop, value)
        elif prop.type == "multi_select":
            value = [self.store.pick_option(prop, v) for v in value]
        self.store.set_values(page, {prop.id: value}, page.ws.person)

    def cmd_user_block(self, spec):
        """{"parent", "text" | "block", "position": "start" | "end" |
        {"after": id}}: the user writes something of his own."""
        parent = self.node(spec, ("page", "block"), "parent")
        given = spec.get("block") or {"paragraph": {
            "rich_text": [{"text": {"content": spec["text"]}}]}}
        news = notion_blocks.block_list([given], "block")
        reason = accepts_child(parent, news[0].type)
        if reason:
            raise Refused(reason)
        where = spec.get("position", "end")
        place = (where, None) if isinstance(where, str) else \
            ("after_block", self.node({"id": where["after"]}))
        _, made = self.store.append(parent, news, place, parent.ws.person,
                                    True)
        return {"id": made[0].id}

    def cmd_move(self, spec):
        """{"id", "to"?, "index"?}: drags a block or page elsewhere."""
        node = self.node(spec, ("block", "page"))
        to = self.node(spec, ("block", "page", "data_source"), "to") \
            if "to" in spec else node.parent
        (node.parent.children if node.parent else node.ws.pages).remove(node)
        node.parent = to
        to.children.insert(spec.get("index", len(to.children)), node)
        self.store.touch(node, node.ws.person)
        if node.kind == "page":
            self.store.event("page.moved", node, node.ws.person)

    def cmd_duplicate(self, spec):
        """{"id"}: "Duplicate" in the menu.  The copy carries the same
        properties and links, markers included."""
        node = self.node(spec, ("block", "page"))
        twin = self.copy(node, node.parent)
        kin = node.parent.children if node.parent else node.ws.pages
        kin.insert(kin.index(node) + 1, twin)
        return {"id": twin.id}

    def copy(self, node, parent):
        store = self.store
        twin = store._node(node.kind, node.ws, parent, node.ws.person, True)
        twin.type, twin.icon = node.type, node.icon
        twin.content = copy.deepcopy(node.content)
        twin.children = [self.copy(c, twin) for c in node.live_children()]
        if node.kind == "page":
            twin.values = dict(node.values)
            store.index(twin, True)
            store.event("page.created", twin, node.ws.person)
        return twin

    def cmd_comment(self, spec):
        """{"id", "text"}: a comment on a block.  Lost with the block, so it
        shows whether an update kept the block."""
        node = self.node(spec, ("block", "page"))
        ident = self.store.new_id(True)
        node.ws.comments.append({
            "object": "comment", "id": ident,
            "parent": {"type": "block_id", "block_id": node.id},
            "created_time": notion_query.iso(self.store.clock.now()),
            "created_by": {"object": "user", "id": node.ws.person},
            "rich_text": rich(spec.get("text", "…"))})
        return {"id": ident}

    def cmd_find(self, spec):
        """{"text" | "title" | "marker" | "href"}: ids of live objects that
        contain it."""
        found = []
        for node in self.store.nodes.values():
            if node.in_trash() or spec.get("user") not in (None, node.ws.user):
                continue
            if node.kind == "block" and (
                    spec.get("text", "\0") in notion_view.block_text(node) or
                    spec.get("href", "\0") in (notion_view.href_of(node)
                                               or "")) or \
                    node.kind != "block" and \
                    spec.get("title", "\0") in node.plain_title() or \
                    spec.get("marker", "\0") in (notion_view.marker_of(node)
                                                 or ""):
                found.append(node.id)
        return {"ids": found}

    # --- webhooks ---

    def cmd_webhook_subscribe(self, spec):
        """{"user", "url"?, "token"?}: makes the subscription; answers (and
        POSTs) the handshake with its verification token."""
        ws = self.ws(spec)
        ws.subscription = self.store.new_id(True)
        ws.verification_token = spec.get("token") or "secret_%043x" % \
            self.store.random.getrandbits(172)
        ws.events.clear()
        body = json.dumps({"verification_token": ws.verification_token})
        return self.post(spec, [{"headers": {
            "Content-Type": "application/json"}, "body": body}])

    def cmd_webhooks(self, spec):
        """{"user", "url"?, "duplicates": n, "shuffle": bool, "aggregate":
        bool, "bad_signature": bool, "keep": bool}: what Notion would deliver
        for everything since the last time, as {headers, body} and POSTed to
        url."""
        ws = self.ws(spec)
        if ws.subscription is None:
            raise Refused("webhook_subscribe comes first")
        events = list(ws.events)
        if not spec.get("keep"):
            ws.events.clear()
        if spec.get("aggregate", True):
            events = aggregate(events)
        out = []
        for event in events:
            delivery = self.delivery(ws, event, bool(spec.get("bad_signature")))
            out.extend([delivery] * (1 + int(spec.get("duplicates", 0))))
        if spec.get("shuffle"):
            self.store.random.shuffle(out)
        return self.post(spec, out)

    def delivery(self, ws, event, spoil):
        node = self.store.nodes.get(event["node"])
        author = event["author"]
        body = {
            "id": self.store.new_id(True),
            "timestamp": stamp(self.store.clock.now()),
            "workspace_id": ws.id, "workspace_name": ws.name,
            "subscription_id": ws.subscription,
            "integration_id": self.store.integration_id,
            "authors": [{"id": author, "type": "person"
                         if author == ws.person else "bot"}],
            "accessible_by": [{"id": ws.person, "type": "person"}],
            "attempt_number": 1, "api_version": "2026-03-11",
            "type": event["type"],
            "entity": {"id": event["node"],
                       "type": node.kind if node else "page"},
            "data": {"parent": webhook_parent(ws, node)}}
        for key in ("updated_properties", "updated_blocks"):
            if key in event:
                body["data"][key] = event[key] if key != "updated_blocks" \
                    else [{"id": i, "type": "block"} for i in event[key]]
        raw = json.dumps(body, ensure_ascii=False)
        digest = hmac.new(ws.verification_token.encode(), raw.encode(),
                          hashlib.sha256).hexdigest()
        if spoil:
            digest = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        return {"headers": {"Content-Type": "application/json",
                            "X-Notion-Signature": "sha256=" + digest},
                "body": raw}

    async def post(self, spec, deliveries):
        url = spec.get("url")
        statuses = []
        if url:
            if urllib.parse.urlsplit(url).hostname not in (
                    "127.0.0.1", "localhost", "::1"):
                raise Refused("loopback only")
            loop = asyncio.get_running_loop()
            for item in deliveries:
                statuses.append(await loop.run_in_executor(
                    None, send_one, url, item))
        return {"deliveries": deliveries, "statuses": statuses}


def send_one(url, item):
    request = urllib.request.Request(url, item["body"].encode(),
                                     item["headers"], method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def rich(text, href=None):
    return schema.rich_text([{"text": {
        "content": text, **({"link": {"url": href}} if href else {})}}]
        if text else [], "text")


def stamp(epoch):
    return notion_query.datetime.datetime.fromtimestamp(
        epoch, notion_query.datetime.timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (epoch % 1 * 1000)


def webhook_parent(ws, node):
    above = node.parent if node else None
    if above is None:
        return {"id": ws.id, "type": "space"}
    if above.kind == "data_source":
        return {"id": above.parent.id, "type": "database",
                "data_source_id": above.id}
    return {"id": above.id, "type": above.kind}


OPPOSITES = {"page.deleted": "page.undeleted",
             "page.undeleted": "page.deleted",
             "data_source.deleted": "data_source.undeleted",
             "data_source.undeleted": "data_source.deleted"}


def aggregate(events):
    """Changes of one object in one period become one event; opposite ones may
    cancel to nothing."""
    merged = {}
    for event in events:
        opposite = (event["node"], OPPOSITES.get(event["type"]))
        if opposite in merged:
            del merged[opposite]
            continue
        key = (event["node"], event["type"])
        if key not in merged:
            merged[key] = copy.deepcopy(event)
            continue
        old = merged[key]
        old["author"] = event["author"]
        for name in ("updated_properties", "updated_blocks"):
            for item in event.get(name, ()):
                if item not in old[name]:
                    old[name].append(item)
    return list(merged.values())
