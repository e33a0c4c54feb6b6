"""Filters, sorts and pages of results."""
import datetime
import re

from notion_schema import (DATE_RE, DATETIME_RE, bad, need_array, need_bool,
                           need_enum, need_object, need_string, need_uuid,
                           only_keys, plain, wrong)

EXISTENCE = ("is_empty", "is_not_empty")
TEXT_OPS = ("equals", "does_not_equal", "contains", "does_not_contain",
            "starts_with", "ends_with")
NUMBER_OPS = ("equals", "does_not_equal", "greater_than", "less_than",
              "greater_than_or_equal_to", "less_than_or_equal_to")
DATE_OPS = ("equals", "before", "after", "on_or_before", "on_or_after")
OPS = {
    "title": TEXT_OPS, "rich_text": TEXT_OPS, "url": TEXT_OPS,
    "email": TEXT_OPS, "phone_number": TEXT_OPS, "number": NUMBER_OPS,
    "checkbox": ("equals", "does_not_equal"),
    "select": ("equals", "does_not_equal"),
    "status": ("equals", "does_not_equal"),
    "multi_select": ("contains", "does_not_contain"),
    "people": ("contains", "does_not_contain"),
    "relation": ("contains", "does_not_contain"),
    "files": (), "date": DATE_OPS, "created_time": DATE_OPS,
    "last_edited_time": DATE_OPS,
}
TIMESTAMPS = ("created_time", "last_edited_time")
MAX_GROUP_DEPTH = 2


def minute(epoch):
    """Pages and blocks show their times cut to the minute."""
    return int(epoch) // 60 * 60


def iso(epoch):
    return datetime.datetime.fromtimestamp(
        minute(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:00.000Z")


def parse_date(text, path):
    if isinstance(text, str) and (DATE_RE.match(text)
                                  or DATETIME_RE.match(text)):
        try:
            value = datetime.datetime.fromisoformat(text)
        except ValueError:
            value = None
        if value is not None:
            if value.tzinfo is None:
                value = value.replace(tzinfo=datetime.timezone.utc)
            return value.timestamp()
    raise wrong(path, "a valid ISO 8601 date string", text)


def compile_filter(value, path, source, store, depth=0):
    """A predicate over (page, values)."""
    need_object(value, path)
    for group in ("and", "or"):
        if group in value:
            if depth >= MAX_GROUP_DEPTH:
                raise bad("body failed validation: %s.%s should be not "
                          "present: filters nest at most two levels deep."
                          % (path, group))
            only_keys(value, path, (group,))
            parts = [compile_filter(v, "%s.%s[%d]" % (path, group, i), source,
                                    store, depth + 1)
                     for i, v in enumerate(need_array(
                         value[group], "%s.%s" % (path, group)))]
            every = all if group == "and" else any
            return lambda page, values: every(p(page, values) for p in parts)
    if "timestamp" in value:
        return compile_timestamp(value, path)
    if "property" not in value:
        raise wrong(path + ".property", "defined")
    key = need_string(value["property"], path + ".property", empty=False)
    prop = store.find_property(source, key)
    if prop is None:
        raise bad("Could not find property with name or id: %s" % key)
    kinds = [k for k in value if k in OPS]
    only_keys(value, path, ("property", "type", *kinds[:1]))
    if not kinds:
        raise wrong("%s.%s" % (path, prop.type), "defined")
    kind = kinds[0]
    if value.get("type", kind) != kind:
        raise wrong(path + ".type", '`"%s"`' % kind, value["type"])
    if kind != prop.type:
        raise bad("The property type in the database does not match the "
                  "property type of the filter provided: database property "
                  "%s does not match filter %s" % (prop.type, kind))
    where = "%s.%s" % (path, kind)
    test = condition(kind, value[kind], where)
    if kind in TIMESTAMPS:
        attr = "created" if kind == "created_time" else "edited"
        return lambda page, values: test(minute(getattr(page, attr)))
    return lambda page, values: test(comparable(kind, values.get(prop.id)))


def compile_timestamp(value, path):
    name = need_enum(value["timestamp"], path + ".timestamp", TIMESTAMPS)
    only_keys(value, path, ("timestamp", "type", name))
    if name not in value:
        raise wrong("%s.%s" % (path, name), "defined")
    test = condition(name, value[name], "%s.%s" % (path, name))
    attr = "created" if name == "created_time" else "edited"
    return lambda page, values: test(minute(getattr(page, attr)))


def comparable(kind, value):
    if kind in ("title", "rich_text"):
        return plain(value or [])
    if kind in ("select", "status"):
        return value["name"] if value else None
    if kind == "multi_select":
        return [o["name"] for o in value or []]
    if kind in ("people", "relation"):
        return [o["id"] for o in value or []]
    if kind == "checkbox":
        return bool(value)
    if kind == "date":
        return parse_date(value["start"], "date") if value else None
    return value


def condition(kind, value, path):
    need_object(value, path)
    allowed = (*OPS[kind], *(() if kind == "checkbox" else EXISTENCE))
    only_keys(value, path, allowed)
    if len(value) != 1:
        raise wrong(path, "an object with one condition", value)
    (op, want), = value.items()
    where = "%s.%s" % (path, op)
    if op in EXISTENCE:
        if want is not True:
            raise wrong(where, "`true`", want)
        empty = op == "is_empty"
        return lambda have: (have in (None, "", [])) == empty
    if kind == "checkbox":
        need_bool(want, where)
        return lambda have: (have == want) == (op == "equals")
    if kind == "number":
        if isinstance(want, bool) or not isinstance(want, (int, float)):
            raise wrong(where, "a number", want)
        return lambda have: NUMBER_TESTS[op](have, want)
    if kind in ("date", *TIMESTAMPS):
        limit = parse_date(want, where)
        return lambda have: DATE_TESTS[op](have, limit)
    if kind in ("select", "status"):
        names = want if isinstance(want, list) else [want]
        for n in names:
            need_string(n, where)
        return lambda have: (have in names) == (op == "equals")
    if kind == "multi_select":
        names = want if isinstance(want, list) else [want]
        for n in names:
            need_string(n, where)
        return lambda have: any(n in have for n in names) == (op == "contains")
    if kind in ("people", "relation"):
        ident = need_uuid(want, where)
        return lambda have: (ident in have) == (op == "contains")
    need_string(want, where)
    return lambda have: TEXT_TESTS[op](have or "", want)


TEXT_TESTS = {
    "equals": lambda a, b: a == b,
    "does_not_equal": lambda a, b: a != b,
    "contains": lambda a, b: b.lower() in a.lower(),
    "does_not_contain": lambda a, b: b.lower() not in a.lower(),
    "starts_with": lambda a, b: a.lower().startswith(b.lower()),
    "ends_with": lambda a, b: a.lower().endswith(b.lower()),
}
NUMBER_TESTS = {
    "equals": lambda a, b: a == b,
    "does_not_equal": lambda a, b: a != b,
    "greater_than": lambda a, b: a is not None and a > b,
    "less_than": lambda a, b: a is not None and a < b,
    "greater_than_or_equal_to": lambda a, b: a is not None and a >= b,
    "less_than_or_equal_to": lambda a, b: a is not None and a <= b,
}
DATE_TESTS = {
    "equals": lambda a, b: a is not None and a == b,
    "before": lambda a, b: a is not None and a < b,
    "after": lambda a, b: a is not None and a > b,
    "on_or_before": lambda a, b: a is not None and a <= b,
    "on_or_after": lambda a, b: a is not None and a >= b,
}


def compile_sorts(value, path, source, store):
    """A list of (key function, reverse), most important first."""
    out = []
    for i, item in enumerate(need_array(value, path)):
        where = "%s[%d]" % (path, i)
        need_object(item, where)
        only_keys(item, where, ("property", "timestamp", "direction"))
        way = need_enum(item.get("direction"), where + ".direction",
                        ("ascending", "descending"))
        if ("timestamp" in item) == ("property" in item):
            raise bad("body failed validation. Fix one: %s.property should be "
                      "defined, instead was `undefined`; %s.timestamp should "
                      "be defined, instead was `undefined`." % (where, where))
        if "timestamp" in item:
            name = need_enum(item["timestamp"], where + ".timestamp",
                             TIMESTAMPS)
            attr = "created" if name == "created_time" else "edited"
            # The objects show minutes; ties keep the default order.
            key = (lambda a: lambda page, v: (0, minute(getattr(page, a))))(attr)
        else:
            prop = store.find_property(source, need_string(
                item["property"], where + ".property", empty=False))
            if prop is None:
                raise bad("Could not find sort property with name or id: %s"
                          % item["property"])
            key = sort_key(prop)
        out.append((key, way == "descending"))
    return out


def sort_key(prop):
    def key(page, values):
        value = comparable(prop.type, values.get(prop.id))
        if value in (None, "", []):
            return (1, "") if prop.type != "number" else (1, 0)
        if isinstance(value, (list, tuple)):
            return (0, ",".join(map(str, value)))
        return (0, value)
    return key


def order(rows, sorts):
    """Default order: newest first."""
    rows.sort(key=lambda r: r[0].seq, reverse=True)
    for key, reverse in reversed(sorts):
        rows.sort(key=lambda r: key(*r), reverse=reverse)
    return rows


def paginate(items, size, cursor, where, ident=lambda n: n.id):
    """One page: (items, next_cursor).  The cursor is the id of the next item,
    so it dies with it."""
    start = 0
    if cursor is not None:
        if not isinstance(cursor, str):
            raise bad("%s failed validation: %s.start_cursor should be a "
                      "string." % (where, where))
        wanted = cursor.replace("-", "").lower()
        if not re.match(r"[0-9a-f]{32}\Z", wanted):
            raise bad("%s failed validation: %s.start_cursor should be a valid "
                      "uuid, instead was `\"%s\"`." % (where, where, cursor))
        for start, item in enumerate(items):
            if ident(item).replace("-", "") == wanted:
                break
        else:
            raise bad("The start_cursor provided is invalid: %s" % cursor)
    chunk = items[start:start + size]
    rest = items[start + size:start + size + 1]
    return chunk, (ident(rest[0]) if rest else None)
