#!/usr/bin/env python3
"""A strict stand-in for Notion's API, for tests and demonstrations.

    notion.py --port 0 --token ntn_alice:alice --token ntn_bob:bob

prints "port N" and serves http://127.0.0.1:N/v1/... until SIGTERM.  What
api.notion.com documents is enforced; faults and the acts of the user in front
of Notion are switched on through POST /_control (see README.md).
"""
import argparse
import asyncio
import os
import pickle
import signal
import sys
import threading

import notion_faults
import notion_server
from notion_store import Store


def options(argv):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--control-port", type=int, default=None,
                   help="serve /_control here, too (0: any): still there when "
                        "the port refuses connections")
    p.add_argument("--token", action="append", default=[],
                   metavar="TOKEN[:USER]")
    p.add_argument("--pat", action="append", default=[],
                   metavar="TOKEN[:USER]", help="a personal access token")
    p.add_argument("--oauth-client", action="append", default=[],
                   metavar="ID:SECRET")
    p.add_argument("--rate", type=int, default=180,
                   help="requests per window and token; 0: no limit")
    p.add_argument("--window", type=float, default=60.0, metavar="SECONDS")
    p.add_argument("--window-align", choices=("first", "clock"),
                   default="first")
    p.add_argument("--workspace-rate", type=int)
    p.add_argument("--block-limit", type=int, metavar="N",
                   help="free plan: lifetime blocks per workspace")
    p.add_argument("--query-lag", type=float, default=0.0, metavar="SECONDS")
    p.add_argument("--search-lag", type=float, default=0.0, metavar="SECONDS")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--state", metavar="FILE",
                   help="load from and save to FILE")
    p.add_argument("--log", metavar="FILE", help="one JSON line per arrival")
    p.add_argument("--record", metavar="FILE",
                   help="JSON lines with whole requests and answers")
    p.add_argument("--exit-with-stdin", action="store_true")
    return p.parse_args(argv)


def build(args):
    settings = dict(notion_server.DEFAULTS, rate=args.rate, window=args.window,
                    window_align=args.window_align,
                    workspace_rate=args.workspace_rate,
                    workspace_window=args.window)
    if args.state and os.path.exists(args.state):
        with open(args.state, "rb") as f:
            store = pickle.load(f)
    else:
        store = Store(args.seed)
    store.query_lag = (args.query_lag, args.query_lag)
    store.search_lag = (args.search_lag, args.search_lag)
    for kind, given in (("internal", args.token), ("pat", args.pat)):
        for text in given:
            token, _, user = text.partition(":")
            if token not in store.tokens:
                store.add_token(token, user or "alice", kind)
    for text in args.oauth_client:
        ident, _, secret = text.partition(":")
        store.oauth_clients[ident] = secret
    if args.block_limit is not None:
        for ws in store.workspaces.values():
            ws.block_limit = args.block_limit
    server = notion_server.Server(settings, store, notion_faults.Faults(args.seed))
    server.state_path = args.state
    if args.log:
        server.log_file = open(args.log, "a", encoding="utf-8")
    if args.record:
        server.record_file = open(args.record, "a", encoding="utf-8")
    return server


def watch_stdin(loop, stop):
    while os.read(0, 65536):
        pass
    loop.call_soon_threadsafe(stop.set)


async def run(args):
    server = build(args)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    await server.listen(args.port)
    print("port %d" % server.port, flush=True)
    if args.control_port is not None:
        side = await asyncio.start_server(server.connection, "127.0.0.1",
                                          args.control_port, limit=notion_server.MAX_HEAD)
        print("control %d" % side.sockets[0].getsockname()[1], flush=True)
    if args.exit_with_stdin:
        threading.Thread(target=watch_stdin, args=(loop, stop),
                         daemon=True).start()
    await stop.wait()
    server.save()
    for f in (server.log_file, server.record_file):
        if f:
            f.close()
    # Hanging connections must not hold up the exit.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    # Saving the state walks deep trees.
    sys.setrecursionlimit(20000)
    asyncio.run(run(options(sys.argv[1:])))
