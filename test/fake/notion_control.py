"""The side door for tests: faults, the user in front of Notion, oracles.

POST /_control takes one command or a list of them; every method cmd_x below
is the command "x" and its docstring the manual.  Nothing here counts as a
request or needs a token.
"""
import asyncio
import json

import notion_view
from notion_schema import ApiError
from notion_user import Refused, UserActions
from notion_webhooks import Webhooks

# What is told of an arrival in brief.
BRIEF = ("n", "user", "method", "path", "status", "fault", "about")


class Control(UserActions, Webhooks):
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
                              "/_notebooks, /_blocks, /_arrivals, /_stats")
        except Refused as error:
            return 400, kind, self.fail(str(error))
        except ApiError as error:
            return 400, kind, self.fail(error.message)
        except (KeyError, ValueError, TypeError) as error:
            return 400, kind, self.fail("%s: %s" % (type(error).__name__,
                                                    error))
        if isinstance(value, str):
            return 200, "text/plain; charset=utf-8", value.encode()
        # No indent: it would take the slow encoder, and a dump is large.
        return 200, kind, json.dumps(value, ensure_ascii=False).encode()

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
        if path == "/_blocks":
            return notion_view.block_ids(store, user)
        if path == "/_notebooks":
            return notion_view.notebooks(store, user, "lines" in query,
                                         "shallow" not in query)
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
        found = [e for e in self.server.arrivals if e["n"] > since
                 and query.get("method") in (None, e["method"])
                 and query.get("path", "") in e["path"]
                 and query.get("user") in (None, e["user"])]
        return [{k: e[k] for k in BRIEF} for e in found] \
            if "brief" in query else found

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
