"""The person in front of Notion: commands that change things by hand."""
import copy

import notion_blocks
import notion_query
import notion_schema as schema
import notion_view
from notion_schema import dashed
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


class UserActions:
    """Mixed into Control, which has the store."""

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

    def cmd_archive(self, spec):
        """{"id", "writes": "allow" | "refuse"}: a page is archived, which is
        not the trash."""
        node = self.node(spec, ("page",))
        node.archived = spec.get("writes", "allow")
        if node.archived not in ("allow", "refuse"):
            raise Refused("writes is allow or refuse")
        self.store.touch(node, node.ws.person)

    def cmd_unarchive(self, spec):
        """{"id"}: undoes archive."""
        node = self.node(spec, ("page",))
        node.archived = None
        self.store.touch(node, node.ws.person)

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


def rich(text, href=None):
    return schema.rich_text([{"text": {
        "content": text, **({"link": {"url": href}} if href else {})}}]
        if text else [], "text")
