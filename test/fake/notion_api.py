"""Which endpoint answers which request.

An endpoint takes a Call (token, query, body, store, settings), changes the
store and returns the JSON to answer.  Everything is validated before anything
is changed, so a request is applied whole or not at all.
"""
import re

import notion_accounts as accounts
import notion_databases as databases
import notion_pages as pages
import notion_schema as schema
from notion_call import read_body
from notion_schema import bad

ROUTES = [(m, re.compile("/v1/" + p.replace(
    "{", "(?P<").replace("}", ">[^/]+)") + r"\Z"), h) for m, p, h in (
        ("GET", "users/me", databases.users_me),
        ("GET", "users/{user_id}", databases.users_get),
        ("POST", "databases", databases.database_create),
        ("GET", "databases/{database_id}", databases.database_get),
        ("PATCH", "databases/{database_id}", databases.database_update),
        ("POST", "data_sources", databases.source_create),
        ("GET", "data_sources/{data_source_id}", databases.source_get),
        ("PATCH", "data_sources/{data_source_id}", databases.source_update),
        ("POST", "data_sources/{data_source_id}/query", databases.source_query),
        ("POST", "pages", pages.page_create),
        ("GET", "pages/{page_id}", pages.page_get),
        ("PATCH", "pages/{page_id}", pages.page_update),
        ("GET", "pages/{page_id}/properties/{property_id}", pages.page_property),
        ("GET", "blocks/{block_id}", pages.block_get),
        ("PATCH", "blocks/{block_id}", pages.block_update),
        ("DELETE", "blocks/{block_id}", pages.block_delete),
        ("GET", "blocks/{block_id}/children", pages.children_get),
        ("PATCH", "blocks/{block_id}/children", pages.children_append),
        ("POST", "search", databases.search),
        ("GET", "comments", pages.comments_get),
        ("POST", "file_uploads", accounts.upload_create),
        ("GET", "file_uploads/{file_upload_id}", accounts.upload_get),
        ("POST", "file_uploads/{file_upload_id}/send", accounts.upload_send),
        ("POST", "oauth/token", accounts.oauth_token),
        ("POST", "oauth/introspect", accounts.oauth_introspect),
        ("POST", "oauth/revoke", accounts.oauth_revoke),
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
