"""What the stand-in holds, for people (tree) and for tests (dump, text)."""
import textwrap
import unicodedata

import notion_render as render
from notion_blocks import HEADINGS, MEDIA
from notion_schema import first_href, plain

MARKERS = ("rmirror ID",)


# --- text -----------------------------------------------------------------

def block_text(node):
    """The plain text of one block, without its children."""
    if node.kind != "block":
        return node.plain_title()
    content = node.content
    if "rich_text" in content:
        return plain(content["rich_text"])
    if "cells" in content:
        return " | ".join(plain(c) for c in content["cells"])
    if node.type == "equation":
        return content["expression"]
    return plain(content.get("caption") or [])


def has_text(node):
    return node.kind == "block" and node.type not in (
        "divider", "table", "column_list", "column", "breadcrumb",
        "table_of_contents", "synced_block", *MEDIA)


def deep_text(node):
    """The texts of everything below, in order."""
    out = []
    for child in node.live_children():
        if has_text(child):
            out.append(block_text(child))
        out.extend(deep_text(child))
    return out


MARKS = (("bold", "b"), ("code", "c"), ("italic", "i"),
         ("strikethrough", "s"))


def marked_runs(items):
    """Rich text in one string that can be compared: runs with marks or a link
    as {marks|link|text}, however the text was cut into items."""
    runs = []
    for item in items:
        look = ("".join(letter for mark, letter in MARKS
                        if item["annotations"][mark]), item["href"] or "")
        if runs and runs[-1][0] == look:
            runs[-1][1] += item["plain_text"]
        else:
            runs.append([look, item["plain_text"]])
    return "".join("{%s|%s|%s}" % (*look, text) if any(look) else text
                   for look, text in runs)


def lines_below(node, depth=0):
    """All blocks below one, in order: [depth, type, text with marks, checked,
    id, whether a user made it, whether a user changed it last]."""
    out = []
    for child in node.live_children():
        content = child.content if child.kind == "block" else {}
        kind = child.block_type()
        text = plain(content["rich_text"]) if kind == "code" else \
            marked_runs(content.get("rich_text", []))
        out.append([depth, kind, text, content.get("checked"), child.id,
                    child.created_by == child.ws.person,
                    child.edited_by == child.ws.person])
        out.extend(lines_below(child, depth + 1))
    return out


def page_text(page, lines=False, below=True):
    """One entry per top-level block: what a page of a notebook became; with
    the blocks below it if wanted, or without a word of them."""
    out = []
    for node in page.live_children():
        items = node.content.get("rich_text", []) if node.kind == "block" \
            else []
        out.append({"id": node.id, "type": node.block_type(),
                    "title": block_text(node), "href": first_href(items),
                    "created_by_user": node.created_by == node.ws.person,
                    "edited_by_user": node.edited_by == node.ws.person})
        if below:
            out[-1]["text"] = "\n".join(deep_text(node))
        if node.block_type() == "to_do":
            out[-1]["checked"] = node.content["checked"]
        if lines:
            out[-1]["lines"] = lines_below(node)
    return out


def notebooks(store, user=None, lines=False, below=True):
    """The live pages with a marker, with the text of their blocks: what a test
    compares with its source.  A large dump takes long to read."""
    out = []
    for page in store.nodes.values():
        marker = marker_of(page)
        if marker and not page.in_trash() and user in (None, page.ws.user):
            out.append({"id": page.id, "user": page.ws.user, "marker": marker,
                        "title": page.plain_title(), "parent": page.parent.id,
                        "properties": {p.name: simple(page, p) for p in
                                       page.parent.schema.values()},
                        "blocks": page_text(page, lines, below),
                        "parts": [{"id": c.id, "title": c.plain_title(),
                                   "blocks": page_text(c, lines, below)}
                                  for c in page.live_children()
                                  if c.kind == "page"]})
    return out


def block_ids(store, user):
    """The ids of all live blocks."""
    return [n.id for n in store.nodes.values() if n.kind == "block" and
            user in (None, n.ws.user) and not n.in_trash()]


# --- dump -----------------------------------------------------------------

def marker_of(page):
    if page.kind != "page" or page.parent is None or \
            page.parent.kind != "data_source":
        return None
    for prop in page.parent.schema.values():
        if prop.name in MARKERS and prop.type == "rich_text":
            return plain(page.values.get(prop.id, [])) or None
    return None


def href_of(node):
    if node.kind != "block":
        return None
    return first_href(node.content.get("rich_text", []))


def simple(node, prop):
    """A property value as a person would write it."""
    value = render.property_value(node, prop)[prop.type]
    if prop.type in ("title", "rich_text"):
        return plain(value)
    if prop.type in ("select", "status"):
        return value["name"] if value else None
    if prop.type == "multi_select":
        return [v["name"] for v in value]
    if prop.type == "date":
        return value["start"] if value else None
    return value


def dump_node(node, trashed):
    out = {"id": node.id, "object": node.kind,
           "parent": node.parent.id if node.parent else None,
           "user": node.ws.user, "in_trash": node.in_trash(),
           "created_by": "user" if node.created_by == node.ws.person
           else "bot"}
    kids = node.children if trashed else node.live_children()
    if node.kind == "page":
        out.update(title=node.plain_title(), marker=marker_of(node),
                   url=render.url(node))
        if node.parent is not None and node.parent.kind == "data_source":
            out["properties"] = {p.name: simple(node, p)
                                 for p in node.parent.schema.values()}
    elif node.kind == "block":
        out.update(type=node.type, text=block_text(node), href=href_of(node),
                   content=node.content)
    else:
        out["title"] = plain(node.title)
        if node.kind == "data_source":
            out["schema"] = {p.name: {"id": p.id, "type": p.type}
                             for p in node.schema.values()}
    out["children"] = [dump_node(k, trashed) for k in kids]
    return out


def flatten(tree, out):
    for node in tree:
        kids = node["children"]
        flat = {k: v for k, v in node.items() if k != "children"}
        flat["children"] = [k["id"] for k in kids]
        out.append(flat)
        flatten(kids, out)


def dump(store, user=None, trashed=False):
    """Everything alive: as a tree, as flat lists, and what is there twice."""
    spaces = [w for w in store.workspaces.values() if user in (None, w.user)]
    tree = {w.user: [dump_node(n, trashed) for n in w.pages
                     if trashed or not n.trashed] for w in spaces}
    flat = []
    for nodes in tree.values():
        flatten(nodes, flat)
    pages = [n for n in flat if n["object"] == "page"]
    blocks = [n for n in flat if n["object"] == "block"]
    return {"workspaces": tree, "pages": pages, "blocks": blocks,
            "databases": [n for n in flat if n["object"] in
                          ("database", "data_source")],
            "duplicates": duplicates(pages, blocks)}


def duplicates(pages, blocks):
    """Markers carried by more than one live object.  The marker of a block is
    the address its text links to, without the query: that names the operation,
    not the item."""
    seen = {}
    for page in pages:
        if page["marker"] and not page["in_trash"]:
            seen.setdefault(("page", page["user"], page["marker"]),
                            []).append(page["id"])
    page_ids = {p["id"] for p in pages}
    for block in blocks:
        if block["href"] and block["parent"] in page_ids and \
                block["type"] in ("toggle", "callout", "quote", "to_do",
                                  *HEADINGS) and \
                not block["in_trash"]:
            seen.setdefault(("block", block["parent"],
                             block["href"].partition("?")[0]),
                            []).append(block["id"])
    return [{"object": kind, "within": within, "marker": mark, "ids": ids}
            for (kind, within, mark), ids in seen.items() if len(ids) > 1]


# --- the picture ----------------------------------------------------------

def marked(items):
    """Rich text as Markdown."""
    out = []
    for item in items:
        text = item["plain_text"]
        marks = item["annotations"]
        if item["type"] == "equation":
            text = "$%s$" % text
        core = text.strip()
        if core:
            lead, tail = text[:len(text) - len(text.lstrip())], \
                text[len(text.rstrip()):]
            for flag, sign in (("code", "`"), ("bold", "**"), ("italic", "_"),
                               ("strikethrough", "~~")):
                if marks[flag]:
                    core = sign + core + sign
            if item["href"]:
                core = "[%s](%s)" % (core, item["href"])
            text = lead + core + tail
        out.append(text)
    return "".join(out)


def width_of(text):
    return sum(0 if unicodedata.combining(c) or c == "\ufe0f" else
               2 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in text)


def pad(text, width):
    return text + " " * (width - width_of(text))


def wrapped(text, first, rest, width):
    out = []
    for i, line in enumerate(text.split("\n")):
        head = rest if i else first
        room = max(width - width_of(head), 24)
        parts = textwrap.wrap(line, room, break_long_words=False,
                              break_on_hyphens=False) or [""]
        out.extend((rest if i or j else first) + p
                   for j, p in enumerate(parts))
    return out


def table_lines(node, indent):
    rows = [[marked(c) for c in r.content["cells"]]
            for r in node.live_children()]
    widths = [max((width_of(r[i]) for r in rows if i < len(r)), default=1)
              for i in range(node.content["table_width"])]
    out = []
    for n, row in enumerate(rows):
        out.append(indent + "│ " + " │ ".join(
            pad(c, w) for c, w in zip(row, widths)) + " │")
        if n == 0 and node.content["has_column_header"]:
            out.append(indent + "├" + "┼".join("─" * (w + 2)
                                              for w in widths) + "┤")
    return out


BULLETS = ("•", "◦", "▪")


def block_lines(nodes, indent, width, depth=0):
    out = []
    number = 0
    for node in nodes:
        kind = node.block_type()
        number = number + 1 if kind == "numbered_list_item" else 0
        out.extend(one_block(node, indent, width, depth, number))
    return out


def one_block(node, indent, width, depth, number):
    kind = node.block_type()
    kids = node.live_children() if node.kind == "block" else []
    deeper = indent + "  "
    if kind in ("child_page", "child_database"):
        return [indent + ("📄 " if kind == "child_page" else "🗂  ")
                + node.plain_title()]
    content = node.content
    if kind == "table":
        return table_lines(node, indent)
    if kind == "divider":
        return [indent + "─" * max(8, min(40, width - len(indent)))]
    if kind == "code":
        label = content["language"]
        body = plain(content["rich_text"]).split("\n")
        return [indent + "┌─ " + label] + \
            [indent + "│ " + line for line in body] + [indent + "└─"]
    if kind in MEDIA:
        inner = content.get(content["type"], {})
        return [indent + "🖼  " + inner.get("url", inner.get("id", ""))]
    if kind in ("column_list", "column", "synced_block"):
        return block_lines(kids, indent, width, depth)
    if kind in HEADINGS:
        first = "#" * int(kind[-1]) + " "
    elif kind == "toggle":
        first = "▾ " if kids else "▸ "
    elif kind == "bulleted_list_item":
        first = BULLETS[depth % 3] + " "
        depth += 1
    elif kind == "numbered_list_item":
        first = "%d. " % number
    elif kind == "to_do":
        first = "☑ " if content["checked"] else "☐ "
    elif kind == "quote":
        first = "┃ "
    elif kind == "callout":
        first = (content.get("icon") or {}).get("emoji", "💡") + " "
    else:
        first = ""
    if kind == "equation":
        text = "$$ %s $$" % content["expression"]
    elif "url" in content:
        text = content["url"]
    elif "rich_text" in content:
        # A toggle's link is our marker, not something to read.
        text = plain(content["rich_text"]) if kind == "toggle" else \
            marked(content["rich_text"])
    else:
        text = "(%s)" % kind
    hang = "┃ " if kind == "quote" else " " * width_of(first)
    out = wrapped(text, indent + first, indent + hang, width)
    if node.created_by == node.ws.person:
        out[-1] += "   ✎ %s" % node.ws.user
    for comment in node.ws.comments:
        if comment["parent"]["block_id"] == node.id:
            out.append("%s  💬 %s" % (indent, plain(comment["rich_text"])))
    step = indent + (" " * width_of(first) if kind in (
        "numbered_list_item", "to_do") else "  ")
    out.extend(block_lines(kids, step if kids else deeper, width, depth))
    if kind == "toggle":
        out.append("")
    return out


def summary(page):
    """The properties worth a line under a title."""
    bits = []
    for prop in page.parent.schema.values():
        value = simple(page, prop)
        if prop.type == "title" or prop.name in MARKERS or \
                value in (None, "", []):
            continue
        if prop.type == "checkbox":
            value = "☑" if value else "☐"
        elif prop.type == "multi_select":
            value = " ".join("#" + v for v in value)
        elif prop.type == "date":
            value = value[:16].replace("T", " ")
        bits.append("%s: %s" % (prop.name, value))
    return " · ".join(bits)


def page_lines(page, indent, width):
    done = None
    for prop in page.parent.schema.values():
        if prop.type == "checkbox":
            done = simple(page, prop)
    sign = "📓 " if done is None else "☑ " if done else "☐ "
    lines = [indent + sign + (page.plain_title() or "Untitled")]
    info = summary(page)
    if info:
        lines.extend(wrapped(info, indent + "   ", indent + "   ", width))
    kids = page.live_children()
    if kids:
        lines.append("")
        lines.extend(block_lines(kids, indent + "   ", width))
    if lines[-1] != "" and kids:
        lines.append("")
    return lines


def plural(n, word):
    return "%d %s%s" % (n, word, "" if n == 1 else "s")


def source_lines(db, source, indent, width):
    rows = [r for r in source.children if not r.trashed]
    name = plain(db.title) or "Untitled"
    if len(db.children) > 1:
        name += " / " + plain(source.title)
    blocks = sum(1 for r in rows for n in r.walk()
                 if n.kind == "block" and not n.in_trash())
    trash = len(source.children) - len(rows)
    info = plural(len(rows), "page") + (
        ", " + plural(blocks, "block") if blocks else "") + (
        ", %d in the trash" % trash if trash else "")
    lines = ["", "%s🗂  %s  (%s)" % (indent, name, info), ""]
    for row in rows:
        lines.extend(page_lines(row, indent + "   ", width))
    return lines


def tree_text(store, user=None, width=100):
    out = []
    for ws in store.workspaces.values():
        if user not in (None, ws.user):
            continue
        out.extend(("═" * min(width, 72), " " + ws.name,
                    "═" * min(width, 72), ""))
        for top in ws.pages:
            if not top.trashed:
                out.extend(container_lines(top, "", width))
        out.append("")
    while out and out[-1] == "":
        out.pop()
    text = "\n".join(line.rstrip() for line in out) + "\n"
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


def container_lines(node, indent, width):
    if node.kind == "database":
        return [line for s in node.children if not s.trashed
                for line in source_lines(node, s, indent, width)]
    lines = ["%s📄 %s" % (indent, node.plain_title() or "Untitled")]
    loose = []
    for child in node.live_children():
        if child.kind == "block":
            loose.append(child)
            continue
        lines.extend(block_lines(loose, indent + "   ", width))
        loose = []
        lines.extend(container_lines(child, indent + "   ", width))
    return lines + block_lines(loose, indent + "   ", width)
