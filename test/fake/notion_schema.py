"""What Notion accepts in a request: shapes, limits and messages.

Pure functions over decoded JSON; nothing here knows the objects that exist.
A validator either returns the value in the form Notion would store and hand
back, or raises ApiError.  Messages follow the ones seen in the wild
("body failed validation: <path> should be ..."), because people debug with
them; no client should parse them.

Where the documentation and the published types of @notionhq/client 5.26
disagree with what the live service tolerates, the narrower one is enforced: a
client that passes here must not depend on anybody's leniency.
"""
import json
import re
import urllib.parse

VERSIONS = ("2021-05-11", "2021-05-13", "2021-08-16", "2022-02-22",
            "2022-06-28", "2025-09-03", "2026-03-11")
SERVED_VERSION = "2026-03-11"

MAX_TEXT = 2000            # UTF-16 units in one text.content
MAX_URL = 2000
MAX_EXPRESSION = 1000
MAX_ARRAY = 100
MAX_BLOCKS = 1000          # block elements in one request, nested ones counted
MAX_TIERS = 3              # top level and "two levels of nesting"
MAX_SHORT = 200            # e-mail, phone number
MAX_OPTION = 100
MAX_PROPERTIES = 500

BASE_COLORS = ("default", "gray", "brown", "orange", "yellow", "green", "blue",
               "purple", "pink", "red")
COLORS = frozenset(BASE_COLORS) | {c + "_background" for c in BASE_COLORS}
ICON_COLORS = frozenset(("gray", "lightgray", "brown", "yellow", "orange",
                         "green", "blue", "purple", "pink", "red"))

# One language per comma: several names contain spaces.
LANGUAGES = frozenset(name.strip() for name in """
    abap, abc, agda, arduino, ascii art, assembly, bash, basic, bnf, c, c#, c++,
    clojure, coffeescript, coq, css, dart, dhall, diff, docker, ebnf, elixir,
    elm, erlang, f#, flow, fortran, gherkin, glsl, go, graphql, groovy, haskell,
    hcl, html, idris, java, javascript, json, julia, kotlin, latex, less, lisp,
    livescript, llvm ir, lua, makefile, markdown, markup, matlab, mathematica,
    mermaid, nix, notion formula, objective-c, ocaml, pascal, perl, php,
    plain text, powershell, prolog, protobuf, purescript, python, r, racket,
    reason, ruby, rust, sass, scala, scheme, scss, shell, smalltalk, solidity,
    sql, swift, toml, typescript, vb.net, verilog, vhdl, visual basic,
    webassembly, xml, yaml, java/c/c++/c#""".split(","))

UUID_RE = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?"
                     r"[0-9a-f]{12}\Z", re.I)
DATE_RE = re.compile(r"\d{4}-\d\d-\d\d\Z")
DATETIME_RE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?"
                         r"(Z|[+-]\d\d:\d\d)?\Z")
LINK_RE = re.compile(r"(https?|mailto):[^\s]+\Z", re.I)
WEB_RE = re.compile(r"https?://[^\s/?#]+[^\s]*\Z", re.I)


class ApiError(Exception):
    """An error answer of the API."""

    def __init__(self, status, code, message, additional=None, headers=None):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.additional = additional
        self.headers = headers or {}


def bad(message, code="validation_error"):
    """A 400 answer, by default the validation_error everything wrong gets."""
    return ApiError(400, code, message)


def shown(value):
    """A value as the messages of the API quote it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "`%s`" % (text if len(text) <= 60 else text[:59] + "…")


def wrong(path, wanted, value=...):
    found = "`undefined`" if value is ... else shown(value)
    return bad("body failed validation: %s should be %s, instead was %s."
               % (path, wanted, found))


def utf16_units(text):
    """Length as Notion counts it: UTF-16 code units."""
    return len(text) + sum(1 for c in text if c > "\uffff")


# --- small shapes ---------------------------------------------------------

def need_object(value, path):
    if not isinstance(value, dict):
        raise wrong(path, "an object", value)
    return value


def need_array(value, path, limit=MAX_ARRAY):
    if not isinstance(value, list):
        raise wrong(path, "an array", value)
    if limit is not None and len(value) > limit:
        raise wrong(path + ".length", "≤ `%d`" % limit, len(value))
    return value


def need_bool(value, path):
    if not isinstance(value, bool):
        raise wrong(path, "a boolean", value)
    return value


def need_string(value, path, limit=None, empty=True):
    if not isinstance(value, str):
        raise wrong(path, "a string", value)
    if not empty and value == "":
        raise wrong(path + ".length", "≥ `1`", 0)
    if limit is not None and utf16_units(value) > limit:
        raise wrong(path + ".length", "≤ `%d`" % limit, utf16_units(value))
    return value


def need_enum(value, path, allowed):
    if not isinstance(value, str) or value not in allowed:
        names = sorted(allowed)
        quoted = ", ".join('`"%s"`' % n for n in names[:12])
        if len(names) > 12:
            quoted += ", …"
        raise wrong(path, "one of: " + quoted, value)
    return value


def need_uuid(value, path):
    """A dashed, lower-case id.  Requests may leave the dashes out."""
    if not isinstance(value, str) or not UUID_RE.match(value):
        raise wrong(path, "a valid uuid", value)
    return dashed(value)


def dashed(value):
    h = value.replace("-", "").lower()
    return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))


def only_keys(obj, path, allowed):
    """Refuses keys Notion's types do not have."""
    for key in obj:
        if key not in allowed:
            raise wrong("%s.%s" % (path, key), "not present", obj[key])


def one_of(obj, path, names, more=()):
    """Exactly one key of "names" (a tagged union); "type", if there, agrees."""
    present = [n for n in names if n in obj]
    if not present:
        raise bad("body failed validation. Fix one: " + "; ".join(
            "%s.%s should be defined, instead was `undefined`." % (path, n)
            for n in list(names)[:6]))
    for extra in present[1:]:
        raise wrong("%s.%s" % (path, extra), "not present", obj[extra])
    name = present[0]
    if "type" in obj and obj["type"] != name:
        raise wrong("%s.type" % path, '`"%s"` or `undefined`' % name,
                    obj["type"])
    only_keys(obj, path, {name, "type", *more})
    return name


def need_url(value, path, pattern=WEB_RE):
    need_string(value, path, MAX_URL, empty=False)
    if not pattern.match(value):
        raise bad("Content creation Failed. Fix the following: \n"
                  "Invalid URL for %s." %
                  ("link" if pattern is LINK_RE else path.split(".")[-2]
                   if "." in path else "url"))
    return value


# --- rich text ------------------------------------------------------------

ANNOTATIONS = ("bold", "italic", "strikethrough", "underline", "code")


def rich_text(value, path):
    """A rich_text array; returns it as it reads back."""
    need_array(value, path)
    return [rich_text_item(v, "%s[%d]" % (path, i))
            for i, v in enumerate(value)]


def rich_text_item(item, path):
    need_object(item, path)
    # plain_text and href are read-only, but tolerated (recorded traffic).
    kind = one_of(item, path, ("text", "mention", "equation"),
                  ("annotations", "plain_text", "href"))
    body = need_object(item[kind], "%s.%s" % (path, kind))
    where = "%s.%s" % (path, kind)
    href = None
    if kind == "text":
        only_keys(body, where, ("content", "link"))
        if "content" not in body:
            raise wrong(where + ".content", "defined")
        plain = need_string(body["content"], where + ".content", MAX_TEXT)
        link = body.get("link")
        if link is not None:
            need_object(link, where + ".link")
            only_keys(link, where + ".link", ("url",))
            if "url" not in link:
                raise wrong(where + ".link.url", "defined")
            href = need_url(link["url"], where + ".link.url", LINK_RE)
        stored = {"content": plain, "link": {"url": href} if href else None}
    elif kind == "equation":
        only_keys(body, where, ("expression",))
        if "expression" not in body:
            raise wrong(where + ".expression", "defined")
        plain = need_string(body["expression"], where + ".expression",
                            MAX_EXPRESSION)
        stored = {"expression": plain}
    else:
        stored, plain, href = mention(body, where)
    marks = {name: False for name in ANNOTATIONS}
    marks["color"] = "default"
    if "annotations" in item:
        given = need_object(item["annotations"], path + ".annotations")
        only_keys(given, path + ".annotations", (*ANNOTATIONS, "color"))
        for name, flag in given.items():
            where = "%s.annotations.%s" % (path, name)
            marks[name] = (need_enum(flag, where, COLORS) if name == "color"
                           else need_bool(flag, where))
    return {"type": kind, kind: stored, "annotations": marks,
            "plain_text": plain, "href": href}


def mention(body, path):
    kind = one_of(body, path, ("user", "date", "page", "database"))
    value = need_object(body[kind], "%s.%s" % (path, kind))
    if kind == "date":
        value = date_value(value, path + ".date")
        return {"type": kind, kind: value}, value["start"], None
    ident = need_uuid(value.get("id"), "%s.%s.id" % (path, kind))
    href = None if kind == "user" else \
        "https://app.notion.com/p/" + ident.replace("-", "")
    return {"type": kind, kind: {"id": ident}}, "@" + ident[:8], href


def plain(items):
    return "".join(i["plain_text"] for i in items)


def first_href(items):
    for item in items:
        if item["href"]:
            return item["href"]
    return None


# --- icons, dates, files --------------------------------------------------

def icon(value, path):
    need_object(value, path)
    kind = one_of(value, path, ("emoji", "external", "file_upload",
                                "custom_emoji", "icon"))
    inner = value[kind]
    where = "%s.%s" % (path, kind)
    if kind == "emoji":
        need_string(inner, where, 32, empty=False)
        # The service holds a closed list; no letter or plain sign is on it.
        if all(ord(c) < 0xa9 for c in inner):
            raise bad("body failed validation: %s should be a valid emoji, "
                      "instead was %s." % (where, shown(inner)))
        return {"type": kind, kind: inner}
    need_object(inner, where)
    if kind == "external":
        only_keys(inner, where, ("url",))
        need_url(inner.get("url"), where + ".url")
    elif kind == "icon":
        only_keys(inner, where, ("name", "color"))
        need_string(inner.get("name"), where + ".name", empty=False)
        if "color" in inner:
            need_enum(inner["color"], where + ".color", ICON_COLORS)
    else:
        need_uuid(inner.get("id"), where + ".id")
    return {"type": kind, kind: dict(inner)}


def decoration(body, key, null=True):
    """The icon or cover of a page or database; null takes it away."""
    value = body.get(key)
    if key not in body or value is None and null:
        return None
    path = "body." + key
    if key == "icon":
        return icon(value, path)
    need_object(value, path)
    kind = one_of(value, path, ("external", "file_upload"))
    inner = need_object(value[kind], "%s.%s" % (path, kind))
    if kind == "external":
        only_keys(inner, path + ".external", ("url",))
        need_url(inner.get("url"), path + ".external.url")
    else:
        need_uuid(inner.get("id"), path + ".file_upload.id")
    return {"type": kind, kind: dict(inner)}


def date_value(value, path):
    need_object(value, path)
    only_keys(value, path, ("start", "end", "time_zone"))
    if "start" not in value:
        raise wrong(path + ".start", "defined")
    out = {"start": None, "end": None, "time_zone": None}
    for key in ("start", "end"):
        text = value.get(key)
        if text is None and key == "end":
            continue
        if not isinstance(text, str) or not (DATE_RE.match(text)
                                             or DATETIME_RE.match(text)):
            raise wrong("%s.%s" % (path, key),
                        "a valid ISO 8601 date string", text)
        out[key] = stored_date(text)
    zone = value.get("time_zone")
    if zone is not None:
        need_string(zone, path + ".time_zone", empty=False)
        if re.search(r"(Z|[+-]\d\d:\d\d)\Z", value["start"]):
            raise bad("When providing a time_zone, the start date may not "
                      "have a UTC offset.")
        out["time_zone"] = zone
    return out


def stored_date(text):
    """Times come back with milliseconds and an explicit offset."""
    m = re.match(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?"
                 r"(Z|[+-]\d\d:\d\d)?)?\Z", text)
    year, month, day, hour, minute, second, frac, zone = m.groups()
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31
            and int(hour or 0) < 24 and int(minute or 0) < 60
            and int(second or 0) < 61):
        raise bad("body failed validation: %s is not a valid date." % text)
    if hour is None:
        return text
    ms = ((frac or "") + "000")[:3]
    return "%s-%s-%sT%s:%s:%s.%s%s" % (
        year, month, day, hour, minute, second or "00", ms,
        "+00:00" if zone in (None, "Z") else zone)


def media(value, path, named=False, partial=False):
    """The content of image, video, pdf, audio and file blocks."""
    kinds = [k for k in ("external", "file_upload") if k in value]
    allowed = {"external", "file_upload", "caption"}
    if not partial:
        allowed.add("type")
    if named:
        allowed.add("name")
    only_keys(value, path, allowed)
    if len(kinds) != 1 and not (partial and not kinds):
        raise bad("body failed validation. Fix one: %s.external should be "
                  "defined, instead was `undefined`; %s.file_upload should be "
                  "defined, instead was `undefined`." % (path, path)
                  if not kinds else
                  "body failed validation: %s.file_upload should be not "
                  "present, instead was %s." % (path,
                                                shown(value["file_upload"])))
    out = {}
    if kinds:
        kind = kinds[0]
        if value.get("type", kind) != kind:
            raise wrong(path + ".type", '`"%s"`' % kind, value["type"])
        inner = need_object(value[kind], "%s.%s" % (path, kind))
        where = "%s.%s" % (path, kind)
        if kind == "external":
            only_keys(inner, where, ("url",))
            if "url" not in inner:
                raise wrong(where + ".url", "defined")
            out[kind] = {"url": need_url(inner["url"], where + ".url")}
        else:
            only_keys(inner, where, ("id",))
            out[kind] = {"id": need_uuid(inner.get("id"), where + ".id")}
        out["type"] = kind
    if "caption" in value or not partial:
        out["caption"] = rich_text(value.get("caption", []), path + ".caption")
    if named and "name" in value:
        out["name"] = need_string(value["name"], path + ".name")
    return out


# --- positions, parents, lists --------------------------------------------

def position(value, path, prefix=""):
    """The place of new blocks: (kind, anchor id or None)."""
    need_object(value, path)
    names = (prefix + "start", prefix + "end", "after_block")
    if "type" not in value:
        raise wrong(path + ".type", "defined")
    kind = need_enum(value["type"], path + ".type", names)
    if kind != "after_block":
        only_keys(value, path, ("type",))
        return kind[len(prefix):], None
    only_keys(value, path, ("type", "after_block"))
    inner = need_object(value.get("after_block", ...)
                        if "after_block" in value else None,
                        path + ".after_block")
    only_keys(inner, path + ".after_block", ("id",))
    return kind, need_uuid(inner.get("id"), path + ".after_block.id")


def parent(value, path, kinds):
    """A parent object: (kind, id)."""
    need_object(value, path)
    present = [k for k in kinds if k in value]
    if len(present) != 1:
        raise bad("body failed validation. Fix one: " + "; ".join(
            "%s.%s should be defined, instead was `undefined`." % (path, k)
            for k in kinds))
    kind = one_of(value, path, kinds)
    if kind == "workspace":
        if value[kind] is not True:
            raise wrong(path + ".workspace", "`true`", value[kind])
        return kind, None
    return kind, need_uuid(value[kind], "%s.%s" % (path, kind))


def page_size(value, where):
    """page_size and its borders; "where" is body or query."""
    if isinstance(value, str) and where == "query":
        if not re.match(r"-?\d+\Z", value):
            raise bad("query failed validation: query.page_size should be a "
                      "number, instead was `\"%s\"`." % value)
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad("%s failed validation: %s.page_size should be a number, "
                  "instead was %s." % (where, where, shown(value)))
    if value > MAX_ARRAY:
        raise bad("%s failed validation: %s.page_size should be ≤ `100`, "
                  "instead was `%d`." % (where, where, value))
    if value < 1:
        raise bad("%s failed validation: %s.page_size should be ≥ `1`, "
                  "instead was `%d`." % (where, where, value))
    return value


# --- property values and schemas ------------------------------------------

EMPTY_CONFIG = ("title", "rich_text", "url", "people", "files", "email",
                "phone_number", "date", "checkbox", "created_by",
                "created_time", "last_edited_by", "last_edited_time")
CONFIG_TYPES = (*EMPTY_CONFIG, "number", "select", "multi_select", "status",
                "formula", "relation", "rollup", "unique_id")
READ_ONLY = frozenset(("created_by", "created_time", "last_edited_by",
                       "last_edited_time", "formula", "rollup", "unique_id"))
VALUE_TYPES = ("title", "rich_text", "number", "url", "select", "multi_select",
               "people", "email", "phone_number", "date", "checkbox",
               "relation", "files", "status")


def option_name(name, path):
    need_string(name, path, MAX_OPTION, empty=False)
    if "," in name:
        raise bad("Invalid select option, commas not allowed: " + name)
    return name


def option(value, path):
    """A select option as written in a page: {"name"} or {"id"}."""
    need_object(value, path)
    only_keys(value, path, ("id", "name", "color", "description"))
    if "id" not in value and "name" not in value:
        raise bad("body failed validation. Fix one: %s.id should be defined, "
                  "instead was `undefined`; %s.name should be defined, "
                  "instead was `undefined`." % (path, path))
    if "name" in value:
        option_name(value["name"], path + ".name")
    if "id" in value:
        need_string(value["id"], path + ".id", empty=False)
    if "color" in value:
        need_enum(value["color"], path + ".color", BASE_COLORS)
    return value


def property_config(value, path, update=False):
    """A column of a schema: (type, settings, name or None)."""
    need_object(value, path)
    if update and set(value) == {"name"}:
        return None, None, need_string(value["name"], path + ".name",
                                       empty=False)
    more = ("description", "name") if update else ("description",)
    kind = one_of(value, path, CONFIG_TYPES, more)
    body = need_object(value[kind], "%s.%s" % (path, kind))
    where = "%s.%s" % (path, kind)
    settings = {}
    if kind == "number":
        only_keys(body, where, ("format",))
        settings["format"] = need_string(body.get("format", "number"),
                                         where + ".format", empty=False)
    elif kind in ("select", "multi_select", "status"):
        only_keys(body, where, ("options",))
        options = need_array(body.get("options", []), where + ".options")
        seen = set()
        for i, opt in enumerate(options):
            spot = "%s.options[%d]" % (where, i)
            option(opt, spot)
            if not update and "id" in opt:
                raise wrong(spot + ".id", "not present", opt["id"])
            if opt.get("name") in seen:
                raise bad("Select option name \"%s\" is used more than once."
                          % opt["name"])
            seen.add(opt.get("name"))
        settings["options"] = options
    elif kind == "relation":
        need_uuid(body.get("data_source_id"), where + ".data_source_id")
        settings = dict(body)
    elif kind in ("formula", "rollup", "unique_id"):
        settings = dict(body)
    else:
        only_keys(body, where, ())
    name = value.get("name") if update else None
    if name is not None:
        need_string(name, path + ".name", empty=False)
    return kind, settings, name


def property_value(value, path, name, kind):
    """A value for a column of type "kind", as it would be stored."""
    need_object(value, path)
    if kind in READ_ONLY:
        raise bad("%s is a read-only property and cannot be written."
                  % name)
    if kind not in value:
        raise bad("%s is expected to be %s." % (name, kind))
    one_of(value, path, VALUE_TYPES)
    body = value[kind]
    where = "%s.%s" % (path, kind)
    if kind in ("title", "rich_text"):
        return rich_text(body, where)
    if kind == "checkbox":
        return need_bool(body, where)
    if kind == "multi_select":
        need_array(body, where)
        return [option(v, "%s[%d]" % (where, i)) for i, v in enumerate(body)]
    if kind in ("people", "relation"):
        need_array(body, where)
        out = []
        for i, item in enumerate(body):
            spot = "%s[%d]" % (where, i)
            need_object(item, spot)
            only_keys(item, spot, ("id", "object") if kind == "people"
                      else ("id",))
            out.append({"id": need_uuid(item.get("id"), spot + ".id")})
        return out
    if kind == "files":
        need_array(body, where)
        return [dict(need_object(v, "%s[%d]" % (where, i)))
                for i, v in enumerate(body)]
    if body is None:
        return None
    if kind == "number":
        if isinstance(body, bool) or not isinstance(body, (int, float)):
            raise wrong(where, "a number", body)
        return body
    if kind == "url":
        return need_string(body, where, MAX_URL, empty=False)
    if kind in ("email", "phone_number"):
        return need_string(body, where, MAX_SHORT, empty=False)
    if kind in ("select", "status"):
        return option(body, where)
    return date_value(body, where)


def property_key(ident):
    """Property ids travel percent-encoded; compare them decoded."""
    return urllib.parse.unquote(ident)
