"""Rate windows and the ways a request can go wrong on demand.

A rule says which requests it hits and what becomes of them:

    {"match": {"method": "PATCH", "path": "^/v1/blocks/.*/children$"},
     "fault": "commit_503", "times": 3, "after": 0, "probability": 0.2}

Faults named commit_* (and truncated_json, short_body, empty_200, trickle,
body:NAME, which answers what BODIES makes of the real answer) let
the request do its work first; if the request itself is refused, the refusal is
answered and the rule is not used up.  late_close closes the connection and does
the work "seconds" later.  All others change nothing.
"""
import json
import random
import re

from notion_schema import ApiError


def without(value, name, put=()):
    """A JSON value with all members of one name taken out, or replaced."""
    if isinstance(value, dict):
        return {k: without(put[0] if put and k == name else v, name, put)
                for k, v in value.items() if put or k != name}
    if isinstance(value, list):
        return [without(v, name, put) for v in value]
    return value


def rewritten(raw, *args):
    return json.dumps(without(json.loads(raw), *args)).encode()


# What nobody should have to read, by name; each is given the real answer.
BODIES = {
    "garbage": lambda raw: random.Random(len(raw)).randbytes(997),
    "deep": lambda raw: b"[" * 200000,
    "deep_object": lambda raw: b'{"results":' * 5000 + b"1" + b"}" * 5000,
    "huge": lambda raw: b'{"id":"' + b"x" * (17 << 20) + b'"}',
    "null": lambda raw: b"null",
    "number": lambda raw: b"4e99999",
    "string": lambda raw: b'"results"',
    "array": lambda raw: b"[]",
    "empty_object": lambda raw: b"{}",
    "nul": lambda raw: rb'{"id":"a\u0000b","results":["\u0000"]}',
    "bad_utf8": lambda raw: b'{"id":"\xff\xfe","object":"\xed\xa0\x80"}',
    "wrong_types": lambda raw: b'{"id":7,"results":5,"data_sources":"x",'
    b'"properties":[1],"has_more":"yes","next_cursor":{},"in_trash":"no"}',
    "wrong_elements": lambda raw: b'{"id":[],"results":[null,7,"x",[],{}],'
    b'"data_sources":[null],"properties":{"Name":null,"rmirror ID":[]}}',
    "no_ids": lambda raw: rewritten(raw, "id"),
    "null_ids": lambda raw: rewritten(raw, "id", [None]),
    "evil_ids": lambda raw: rewritten(raw, "id", ["../users/me?x=#"]),
    "long_ids": lambda raw: rewritten(raw, "id", ["a" * 100000]),
    "no_cursor": lambda raw: rewritten(raw, "has_more", [True]),
}

HTML = ("<!DOCTYPE html>\n<html><head><title>%s</title></head>\n<body>"
        "<h1>%s</h1><hr><p>cloudflare</p></body></html>\n")

REASONS = ("public_api_request_rate_limit",
           "public_api_space_request_rate_limit",
           "public_api_endpoint_rate_limit", "public_api_request_blocked")

# Answered on the way in, nothing done.
REFUSALS = {
    "reject_500": (500, "internal_server_error",
                   "Unexpected error occurred."),
    "reject_503": (503, "service_unavailable",
                   "Notion is unavailable. Please try again later."),
    "reject_503_db": (503, "database_connection_unavailable",
                      "Notion's database is unavailable. Please try again "
                      "later."),
    "reject_504": (504, "gateway_timeout", "Gateway timeout."),
    "409": (409, "conflict_error",
            "Conflict occurred while saving. Please try again."),
    "401": (401, "unauthorized", "API token is invalid."),
    "403": (403, "restricted_resource",
            "Insufficient permissions for this endpoint."),
    "404": (404, "object_not_found", "Could not find the object."),
    "400": (400, "validation_error", "body failed validation."),
    "413": (413, "validation_error", "Request entity too large."),
    "row_limit": (409, "row_limit_exceeded",
                  "The data source has reached its row limit."),
}
# Answered in place of the real answer, after the work was done.
AFTERWARDS = {
    "commit_500": (500, "internal_server_error",
                   "Unexpected error occurred."),
    "commit_503": (503, "service_unavailable",
                   "Notion is unavailable. Please try again later."),
    "commit_504": (504, "gateway_timeout", "Gateway timeout."),
}
# How the real answer is delivered, or not.
DELIVERIES = ("commit_close", "commit_reset", "commit_hang", "truncated_json",
              "short_body", "empty_200", "trickle", "slow", "body")
DROPS = ("close_before_read", "close", "reset", "hang", "late_close")
OTHERS = ("commit_503_guidance", "commit_502_html", "reject_502_html",
          "edge_403_html", "529", "403_block_limit")
SYNONYMS = {"reject_close": "close", "reject_reset": "reset",
            "reject_hang": "hang", "reject_409": "409", "reject_529": "529",
            "commit_truncated_json": "truncated_json", "502": "reject_502_html",
            "500": "reject_500", "503": "reject_503", "504": "reject_504"}


class Rule:
    def __init__(self, ident, spec):
        self.id = ident
        self.fault, _, self.detail = str(spec["fault"]).partition(":")
        self.fault = SYNONYMS.get(self.fault, self.fault)
        if self.fault not in known_faults():
            raise ValueError("unknown fault %r; known: %s"
                             % (self.fault, ", ".join(known_faults())))
        if self.fault == "body" and self.detail not in BODIES:
            raise ValueError("body:%s is none of %s"
                             % (self.detail, ", ".join(BODIES)))
        if self.fault == "rate_429" and not self.detail:
            self.detail = REASONS[0]
        match = spec.get("match", {})
        unknown = set(match) - {"method", "path", "body", "user", "token"}
        unknown |= set(spec) - {"cmd", "match", "fault", "times", "after",
                                "probability", "seconds", "retry_after",
                                "message"}
        if unknown:
            raise ValueError("unknown key in rule: %s" % ", ".join(unknown))
        self.method = match.get("method")
        self.path = re.compile(match["path"]) if "path" in match else None
        self.body = re.compile(match["body"]) if "body" in match else None
        self.user = match.get("user")
        self.token = match.get("token")
        self.times = spec.get("times")          # None: for ever
        self.skip = spec.get("after", 0)
        self.probability = spec.get("probability", 1.0)
        self.seconds = spec.get("seconds")
        self.retry_after = spec.get("retry_after", 1)
        self.message = spec.get("message")
        self.hits = 0

    def matches(self, method, path, user, token, raw):
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method and method not in (
                self.method if isinstance(self.method, list)
                else [self.method]):
            return False
        if self.path and not self.path.search(path):
            return False
        if self.user and user != self.user:
            return False
        if self.token and token != self.token:
            return False
        return not (self.body and not self.body.search(
            (raw or b"").decode("utf-8", "replace")))

    def show(self):
        return {"id": self.id, "fault": self.fault + (
            ":" + self.detail if self.detail else ""), "hits": self.hits,
            "times": self.times, "probability": self.probability,
            "method": self.method,
            "path": self.path.pattern if self.path else None}


def known_faults():
    return (*DROPS, *DELIVERIES, *REFUSALS, *AFTERWARDS, *OTHERS, "rate_429")


class Faults:
    def __init__(self, seed=1):
        self.rules = []
        self.random = random.Random(seed)
        self.enabled = True
        self.made = 0
        self.down = None                 # None, close, 503, hang or refuse
        self.latency = (0.0, 0.0)

    def add(self, spec):
        self.made += 1
        rule = Rule(self.made, spec)
        self.rules.append(rule)
        return rule

    def pick(self, early, method, path, user, token, raw=None):
        """The rule that hits this request.  "early" is before the body has
        been read; only close_before_read can act there."""
        if not self.enabled:
            return None
        for rule in self.rules:
            if (rule.fault == "close_before_read") != early:
                continue
            if not rule.matches(method, path, user, token, raw):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.probability < 1 and \
                    self.random.random() >= rule.probability:
                continue
            rule.hits += 1
            return rule
        return None


def refusal(rule, settings, now):
    """The answer of a fault that changes nothing, or None."""
    if rule.fault in REFUSALS:
        status, code, message = REFUSALS[rule.fault]
        return ApiError(status, code, rule.message or message)
    if rule.fault == "rate_429":
        return too_many(rule.detail, rule.retry_after)
    if rule.fault == "529":
        return ApiError(529, "service_overload",
                        "Notion is overloaded. Please try again later.",
                        *waiting({}, rule.retry_after))
    if rule.fault == "403_block_limit":
        return ApiError(403, "restricted_resource",
                        "This workspace has reached its block limit.",
                        {"block_limit": "block_creation"})
    return None


def too_many(reason, retry_after):
    return ApiError(429, "rate_limited",
                    "You have been rate limited. Please try again in a few "
                    "minutes." if reason != "public_api_request_blocked" else
                    "This request has been blocked.",
                    *waiting({"rate_limit_reason": reason}, retry_after))


def waiting(data, retry_after):
    """additional_data and headers; None is an answer that does not say how
    long, any text is sent as it is."""
    if retry_after is None:
        return data, {}
    text = str(retry_after)
    return {**data, "retry_after": text}, {"Retry-After": text}


def saved_late(call):
    """The 503 that says what it saved: the only aid the API has for an answer
    that could not be built in time."""
    more = {"from": "public-api", "elapsed_ms": "55012",
            "deadline_ms": "55000",
            "retry_guidance": ["Read the object again to confirm the saved "
                               "change.", "Do not repeat the write."]}
    if call.resource is not None:
        more["committed_resource_id"] = call.resource
        if call.children:
            more["committed_child_ids"] = call.children
    return ApiError(503, "service_unavailable",
                    "The change was saved, but the response could not be "
                    "built in time. Read the object again instead of "
                    "repeating the write.", more)


class Windows:
    """Fixed windows: so many requests, then nothing until the next one.

    Production does not say where its windows begin; "first" starts one with
    the first request after the last window ended, "clock" cuts time evenly.
    """

    def __init__(self):
        self.state = {}
        self.peak = {}
        self.refused = 0

    def take(self, key, limit, length, now, align):
        """None, or the seconds until the window ends."""
        start, count = self.state.get(key, (None, 0))
        if start is None or now >= start + length:
            start = now - now % length if align == "clock" else now
            count = 0
        if count >= limit:
            self.refused += 1
            return start + length - now
        self.state[key] = (start, count + 1)
        self.peak[key] = max(self.peak.get(key, 0), count + 1)
        return None
