"""Endpoints: users, databases, data sources, search."""
import notion_query
import notion_render as render
import notion_schema as schema
from notion_call import filter_properties, find_parent, trash_flag
from notion_schema import (MAX_ARRAY, MAX_PROPERTIES, bad, need_bool,
                           need_enum, need_object, need_string, only_keys,
                           rich_text, wrong)


# --- users -----------------------------------------------------------------

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


# --- databases -------------------------------------------------------------

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
    icon = schema.decoration(body, "icon", null=False)
    cover = schema.decoration(body, "cover", null=False)
    store.check_block_limit(call.token, 1)
    db, _ = store.create_database(call.token.ws, parent, title, inline, props,
                                  call.author, icon=icon)
    db.cover = cover
    call.committed(db.id)
    return render.database(db)


def database_update(call, database_id):
    body, store = call.body, call.store
    only_keys(body, "body", ("title", "description", "is_inline", "icon",
                             "cover", "in_trash", "is_locked"))
    for key in ("is_inline", "is_locked"):
        if key in body:
            need_bool(body[key], "body." + key)
    for key in ("title", "description"):
        if key in body:
            rich_text(body[key], "body." + key)
    icon = schema.decoration(body, "icon", null=False)
    cover = schema.decoration(body, "cover", null=False)
    db = store.get(call.token, database_id, ("database",), "database")
    flag = trash_flag(call, db)
    if "title" in body:
        db.title = rich_text(body["title"], "body.title")
    db.inline = body.get("is_inline", db.inline)
    db.locked = body.get("is_locked", db.locked)
    db.icon, db.cover = icon or db.icon, cover or db.cover
    if flag is not None:
        store.trash(db, flag, call.author)
    store.touch(db, call.author)
    call.committed()
    return render.database(db)


# --- data sources ----------------------------------------------------------

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
    icon = schema.decoration(body, "icon")
    source = store.create_data_source(db, title, props, call.author)
    source.icon = icon
    call.committed(source.id)
    return render.data_source(source)


def source_update(call, data_source_id):
    body, store = call.body, call.store
    only_keys(body, "body", ("title", "icon", "properties", "in_trash"))
    source = store.get(call.token, data_source_id, ("data_source",),
                       "database")
    icon = schema.decoration(body, "icon")
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
    if "icon" in body:
        source.icon = icon
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
        row = page.indexed
        if not both and (row.trashed or above) != trash:
            continue
        if test is None or test(row, row.values):
            rows.append((row, row.values))
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


# --- search ----------------------------------------------------------------

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
