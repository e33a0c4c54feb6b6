"""The endpoints.

Each takes a Call (token, query, body, store, settings), changes the store and
returns the JSON to answer.  Everything is validated before anything is
changed, so a request is applied whole or not at all.
"""
import base64
import json
import re
import urllib.parse

import notion_blocks
import notion_query
import notion_render as render
import notion_schema as schema
from notion_schema import (MAX_ARRAY, MAX_PROPERTIES, ApiError, bad,
                           need_bool, need_enum, need_object,
                           need_string, need_uuid, only_keys, rich_text, wrong)
from notion_store import accepts_child

UPLOAD_LIFE = 3600


class Call:
    """One request on its way through the API."""

    def __init__(self, server, token, method, path, query, headers, raw):
        self.server = server
        self.store = server.store
        self.settings = server.settings
        self.token = token
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.raw = raw
        self.body = None
        self.wrote = False
        self.resource = None        # what a 503 "saved" answer points to
        self.children = None

    @property
    def author(self):
        return self.token.bot

    def committed(self, resource=None, children=None):
        self.wrote = True
        self.resource = resource
        self.children = children


def parse_json(raw):
    def constant(name):
        raise ValueError(name)

    def pairs(items):
        out = dict(items)
        if len(out) != len(items):
            raise ValueError("duplicate key")
        return out

    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=constant,
                           object_pairs_hook=pairs)
        # Escaped lone surrogates are not text.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise bad("Error parsing JSON body.", "invalid_json") from None
    return value


def read_body(call):
    if call.method not in ("POST", "PATCH"):
        return
    kind = call.headers.get("content-type", "").split(";")[0].strip().lower()
    if len(call.raw) > call.settings["max_body"]:
        raise ApiError(call.settings["payload_status"], "validation_error",
                       "body failed validation: the payload should be ≤ `%d` "
                       "bytes, instead was `%d`."
                       % (call.settings["max_body"], len(call.raw)))
    if kind == "multipart/form-data":
        return
    if not call.raw:
        call.body = {}
        return
    if kind != "application/json":
        raise bad("Content-Type should be application/json, instead was `%s`."
                  % kind, "invalid_request")
    call.body = parse_json(call.raw)
    if not isinstance(call.body, dict):
        raise wrong("body", "an object", call.body)


# --- users ----------------------------------------------------------------

def users_me(call):
    ws = call.token.ws
    owner = ({"type": "user", "user": render.user(ws.person)}
             if call.token.kind != "internal"
             else {"type": "workspace", "workspace": True})
    return {
        "object": "user", "id": call.token.bot, "name": call.token.name,
        "avatar_url": None, "type": "bot",
        "bot": {"owner": owner, "workspace_id": ws.id,
                "workspace_name": ws.name,
                "workspace_limits": {
                    "max_file_upload_size_in_bytes":
                        call.settings["max_upload"]}}}


def users_get(call, user_id):
    ws = call.token.ws
    if user_id == call.token.bot:
        return users_me(call)
    if user_id == ws.person:
        return {"object": "user", "id": user_id, "name": ws.user,
                "avatar_url": None, "type": "person",
                "person": {"email": ws.user + "@example.com"}}
    raise call.store.not_found("user", user_id)


# --- databases ------------------------------------------------------------

def database_get(call, database_id):
    return render.database(call.store.get(call.token, database_id,
                                          ("database",), "database"))


def columns(value, path):
    """The schema of a new data source."""
    need_object(value, path)
    if len(value) > MAX_PROPERTIES:
        raise bad("The schema has exceeded the maximum size of %d properties."
                  % MAX_PROPERTIES)
    out = {}
    for name, config in value.items():
        if name == "":
            raise wrong(path, "an object without empty keys", value)
        kind, settings, _ = schema.property_config(
            config, "%s.%s" % (path, name))
        out[name] = (kind, settings)
    titles = [n for n, (kind, _) in out.items() if kind == "title"]
    if len(titles) != 1:
        raise bad("Title is not provided" if not titles else
                  "A data source has exactly one title property, not %d."
                  % len(titles))
    return out


def database_create(call):
    body, store = call.body, call.store
    only_keys(body, "body", ("parent", "title", "description", "is_inline",
                             "initial_data_source", "icon", "cover"))
    if "parent" not in body:
        raise wrong("body.parent", "defined")
    if isinstance(body["parent"], dict) and "type" not in body["parent"]:
        raise wrong("body.parent.type", "defined")
    kind, ident = schema.parent(body["parent"], "body.parent",
                                ("page_id", "workspace"))
    parent = find_parent(call, kind, ident)
    title = rich_text(body.get("title", []), "body.title")
    rich_text(body.get("description", []), "body.description")
    inline = need_bool(body.get("is_inline", False), "body.is_inline")
    first = need_object(body.get("initial_data_source", {}),
                        "body.initial_data_source")
    only_keys(first, "body.initial_data_source", ("properties",))
    props = {"Name": ("title", {})} if "properties" not in first else \
        columns(first["properties"], "body.initial_data_source.properties")
    icon = schema.icon(body["icon"], "body.icon") if body.get("icon") else None
    store.check_block_limit(call.token, 1)
    db, _ = store.create_database(call.token.ws, parent, title, inline, props,
                                  call.author, icon=icon)
    call.committed(db.id)
    return render.database(db)


def database_update(call, database_id):
    body, store = call.body, call.store
    only_keys(body, "body", ("title", "description", "is_inline", "icon",
                             "cover", "in_trash", "is_locked"))
    db = store.get(call.token, database_id, ("database",), "database")
    flag = trash_flag(call, db)
    if "title" in body:
        db.title = rich_text(body["title"], "body.title")
    if "is_inline" in body:
        db.inline = need_bool(body["is_inline"], "body.is_inline")
    if "is_locked" in body:
        db.locked = need_bool(body["is_locked"], "body.is_locked")
    if flag is not None:
        store.trash(db, flag, call.author)
    store.touch(db, call.author)
    call.committed()
    return render.database(db)


# --- data sources ---------------------------------------------------------

def source_get(call, data_source_id):
    # The service says "database" here, too.
    return render.data_source(call.store.get(
        call.token, data_source_id, ("data_source",), "database"))


def source_create(call):
    body, store = call.body, call.store
    only_keys(body, "body", ("parent", "properties", "title", "icon"))
    for key in ("parent", "properties"):
        if key not in body:
            raise wrong("body." + key, "defined")
    _, ident = schema.parent(body["parent"], "body.parent", ("database_id",))
    db = store.get(call.token, ident, ("database",), "database")
    store.check_editable(db)
    title = rich_text(body.get("title", []), "body.title")
    props = columns(body["properties"], "body.properties")
    source = store.create_data_source(db, title, props, call.author)
    call.committed(source.id)
    return render.data_source(source)


def source_update(call, data_source_id):
    body, store = call.body, call.store
    only_keys(body, "body", ("title", "icon", "properties", "in_trash"))
    source = store.get(call.token, data_source_id, ("data_source",),
                       "database")
    flag = trash_flag(call, source)
    steps = []
    if "properties" in body:
        given = need_object(body["properties"], "body.properties")
        for key, config in given.items():
            steps.append(column_change(call, source, key, config,
                                       "body.properties.%s" % key))
    title = rich_text(body["title"], "body.title") if "title" in body else None
    names = [p.name for p in source.schema.values()]
    for action, prop, name, _, _ in steps:
        if action == "add" or action == "change" and name:
            if name in names and (prop is None or prop.name != name):
                raise bad("Property name %s is already in use." % name)
            names.append(name)
    if len(names) > MAX_PROPERTIES:
        raise bad("The schema has exceeded the maximum size of %d properties."
                  % MAX_PROPERTIES)
    apply_columns(call, source, steps)
    if title is not None:
        source.title = title
    if flag is not None:
        store.trash(source, flag, call.author)
    store.touch(source, call.author)
    call.committed()
    return render.data_source(source)


def column_change(call, source, key, config, path):
    """One change of a schema: (action, property, name, type, settings)."""
    prop = call.store.find_property(source, key)
    if config is None:
        if prop is None:
            raise bad("%s is not a property that exists." % key)
        if prop.type == "title":
            raise bad("Cannot delete the title property.")
        return "delete", prop, None, None, None
    kind, settings, name = schema.property_config(config, path, update=True)
    if prop is None:
        if kind is None:
            raise bad("%s is not a property that exists." % key)
        if kind == "title":
            raise bad("Cannot create new title property.")
        return "add", None, name or key, kind, settings
    if kind is not None and kind != prop.type and "title" in (kind, prop.type):
        raise bad("Cannot change the type of or into a title property.")
    return "change", prop, name, kind, settings


def apply_columns(call, source, steps):
    store = call.store
    for action, prop, name, kind, settings in steps:
        changed = {"created": action == "add"}
        if action == "delete":
            del source.schema[prop.id]
        elif action == "add":
            prop = store.add_property(source, name, kind, settings)
        else:
            if name:
                prop.name = name
            if kind is not None and kind != prop.type:
                retype(store, source, prop, kind, settings)
            elif kind in ("select", "multi_select", "status") \
                    and settings["options"]:
                replace_options(store, prop, settings["options"])
            elif kind == "number":
                prop.settings.update(settings)
        changed = {"id": prop.id, "name": prop.name, "action": {
            "add": "created", "change": "updated", "delete": "deleted"}[action]}
        store.event("data_source.schema_updated", source, call.author,
                    updated_properties=[changed])


def retype(store, source, prop, kind, settings):
    """Changing a column's type drops its values here (the service converts
    what it can)."""
    fresh = store.add_property(source, prop.name, kind, settings)
    del source.schema[fresh.id]
    prop.type, prop.settings = kind, fresh.settings
    for row in source.children:
        row.values = {k: v for k, v in row.values.items() if k != prop.id}
        store.index(row)


def replace_options(store, prop, given):
    old = {o["name"]: o for o in prop.settings["options"]}
    prop.settings["options"] = []
    for opt in given:
        known = old.get(opt.get("name"))
        if known is None and "id" in opt:
            known = next((o for o in old.values() if o["id"] == opt["id"]),
                         None)
        if known is not None:
            prop.settings["options"].append(known)
        else:
            store.add_option(prop, opt)


def source_query(call, data_source_id):
    body, store = call.body, call.store
    only_keys(body, "body", ("filter", "sorts", "start_cursor", "page_size",
                             "in_trash", "result_type"))
    source = store.get(call.token, data_source_id, ("data_source",),
                       "database")
    test = notion_query.compile_filter(body["filter"], "body.filter", source,
                                       store) if "filter" in body else None
    sorts = notion_query.compile_sorts(body["sorts"], "body.sorts", source,
                                       store) if "sorts" in body else []
    trash = need_bool(body.get("in_trash", False), "body.in_trash")
    if "result_type" in body:
        need_enum(body["result_type"], "body.result_type",
                  ("page", "data_source"))
    size = schema.page_size(body.get("page_size", MAX_ARRAY), "body")
    only = filter_properties(call, source)
    store.settle()
    above = source.in_trash()
    both = trash and call.settings["trash_query"] == "both"
    rows = []
    for page in source.children:
        if page.indexed is None or not page.shared:
            continue
        values, trashed = page.indexed
        if not both and (trashed or above) != trash:
            continue
        if test is None or test(page, values):
            rows.append((page, values))
    pages = [r[0] for r in notion_query.order(rows, sorts)]
    cap = call.settings["query_limit"]
    chunk, cursor = notion_query.paginate(pages[:cap], size,
                                          body.get("start_cursor"), "body")
    out = render.listing([render.page(p, only) for p in chunk], cursor,
                         "page_or_data_source")
    out["request_status"] = {"type": "complete"}
    if cursor is None and len(pages) > cap:
        out["request_status"] = {
            "type": "incomplete",
            "incomplete_reason": "query_result_limit_reached"}
    return out


def filter_properties(call, source):
    wanted = call.query.get("filter_properties", []) + \
        call.query.get("filter_properties[]", [])
    if not wanted:
        return None
    found = [call.store.find_property(source, key) for key in wanted]
    for key, prop in zip(wanted, found):
        if prop is None:
            raise bad("%s is not a property that exists." % key)
    return {p.id for p in found}


# --- pages ----------------------------------------------------------------

def find_parent(call, kind, ident):
    """The parent a new page or database names, ready to take a child."""
    store = call.store
    if kind == "workspace":
        if call.token.kind == "internal":
            raise bad("Internal integrations aren't owned by a single user, "
                      "so creating workspace-level private pages is not "
                      "supported.")
        return None
    if kind == "page_id":
        parent = store.get(call.token, ident, ("page",), "page")
    elif kind == "data_source_id":
        parent = store.get(call.token, ident, ("data_source",), "database")
    else:
        db = store.get(call.token, ident, ("database",), "database")
        sources = [s for s in db.children if not s.trashed]
        if len(sources) != 1:
            raise bad("Databases with multiple data sources are not supported "
                      "as the parent of a page; use data_source_id.")
        parent = sources[0]
    store.check_editable(parent)
    return parent


def page_values(call, page_parent, given, path):
    """Property values by id.  Options are looked up later, when all is known
    to be right."""
    need_object(given, path)
    out = {}
    if page_parent is None or page_parent.kind != "data_source":
        for key, value in given.items():
            if key != "title":
                raise bad("%s is not a property that exists." % key)
            # Below a page the bare array is legal, too.
            out[key] = (None, rich_text(value, path + ".title")
                        if isinstance(value, list) else
                        schema.property_value(value, path + ".title", key,
                                              "title"))
        return out
    for key, value in given.items():
        prop = call.store.find_property(page_parent, key)
        if prop is None:
            raise bad("%s is not a property that exists." % key)
        if prop.id in out:
            raise bad("Property %s is given twice." % prop.name)
        where = "%s.%s" % (path, key)
        stored = schema.property_value(value, where, prop.name, prop.type)
        check_options(prop, stored)
        if prop.type == "relation":
            for item in stored:
                call.store.get(call.token, item["id"], ("page",), "page")
        out[prop.id] = (prop, stored)
    return out


def check_options(prop, stored):
    """What pick_option would refuse, before anything is changed."""
    if prop.type not in ("select", "multi_select", "status"):
        return
    given = stored if prop.type == "multi_select" else \
        [stored] if stored else []
    known = prop.settings["options"]
    for opt in given:
        match = [o for o in known if o["id"] == opt.get("id")
                 or "id" not in opt and o["name"] == opt["name"]]
        if not match and ("name" not in opt or prop.type == "status"):
            raise bad("%s option \"%s\" does not exist." % (
                prop.type.capitalize().replace("_", " "),
                opt.get("name", opt.get("id"))))
        if match and opt.get("color", match[0]["color"]) != match[0]["color"]:
            raise bad("Cannot update color of select with name: %s."
                      % match[0]["name"])


def resolve_values(call, checked):
    out = {}
    for ident, (prop, value) in checked.items():
        if prop is not None and prop.type in ("select", "status") and value:
            value = call.store.pick_option(prop, value)
        elif prop is not None and prop.type == "multi_select":
            value = [call.store.pick_option(prop, v) for v in value]
        out[ident] = value
    return out


def page_create(call):
    body, store = call.body, call.store
    only_keys(body, "body", ("parent", "properties", "icon", "cover",
                             "children", "position"))
    if "parent" not in body:
        raise wrong("body.parent", "defined")
    kind, ident = schema.parent(
        body["parent"], "body.parent",
        ("page_id", "database_id", "data_source_id", "workspace"))
    # Shape first, objects second, as the service does.
    news = notion_blocks.block_list(body.get("children", []), "body.children")
    icon = schema.icon(body["icon"], "body.icon") if body.get("icon") else None
    place = None
    if "position" in body:
        place = schema.position(body["position"], "body.position", "page_")
    parent = find_parent(call, kind, ident)
    values = page_values(call, parent, body.get("properties", {}),
                         "body.properties")
    if place is not None and (parent is None or parent.kind != "page"):
        raise bad("body.position is only supported when the parent is a page.")
    anchor = find_anchor(call, parent, place) if place else None
    check_tops(news)
    store.check_block_limit(call.token,
                            1 + sum(1 for n in news for _ in n.walk()))
    attach_uploads(call, news)
    page = store.create_page(call.token.ws, parent, resolve_values(call, values),
                             call.author, icon=icon)
    if place is not None and place[0] != "end":
        parent.children.remove(page)
        at = 0 if place[0] == "start" else parent.children.index(anchor) + 1
        parent.children.insert(at, page)
    made = []
    if news:
        _, made = store.append(page, news, ("end", None), call.author)
    call.committed(page.id, [m.id for m in made])
    return render.page(page)


def check_tops(news):
    for new in news:
        reason = notion_blocks.accepts("page", {}, new.type)
        if reason:
            raise bad(reason)


def page_get(call, page_id):
    page = get_page(call, page_id)
    only = None
    if page.parent is not None and page.parent.kind == "data_source":
        only = filter_properties(call, page.parent)
    return render.page(page, only)


def get_page(call, ident):
    node = call.store.nodes.get(ident)
    if node is not None and node.ws is call.token.ws and node.reachable() \
            and node.kind in ("database", "block"):
        raise bad("Provided ID %s is a %s, not a page. Use the retrieve %s API "
                  "instead." % (ident, node.kind, node.kind))
    return call.store.get(call.token, ident, ("page",), "page")


def trash_flag(call, node):
    """in_trash of the body, after refusing edits of what is in the trash."""
    flag = call.body.get("in_trash")
    if "in_trash" in call.body:
        need_bool(flag, "body.in_trash")
    if flag is False and node.trashed:
        if node.parent is not None:
            call.store.check_editable(node.parent)
    else:
        call.store.check_editable(node)
    return flag if flag != node.trashed else None


def page_update(call, page_id):
    body, store = call.body, call.store
    only_keys(body, "body", ("properties", "icon", "cover", "is_locked",
                             "erase_content", "in_trash"))
    page = get_page(call, page_id)
    for key in ("is_locked", "erase_content"):
        if key in body:
            need_bool(body[key], "body." + key)
    icon = schema.icon(body["icon"], "body.icon") if body.get("icon") else None
    flag = trash_flag(call, page)
    values = page_values(call, page.parent, body.get("properties", {}),
                         "body.properties")
    if flag is False:
        store.trash(page, False, call.author)
    if values:
        store.set_values(page, resolve_values(call, values), call.author)
    if "icon" in body:
        page.icon = icon
    if "is_locked" in body:
        page.locked = body["is_locked"]
    if body.get("erase_content"):
        store.erase(page, call.author)
    if flag:
        store.trash(page, True, call.author)
    store.touch(page, call.author)
    call.committed()
    return render.page(page)


def page_property(call, page_id, property_id):
    page = get_page(call, page_id)
    key = urllib.parse.unquote(property_id)
    if page.parent is None or page.parent.kind != "data_source":
        raise bad("Could not find property with name or id: %s" % key)
    prop = call.store.find_property(page.parent, key)
    if prop is None:
        raise bad("Could not find property with name or id: %s" % key)
    value = render.property_value(page, prop)
    if prop.type not in ("title", "rich_text", "people", "relation"):
        return {"object": "property_item", **value}
    size, cursor = paging(call)
    items = value[prop.type]
    at = int(cursor) if cursor and cursor.isdigit() else 0
    more = str(at + size) if at + size < len(items) else None
    out = render.listing(
        [{"object": "property_item", "id": prop.id, "type": prop.type,
          prop.type: v} for v in items[at:at + size]], more, "property_item")
    out["property_item"] = {"id": prop.id, "next_url": None,
                            "type": prop.type, prop.type: {}}
    return out


# --- blocks ---------------------------------------------------------------

BLOCKISH = ("block", "page", "database")


def block_get(call, block_id):
    return render.block(call.store.get(call.token, block_id, BLOCKISH,
                                       "block"))


def paging(call):
    query = call.query
    for key in query:
        if key not in ("page_size", "start_cursor"):
            raise bad("query failed validation: query.%s should be not "
                      "present, instead was `\"%s\"`." % (key, query[key][0]))
    size = schema.page_size(query.get("page_size", ["100"])[0], "query")
    return size, query.get("start_cursor", [None])[0]


def children_get(call, block_id):
    size, cursor = paging(call)
    node = call.store.get(call.token, block_id, ("block", "page"), "block")
    chunk, after = notion_query.paginate(node.live_children(), size, cursor,
                                         "query")
    return render.listing([render.block(c) for c in chunk], after, "block")


def find_anchor(call, parent, place):
    kind, ident = place
    if kind != "after_block":
        return None
    node = call.store.get(call.token, ident, BLOCKISH, "block")
    if node.parent is not parent or node.trashed:
        raise bad("Block with ID %s to insert after is not a child of %s."
                  % (ident, parent.id))
    return node


def children_append(call, block_id):
    body, store = call.body, call.store
    # "after" went away with 2026-03-11.
    only_keys(body, "body", ("children", "position"))
    if "children" not in body:
        raise wrong("body.children", "defined")
    news = notion_blocks.block_list(body["children"], "body.children")
    if not news:
        raise wrong("body.children.length", "≥ `1`", 0)
    place = ("end", None)
    if "position" in body:
        place = schema.position(body["position"], "body.position")
    parent = store.get(call.token, block_id, BLOCKISH, "block")
    store.check_editable(parent)
    for new in news:
        reason = accepts_child(parent, new.type)
        if reason:
            raise bad(reason)
        if new.type == "table_row":
            notion_blocks.check_row(new, parent.content["table_width"])
    anchor = find_anchor(call, parent, place)
    store.check_block_limit(call.token, sum(1 for n in news for _ in n.walk()))
    attach_uploads(call, news)
    at, made = store.append(parent, news, (place[0], anchor), call.author)
    call.committed(parent.id, [m.id for m in made])
    shown = made
    if place[0] != "end":
        # The trap: the answer goes on with the siblings that follow.
        shown = made + [c for c in parent.children[at + len(made):]
                        if not c.trashed]
    cursor = shown[MAX_ARRAY].id if len(shown) > MAX_ARRAY else None
    return render.listing([render.block(b) for b in shown[:MAX_ARRAY]], cursor,
                          "block")


def block_update(call, block_id):
    body, store = call.body, call.store
    node = store.get(call.token, block_id, BLOCKISH, "block")
    kinds = [k for k in body if k in notion_blocks.CREATABLE]
    only_keys(body, "body", ("in_trash", "type", *kinds[:1]))
    if "type" in body and body["type"] not in kinds:
        raise wrong("body.type", "not present", body["type"])
    if not kinds and "in_trash" not in body:
        raise bad("body failed validation. Fix one: body.%s should be "
                  "defined, instead was `undefined`; body.in_trash should be "
                  "defined, instead was `undefined`." % node.block_type())
    changes = {}
    if kinds:
        kind = kinds[0]
        part = need_object(body[kind], "body." + kind)
        changes = notion_blocks.block_content(kind, part, "body." + kind,
                                              partial=True)
        if node.kind != "block" or kind != node.type:
            raise bad("Block type cannot be changed: block is %s, body has %s."
                      % (node.block_type(), kind))
        if kind == "table_row" and len(changes["cells"]) != \
                node.parent.content["table_width"]:
            notion_blocks.check_row(notion_blocks.NewBlock(kind, changes, []),
                                    node.parent.content["table_width"])
        if changes.get("is_toggleable") is False and node.live_children():
            raise bad("is_toggleable can only be changed to false when the "
                      "heading has no children.")
    flag = trash_flag(call, node)
    if flag is False:
        store.trash(node, False, call.author)
    if changes:
        store.set_content(node, changes, call.author)
    if flag:
        store.trash(node, True, call.author)
    call.committed()
    return render.block(node)


def block_delete(call, block_id):
    node = call.store.get(call.token, block_id, BLOCKISH, "block")
    call.store.check_editable(node)
    call.store.trash(node, True, call.author)
    call.committed()
    return render.block(node)


# --- search, comments -----------------------------------------------------

def search(call):
    body, store = call.body, call.store
    only_keys(body, "body", ("sort", "query", "start_cursor", "page_size",
                             "filter"))
    kinds, trash = ("page", "data_source"), False
    if "filter" in body:
        given = need_object(body["filter"], "body.filter")
        only_keys(given, "body.filter", ("property", "value", "in_trash"))
        if "property" in given or "value" in given:
            need_enum(given.get("property"), "body.filter.property",
                      ("object",))
            kinds = (need_enum(given.get("value"), "body.filter.value",
                               ("page", "data_source")),)
        trash = need_bool(given.get("in_trash", False), "body.filter.in_trash")
    reverse = True
    if "sort" in body:
        given = need_object(body["sort"], "body.sort")
        only_keys(given, "body.sort", ("timestamp", "direction", "property"))
        if "timestamp" in given:
            need_enum(given["timestamp"], "body.sort.timestamp",
                      ("last_edited_time",))
            reverse = need_enum(given.get("direction"), "body.sort.direction",
                                ("ascending", "descending")) == "descending"
    words = need_string(body.get("query", ""), "body.query").lower()
    size = schema.page_size(body.get("page_size", MAX_ARRAY), "body")
    now = store.clock.monotonic()
    found = [n for n in store.nodes.values()
             if n.ws is call.token.ws and n.kind in kinds and n.hidden <= now
             and words in n.plain_title().lower() and n.reachable()
             and n.in_trash() == trash]
    found.sort(key=lambda n: (n.edited, n.seq), reverse=reverse)
    chunk, cursor = notion_query.paginate(found, size,
                                          body.get("start_cursor"), "body")
    return render.listing([render.any_object(n) for n in chunk], cursor,
                          "page_or_data_source")


def comments_get(call):
    idents = call.query.get("block_id")
    if not idents:
        raise bad("query failed validation: query.block_id should be defined, "
                  "instead was `undefined`.")
    ident = need_uuid(idents[0], "query.block_id")
    call.store.get(call.token, ident, BLOCKISH, "block")
    return render.listing([dict(c) for c in call.token.ws.comments
                           if c["parent"]["block_id"] == ident], None,
                          "comment")


# --- file uploads ---------------------------------------------------------

def upload_create(call):
    body, store = call.body, call.store
    only_keys(body, "body", ("mode", "filename", "content_type"))
    need_enum(body.get("mode", "single_part"), "body.mode", ("single_part",))
    ident = store.new_id()
    now = store.clock.now()
    store.uploads[ident] = {
        "ws": call.token.ws, "bot": call.author, "made": now,
        "status": "pending", "attached": False,
        "filename": need_string(body.get("filename", "file"), "body.filename",
                                900, empty=False),
        "content_type": body.get("content_type"), "length": None}
    call.committed()
    return upload_object(call, ident)


def get_upload(call, ident):
    up = call.store.uploads.get(ident)
    if up is None or up["ws"] is not call.token.ws:
        raise call.store.not_found("file upload", ident)
    if not up["attached"] and \
            call.store.clock.now() > up["made"] + UPLOAD_LIFE:
        up["status"] = "expired"
    return up


def upload_object(call, ident):
    up = get_upload(call, ident)
    out = {"object": "file_upload", "id": ident,
           "created_time": notion_query.iso(up["made"]),
           "created_by": {"id": up["bot"], "type": "bot"},
           "last_edited_time": notion_query.iso(up["made"]),
           "in_trash": False, "status": up["status"],
           "expiry_time": None if up["attached"] else
           notion_query.iso(up["made"] + UPLOAD_LIFE),
           "filename": up["filename"], "content_type": up["content_type"],
           "content_length": up["length"]}
    if up["status"] == "pending":
        out["upload_url"] = "http://%s/v1/file_uploads/%s/send" % (
            call.headers.get("host", "127.0.0.1"), ident)
    return out


def upload_get(call, file_upload_id):
    return upload_object(call, file_upload_id)


def upload_send(call, file_upload_id):
    up = get_upload(call, file_upload_id)
    if up["status"] != "pending":
        raise bad("File upload status should be pending, instead was %s."
                  % up["status"])
    m = re.match(r'multipart/form-data;.*boundary="?([^";]+)"?',
                 call.headers.get("content-type", ""), re.I)
    if not m:
        raise bad("Content-Type should be multipart/form-data.",
                  "invalid_request")
    mark = b"--" + m.group(1).encode()
    data = None
    for part in call.raw.split(mark)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            data = content[:-2]
    if data is None:
        raise bad("body failed validation: body.file should be defined.")
    if len(data) > call.settings["max_upload"]:
        raise bad("The file exceeds the workspace's upload limit.")
    up["status"], up["length"] = "uploaded", len(data)
    call.committed()
    return upload_object(call, file_upload_id)


def attach_uploads(call, news):
    """Uploads read back as files with an expiring address."""
    todo = [n for new in news for n in new.walk()
            if n.type in notion_blocks.MEDIA
            and n.content.get("type") == "file_upload"]
    for new in todo:
        up = get_upload(call, new.content["file_upload"]["id"])
        if up["status"] != "uploaded":
            raise bad("File upload is not in the uploaded state.")
    for new in todo:
        ident = new.content.pop("file_upload")["id"]
        get_upload(call, ident)["attached"] = True
        new.content["type"] = "file"
        new.content["file"] = {
            "url": "https://prod-files-secure.example/%s?X-Amz-Expires=3600"
                   % ident,
            "expiry_time": notion_query.iso(call.store.clock.now()
                                            + UPLOAD_LIFE)}


# --- OAuth ----------------------------------------------------------------

def oauth_client(call):
    head = call.headers.get("authorization", "")
    try:
        scheme, _, rest = head.partition(" ")
        ident, _, secret = base64.b64decode(rest, validate=True) \
            .decode().partition(":")
        known = scheme.lower() == "basic" and \
            call.store.oauth_clients.get(ident) == secret
    except ValueError:
        known = False
    if not known:
        raise ApiError(401, "invalid_client", "Client authentication failed.")
    return ident


def invalid_grant(call, why):
    error = bad(why, "invalid_grant")
    error.rfc = call.settings["oauth_error"] == "rfc"
    return error


def oauth_token(call):
    body, store = call.body, call.store
    oauth_client(call)
    grant = need_enum(body.get("grant_type"), "body.grant_type",
                      ("authorization_code", "refresh_token"))
    if grant == "authorization_code":
        only_keys(body, "body", ("grant_type", "code", "redirect_uri",
                                 "external_account"))
        code = need_string(body.get("code"), "body.code", empty=False)
        user = store.oauth_codes.get(code)
        if user is None:
            raise invalid_grant(call, "Invalid code.")
        store.oauth_codes[code] = None
        bot = None
    else:
        only_keys(body, "body", ("grant_type", "refresh_token"))
        text = need_string(body.get("refresh_token"), "body.refresh_token",
                           empty=False)
        old = store.refresh_tokens.get(text)
        if old is None:
            raise invalid_grant(call, "Invalid refresh token.")
        # Rotation: the old pair dies with the answer, arrived or not.
        store.refresh_tokens[text] = None
        store.drop_token(old.token)
        user, bot = old.ws.user, old.bot
    entry = store.add_token("ntn_%032x" % store.random.getrandbits(128), user,
                            "oauth", "nrt_%032x" % store.random.getrandbits(128),
                            bot)
    call.committed()
    ws = entry.ws
    return {"access_token": entry.token, "token_type": "bearer",
            "refresh_token": entry.refresh, "bot_id": entry.bot,
            "workspace_id": ws.id, "workspace_name": ws.name,
            "workspace_icon": None,
            "owner": {"type": "user", "user": {
                "object": "user", "id": ws.person, "name": ws.user,
                "avatar_url": None, "type": "person",
                "person": {"email": ws.user + "@example.com"}}},
            "duplicated_template_id": None}


def oauth_introspect(call):
    oauth_client(call)
    only_keys(call.body, "body", ("token",))
    token = need_string(call.body.get("token"), "body.token", empty=False)
    return {"active": token in call.store.tokens}


def oauth_revoke(call):
    oauth_client(call)
    only_keys(call.body, "body", ("token",))
    token = need_string(call.body.get("token"), "body.token", empty=False)
    entry = call.store.drop_token(token)
    if entry is not None and entry.refresh:
        call.store.refresh_tokens[entry.refresh] = None
    call.committed()
    return {}


# --- routes ---------------------------------------------------------------

ROUTES = [(m, re.compile("/v1/" + p.replace(
    "{", "(?P<").replace("}", ">[^/]+)") + r"\Z"), h) for m, p, h in (
        ("GET", "users/me", users_me),
        ("GET", "users/{user_id}", users_get),
        ("POST", "databases", database_create),
        ("GET", "databases/{database_id}", database_get),
        ("PATCH", "databases/{database_id}", database_update),
        ("POST", "data_sources", source_create),
        ("GET", "data_sources/{data_source_id}", source_get),
        ("PATCH", "data_sources/{data_source_id}", source_update),
        ("POST", "data_sources/{data_source_id}/query", source_query),
        ("POST", "pages", page_create),
        ("GET", "pages/{page_id}", page_get),
        ("PATCH", "pages/{page_id}", page_update),
        ("GET", "pages/{page_id}/properties/{property_id}", page_property),
        ("GET", "blocks/{block_id}", block_get),
        ("PATCH", "blocks/{block_id}", block_update),
        ("DELETE", "blocks/{block_id}", block_delete),
        ("GET", "blocks/{block_id}/children", children_get),
        ("PATCH", "blocks/{block_id}/children", children_append),
        ("POST", "search", search),
        ("GET", "comments", comments_get),
        ("POST", "file_uploads", upload_create),
        ("GET", "file_uploads/{file_upload_id}", upload_get),
        ("POST", "file_uploads/{file_upload_id}/send", upload_send),
        ("POST", "oauth/token", oauth_token),
        ("POST", "oauth/introspect", oauth_introspect),
        ("POST", "oauth/revoke", oauth_revoke),
    )]


def route(method, path):
    for verb, pattern, handler in ROUTES:
        m = verb == method and pattern.match(path)
        if m:
            args = m.groupdict()
            for name, value in args.items():
                if name != "property_id":
                    if not schema.UUID_RE.match(value):
                        raise bad("path failed validation: path.%s should be "
                                  "a valid uuid, instead was `\"%s\"`."
                                  % (name, value))
                    args[name] = schema.dashed(value)
            return handler, args
    raise bad("Invalid request URL.", "invalid_request_url")


def perform(call):
    """Checks what all endpoints share, then runs one."""
    handler, args = route(call.method, call.path)
    read_body(call)
    return handler(call, **args)
