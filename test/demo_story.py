"""The story test/demo tells.  Called by it, inside the scratch copy.

Starts a server, a stand-in for Notion and a webhook receiver, commits
notebooks, and shows what the background workers make of them.  Every claim
it prints is checked; the exit status is 1 if one does not hold.
"""
import argparse
import collections
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

from demo_notebooks import NOTEBOOKS

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr"


class Story:
    def __init__(self, args):
        self.work = args.work
        self.plain = args.plain
        self.keep = args.keep
        self.failures = 0
        self.children = []
        self.bin = subprocess.check_output(
            [os.environ["PG_CONFIG"], "--bindir"], text=True).strip()
        self.data = os.path.join(self.work, "data")
        self.sock = os.path.join(self.work, "tmp")
        self.env = dict(os.environ, PGHOST=self.sock, PGPORT="5432",
                        PGDATABASE="rmirror", PGUSER="postgres",
                        PGOPTIONS="-c client_min_messages=warning")

    # -- printing ---------------------------------------------------------

    def colour(self, code, text):
        return text if self.plain else "\033[%sm%s\033[0m" % (code, text)

    def title(self, text):
        print()
        print(self.colour("1;36", "── %s " % text)
              + self.colour("36", "─" * max(0, 68 - len(text))))

    def say(self, text=""):
        print("   " + text if text else "", flush=True)

    def check(self, good, text):
        mark = self.colour("1;32", "✔") if good else self.colour("1;31", "✘")
        print("   %s %s" % (mark, text), flush=True)
        if not good:
            self.failures += 1

    # -- server and stand-ins ---------------------------------------------

    def start_server(self):
        run = dict(check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.STDOUT)
        subprocess.run([self.bin + "/initdb", "-D", self.data, "-A", "trust",
                        "-U", "postgres", "-N", "-E", "UTF8",
                        "--locale=C.UTF-8"], **run)
        with open(os.path.join(self.work, "stage", "stage.conf")) as f:
            stage = f.read()
        with open(self.data + "/postgresql.conf", "a") as f:
            f.write("listen_addresses = ''\n"
                    "unix_socket_directories = '%s'\n"
                    "shared_preload_libraries = 'rmsync'\n"
                    "track_commit_timestamp = on\n"
                    # the stand-ins speak plain http on the loopback
                    "rmsync.allow_http = on\n"
                    "rmsync.allowed_networks = '127.0.0.0/8'\n"
                    # outages here last seconds, not minutes
                    "rmsync.backoff_scale = 0.2\n" % self.sock + stage)
        subprocess.run([self.bin + "/pg_ctl", "-D", self.data, "-w", "-l",
                        self.data + "/server.log", "start"], **run)
        subprocess.run([self.bin + "/createdb", "rmirror"], env=self.env,
                       check=True)

    def start_fake(self, script, *options):
        log = open(os.path.join(self.work, "logs", script + ".log"), "w")
        p = subprocess.Popen([sys.executable, script, *options],
                             cwd=os.path.join(HERE, "fake"), text=True,
                             stdout=subprocess.PIPE, stderr=log,
                             start_new_session=True)
        self.children.append(p)
        return "http://127.0.0.1:%s" % p.stdout.readline().split()[1]

    def stop(self):
        for p in self.children:
            p.terminate()
            p.wait()
        if os.path.exists(self.data + "/postmaster.pid"):
            subprocess.run([self.bin + "/pg_ctl", "-D", self.data, "-m", "fast",
                            "-w", "stop"], stdout=subprocess.DEVNULL)

    def sql(self, text, **variables):
        """Runs SQL; returns rows of strings."""
        command = [self.bin + "/psql", "-XqAt", "-F", "\x1f", "-R", "\x1e",
                   "-v", "ON_ERROR_STOP=1", "-f", "-"]
        for name, value in variables.items():
            command += ["-v", "%s=%s" % (name, value)]
        out = subprocess.run(command, input=text, env=self.env, text=True,
                             stdout=subprocess.PIPE, check=True).stdout
        return [row.split("\x1f") for row in out.strip("\n").split("\x1e")
                if row.strip("\n")]

    def value(self, text, **variables):
        return self.sql(text, **variables)[-1][0].strip()

    def get(self, url):
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def control(self, **command):
        request = urllib.request.Request(
            self.notion + "/_control", json.dumps(command).encode(),
            {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    # -- looking ----------------------------------------------------------

    def progress(self):
        return [(t, int(done), int(total)) for t, done, total in self.sql("""
            SELECT c.target_name || ' of user ' || c.user_id,
                (SELECT count(*) FROM rmsync.sync_records r WHERE r.lane_id = c.id
                    AND r.status = 'success'
                    AND NOT EXISTS (SELECT FROM rmsync.sync_queue q WHERE q.lane_id = c.id
                        AND q.item_type = r.item_type AND q.item_id = r.item_id)),
                (SELECT count(*) FROM rmsync.source_notebook n WHERE n.user_id = c.user_id AND n.live)
                + (SELECT count(*) FROM rmsync.source_page p WHERE p.user_id = c.user_id AND p.live AND p.ready)
            FROM rmsync.integration_configs c ORDER BY 1""")]

    def watch(self, limit=60):
        """Bars until everything open is done; returns seconds taken."""
        began = time.monotonic()
        lines = 0
        while True:
            rows = self.progress()
            open_work = int(self.value(
                "SELECT (SELECT count(*) FROM rmsync.sync_queue WHERE status = 'pending')"
                " + (SELECT count(*) FROM rmsync.sync_intake)"
                " + (SELECT count(*) FROM rmsync.integration_configs WHERE reconcile_wanted)"))
            done = open_work == 0 and all(d >= t for _, d, t in rows)
            if not self.plain or done:
                if lines and not self.plain:
                    print("\033[%dA" % lines, end="")
                for name, part, total in rows:
                    full = int(40 * part / max(total, 1))
                    bar = self.colour("32", "█" * full) + "░" * (40 - full)
                    print("   %-20s %s %4d / %-4d" % (name, bar, part, total))
                lines = len(rows)
                sys.stdout.flush()
            if done or time.monotonic() - began > limit:
                return time.monotonic() - began
            time.sleep(0.1)

    def toggles(self):
        """What Notion holds: {notebook uuid: [(page id, text)]} with ids."""
        held = {}
        for workspace in self.get(self.notion + "/_dump")["workspaces"].values():
            for page in walk(workspace):
                marker = page.get("marker") or ""
                if page.get("object") != "page" or ":notebook:" not in marker:
                    continue
                text = self.get(self.notion + "/_text?page=" + page["id"])
                held.setdefault(marker.split(":notebook:")[1], []).append(
                    [(b["href"].split("/p/")[1].split("?")[0], b["text"])
                     for b in text["blocks"] if "/p/" in (b.get("href") or "")])
        return held

    def compare(self):
        """Source and Notion, page by page, in order."""
        source = collections.OrderedDict()
        for uuid, item, text in self.sql("""
                SELECT p.notebook_uuid, p.item_id, rmsync.markdown_text(p.text)
                FROM rmsync.source_page p WHERE p.live AND p.ready
                ORDER BY p.notebook_uuid, p.page_number"""):
            source.setdefault(uuid.strip("\n"), []).append((item, text))
        held = self.toggles()
        pages = sum(len(p) for p in source.values())
        missing = doubled = different = 0
        for uuid, wanted in source.items():
            copies = held.get(uuid, [])
            doubled += max(0, len(copies) - 1)
            there = [(i, t.replace(" | ", "\n")) for i, t in copies[0]] if copies else []
            ids = [i for i, _ in there]
            doubled += len(ids) - len(set(ids))
            missing += len(set(i for i, _ in wanted) - set(ids))
            if there != wanted:
                different += sum(1 for a, b in zip(there, wanted) if a != b)
        return pages, missing, doubled, different

    def check_notion(self):
        pages, missing, doubled, different = self.compare()
        self.check(missing == 0, "%d pages, none lost" % pages)
        self.check(doubled == 0, "none doubled")
        self.check(different == 0, "text equal to the source, in order")

    def arrivals(self, since):
        return [a for a in self.get(self.notion + "/_arrivals") if a["n"] > since]

    def last_arrival(self):
        every = self.get(self.notion + "/_arrivals")
        return every[-1]["n"] if every else 0


def walk(nodes):
    for node in nodes:
        yield node
        yield from walk(node.get("children") or [])


def install(story):
    story.title("A server with a database rmirror, and rmsync in it")
    story.start_server()
    story.notion = story.start_fake("notion.py", "--token", "ntn_one:alice",
                                    "--token", "ntn_two:bob")
    story.hook = story.start_fake("hook.py", "--secret", SECRET)
    with open(os.path.join(HERE, "host", "rmirror.sql")) as f:
        story.sql("CREATE EXTENSION IF NOT EXISTS pg_trgm;\n" + f.read())
    story.sql("CREATE EXTENSION rmsync CASCADE; SELECT rmsync_attach();")
    with open(os.path.join(HERE, "host", "sample.sql")) as f:
        story.sql(f.read())
    story.say("CREATE EXTENSION rmsync CASCADE;")
    story.say("SELECT rmsync_attach();            -- finds the host's tables")
    one = story.control(cmd="create_database", user="alice",
                        title="rMirror Notebooks")["id"]
    two = story.control(cmd="create_database", user="bob",
                        title="rMirror Notebooks")["id"]
    story.sql("""
        ALTER SYSTEM SET rmsync.notion_base_url = :'base';
        SELECT pg_reload_conf();
        SELECT test.add_user(1), test.add_user(2);""", base=story.notion + "/v1")
    story.sql("""
        SELECT rmsync_connect(1, 'notion', jsonb_build_object('api_token', 'ntn_one', 'database_id', :'one'));
        SELECT rmsync_connect(2, 'notion', jsonb_build_object('api_token', 'ntn_two', 'database_id', :'two'));
        SELECT rmsync_connect(1, 'webhook', jsonb_build_object('url', :'hook', 'secret', :'secret'));
        """, one=one, two=two, hook=story.hook + "/ok", secret=SECRET)
    story.say("SELECT rmsync_connect(1, 'notion', …), rmsync_connect(1, 'webhook', …);")
    story.say("SELECT rmsync_connect(2, 'notion', …);")


def first_sync(story):
    story.title("%d notebooks are committed" % len(NOTEBOOKS))
    script = ["BEGIN;"]
    for user, uuid, name, path, pages in NOTEBOOKS:
        story.say("user %d  %-34s %3d pages" % (user, name, len(pages)))
        script.append("SELECT test.add_notebook(%d, %s, %s, %s) AS nb \\gset"
                      % (user, quote(uuid), quote(name), quote(path)))
        for number, text in enumerate(pages, 1):
            script.append("SELECT test.add_page(:nb, %d, %s);"
                          % (number, quote(text)))
    script.append("COMMIT;")
    story.say()
    story.sql("\n".join(script))
    seconds = story.watch()
    requests = story.get(story.notion + "/_stats")["arrived"]
    story.say()
    story.say("%.1f s, %d requests to Notion (its limit: 180 a minute per user)"
              % (seconds, requests))
    story.check_notion()
    hook = story.get(story.hook + "/_stats")
    pages = sum(len(n[4]) + 1 for n in NOTEBOOKS if n[0] == 1)
    story.check(hook["unique"] == pages and hook["bad_signatures"] == 0,
                "webhook: %d events of user 1, every signature valid"
                % hook["unique"])


def show_notion(story):
    story.title("What Notion holds (a part)")
    with urllib.request.urlopen(story.notion + "/_tree?text=1") as answer:
        lines = answer.read().decode().split("\n")
    wanted = [n[2] for n in NOTEBOOKS[1:3]]
    for name in wanted:
        start = next((i for i, l in enumerate(lines) if name in l), None)
        if start is not None:
            for line in lines[start:start + 17]:
                print("   " + line)
            story.say(story.colour("2", "      …"))


def one_edit(story):
    story.title("One page of the 100-page notebook is edited")
    user, uuid = NOTEBOOKS[0][0], NOTEBOOKS[0][1]
    before = story.last_arrival()
    commit = float(story.value("""
        BEGIN;
        UPDATE pages SET ocr_text = ocr_text || E'\\n\\n**Added later:** one more line ✍️', updated_at = now()
        WHERE id = (SELECT row_id FROM rmsync.source_page WHERE user_id = :user
            AND notebook_uuid = :'uuid' AND page_number = 57);
        SELECT pg_current_xact_id()::xid AS x \\gset
        COMMIT;
        SELECT extract(epoch FROM pg_xact_commit_timestamp(:'x'::xid))""",
        user=user, uuid=uuid))
    story.sql("CALL rmsync_wait('20 s')")
    arrived = story.arrivals(before)
    for a in arrived:
        story.say("%7.1f ms after commit  %-6s %s" % (
            1000 * (a["time"] - commit), a["method"],
            a["path"].replace("/v1/", "/")))
    story.check(0 < len(arrived) <= 3, "%d requests for one page of 100"
                % len(arrived))
    first = story.value("""
        SELECT round(extract(epoch FROM min(at)) * 1000) FROM rmsync.sync_log WHERE at > now() - interval '1 minute'""")
    assert first
    story.check_notion()


def outage(story):
    story.title("Notion fails, answers get lost, 40 pages change meanwhile")
    before = story.last_arrival()
    story.control(cmd="fault", match={"method": "PATCH", "path": "children$"},
                  times=2, fault="commit_close")
    story.control(cmd="fault", match={"method": "PATCH", "path": "children$"},
                  times=1, fault="reject_503")
    story.control(cmd="fault", match={"path": "."}, times=2, fault="commit_502_html")
    story.sql("""
        UPDATE pages SET ocr_text = ocr_text || E'\\n\\n- [x] survived the outage', updated_at = now()
        WHERE id IN (SELECT row_id FROM rmsync.source_page WHERE user_id = :user
            AND notebook_uuid = :'uuid' AND page_number <= 40);""",
              user=NOTEBOOKS[0][0], uuid=NOTEBOOKS[0][1])
    seconds = story.watch(90)
    counts = collections.Counter(
        (a.get("fault") or "answered %s" % a["status"])
        for a in story.arrivals(before))
    story.say()
    for what, times in sorted(counts.items()):
        story.say("%4d requests: %s" % (times, what))
    story.say("recovered after %.1f s" % seconds)
    story.check_notion()


def finish(story):
    story.title("Asked about itself")
    status = json.loads(story.value("SELECT rmsync_stats()"))
    health = json.loads(story.value("SELECT rmsync_health()"))
    story.say("rmsync_stats()  → %s" % json.dumps(status["status_counts"]))
    story.say("rmsync_health() → queue_processor %s; %s" % (
        health["queue_processor"], ", ".join(
            "%s %s" % (k, v["status"]) for k, v in sorted(health["targets"].items()))))
    story.say()
    if story.keep:
        story.say("The server stays up:")
        story.say("  psql -h %s -U postgres rmirror" % story.sock)
        story.say("  curl %s/_tree?text=1      what Notion holds" % story.notion)
        story.say("  curl %s/_stats            what the webhook got" % story.hook)
        story.say("Stop it, as the account that runs it:")
        story.say("  %s/pg_ctl -D %s -m fast stop; kill %s; rm -rf %s" % (
            story.bin, story.data,
            " ".join(str(p.pid) for p in story.children), story.work))


def quote(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "''").replace(
        "\n", "\\n") + "'"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", required=True)
    p.add_argument("--plain", action="store_true")
    p.add_argument("--keep", action="store_true")
    args = p.parse_args()
    story = Story(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        install(story)
        first_sync(story)
        show_notion(story)
        one_edit(story)
        outage(story)
        finish(story)
    finally:
        if not story.keep or story.failures or sys.exc_info()[0]:
            story.stop()
    if story.failures:
        print("\n%d of the claims above did not hold." % story.failures)
    return 1 if story.failures else 0


if __name__ == "__main__":
    sys.exit(main())
