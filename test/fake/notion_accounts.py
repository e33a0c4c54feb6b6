"""Endpoints: file uploads and OAuth."""
import base64
import re

import notion_blocks
import notion_query
from notion_schema import (ApiError, bad, need_enum, need_string, only_keys)

UPLOAD_LIFE = 3600


# --- file uploads ----------------------------------------------------------

def upload_create(call):
    body, store = call.body, call.store
    only_keys(body, "body", ("mode", "filename", "content_type"))
    need_enum(body.get("mode", "single_part"), "body.mode", ("single_part",))
    ident = store.new_id()
    now = store.clock.now()
    store.uploads[ident] = {
        "ws": call.token.ws, "bot": call.author, "made": now,
        "status": "pending", "attached": False,
        "filename": need_string(body.get("filename", "file"), "body.filename",
                                900, empty=False),
        "content_type": body.get("content_type"), "length": None}
    call.committed()
    return upload_object(call, ident)


def get_upload(call, ident):
    up = call.store.uploads.get(ident)
    if up is None or up["ws"] is not call.token.ws:
        raise call.store.not_found("file upload", ident)
    if not up["attached"] and \
            call.store.clock.now() > up["made"] + UPLOAD_LIFE:
        up["status"] = "expired"
    return up


def upload_object(call, ident):
    up = get_upload(call, ident)
    out = {"object": "file_upload", "id": ident,
           "created_time": notion_query.iso(up["made"]),
           "created_by": {"id": up["bot"], "type": "bot"},
           "last_edited_time": notion_query.iso(up["made"]),
           "in_trash": False, "status": up["status"],
           "expiry_time": None if up["attached"] else
           notion_query.iso(up["made"] + UPLOAD_LIFE),
           "filename": up["filename"], "content_type": up["content_type"],
           "content_length": up["length"]}
    if up["status"] == "pending":
        out["upload_url"] = "http://%s/v1/file_uploads/%s/send" % (
            call.headers.get("host", "127.0.0.1"), ident)
    return out


def upload_get(call, file_upload_id):
    return upload_object(call, file_upload_id)


def upload_send(call, file_upload_id):
    up = get_upload(call, file_upload_id)
    if up["status"] != "pending":
        raise bad("File upload status should be pending, instead was %s."
                  % up["status"])
    m = re.match(r'multipart/form-data;.*boundary="?([^";]+)"?',
                 call.headers.get("content-type", ""), re.I)
    if not m:
        raise bad("Content-Type should be multipart/form-data.",
                  "invalid_request")
    mark = b"--" + m.group(1).encode()
    data = None
    for part in call.raw.split(mark)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            data = content[:-2]
    if data is None:
        raise bad("body failed validation: body.file should be defined.")
    if len(data) > call.settings["max_upload"]:
        raise bad("The file exceeds the workspace's upload limit.")
    up["status"], up["length"] = "uploaded", len(data)
    call.committed()
    return upload_object(call, file_upload_id)


def attach_uploads(call, news):
    """Uploads read back as files with an expiring address."""
    todo = [n for new in news for n in new.walk()
            if n.type in notion_blocks.MEDIA
            and n.content.get("type") == "file_upload"]
    for new in todo:
        up = get_upload(call, new.content["file_upload"]["id"])
        if up["status"] != "uploaded":
            raise bad("File upload is not in the uploaded state.")
    for new in todo:
        ident = new.content.pop("file_upload")["id"]
        get_upload(call, ident)["attached"] = True
        new.content["type"] = "file"
        new.content["file"] = {
            "url": "https://prod-files-secure.example/%s?X-Amz-Expires=3600"
                   % ident,
            "expiry_time": notion_query.iso(call.store.clock.now()
                                            + UPLOAD_LIFE)}


# --- OAuth -----------------------------------------------------------------

def oauth_client(call):
    head = call.headers.get("authorization", "")
    try:
        scheme, _, rest = head.partition(" ")
        ident, _, secret = base64.b64decode(rest, validate=True) \
            .decode().partition(":")
        known = scheme.lower() == "basic" and \
            call.store.oauth_clients.get(ident) == secret
    except ValueError:
        known = False
    if not known:
        raise ApiError(401, "invalid_client", "Client authentication failed.")
    return ident


def invalid_grant(call, why):
    error = bad(why, "invalid_grant")
    error.rfc = call.settings["oauth_error"] == "rfc"
    return error


def oauth_token(call):
    body, store = call.body, call.store
    oauth_client(call)
    grant = need_enum(body.get("grant_type"), "body.grant_type",
                      ("authorization_code", "refresh_token"))
    if grant == "authorization_code":
        only_keys(body, "body", ("grant_type", "code", "redirect_uri",
                                 "external_account"))
        code = need_string(body.get("code"), "body.code", empty=False)
        user = store.oauth_codes.get(code)
        if user is None:
            raise invalid_grant(call, "Invalid code.")
        store.oauth_codes[code] = None
        bot = None
    else:
        only_keys(body, "body", ("grant_type", "refresh_token"))
        text = need_string(body.get("refresh_token"), "body.refresh_token",
                           empty=False)
        old = store.refresh_tokens.get(text)
        if old is None:
            raise invalid_grant(call, "Invalid refresh token.")
        # Rotation: the old pair dies with the answer, arrived or not.
        store.refresh_tokens[text] = None
        store.drop_token(old.token)
        user, bot = old.ws.user, old.bot
    entry = store.add_token("ntn_%032x" % store.random.getrandbits(128), user,
                            "oauth", "nrt_%032x" % store.random.getrandbits(128),
                            bot)
    call.committed()
    ws = entry.ws
    return {"access_token": entry.token, "token_type": "bearer",
            "refresh_token": entry.refresh, "bot_id": entry.bot,
            "workspace_id": ws.id, "workspace_name": ws.name,
            "workspace_icon": None,
            "owner": {"type": "user", "user": {
                "object": "user", "id": ws.person, "name": ws.user,
                "avatar_url": None, "type": "person",
                "person": {"email": ws.user + "@example.com"}}},
            "duplicated_template_id": None}


def oauth_introspect(call):
    oauth_client(call)
    only_keys(call.body, "body", ("token",))
    token = need_string(call.body.get("token"), "body.token", empty=False)
    return {"active": token in call.store.tokens}


def oauth_revoke(call):
    oauth_client(call)
    only_keys(call.body, "body", ("token",))
    token = need_string(call.body.get("token"), "body.token", empty=False)
    entry = call.store.drop_token(token)
    if entry is not None and entry.refresh:
        call.store.refresh_tokens[entry.refresh] = None
    call.committed()
    return {}
