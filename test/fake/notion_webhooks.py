"""What Notion would deliver to a webhook subscription."""
import asyncio
import copy
import hashlib
import hmac
import json
import urllib.error
import urllib.parse
import urllib.request

import notion_query
from notion_user import Refused


class Webhooks:
    """Mixed into Control, which has the store."""

    def cmd_webhook_subscribe(self, spec):
        """{"user", "url"?, "token"?}: makes the subscription; answers (and
        POSTs) the handshake with its verification token."""
        ws = self.ws(spec)
        ws.subscription = self.store.new_id(True)
        ws.verification_token = spec.get("token") or "secret_%043x" % \
            self.store.random.getrandbits(172)
        ws.events.clear()
        body = json.dumps({"verification_token": ws.verification_token})
        return self.post(spec, [{"headers": {
            "Content-Type": "application/json"}, "body": body}])

    def cmd_webhooks(self, spec):
        """{"user", "url"?, "duplicates": n, "shuffle": bool, "aggregate":
        bool, "bad_signature": bool, "keep": bool}: what Notion would deliver
        for everything since the last time, as {headers, body} and POSTed to
        url."""
        ws = self.ws(spec)
        if ws.subscription is None:
            raise Refused("webhook_subscribe comes first")
        events = list(ws.events)
        if not spec.get("keep"):
            ws.events.clear()
        if spec.get("aggregate", True):
            events = aggregate(events)
        out = []
        for event in events:
            delivery = self.delivery(ws, event, bool(spec.get("bad_signature")))
            out.extend([delivery] * (1 + int(spec.get("duplicates", 0))))
        if spec.get("shuffle"):
            self.store.random.shuffle(out)
        return self.post(spec, out)

    def delivery(self, ws, event, spoil):
        node = self.store.nodes.get(event["node"])
        authors = event.get("authors", [event["author"]])
        body = {
            "id": self.store.new_id(True),
            "timestamp": stamp(self.store.clock.now()),
            "workspace_id": ws.id, "workspace_name": ws.name,
            "subscription_id": ws.subscription,
            "integration_id": self.store.integration_id,
            "authors": [{"id": author, "type": "person"
                         if author == ws.person else "bot"}
                        for author in authors],
            "accessible_by": [{"id": ws.person, "type": "person"}],
            "attempt_number": 1, "api_version": "2026-03-11",
            "type": event["type"],
            "entity": {"id": event["node"],
                       "type": node.kind if node else "page"},
            "data": {"parent": webhook_parent(ws, node)}}
        for key in ("updated_properties", "updated_blocks"):
            if key in event:
                body["data"][key] = event[key] if key != "updated_blocks" \
                    else [{"id": i, "type": "block"} for i in event[key]]
        raw = json.dumps(body, ensure_ascii=False)
        digest = hmac.new(ws.verification_token.encode(), raw.encode(),
                          hashlib.sha256).hexdigest()
        if spoil:
            digest = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        return {"headers": {"Content-Type": "application/json",
                            "X-Notion-Signature": "sha256=" + digest},
                "body": raw}

    async def post(self, spec, deliveries):
        url = spec.get("url")
        statuses = []
        if url:
            if urllib.parse.urlsplit(url).hostname not in (
                    "127.0.0.1", "localhost", "::1"):
                raise Refused("loopback only")
            loop = asyncio.get_running_loop()
            for item in deliveries:
                statuses.append(await loop.run_in_executor(
                    None, send_one, url, item))
        return {"deliveries": deliveries, "statuses": statuses}


def send_one(url, item):
    request = urllib.request.Request(url, item["body"].encode(),
                                     item["headers"], method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def stamp(epoch):
    return notion_query.datetime.datetime.fromtimestamp(
        epoch, notion_query.datetime.timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (epoch % 1 * 1000)


def webhook_parent(ws, node):
    above = node.parent if node else None
    if above is None:
        return {"id": ws.id, "type": "space"}
    if above.kind == "data_source":
        return {"id": above.parent.id, "type": "database",
                "data_source_id": above.id}
    return {"id": above.id, "type": above.kind}


OPPOSITES = {"page.deleted": "page.undeleted",
             "page.undeleted": "page.deleted",
             "data_source.deleted": "data_source.undeleted",
             "data_source.undeleted": "data_source.deleted"}


def aggregate(events):
    """Changes of one object in one period become one event; opposite ones may
    cancel to nothing."""
    merged = {}
    for event in events:
        opposite = (event["node"], OPPOSITES.get(event["type"]))
        if opposite in merged:
            del merged[opposite]
            continue
        key = (event["node"], event["type"])
        if key not in merged:
            merged[key] = copy.deepcopy(event)
            continue
        old = merged[key]
        authors = old.setdefault("authors", [old["author"]])
        if event["author"] not in authors:
            authors.append(event["author"])
        for name in ("updated_properties", "updated_blocks"):
            for item in event.get(name, ()):
                if item not in old[name]:
                    old[name].append(item)
    return list(merged.values())
