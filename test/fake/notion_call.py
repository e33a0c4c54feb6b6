"""One request on its way through the API, and what all endpoints share."""
import json

import notion_schema as schema
from notion_schema import ApiError, bad, need_bool, wrong


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


def paging(call):
    query = call.query
    for key in query:
        if key not in ("page_size", "start_cursor"):
            raise bad("query failed validation: query.%s should be not "
                      "present, instead was `\"%s\"`." % (key, query[key][0]))
    size = schema.page_size(query.get("page_size", ["100"])[0], "query")
    return size, query.get("start_cursor", [None])[0]
