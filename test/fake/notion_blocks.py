"""The blocks Notion accepts, and how deep and how many.

The grammar follows the request types of @notionhq/client 5.26: which keys each
block type has, which are required, which types take children and what the
children may be.  "children" is legal inside the type object only.
"""
from notion_schema import (
    COLORS, LANGUAGES, MAX_ARRAY, MAX_BLOCKS, MAX_EXPRESSION, MAX_TIERS, bad,
    icon, media, need_array, need_bool, need_enum, need_object, need_string,
    need_url, need_uuid, one_of, only_keys, rich_text, wrong)

TEXT = ("paragraph", "bulleted_list_item", "numbered_list_item", "quote",
        "to_do", "toggle", "callout", "template")
HEADINGS = ("heading_1", "heading_2", "heading_3", "heading_4")
MEDIA = ("image", "video", "pdf", "audio", "file")
WEB = ("embed", "bookmark")
EMPTY = ("divider", "breadcrumb")
CREATABLE = (*TEXT, *HEADINGS, *MEDIA, *WEB, *EMPTY, "code", "equation",
             "table_of_contents", "link_to_page", "table", "table_row",
             "column_list", "column", "synced_block")

# What may follow rich_text; every one of them is optional.
TEXT_KEYS = {
    "paragraph": ("color", "icon"),
    "bulleted_list_item": ("color",),
    "numbered_list_item": ("color",),
    "quote": ("color",),
    "to_do": ("color", "checked"),
    "toggle": ("color",),
    "callout": ("color", "icon"),
    "template": (),
    **{h: ("color", "is_toggleable") for h in HEADINGS},
}
# Types whose children may be any block.
PARENTS = frozenset((*TEXT, *HEADINGS, "column", "synced_block"))


class Counter:
    """Counts the block elements of one request."""

    def __init__(self):
        self.blocks = 0

    def add(self):
        self.blocks += 1


class NewBlock:
    """A validated block: type, content as stored, children."""

    __slots__ = ("type", "content", "children")

    def __init__(self, kind, content, children):
        self.type = kind
        self.content = content
        self.children = children

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()


def block_list(value, path, counter=None, allowed=None):
    """The blocks of one request.  Raises if they break any limit."""
    if counter is None:
        counter = Counter()
    count_elements(value, counter)
    return blocks(value, path, 1, allowed)


def count_elements(value, counter):
    """Counts before looking closer: the limit holds for the whole payload."""
    if not isinstance(value, list):
        return
    for item in value:
        counter.add()
        if isinstance(item, dict):
            for inner in item.values():
                if isinstance(inner, dict) and "children" in inner:
                    count_elements(inner["children"], counter)
    if counter.blocks > MAX_BLOCKS:
        raise bad("body failed validation: body.children should contain ≤ "
                  "`%d` block elements in total, instead was `%d`."
                  % (MAX_BLOCKS, counter.blocks))


def blocks(value, path, tier, allowed=None):
    need_array(value, path, MAX_ARRAY)
    return [block(v, "%s[%d]" % (path, i), tier, allowed)
            for i, v in enumerate(value)]


def block(value, path, tier, allowed=None):
    need_object(value, path)
    kind = one_of(value, path, CREATABLE if allowed is None else allowed,
                  ("object",)) if any(k in value for k in CREATABLE) \
        else unknown_type(value, path)
    if value.get("object", "block") != "block":
        raise wrong(path + ".object", '`"block"` or `undefined`',
                    value["object"])
    where = "%s.%s" % (path, kind)
    body = need_object(value[kind], where)
    content = block_content(kind, body, where)
    children = children_of(kind, body, where, tier, content)
    return NewBlock(kind, content, children)


def unknown_type(value, path):
    for key in value:
        if key not in ("object", "type"):
            raise wrong("%s.%s" % (path, key), "not present", value[key])
    raise wrong(path + "." + str(value.get("type", "paragraph")), "defined")


def block_content(kind, body, path, partial=False):
    """The type object without children, with defaults filled in.

    "partial" is the form for PATCH: what is absent stays as it was, and
    children are refused.
    """
    kids = () if partial else ("children",)
    if kind in TEXT_KEYS:
        return text_content(kind, body, path, partial, kids)
    if kind == "code":
        only_keys(body, path, ("rich_text", "language", "caption"))
        out = {}
        for key, required in (("rich_text", True), ("caption", False)):
            if key in body:
                out[key] = rich_text(body[key], "%s.%s" % (path, key))
            elif not partial:
                if required:
                    raise wrong("%s.%s" % (path, key), "defined")
                out[key] = []
        if "language" in body:
            out["language"] = need_enum(body["language"], path + ".language",
                                        LANGUAGES)
        elif not partial:
            raise wrong(path + ".language", "defined")
        return out
    if kind == "equation":
        only_keys(body, path, ("expression",))
        if "expression" not in body:
            raise wrong(path + ".expression", "defined")
        return {"expression": need_string(
            body["expression"], path + ".expression", MAX_EXPRESSION)}
    if kind in EMPTY:
        only_keys(body, path, ())
        return {}
    if kind == "table_of_contents":
        only_keys(body, path, ("color",))
        return {"color": need_enum(body.get("color", "default"),
                                   path + ".color", COLORS)}
    if kind in MEDIA:
        return media(body, path, named=kind == "file", partial=partial)
    if kind in WEB:
        only_keys(body, path, ("url", "caption"))
        out = {}
        if "url" in body:
            out["url"] = need_url(body["url"], path + ".url")
        elif not partial:
            raise wrong(path + ".url", "defined")
        if "caption" in body or not partial:
            out["caption"] = rich_text(body.get("caption", []),
                                       path + ".caption")
        return out
    if kind == "link_to_page":
        name = one_of(body, path, ("page_id", "database_id", "comment_id"))
        return {"type": name, name: need_uuid(body[name],
                                              "%s.%s" % (path, name))}
    if kind == "table_row":
        only_keys(body, path, ("cells",))
        if "cells" not in body:
            raise wrong(path + ".cells", "defined")
        cells = need_array(body["cells"], path + ".cells")
        return {"cells": [rich_text(c, "%s.cells[%d]" % (path, i))
                          for i, c in enumerate(cells)]}
    if kind == "table":
        return table_content(body, path, partial, kids)
    if kind == "column":
        only_keys(body, path, ("width_ratio", *kids))
        ratio = body.get("width_ratio")
        if ratio is not None and (isinstance(ratio, bool)
                                  or not isinstance(ratio, (int, float))):
            raise wrong(path + ".width_ratio", "a number", ratio)
        return {} if ratio is None else {"width_ratio": ratio}
    if kind == "column_list":
        only_keys(body, path, kids)
        return {}
    # synced_block
    only_keys(body, path, ("synced_from", *kids))
    if "synced_from" not in body:
        raise wrong(path + ".synced_from", "defined")
    source = body["synced_from"]
    if source is not None:
        need_object(source, path + ".synced_from")
        only_keys(source, path + ".synced_from", ("type", "block_id"))
        source = {"type": "block_id", "block_id": need_uuid(
            source.get("block_id"), path + ".synced_from.block_id")}
    return {"synced_from": source}


# PATCH needs rich_text except for these (UpdateBlock types).
TEXT_OPTIONAL = frozenset(("paragraph", "to_do", "callout"))


def text_content(kind, body, path, partial, kids):
    extra = TEXT_KEYS[kind]
    only_keys(body, path, ("rich_text", *extra, *kids))
    out = {}
    if "rich_text" in body:
        out["rich_text"] = rich_text(body["rich_text"], path + ".rich_text")
    elif not (partial and kind in TEXT_OPTIONAL):
        raise wrong(path + ".rich_text", "defined")
    for key in extra:
        where = "%s.%s" % (path, key)
        if key in body:
            value = body[key]
            out[key] = (need_enum(value, where, COLORS) if key == "color"
                        else icon(value, where) if key == "icon"
                        else need_bool(value, where))
        elif not partial:
            out[key] = {"color": "default", "icon": None}.get(key, False)
    if kind == "callout" and out.get("icon", 1) is None:
        out["icon"] = {"type": "emoji", "emoji": "💡"}
    return out


def table_content(body, path, partial, kids):
    if partial and "table_width" in body:
        # "can only be set when the table is first created"
        raise wrong(path + ".table_width", "not present", body["table_width"])
    only_keys(body, path, ("table_width", "has_column_header",
                           "has_row_header", *kids))
    out = {}
    if not partial:
        width = body.get("table_width", ...)
        if width is ...:
            raise wrong(path + ".table_width", "defined")
        if isinstance(width, bool) or not isinstance(width, int):
            raise wrong(path + ".table_width", "an integer", width)
        if not 1 <= width <= MAX_ARRAY:
            raise wrong(path + ".table_width", "≥ `1` and ≤ `100`", width)
        out["table_width"] = width
    for key in ("has_column_header", "has_row_header"):
        if key in body:
            out[key] = need_bool(body[key], "%s.%s" % (path, key))
        elif not partial:
            out[key] = False
    return out


def children_of(kind, body, path, tier, content):
    """Validates children; the grammar says which and how deep."""
    where = path + ".children"
    given = "children" in body
    if kind == "table":
        # Rows would be tier 4: a table cannot stand on the third tier.
        if tier >= MAX_TIERS:
            raise wrong(where if given else path, "not present",
                        body.get("children", body))
        if not given:
            raise wrong(where, "defined")
        rows = blocks(body["children"], where, tier + 1, ("table_row",))
        if not rows:
            raise wrong(where + ".length", "≥ `1`", 0)
        for row in rows:
            check_row(row, content["table_width"])
        return rows
    if kind == "column_list":
        if tier > 1:
            raise wrong(path, "not present", body)
        if not given:
            raise wrong(where, "defined")
        # Columns do not count as a tier (their children nest once more).
        columns = blocks(body["children"], where, tier, ("column",))
        if len(columns) < 2:
            raise wrong(where + ".length", "≥ `2`", len(columns))
        return columns
    if kind == "column" and not given:
        raise wrong(where, "defined")
    if not given:
        return []
    if kind not in PARENTS or tier >= MAX_TIERS:
        raise wrong(where, "not present", body["children"])
    children = blocks(body["children"], where, tier + 1)
    if kind in HEADINGS and children and not content["is_toggleable"]:
        raise bad("body failed validation: %s should be not present unless "
                  "is_toggleable is `true`." % where)
    return children


def check_row(row, width):
    if len(row.content["cells"]) != width:
        raise bad("Content creation Failed. Fix the following: \nNumber of "
                  "cells in table row must match the table width of the "
                  "parent table.")


def accepts(kind, content, child):
    """Why a block of type "child" cannot go below this one, or None."""
    if kind == "table":
        return None if child == "table_row" else \
            "Only blocks of type table_row can be children of a table."
    if child == "table_row":
        return "Blocks of type table_row can only be children of a table."
    if kind == "column_list":
        return None if child == "column" else \
            "Only blocks of type column can be children of a column_list."
    if child == "column":
        return "Blocks of type column can only be children of a column_list."
    if kind in ("page", "child_page"):
        return None
    if kind in HEADINGS and not content.get("is_toggleable"):
        return "Block does not support children."
    if kind not in PARENTS:
        return "Block does not support children."
    return None
