"""Objects as the API answers them (version 2026-03-11)."""
import datetime

from notion_query import iso
from notion_schema import plain


def user(ident):
    return {"object": "user", "id": ident}


def url(node):
    """Since April 2026 on app.notion.com; titles are part of it, so it
    changes under a rename: nobody should parse or compare it."""
    slug = "".join(c if c.isalnum() and c < "\x7f" else "-"
                   for c in node.plain_title())[:60].strip("-")
    while "--" in slug:
        slug = slug.replace("--", "-")
    return "https://app.notion.com/p/%s%s" % (slug + "-" if slug else "",
                                              node.id.replace("-", ""))


def parent(node):
    above = node.parent
    if above is None:
        return {"type": "workspace", "workspace": True}
    if above.kind == "data_source":
        return {"type": "data_source_id", "data_source_id": above.id,
                "database_id": above.parent.id}
    if above.kind == "database":
        return {"type": "database_id", "database_id": above.id}
    if above.kind == "page":
        return {"type": "page_id", "page_id": above.id}
    return {"type": "block_id", "block_id": above.id}


def block(node):
    kind = node.block_type()
    if node.kind == "block":
        content = dict(node.content)
        if kind in ("heading_1", "heading_2", "heading_3", "heading_4",
                    "paragraph", "callout", "toggle", "quote", "to_do",
                    "bulleted_list_item", "numbered_list_item"):
            content.setdefault("color", "default")
        has_children = any(not c.trashed for c in node.children)
    else:
        content = {"title": node.plain_title()}
        has_children = node.kind == "page" and \
            any(not c.trashed for c in node.children)
    return {
        "object": "block", "id": node.id, "parent": parent(node),
        "created_time": iso(node.created),
        "last_edited_time": iso(node.edited),
        "created_by": user(node.created_by),
        "last_edited_by": user(node.edited_by),
        "has_children": has_children, "in_trash": node.in_trash(),
        "type": kind, kind: content,
    }


def page(node, only=None):
    return {
        "object": "page", "id": node.id,
        "created_time": iso(node.created),
        "last_edited_time": iso(node.edited),
        "created_by": user(node.created_by),
        "last_edited_by": user(node.edited_by),
        "cover": node.cover, "icon": node.icon,
        "in_trash": node.in_trash(),
        "is_archived": node.archived is not None,
        "is_locked": node.locked, "parent": parent(node),
        "properties": properties(node, only),
        "url": url(node), "public_url": None,
    }


def properties(node, only=None):
    if node.parent is None or node.parent.kind != "data_source":
        return {"title": {"id": "title", "type": "title",
                          "title": node.values.get("title", [])}}
    return {prop.name: property_value(node, prop)
            for prop in node.parent.schema.values()
            if only is None or prop.id in only}


EMPTY = {"title": [], "rich_text": [], "multi_select": [], "people": [],
         "files": [], "relation": [], "checkbox": False}


def property_value(node, prop):
    kind = prop.type
    value = node.values.get(prop.id, EMPTY.get(kind))
    out = {"id": prop.id, "type": kind}
    if kind in ("select", "status"):
        if value is None and kind == "status":
            value = prop.settings["options"][0]
        value = choice(value) if value else None
    elif kind == "multi_select":
        value = [choice(v) for v in value]
    elif kind == "people":
        value = [user(v["id"]) for v in value]
    elif kind == "relation":
        out["has_more"] = False
    elif kind in ("created_time", "last_edited_time"):
        value = iso(node.created if kind == "created_time" else node.edited)
    elif kind in ("created_by", "last_edited_by"):
        value = user(node.created_by if kind == "created_by"
                     else node.edited_by)
    elif kind == "formula":
        value = {"type": "string", "string": None}
    elif kind == "rollup":
        value = {"type": "number", "number": None, "function": "count"}
    elif kind == "unique_id":
        value = {"prefix": prop.settings.get("prefix"), "number": node.seq}
    out[kind] = value
    return out


def choice(option):
    return {"id": option["id"], "name": option["name"],
            "color": option["color"]}


def schema(prop):
    kind = prop.type
    if kind in ("select", "multi_select"):
        config = {"options": [dict(o) for o in prop.settings["options"]]}
    elif kind == "status":
        options = [dict(o) for o in prop.settings["options"]]
        config = {"options": options, "groups": [
            {"id": prop.id + "-g", "name": "To-do", "color": "gray",
             "option_ids": [o["id"] for o in options]}]}
    elif kind == "number":
        config = {"format": prop.settings.get("format", "number")}
    elif kind in ("formula", "relation", "rollup", "unique_id"):
        config = prop.settings
    else:
        config = {}
    return {"id": prop.id, "name": prop.name, "description": prop.description,
            "type": kind, kind: config}


def millis(epoch):
    """Databases, unlike everything else, show milliseconds."""
    return datetime.datetime.fromtimestamp(
        epoch, datetime.timezone.utc).isoformat(timespec="milliseconds")


def database(node):
    return {
        "object": "database", "id": node.id, "title": node.title,
        "description": [], "parent": parent(node), "is_inline": node.inline,
        "in_trash": node.in_trash(), "is_locked": node.locked,
        "created_time": millis(node.created),
        "last_edited_time": millis(node.edited),
        "data_sources": [{"id": s.id, "name": plain(s.title)}
                         for s in node.children if not s.trashed],
        "icon": node.icon, "cover": node.cover, "url": url(node),
        "public_url": None,
    }


def data_source(node):
    db = node.parent
    return {
        "object": "data_source", "id": node.id, "title": node.title,
        "description": [], "parent": parent(node),
        "database_parent": parent(db), "is_inline": db.inline,
        "in_trash": node.in_trash(), "created_time": iso(node.created),
        "last_edited_time": iso(node.edited),
        "created_by": user(node.created_by),
        "last_edited_by": user(node.edited_by),
        "properties": {p.name: schema(p) for p in node.schema.values()},
        "icon": node.icon, "cover": node.cover, "url": url(db),
        "public_url": None,
    }


def any_object(node):
    return {"page": page, "database": database, "data_source": data_source,
            "block": block}[node.kind](node)


def listing(results, cursor, kind):
    return {"object": "list", "results": results, "next_cursor": cursor,
            "has_more": cursor is not None, "type": kind, kind: {}}
