"""The objects the stand-in holds, and every change to them.

Used from one thread only (the server's event loop), so a change is atomic.
The API (notion_api.py) and the actions of the user in front of Notion
(notion_control.py) both end here; "author" tells them apart.
"""
import collections
import copy
import random
import time
import urllib.parse

import notion_blocks
from notion_schema import (ApiError, BASE_COLORS, bad, option_name, plain,
                           property_key)

ARCHIVED = ("Can't edit block that is archived. You must unarchive the block "
            "before editing.")
ARCHIVED_ANCESTOR = ("Can't edit page on block with an archived ancestor. You "
                     "must unarchive the ancestor before editing page.")


class Clock:
    """Time that tests may push forward."""

    def __init__(self):
        self.offset = 0.0

    def now(self):
        return time.time() + self.offset

    def monotonic(self):
        return time.monotonic() + self.offset


class Workspace:
    def __init__(self, ident, user, person):
        self.id = ident
        self.user = user
        self.person = person              # id of the human
        self.name = "%s's workspace" % user.capitalize()
        self.pages = []                   # top-level pages
        self.blocks_made = 0              # lifetime count of the free plan
        self.block_limit = None
        self.events = collections.deque(maxlen=20000)
        self.comments = []
        self.subscription = None
        self.verification_token = None


class Token:
    """One connection's token.  The rate window belongs to the bot, so that a
    refreshed OAuth token does not get a fresh allowance."""

    def __init__(self, token, ws, bot, name, kind="internal", refresh=None):
        self.token = token
        self.ws = ws
        self.bot = bot
        self.name = name
        self.kind = kind                  # internal, oauth or pat
        self.refresh = refresh


class Node:
    """A page, block, database or data source."""

    __slots__ = ("id", "kind", "ws", "parent", "children", "trashed", "shared",
                 "created", "edited", "created_by", "edited_by", "type",
                 "content", "values", "schema", "title", "icon", "cover",
                 "locked", "inline", "archived", "seq", "indexed", "hidden")

    def __init__(self, ident, kind, ws, parent, author, now):
        self.id = ident
        self.kind = kind
        self.ws = ws
        self.parent = parent
        # Database: its data sources.  Data source: its rows.
        self.children = []
        self.trashed = False
        self.shared = True
        self.created = self.edited = now
        self.created_by = self.edited_by = author
        self.type = None                  # block
        self.content = None
        self.values = None                # page: property id -> value
        self.schema = None                # data source: id -> Property
        self.title = []                   # database and data source
        self.icon = self.cover = None
        self.locked = self.inline = False
        self.archived = None              # page: None, "allow" or "refuse"
        self.seq = 0
        self.indexed = None               # what queries see: a copy
        self.hidden = 0.0                 # search does not see it before

    def lineage(self):
        node = self
        while node is not None:
            yield node
            node = node.parent

    def in_trash(self):
        return any(n.trashed for n in self.lineage())

    def reachable(self):
        return all(n.shared for n in self.lineage())

    def live_children(self):
        return [c for c in self.children if not c.trashed]

    def page(self):
        """The page this block stands on (itself, if it is one)."""
        for node in self.lineage():
            if node.kind == "page":
                return node
        return None

    def block_type(self):
        return {"page": "child_page", "database": "child_database"}.get(
            self.kind, self.type)

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()

    def plain_title(self):
        if self.kind == "page":
            return plain(self.values.get("title", []))
        return plain(self.title)


class Property:
    __slots__ = ("id", "name", "type", "settings", "description")

    def __init__(self, ident, name, kind, settings):
        self.id = ident
        self.name = name
        self.type = kind
        self.settings = settings
        self.description = None


class Store:
    def __init__(self, seed=1):
        self.clock = Clock()
        self.random = random.Random(seed)
        self.nodes = {}
        self.workspaces = {}
        self.tokens = {}
        self.dead_tokens = set()
        self.oauth_clients = {}
        self.oauth_codes = {}             # code -> user, or None once used
        self.refresh_tokens = {}          # refresh -> Token, or None once used
        self.uploads = {}
        self.connection_name = "rmirror"
        self.integration_id = None
        self.query_lag = (0.0, 0.0)
        self.search_lag = (0.0, 0.0)
        self.lagging = collections.deque()
        self.seq = 0
        # API-made ids of one run share their beginning, as in production:
        # nobody may use a prefix as an id.
        self.id_head = "%08x-%04x" % (0x393abc1e ^ self.random.getrandbits(8),
                                      self.random.getrandbits(16))
        self.integration_id = self.new_id(user=True)

    # --- identities ---

    def new_id(self, user=False):
        r = self.random.getrandbits
        return "%s-%s%02x-%04x-%012x" % (
            self.id_head, "80" if user else "81", r(8),
            0x8000 | r(14), r(48))

    def property_id(self, taken):
        """Four characters that need percent-encoding, as Notion's often do."""
        marks = ":;<=>?@[]^_`{|}~"
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        while True:
            chars = [self.random.choice(marks)] + \
                [self.random.choice(letters) for _ in range(3)]
            self.random.shuffle(chars)
            ident = urllib.parse.quote("".join(chars), safe="")
            if ident not in taken:
                return ident

    def workspace(self, user):
        ws = self.workspaces.get(user)
        if ws is None:
            ws = Workspace(self.new_id(True), user, self.new_id(True))
            self.workspaces[user] = ws
        return ws

    def add_token(self, token, user, kind="internal", refresh=None, bot=None):
        entry = Token(token, self.workspace(user), bot or self.new_id(True),
                      self.connection_name, kind, refresh)
        self.tokens[token] = entry
        self.dead_tokens.discard(token)
        if refresh:
            self.refresh_tokens[refresh] = entry
        return entry

    def drop_token(self, token):
        entry = self.tokens.pop(token, None)
        self.dead_tokens.add(token)
        return entry

    # --- creating ---

    def _node(self, kind, ws, parent, author, user):
        self.seq += 1
        node = Node(self.new_id(user), kind, ws, parent, author,
                    self.clock.now())
        node.seq = self.seq
        self.nodes[node.id] = node
        return node

    def create_page(self, ws, parent, values, author, user=False, icon=None):
        page = self._node("page", ws, parent, author, user)
        page.values = values
        page.icon = icon
        (parent.children if parent else ws.pages).append(page)
        self.hide(page)
        self.index(page, True)
        self.count_blocks(ws, 1)
        if parent is not None:
            self.touch(parent, author)
        self.event("page.created", page, author)
        return page

    def create_database(self, ws, parent, title, inline, properties, author,
                        user=False, icon=None):
        db = self._node("database", ws, parent, author, user)
        db.title = title
        db.inline = inline
        db.icon = icon
        (parent.children if parent else ws.pages).append(db)
        self.count_blocks(ws, 1)
        source = self.create_data_source(db, title, properties, author, user)
        if parent is not None:
            self.touch(parent, author)
        self.event("database.created", db, author)
        return db, source

    def create_data_source(self, db, title, properties, author, user=False):
        source = self._node("data_source", db.ws, db, author, user)
        source.title = title
        source.schema = {}
        db.children.append(source)
        for name, (kind, settings) in properties.items():
            self.add_property(source, name, kind, settings)
        self.hide(source)
        self.event("data_source.created", source, author)
        return source

    def append(self, parent, news, place, author, user=False):
        """Inserts validated blocks; returns (index, nodes)."""
        kind, anchor = place
        if kind == "end":
            at = len(parent.children)
        elif kind == "start":
            at = 0
        else:
            at = parent.children.index(anchor) + 1
        made = [self._materialise(n, parent, author, user) for n in news]
        parent.children[at:at] = made
        self.count_blocks(parent.ws, sum(1 for n in news for _ in n.walk()))
        self.touch(parent, author)
        page = parent.page()
        if page is not None:
            self.event("page.content_updated", page, author,
                       updated_blocks=[m.id for m in made])
        return at, made

    def _materialise(self, new, parent, author, user):
        node = self._node("block", parent.ws, parent, author, user)
        node.type = new.type
        node.content = new.content
        node.children = [self._materialise(c, node, author, user)
                         for c in new.children]
        return node

    # --- the free plan ---

    def count_blocks(self, ws, n):
        ws.blocks_made += n

    def check_block_limit(self, token, n):
        """Every block-creating write fails once the lifetime allowance is
        used up; personal access tokens are exempt."""
        ws = token.ws
        if ws.block_limit is None or token.kind == "pat":
            return
        if ws.blocks_made + n > ws.block_limit:
            raise ApiError(403, "restricted_resource",
                           "This workspace has reached its block limit. "
                           "Upgrade the plan to add more blocks.",
                           {"block_limit": "block_creation"})

    # --- changing ---

    def touch(self, node, author):
        """An edit shows on the object and on the page around it."""
        now = self.clock.now()
        node.edited, node.edited_by = now, author
        page = node.page() if node.kind == "block" else None
        if page is not None:
            page.edited, page.edited_by = now, author
        page = page or node
        if page.kind == "page" and page.indexed is not None:
            self.index(page)

    def set_values(self, page, changes, author):
        # A new dict: the query index may still hold the old one.
        page.values = {**page.values, **changes}
        self.touch(page, author)
        self.event("page.properties_updated", page, author,
                   updated_properties=list(changes))

    def set_content(self, block, changes, author):
        block.content = {**block.content, **changes}
        self.touch(block, author)
        page = block.page()
        if page is not None:
            self.event("page.content_updated", page, author,
                       updated_blocks=[block.id])

    def trash(self, node, flag, author):
        node.trashed = flag
        self.touch(node, author)
        if node.parent is not None:
            self.touch(node.parent, author)
        if node.kind == "page":
            self.event("page.deleted" if flag else "page.undeleted", node,
                       author)
        elif node.kind == "block":
            page = node.page()
            if page is not None:
                self.event("page.content_updated", page, author,
                           updated_blocks=[node.id])
        else:
            self.event("%s.%s" % (node.kind,
                                  "deleted" if flag else "undeleted"),
                       node, author)

    def erase(self, page, author):
        for child in page.live_children():
            child.trashed = True
        self.touch(page, author)
        self.event("page.content_updated", page, author, updated_blocks=[])

    def check_editable(self, node):
        if node.trashed:
            raise bad(ARCHIVED)
        if node.in_trash():
            raise bad(ARCHIVED_ANCESTOR)
        if any(n.archived == "refuse" for n in node.lineage()):
            raise bad(ARCHIVED)

    # --- schemas ---

    def find_property(self, source, key):
        """By name first, then by id in either spelling."""
        for prop in source.schema.values():
            if prop.name == key:
                return prop
        for prop in source.schema.values():
            if prop.id == key or property_key(prop.id) == key:
                return prop
        return None

    def add_property(self, source, name, kind, settings):
        ident = "title" if kind == "title" else \
            self.property_id(source.schema)
        prop = Property(ident, name, kind, dict(settings or {}))
        if kind in ("select", "multi_select", "status"):
            prop.settings["options"] = []
            for given in (settings or {}).get("options", []):
                self.add_option(prop, given)
        if kind == "status" and not prop.settings["options"]:
            for label, color in (("Not started", "default"),
                                 ("In progress", "blue"), ("Done", "green")):
                self.add_option(prop, {"name": label, "color": color})
        source.schema[ident] = prop
        return prop

    def add_option(self, prop, given):
        options = prop.settings["options"]
        entry = {"id": given.get("id") or self.new_id(True),
                 "name": given["name"],
                 "color": given.get("color")
                 or BASE_COLORS[len(options) % len(BASE_COLORS)],
                 "description": given.get("description")}
        options.append(entry)
        return entry

    def pick_option(self, prop, given):
        """The option a page names.  Select options are made on demand, status
        options are not."""
        options = prop.settings["options"]
        for entry in options:
            if entry["id"] == given.get("id") or (
                    "id" not in given and entry["name"] == given["name"]):
                if given.get("color", entry["color"]) != entry["color"]:
                    raise bad("Cannot update color of select with name: %s."
                              % entry["name"])
                return entry
        if "name" not in given or prop.type == "status":
            raise bad("%s option \"%s\" does not exist." % (
                prop.type.capitalize(), given.get("name", given.get("id"))))
        option_name(given["name"], prop.name)
        return self.add_option(prop, given)

    # --- what queries and search see ---

    def lag(self, span):
        low, high = span
        return low if high <= low else self.random.uniform(low, high)

    def hide(self, node):
        delay = self.lag(self.search_lag)
        node.hidden = self.clock.monotonic() + delay if delay > 0 else 0.0

    def index(self, page, new=False):
        """Queries read an index that may trail the objects, their times
        included; reads by id do not."""
        delay = self.lag(self.query_lag)
        snapshot = copy.copy(page)
        snapshot.indexed = None
        if delay <= 0 and not any(p is page for _, p, _ in self.lagging):
            page.indexed = snapshot
            return
        self.lagging.append((self.clock.monotonic() + max(delay, 0), page,
                             snapshot))

    def settle(self):
        """Lets the index catch up with what is due."""
        if not self.lagging:
            return
        now = self.clock.monotonic()
        waiting = set()
        left = collections.deque()
        for due, page, snapshot in self.lagging:
            # Changes of one page are seen in order.
            if due <= now and page.id not in waiting:
                page.indexed = snapshot
            else:
                waiting.add(page.id)
                left.append((due, page, snapshot))
        self.lagging = left

    # --- events for webhooks ---

    def event(self, kind, node, author, **data):
        node.ws.events.append({"at": self.clock.now(), "type": kind,
                               "node": node.id, "author": author, **data})

    # --- finding ---

    def get(self, token, ident, kinds, noun):
        """The object of that id, if this token may see it.  Missing and
        unshared answer alike."""
        node = self.nodes.get(ident)
        if node is None or node.ws is not token.ws or node.kind not in kinds \
                or not node.reachable():
            raise self.not_found(noun, ident)
        return node

    def not_found(self, noun, ident):
        return ApiError(
            404, "object_not_found",
            "Could not find %s with ID: %s. Make sure the relevant pages and "
            "databases are shared with your integration \"%s\"."
            % (noun, ident, self.connection_name),
            {"integration_id": self.integration_id})


def accepts_child(parent, kind):
    if parent.kind == "page":
        return notion_blocks.accepts("page", {}, kind)
    if parent.kind == "block":
        return notion_blocks.accepts(parent.type, parent.content, kind)
    return "Block does not support children."
