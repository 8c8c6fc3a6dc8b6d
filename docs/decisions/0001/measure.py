#!/usr/bin/env python3
"""What one route edit costs Envoy, by granularity of the route tables; the facts of decision 0001.

A delta ADS server on a Unix socket pushes N virtual hosts of two rules each, then changes one of them six times.
Printed per mode and N: the median time from sending the change to Envoy's acknowledgement, the bytes of the changed
resource, and Envoy's heap.

  rds       one RouteConfiguration with all virtual hosts
  vhds      one RouteConfiguration, every virtual host a resource of its own
  per-host  one filter chain (by server name) and one RouteConfiguration per host, as HTTPS listeners have them

  python3 -m venv venv && venv/bin/pip install grpcio protobuf
  make envoy
  ENVOY=~/.cache/gatehouse/envoy-1.40.0/envoy TYPES=<source of the crate envoy-types>/src/generated/types.bin \
      venv/bin/python docs/decisions/0001/measure.py [N...]
"""

import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent import futures

import grpc
from google.protobuf import (any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, empty_pb2, field_mask_pb2,
                             json_format, message_factory, struct_pb2, timestamp_pb2, wrappers_pb2)

TYPES = {
    "CDS": "envoy.config.cluster.v3.Cluster",
    "LDS": "envoy.config.listener.v3.Listener",
    "RDS": "envoy.config.route.v3.RouteConfiguration",
    "VHDS": "envoy.config.route.v3.VirtualHost",
}
URLS = {kind: "type.googleapis.com/" + name for kind, name in TYPES.items()}
ADS = {"ads": {}, "resource_api_version": "V3"}
ADMIN, PORT = 29901, 29810
EDITS = 6
PATIENCE = 120  # seconds


def load_types():
    """All of Envoy's messages, from the descriptor set of the crate that Gatehouse itself uses."""
    pool, files = descriptor_pool.DescriptorPool(), {}
    for module in (any_pb2, descriptor_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2,
                   wrappers_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files[file.name] = file
    with open(os.environ["TYPES"], "rb") as types:
        files.update((file.name, file) for file in descriptor_pb2.FileDescriptorSet.FromString(types.read()).file)
    added = set()

    def add(name):
        if name not in added:
            added.add(name)
            for dependency in files[name].dependency:
                add(dependency)
            pool.Add(files[name])

    for name in files:
        add(name)
    return pool


POOL = load_types()


def message(name):
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


REQUEST = message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
RESPONSE = message("envoy.service.discovery.v3.DeltaDiscoveryResponse")


def encode(kind, name, version, fields):
    """A resource, encoded once, outside the measured time."""
    resource = json_format.ParseDict(fields, message(TYPES[kind])(), descriptor_pool=POOL)
    return name, str(version), resource.SerializeToString()


class Stream:
    """One delta ADS stream, driven step by step."""

    def __init__(self):
        self.outgoing, self.incoming, self.sent = queue.Queue(), queue.Queue(), 0

    def send(self, kind, resources):
        self.sent += 1
        response = RESPONSE(type_url=URLS[kind], nonce=str(self.sent))
        for name, version, value in resources:
            resource = response.resources.add(name=name, version=version)
            resource.resource.type_url, resource.resource.value = URLS[kind], value
        self.outgoing.put(response)
        return response.nonce

    def wait(self, wanted):
        end = time.monotonic() + PATIENCE
        while True:
            request = self.incoming.get(timeout=end - time.monotonic())
            if request.error_detail.message:
                sys.exit("refused: " + request.error_detail.message[:500])
            if wanted(request):
                return

    def asked(self, kind):
        self.wait(lambda request: request.type_url == URLS[kind])

    def push(self, kind, resources):
        """Sends and waits for the acknowledgement; the time between, in milliseconds."""
        start = time.monotonic()
        nonce = self.send(kind, resources)
        self.wait(lambda request: request.response_nonce == nonce)
        return (time.monotonic() - start) * 1000


def serve(path):
    streams = queue.Queue()

    def handle(requests, _context):
        stream = Stream()
        streams.put(stream)

        def read():
            try:
                for request in requests:
                    stream.incoming.put(request)
            except grpc.RpcError:
                pass
            stream.outgoing.put(None)

        threading.Thread(target=read, daemon=True).start()
        yield from iter(stream.outgoing.get, None)

    method = grpc.stream_stream_rpc_method_handler(handle, REQUEST.FromString, RESPONSE.SerializeToString)
    service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {"DeltaAggregatedResources": method})])
    server.add_insecure_port("unix:" + path)
    server.start()
    return server, streams


def bootstrap(socket):
    h2 = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
          "explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": socket}}}}
    cluster = {"name": "xds", "type": "STATIC",
               "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": h2},
               "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]}}
    ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3",
           "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}
    return {"node": {"id": "n", "cluster": "c"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": ADMIN}}},
            "dynamic_resources": {"ads_config": ads, "cds_config": ADS, "lds_config": ADS},
            "static_resources": {"clusters": [cluster]}}


def virtual_host(table, host, edit=0):
    route = {"cluster": "a", "timeout": "15s"}
    first = {"name": f"ns/r{host}/0/{edit}", "match": {"path_separated_prefix": f"/x{edit}"}, "route": route}
    second = {"name": f"ns/r{host}/1", "match": {"prefix": "/"}, "route": route,
              "request_headers_to_add": [{"header": {"key": "x-a", "value": "b"}}]}
    return {"name": f"{table}/h{host}", "domains": [f"h{host}.example.com"], "routes": [first, second]}


def filter_chain(table, host=None):
    base = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": base + ".http.router.v3.Router"}}
    manager = {"@type": base + ".network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
               "rds": {"route_config_name": table, "config_source": ADS}, "http_filters": [router]}
    match = {} if host is None else {"filter_chain_match": {"server_names": [f"h{host}.example.com"]}}
    return {"name": table, **match, "filters": [{"name": "hcm", "typed_config": manager}]}


def listener(chains):
    inspector = {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": PORT}}
    return encode("LDS", "l", 1, {"name": "l", "address": address, "filter_chains": chains,
                                  "listener_filters": [{"name": "tls", "typed_config": inspector}]})


def whole_table(stream, count):
    stream.push("LDS", [listener([filter_chain("t")])])

    def table(edit):
        hosts = [virtual_host("t", host, edit if host == count // 2 else 0) for host in range(count)]
        return [encode("RDS", "t", edit, {"name": "t", "virtual_hosts": hosts})]

    stream.push("RDS", table(0))
    return "RDS", [table(edit) for edit in range(1, EDITS + 1)]


def virtual_hosts(stream, count):
    stream.push("LDS", [listener([filter_chain("t")])])
    stream.send("RDS", [encode("RDS", "t", 1, {"name": "t", "vhds": {"config_source": ADS}})])
    stream.asked("VHDS")

    def host(number, edit):
        return encode("VHDS", f"t/h{number}", edit, virtual_host("t", number, edit))

    stream.push("VHDS", [host(number, 0) for number in range(count)])
    return "VHDS", [[host(count // 2, edit)] for edit in range(1, EDITS + 1)]


def table_per_host(stream, count):
    stream.push("LDS", [listener([filter_chain(f"t{host}", host) for host in range(count)])])

    def table(host, edit):
        name = f"t{host}"
        return encode("RDS", name, edit, {"name": name, "virtual_hosts": [virtual_host(name, host, edit)]})

    stream.push("RDS", [table(host, 0) for host in range(count)])
    return "RDS", [[table(count // 2, edit)] for edit in range(1, EDITS + 1)]


MODES = {"rds": whole_table, "vhds": virtual_hosts, "per-host": table_per_host}


def measure(streams, config, mode, count):
    envoy = subprocess.Popen([os.environ["ENVOY"], "-c", config, "--concurrency", "2", "--disable-hot-restart",
                              "-l", "error"])
    try:
        stream = streams.get(timeout=PATIENCE)
        stream.push("CDS", [encode("CDS", "a", 1, {"name": "a", "type": "STATIC", "connect_timeout": "1s"})])
        kind, edits = MODES[mode](stream, count)
        times = []
        for edit in edits:
            time.sleep(0.3)  # lets Envoy finish what the last edit left to its workers
            times.append(stream.push(kind, edit))
        with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/memory") as memory:
            heap = int(json.load(memory)["allocated"])
        print(f"{mode:9} {count:6} hosts: {statistics.median(times):7.1f} ms "
              f"(of {', '.join(f'{t:.1f}' for t in times)}), {len(edits[0][0][2]):8} bytes, heap {heap / 2**20:.1f} MiB",
              flush=True)
    finally:
        envoy.terminate()
        envoy.wait()


def main():
    counts = [int(count) for count in sys.argv[1:]] or [1000, 3000, 10000]
    with tempfile.TemporaryDirectory() as work:
        socket, config = os.path.join(work, "xds.sock"), os.path.join(work, "bootstrap.json")
        with open(config, "w") as file:
            json.dump(bootstrap(socket), file)
        server, streams = serve(socket)
        for count in counts:
            for mode in MODES:
                measure(streams, config, mode, count)
        server.stop(0)


if __name__ == "__main__":
    main()
