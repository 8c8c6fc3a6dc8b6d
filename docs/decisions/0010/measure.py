#!/usr/bin/env python3
"""What filters ahead of routes cost whose places nobody uses; the facts of decision 0010.

One Envoy per number of places, all with the filter list that Gatehouse gives them, take turns; the order changes with
each round. Printed per number: processor time of the Envoy process per request (user and system, from
/proc/<pid>/task/*/schedstat), median and lowest decile over the rounds, and the median of its ratio to that of four places in
the same round; and the memory that one more listener takes (`allocated` of /memory, over a hundred listeners).

  answered   the route answers by itself: the least that a request can cost
  forwarded  the request goes to a backend (another Envoy)
  configured the same, by a route that switches a filter on, so that each place is looked for in its configuration

  make envoy
  ENVOY=~/.cache/gatehouse/envoy-1.40.0/envoy python3 docs/decisions/0010/measure.py [rounds] [requests]
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PLACES = [0, 4, 16]
BASE = 4
FIRST_PORT = 23_500
CONNECTIONS = 32
MORE_LISTENERS = 100
TYPES = "type.googleapis.com/envoy.extensions."


def filters(places):
    composite = {"@type": TYPES + "filters.http.composite.v3.Composite"}
    by_route = {"@type": TYPES + "common.matching.v3.ExtensionWithMatcher", "xds_matcher": {},
                "extension_config": {"name": "composite", "typed_config": composite}}
    disabled = [(f"gatehouse.pre_routing.{place + 1}", by_route) for place in range(places)]
    disabled += [
        ("gatehouse.choose_route", {"@type": TYPES + "filters.http.set_filter_state.v3.Config",
                                    "clear_route_cache": True}),
        ("envoy.filters.http.cors", {"@type": TYPES + "filters.http.cors.v3.Cors"}),
        ("envoy.filters.http.ext_authz", by_route),
        ("envoy.filters.http.stateful_session", {"@type": TYPES + "filters.http.stateful_session.v3.StatefulSession"}),
    ]
    router = {"@type": TYPES + "filters.http.router.v3.Router", "suppress_envoy_headers": True}
    return [{"name": name, "disabled": True, "typed_config": config} for name, config in disabled] + [
        {"name": "envoy.filters.http.router", "typed_config": router}]


def listener(port, places, forwards=True):
    answer = {"match": {"path": "/answered"}, "direct_response": {"status": 200}}
    rest = {"route": {"cluster": "backend"}} if forwards else {"direct_response": {"status": 200}}
    cors = {"envoy.filters.http.cors": {"@type": TYPES + "filters.http.cors.v3.CorsPolicy",
                                        "allow_origin_string_match": [{"exact": "https://example.com"}]}}
    configured = {"match": {"path": "/configured"}, "typed_per_filter_config": cors, **rest}
    manager = {
        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"http-{port}", "use_remote_address": True, "merge_slashes": True, "normalize_path": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
        "http_filters": filters(places),
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer, configured, {"match": {"prefix": "/"}, **rest}]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": f"listener-{port}", "address": address, "filter_chains": [chain],
            "per_connection_buffer_limit_bytes": 32768}


def backend(port):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": "backend", "connect_timeout": "5s", "load_assignment": {
        "cluster_name": "backend", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}}


class Envoy:
    def __init__(self, directory, port, listeners, backend_port):
        self.port, self.admin = port, port + 1
        config = {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}},
            "static_resources": {"listeners": listeners, "clusters": [backend(backend_port)]},
        }
        path = Path(directory) / f"{port}.json"
        path.write_text(json.dumps(config))
        command = [os.environ["ENVOY"], "--config-path", path, "--disable-hot-restart", "--concurrency", "1",
                   "--log-level", "error"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                if self.get("/ready").strip() == "LIVE":
                    return
            except OSError:
                time.sleep(0.05)

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}").read().decode()

    def allocated(self):
        return int(json.loads(self.get("/memory"))["allocated"])

    def cpu(self):
        """Nanoseconds of all threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def connect(self):
        self.sockets = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(CONNECTIONS)]

    def load(self, path, requests):
        request = f"GET {path} HTTP/1.1\r\nhost: a.example.com\r\nuser-agent: measure\r\n\r\n".encode()
        for _ in range(requests // CONNECTIONS):
            for one in self.sockets:
                one.send(request)
            for one in self.sockets:
                if not one.recv(65536).startswith(b"HTTP/1.1 200"):
                    sys.exit("no 200")

    def cost(self, path, requests):
        before = self.cpu()
        self.load(path, requests)
        return (self.cpu() - before) / (requests // CONNECTIONS * CONNECTIONS)

    def end(self):
        self.process.kill()
        self.process.wait()


def main():
    rounds, requests = [int(arg) for arg in (sys.argv[1:] + ["600", "1600"][len(sys.argv) - 1:])]
    with tempfile.TemporaryDirectory() as directory:
        server = Envoy(directory, FIRST_PORT, [listener(FIRST_PORT, 0, forwards=False)], FIRST_PORT)
        ports = {places: FIRST_PORT + 10 * (index + 1) for index, places in enumerate(PLACES)}
        envoys = {places: Envoy(directory, port, [listener(port, places)], FIRST_PORT) for places, port in ports.items()}
        for envoy in envoys.values():
            envoy.connect()
        for kind, path in {"answered": "/answered", "forwarded": "/forwarded", "configured": "/configured"}.items():
            measure(kind, path, envoys, rounds, requests)
        memory(directory)
        for envoy in [server, *envoys.values()]:
            envoy.end()


def measure(kind, path, envoys, rounds, requests):
    costs = {places: [] for places in PLACES}
    for envoy in envoys.values():
        envoy.load(path, requests // 4)
    for turn in range(rounds):
        order = PLACES[turn % len(PLACES):] + PLACES[:turn % len(PLACES)]
        for places in order if turn % 2 else reversed(order):
            costs[places].append(envoys[places].cost(path, requests))
    for places in PLACES:
        ratios = [mine / base for mine, base in zip(costs[places], costs[BASE])]
        quartiles = statistics.quantiles(ratios, n=4)
        # Other work on the machine only adds: the lowest decile has least of it.
        least = statistics.quantiles(costs[places], n=10)[0]
        print(f"{kind:10} {places:3} places  median {statistics.median(costs[places]) / 1000:6.2f} us per request, "
              f"lowest decile {least / 1000:6.2f}; {statistics.median(ratios):.3f} of four places in the same round "
              f"(quartiles {quartiles[0]:.3f} and {quartiles[2]:.3f})", flush=True)


def memory(directory):
    for index, places in enumerate(PLACES):
        port = FIRST_PORT + 200 + 200 * index
        few = Envoy(directory, port, [listener(port, places)], FIRST_PORT)
        one = few.allocated()
        few.end()
        ports = range(port + 2, port + 2 + MORE_LISTENERS)
        many = Envoy(directory, port, [listener(other, places) for other in [port, *ports]], FIRST_PORT)
        each = (many.allocated() - one) / MORE_LISTENERS
        many.end()
        print(f"memory     {places:3} places  {each / 1024:7.2f} KiB per listener", flush=True)


main()
