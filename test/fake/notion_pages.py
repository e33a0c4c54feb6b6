"""Endpoints: pages, blocks, comments."""
import urllib.parse

import notion_blocks
import notion_query
import notion_render as render
import notion_schema as schema
from notion_accounts import attach_uploads
from notion_call import filter_properties, find_parent, paging, trash_flag
from notion_schema import (MAX_ARRAY, bad, need_bool, need_object, need_uuid,
                           only_keys, wrong)
from notion_store import accepts_child


# --- pages -----------------------------------------------------------------

def page_values(call, page_parent, given, path):
    """Property values by id.  Options are looked up later, when all is known
    to be right."""
    need_object(given, path)
    out = {}
    if page_parent is None or page_parent.kind != "data_source":
        for key, value in given.items():
            if key != "title":
                raise bad("%s is not a property that exists." % key)
            out[key] = (None, schema.property_value(
                value, path + ".title", key, "title"))
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
    icon = schema.decoration(body, "icon")
    cover = schema.decoration(body, "cover")
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
    page.cover = cover
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


def page_update(call, page_id):
    body, store = call.body, call.store
    only_keys(body, "body", ("properties", "icon", "cover", "is_locked",
                             "erase_content", "in_trash"))
    page = get_page(call, page_id)
    for key in ("is_locked", "erase_content"):
        if key in body:
            need_bool(body[key], "body." + key)
    icon = schema.decoration(body, "icon")
    cover = schema.decoration(body, "cover")
    flag = trash_flag(call, page)
    values = page_values(call, page.parent, body.get("properties", {}),
                         "body.properties")
    if flag is False:
        store.trash(page, False, call.author)
    if values:
        store.set_values(page, resolve_values(call, values), call.author)
    if "icon" in body:
        page.icon = icon
    if "cover" in body:
        page.cover = cover
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


# --- blocks ----------------------------------------------------------------

BLOCKISH = ("block", "page", "database")


def block_get(call, block_id):
    return render.block(call.store.get(call.token, block_id, BLOCKISH,
                                       "block"))


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


# --- comments --------------------------------------------------------------

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
