#!/usr/bin/env python3
"""Measures rmsync on a throw-away server; started by test/bench/run.

Prints one table per workload and, with --json, all single values.
"""
import argparse
import base64
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

TREE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SECRET = "whsec_" + base64.b64encode(b"a secret of the benchmark, no more").decode()

# Host data: one user's notebooks of 100 pages, each page about 1 kB of text.
# The text index is built at the end, which is much faster.
HOST_DATA = """
DROP INDEX idx_pages_ocr_text_trgm;
INSERT INTO users (email, subscription_tier, is_active, is_verified, created_at, updated_at)
VALUES ('bench@example.org', 'pro', true, true, now(), now());
INSERT INTO notebooks (user_id, notebook_uuid, visible_name, document_type, created_at, updated_at)
SELECT 1, 'notebook-' || n, 'Notebook ' || n, 'notebook', now(), now()
FROM generate_series(1, {notebooks}) n;
INSERT INTO pages (notebook_id, page_uuid, ocr_status, ocr_text, created_at, updated_at, ocr_completed_at)
SELECT 1 + (p - 1) / 100, 'page-' || p, 'completed',
	(SELECT string_agg(md5((p * 40 + w)::text), ' ') FROM generate_series(1, 30) w),
	now(), now(), now()
FROM generate_series(1, {pages}) p;
INSERT INTO notebook_pages (notebook_id, page_id, page_number)
SELECT 1 + (p - 1) / 100, p, 1 + (p - 1) % 100 FROM generate_series(1, {pages}) p;
CREATE INDEX idx_pages_ocr_text_trgm ON pages USING gin (ocr_text gin_trgm_ops);
"""


class BenchError(Exception):
    """The measurement cannot be made or is not valid."""


class Server:
    """A PostgreSQL server of its own, on a Unix socket only."""

    def __init__(self, args, name, settings=None):
        self.bindir = subprocess.check_output(
            [os.environ["PG_CONFIG"], "--bindir"], text=True
        ).strip()
        self.data = os.path.join(args.scratch, "bench-" + name)
        self.socket = os.path.join(args.scratch, "tmp")
        self.log = os.path.join(args.scratch, "logs", name + ".log")
        self.run("initdb", "-D", self.data, "-A", "trust", "-N", "-E", "UTF8", "-U", "postgres")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            for path in (
                os.path.join(TREE, "test/bench/bench.conf"),
                os.path.join(args.stage, "stage.conf"),
            ):
                with open(path) as part:
                    conf.write(part.read())
            conf.write("listen_addresses = ''\n")
            conf.write("unix_socket_directories = '%s'\n" % self.socket)
            for setting, value in (settings or {}).items():
                conf.write("%s = '%s'\n" % (setting, value))
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        subprocess.run(["rm", "-rf", self.data], check=False)

    def command(self, program, *args):
        path = os.path.join(self.bindir, program)
        return [path, *args]

    def run(self, program, *args):
        done = subprocess.run(self.command(program, *args), capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError("%s failed: %s%s" % (program, done.stdout, done.stderr))
        return done.stdout

    def sql(self, text):
        """Runs SQL; the answer as unaligned text."""
        done = subprocess.run(
            self.command(
                "psql", "-XAtq", "-v", "ON_ERROR_STOP=1",
                "-h", self.socket, "-U", "postgres", "-d", "postgres",
            ),
            input=text, capture_output=True, text=True,
        )
        if done.returncode != 0:
            raise BenchError("%s\n%s" % (text.strip(), done.stderr))
        return done.stdout.strip()

    def file(self, path):
        self.run(
            "psql", "-Xq", "-v", "ON_ERROR_STOP=1",
            "-h", self.socket, "-U", "postgres", "-d", "postgres", "-f", path,
        )

    def pgbench(self, script, *args):
        return self.run(
            "pgbench", "-n", "-M", "prepared", "-h", self.socket, "-U", "postgres",
            "-f", script, *args, "postgres",
        )

    def set(self, **settings):
        """Changes settings (a double underscore stands for the dot)."""
        for name, value in settings.items():
            name = name.replace("__", ".")
            self.sql("ALTER SYSTEM SET %s = '%s'" % (name, value))
        self.sql("SELECT pg_reload_conf()")

    def wait(self, condition, limit=600, pause=0.02):
        """Waits until a query says t, in one session; seconds it took."""
        began = time.monotonic()
        session = subprocess.Popen(
            self.command(
                "psql", "-XAtq", "-v", "ON_ERROR_STOP=1",
                "-h", self.socket, "-U", "postgres", "-d", "postgres",
            ),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        try:
            while time.monotonic() - began < limit:
                session.stdin.write("SELECT %s;\n" % condition)
                session.stdin.flush()
                answer = session.stdout.readline()
                if answer.strip() == "t":
                    return time.monotonic() - began
                if not answer:
                    raise BenchError("the server did not answer: %s" % condition)
                time.sleep(pause)
        finally:
            session.stdin.close()
            session.wait()
        raise BenchError("waited %d s in vain for: %s\n%s" % (limit, condition, self.state()))

    def state(self):
        return self.sql(
            "SELECT 'intake', count(*) FROM rmsync.sync_intake;"
            "SELECT 'queue', count(*), min(error_code) FROM rmsync.sync_queue;"
            "SELECT 'ledger', status, count(*) FROM rmsync.sync_records GROUP BY 2;"
            "SELECT 'lane', state, state_reason FROM rmsync.integration_configs"
        )

    def worker_cpu(self):
        """CPU seconds used by rmsync's processes so far."""
        ticks = 0
        pids = self.sql("SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'rmsync'")
        for pid in pids.split():
            try:
                with open("/proc/%s/stat" % pid) as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except FileNotFoundError:
                continue  # left meanwhile
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


    def backends_cpu(self):
        """CPU seconds of this server's processes that have ended."""
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            pid = file.readline().strip()
        with open("/proc/%s/stat" % pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


class Receiver:
    """test/fake/hook.py, answering 200 at once and keeping arrival times."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(TREE, "test/fake/hook.py"), "--fast"],
            stdout=subprocess.PIPE, text=True,
        )
        line = self.process.stdout.readline().split()
        if len(line) != 2 or line[0] != "port":
            raise BenchError("the receiver did not start")
        self.url = "http://127.0.0.1:" + line[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def ask(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, timeout=60) as response:
            return json.load(response)

    def reset(self):
        self.ask("/_reset")

    def arrivals(self):
        """{webhook-id: (how often, first arrival in seconds)}"""
        return {
            ident: (entry["count"], entry["first"])
            for ident, entry in self.ask("/_stats")["ids"].items()
        }


# ------------------------------------------------------------------ helpers


def host(server, pages):
    """The host's schema with data, and the extension."""
    server.sql("CREATE EXTENSION pg_trgm")
    server.file(os.path.join(TREE, "test/host/rmirror.sql"))
    server.sql(HOST_DATA.format(pages=pages, notebooks=math.ceil(pages / 100)))
    server.sql("CREATE EXTENSION rmsync CASCADE")
    server.sql("VACUUM ANALYZE")


def connect(server, url):
    config = {
        "url": url + "/hook",
        "secret": SECRET,
        "types": ["page_text"],
        "max_in_flight": 64,
        "rate_limit": 1000000,
    }
    server.sql("SELECT rmsync_connect(1, 'webhook', $json$%s$json$)" % json.dumps(config))


def quantile(values, q):
    """The value below which a share q of them lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def spread(values, digits=1):
    """Median and full range."""
    form = "%%.%df" % digits
    if len(values) == 1:
        return form % values[0]
    return "%s (%s to %s)" % (
        form % statistics.median(values), form % min(values), form % max(values)
    )


def table(title, rows):
    print("\n" + title)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print("  %-*s  %s" % (width, name, value))


# -------------------------------------------------------------------- latency


def latency_once(args, repeat):
    """From the return of a commit to the arrival of the request it caused."""
    pages = int(args.rate * args.seconds * 1.3) + 200
    script = os.path.join(args.scratch, "tmp", "latency.sql")
    log = os.path.join(args.scratch, "tmp", "latency-%d" % repeat)
    with open(script, "w") as file:
        file.write(
            "\\set n :n + 1\n"
            "UPDATE pages SET ocr_text = 'edited ' || md5(:n::text), updated_at = now() WHERE id = :n;\n"
        )

    with Server(args, "latency%d" % repeat, {"rmsync.databases": "*"}) as server, Receiver() as hook:
        host(server, pages)
        server.sql("SELECT rmsync_attach()")
        connect(server, hook.url)
        # The first delivery of everything is also the warm-up.
        server.wait("count(*) = %d FROM rmsync.sync_records WHERE status = 'success'" % pages, pause=0.5)
        server.wait("NOT EXISTS (SELECT FROM rmsync.sync_queue)")
        hook.reset()

        server.pgbench(
            script, "-c", "1", "-D", "n=0", "-R", str(args.rate), "-T", str(args.seconds),
            "-l", "--log-prefix=" + log,
        )
        server.wait("NOT EXISTS (SELECT FROM rmsync.sync_intake) AND NOT EXISTS (SELECT FROM rmsync.sync_queue)")
        arrivals = hook.arrivals()
        ids = dict(
            line.split("|")
            for line in server.sql(
                "SELECT item_id, external_id FROM rmsync.sync_records WHERE item_type = 'page_text'"
            ).splitlines()
        )

    commits = {}
    for name in os.listdir(os.path.dirname(log)):
        if name.startswith(os.path.basename(log) + "."):
            with open(os.path.join(os.path.dirname(log), name)) as file:
                for line in file:
                    fields = line.split()
                    commits[int(fields[1])] = int(fields[4]) + int(fields[5]) / 1e6
    # pgbench counts transactions of a client from 0 or 1, by version.
    first = min(commits)
    delays, lost = [], 0
    for number, committed in commits.items():
        ident = ids.get("page-%d" % (number - first + 1))
        if ident in arrivals:
            delays.append((arrivals[ident][1] - committed) * 1000)
        else:
            lost += 1
    if not delays:
        raise BenchError("no delivery could be matched with a commit")
    return {
        "commits": len(commits),
        "unmatched": lost,
        "duplicates": sum(count - 1 for count, _ in arrivals.values()),
        "p50_ms": quantile(delays, 0.50),
        "p95_ms": quantile(delays, 0.95),
        "p99_ms": quantile(delays, 0.99),
        "max_ms": max(delays),
    }


def latency(args):
    runs = [latency_once(args, repeat) for repeat in range(args.repeat)]
    table(
        "latency: commit returned -> request arrived, %d commits/s for %d s" % (args.rate, args.seconds),
        [("commits", spread([run["commits"] for run in runs], 0))]
        + [
            (name.replace("_ms", ""), spread([run[name] for run in runs], 2) + " ms")
            for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")
        ]
        + [
            ("not delivered", "%d" % sum(run["unmatched"] for run in runs)),
            ("delivered twice", "%d" % sum(run["duplicates"] for run in runs)),
        ],
    )
    bad = sum(run["unmatched"] + run["duplicates"] for run in runs)
    return runs, bad == 0


# ---------------------------------------------------------------------- drain


def drain_once(args, repeat):
    """A full queue, then the workers are let loose."""
    settings = {"rmsync.databases": ""}
    with Server(args, "drain%d" % repeat, settings) as server, Receiver() as hook:
        host(server, args.items)
        server.sql("SELECT rmsync_attach()")
        connect(server, hook.url)
        server.sql("SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs")
        queued = int(server.sql("SELECT count(*) FROM rmsync.sync_queue"))
        if queued != args.items:
            raise BenchError("%d items queued, %d wanted" % (queued, args.items))
        server.sql("CHECKPOINT")
        lsn = server.sql("SELECT pg_current_wal_lsn()")

        began = time.time()
        server.set(rmsync__databases="*")
        server.wait("NOT EXISTS (SELECT FROM rmsync.sync_queue)", pause=0.05)
        seconds = time.time() - began
        cpu = server.worker_cpu()
        wal = int(server.sql("SELECT pg_current_wal_lsn() - '%s'" % lsn))
        ledger = int(
            server.sql("SELECT count(*) FROM rmsync.sync_records WHERE status = 'success'")
        )
        arrivals = hook.arrivals()

    times = [first for _, first in arrivals.values()]
    return {
        "seconds": seconds,
        "per_second": args.items / seconds,
        "first_request_ms": (min(times) - began) * 1000,
        "cpu_ms_each": cpu * 1000 / args.items,
        "wal_bytes_each": wal / args.items,
        "ledger": ledger,
        "arrived": len(arrivals),
        "duplicates": sum(count - 1 for count, _ in arrivals.values()),
    }


def drain(args):
    runs = [drain_once(args, repeat) for repeat in range(args.repeat)]
    table(
        "drain: %d queued deliveries, receiver answers at once" % args.items,
        [
            ("deliveries/s", spread([run["per_second"] for run in runs], 0)),
            ("until empty", spread([run["seconds"] for run in runs], 2) + " s"),
            ("first request", spread([run["first_request_ms"] for run in runs], 0) + " ms after the switch"),
            ("worker CPU", spread([run["cpu_ms_each"] for run in runs], 3) + " ms each"),
            ("WAL", spread([run["wal_bytes_each"] for run in runs], 0) + " bytes each"),
            ("ledger rows", spread([run["ledger"] for run in runs], 0)),
            ("arrived", spread([run["arrived"] for run in runs], 0)),
            ("delivered twice", "%d" % sum(run["duplicates"] for run in runs)),
        ],
    )
    good = all(
        run["ledger"] == run["arrived"] == args.items and run["duplicates"] == 0 for run in runs
    )
    return runs, good


# -------------------------------------------------------------------- trigger


def trigger_cell(server, args, script, before):
    """One cell: prepares, runs pgbench, answers what one update took."""
    server.sql(before)
    server.sql("TRUNCATE rmsync.sync_intake; VACUUM pages; CHECKPOINT")
    lsn = server.sql("SELECT pg_current_wal_lsn()")
    cpu = server.backends_cpu()
    out = server.pgbench(script, "-c", "1", "-T", str(max(args.seconds // 5, 2)))
    wal = int(server.sql("SELECT pg_current_wal_lsn() - '%s'" % lsn))
    # the server has noticed by now that pgbench's session is over
    cpu = server.backends_cpu() - cpu
    found = {}
    for line in out.splitlines():
        if line.startswith("latency average"):
            found["us"] = float(line.split("=")[1].split()[0]) * 1000
        if line.startswith("number of transactions actually processed"):
            found["count"] = int(line.split(":")[1].split("/")[0])
    marks = int(server.sql("SELECT count(*) FROM rmsync.sync_intake"))
    return {
        "us": found["us"],
        "cpu_us": cpu * 1e6 / found["count"],
        "wal": wal / found["count"],
        "marks": marks / found["count"],
    }


def trigger_rows(results):
    """A line a cell, each compared with the same rounds without triggers."""
    base = results["no triggers"]
    rows = []
    for name, runs in results.items():
        form = "%s us, CPU %s us; ratio %s, CPU %s; %s bytes of WAL, %.2f marks each"
        ratio = {
            kind: [run[kind] / other[kind] for run, other in zip(runs, base)]
            for kind in ("us", "cpu_us")
        }
        rows.append(
            (
                name,
                form
                % (
                    spread([run["us"] for run in runs], 0),
                    spread([run["cpu_us"] for run in runs], 0),
                    spread(ratio["us"], 3),
                    spread(ratio["cpu_us"], 3),
                    spread([run["wal"] for run in runs], 0),
                    statistics.median(run["marks"] for run in runs),
                ),
            )
        )
    return rows


def trigger(args):
    """What an update of one page costs the host, cells in turns A B C A B C."""
    pages = 5000
    script = os.path.join(args.scratch, "tmp", "trigger.sql")
    with open(script, "w") as file:
        file.write(
            "\\set id random(1, %d)\n"
            "\\set r random(1, 1000000000)\n"
            "UPDATE pages SET ocr_text = 'edited ' || md5(:r::text), updated_at = now() WHERE id = :id;\n"
            % pages
        )
    cells = {
        "no triggers": "SELECT rmsync_detach()",
        "attached, user without a lane":
            "SELECT rmsync_attach(); UPDATE rmsync.integration_configs SET is_enabled = false",
        "attached, user with a lane":
            "SELECT rmsync_attach(); UPDATE rmsync.integration_configs SET is_enabled = true",
    }
    results = {name: [] for name in cells}
    # No worker, no wait for the disk, nobody else whose CPU would be counted:
    # only the trigger's own work differs.
    settings = {"rmsync.databases": "", "synchronous_commit": "off", "autovacuum": "off"}
    with Server(args, "trigger", settings) as server:
        host(server, pages)
        server.sql("SELECT rmsync_attach()")
        connect(server, "http://127.0.0.1:9")
        for repeat in range(5 * args.repeat + 1):
            for name, before in cells.items():
                result = trigger_cell(server, args, script, before)
                if repeat > 0:  # the first round warms up
                    results[name].append(result)

    table(
        "trigger: UPDATE of one page, 1 client, synchronous_commit = off", trigger_rows(results)
    )
    good = (
        all(run["marks"] == 0 for run in results["no triggers"])
        and all(run["marks"] == 0 for run in results["attached, user without a lane"])
        and all(run["marks"] >= 1 for run in results["attached, user with a lane"])
    )
    return results, good


# ----------------------------------------------------------------------- main

WORKLOADS = {"latency": latency, "drain": drain, "trigger": trigger}


def main():
    parser = argparse.ArgumentParser(
        prog="test/bench/run", description="Measures rmsync on a throw-away server."
    )
    parser.add_argument("workloads", nargs="*", help="latency, drain, trigger (default: all)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (3)")
    parser.add_argument("--seconds", type=int, default=20, help="of one latency or trigger run (20)")
    parser.add_argument("--rate", type=int, default=100, help="commits per second of latency (100)")
    parser.add_argument("--items", type=int, default=20000, help="queued for drain (20000)")
    parser.add_argument("--json", metavar="FILE", help="copy all single values there")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in args.workloads:
        if name not in WORKLOADS:
            parser.error("unrecognized workload \"%s\"" % name)
    if not args.stage:
        parser.error("start test/bench/run")

    results, good = {}, True
    try:
        for name in args.workloads or WORKLOADS:
            results[name], valid = WORKLOADS[name](args)
            if not valid:
                good = False
                print("  NOT VALID: something was lost, doubled or not counted")
    except BenchError as error:
        print("bench: %s" % error)
        good = False
    with open(os.path.join(args.scratch, "results.json"), "w") as file:
        json.dump(results, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
