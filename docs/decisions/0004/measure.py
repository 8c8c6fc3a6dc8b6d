#!/usr/bin/env python3
"""What one HTTPS hostname costs Envoy on a port with N of them, by how filter chains are delivered; decision 0004.

  lds      one Listener with N filter chains, chosen by server name: what Gatehouse sends
  matcher  one Listener with N filter chains, chosen by `filter_chain_matcher`
  fcds     one Listener with a `filter_chain_matcher` that maps N server names to names, the chains by FCDS
  format   one Listener whose matcher makes the name of the chain of the server name, the chains by FCDS

The filter chain is the one that `gatehouse translate` prints. All chains share one route table and one certificate.
Printed per mode and N, medians of a few rounds: time from sending the change to Envoy's last acknowledgement, and to
the first request served (TLS handshake included), Envoy's CPU time until the acknowledgement, bytes sent, and whether
a connection to another hostname, opened before, still answers in the end and was never asked to close.

  ENVOY, TYPES and the virtual environment as for decision 0001; GATEHOUSE=target/release/gatehouse
      venv/bin/python docs/decisions/0004/measure.py [N...]
"""

import base64
import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

spec = importlib.util.spec_from_file_location("xds", pathlib.Path(__file__).parent.parent / "0001" / "measure.py")
xds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(xds)
xds.TYPES |= {"FCDS": "envoy.config.listener.v3.FilterChain", "SDS": "envoy.extensions.transport_sockets.tls.v3.Secret"}
xds.URLS |= {kind: "type.googleapis.com/" + name for kind, name in xds.TYPES.items()}
KINDS = {url: kind for kind, url in xds.URLS.items()}

ROUNDS = 5
TYPE = "type.googleapis.com/"
OBJECTS = """
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: c},
 spec: {controllerName: gatehouse.dev/gatewayclass-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g, namespace: default}, spec: {
  gatewayClassName: c, addresses: [{value: 127.0.0.1}], listeners: [{name: https, protocol: HTTPS, port: PORT,
  hostname: h.example.com, tls: {certificateRefs: [{name: cert}]}}]}}
---
{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: default}, type: kubernetes.io/tls,
 data: {tls.crt: CERT, tls.key: KEY}}
"""


def certificate(work):
    paths = [os.path.join(work, name) for name in ("cert.pem", "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=h",
                    "-out", paths[0], "-keyout", paths[1]], check=True, stderr=subprocess.DEVNULL)
    return [pathlib.Path(path).read_bytes() for path in paths]


def template(pair):
    """The listener and the secret that Gatehouse makes."""
    cert, key = (base64.b64encode(pem).decode() for pem in pair)
    objects = OBJECTS.replace("PORT", str(xds.PORT)).replace("CERT", cert).replace("KEY", key)
    printed = subprocess.run([os.environ["GATEHOUSE"], "translate", "-", "-o", "json", "--type", "listener"],
                             input=objects, capture_output=True, text=True, check=True).stdout
    listener = json.loads(printed)["fleets"][0]["resources"][0]["resource"]
    del listener["@type"]
    return listener


class Port:
    """What is sent for a port with hostnames; `edits` counts changes of a hostname's own chain."""

    def __init__(self, mode, listener, count):
        self.mode, self.template, self.edits = mode, listener, dict.fromkeys(range(count), 0)
        self.name = listener["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"][
            "tls_certificate_sds_secret_configs"][0]["name"]

    def host(self, number):
        return f"h{number}.example.com"

    def chain(self, number):
        chain = json.loads(json.dumps(self.template["filter_chains"][0]))
        # With a matcher a chain is chosen by its name alone.
        chain["name"] = self.host(number)
        chain["filter_chain_match"] = {"server_names": [self.host(number)]}
        if self.mode != "lds":
            del chain["filter_chain_match"]
        manager = chain["filters"][0]["typed_config"]
        manager["rds"]["route_config_name"] = "t"
        manager["stream_idle_timeout"] = f"{300 + self.edits[number]}s"
        return chain

    def listener(self):
        listener = dict(self.template, name="l")
        del listener["filter_chains"]
        if self.mode in ("lds", "matcher"):
            listener["filter_chains"] = [self.chain(number) for number in self.edits]
        else:
            listener["fcds_config"] = {"config_source": xds.ADS}
        if self.mode != "lds":
            listener["filter_chain_matcher"] = self.matcher()
        return xds.encode("LDS", "l", time.monotonic_ns(), listener)

    def matcher(self):
        def action(value):
            name = "envoy.matching.actions.format_string" if self.mode == "format" else "chain"
            return {"action": {"name": name, "typed_config": value}}

        if self.mode == "format":
            text = {"@type": TYPE + "envoy.config.core.v3.SubstitutionFormatString",
                    "text_format_source": {"inline_string": "%REQUESTED_SERVER_NAME%"}}
            return {"on_no_match": action(text)}
        name = {"@type": TYPE + "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput"}
        names = {self.host(n): action({"@type": TYPE + "google.protobuf.StringValue", "value": self.host(n)})
                 for n in self.edits}
        return {"matcher_tree": {"input": {"name": "sni", "typed_config": name}, "exact_match_map": {"map": names}}}

    def chains(self, numbers):
        return [xds.encode("FCDS", self.host(n), self.edits[n], self.chain(n)) for n in numbers]


class Driver:
    """Answers what Envoy asks, and counts what that costs."""

    def __init__(self, stream, port, secret):
        self.stream, self.port, self.secret, self.bytes = stream, port, secret, 0
        self.open, self.asked = {}, set()

    def send(self, kind, resources):
        self.open[self.stream.send(kind, resources)] = kind
        self.bytes += sum(len(value) for _, _, value in resources)

    def settle(self, chains=()):
        """Until everything sent is acknowledged, and all `chains` were asked for and acknowledged."""
        missing = set(chains)
        while self.open or missing:
            request = self.stream.incoming.get(timeout=xds.PATIENCE)
            if request.error_detail.message:
                sys.exit("refused: " + request.error_detail.message[:500])
            self.open.pop(request.response_nonce, None)
            kind, names = KINDS.get(request.type_url), list(request.resource_names_subscribe)
            if os.environ.get("VERBOSE") and names:
                print("   asked", kind or request.type_url, len(names), names[:3])
            if kind == "SDS" and names:
                self.send("SDS", [self.secret])
            if kind == "RDS" and names:
                self.send("RDS", [xds.encode("RDS", "t", 1, ROUTES)])
            if kind == "FCDS" and names:
                numbers = [number for number in self.port.edits if self.port.host(number) in names or names == ["l"]]
                missing -= {self.port.host(number) for number in numbers}
                self.send("FCDS", self.port.chains(numbers))


ROUTES = {"name": "t", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
    {"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}


class Client:
    """A connection to a hostname that is kept open."""

    def __init__(self, host):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        import socket
        raw = socket.create_connection(("127.0.0.1", xds.PORT), timeout=5)
        self.host, self.closing = host, False
        self.connection = http.client.HTTPConnection(host)
        self.connection.sock = context.wrap_socket(raw, server_hostname=host)
        self.connection.auto_open = False

    def get(self):
        self.connection.request("GET", "/")
        response = self.connection.getresponse()
        response.read()
        self.closing |= response.getheader("connection") == "close"
        return response.status

    def alive(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get() == 200 and not self.closing
        return False


def served(host, wanted=True):
    end = time.monotonic() + xds.PATIENCE
    while time.monotonic() < end:
        ok = False
        with contextlib.suppress(OSError, http.client.HTTPException):
            client = Client(host)
            ok = client.get() == 200
            client.connection.sock.close()
        if ok == wanted:
            return
        time.sleep(0.001)
    sys.exit(f"{host}: never served={wanted}")


def stat(name):
    with urllib.request.urlopen(f"http://127.0.0.1:{xds.ADMIN}/stats?filter=^{name}$") as answer:
        return int(answer.read().split()[-1])


def cpu(pid):
    """CPU time of all threads so far, in ms."""
    stats = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e6


def change(driver, number, kind, pid):
    """One change of one hostname. Returns times until acknowledged and until served, CPU time of Envoy until
    acknowledged, in ms, and bytes."""
    port, start, driver.bytes = driver.port, time.monotonic(), 0
    if kind == "remove":
        del port.edits[number]
    else:
        port.edits[number] = port.edits.get(number, -1) + 1
    chains = ()
    if port.mode in ("lds", "matcher") or (port.mode == "fcds" and kind != "edit"):
        message = [port.listener()]
        start, used = time.monotonic(), cpu(pid)
        driver.send("LDS", message)
        chains = [port.host(number)] if port.mode == "fcds" and kind == "add" else ()
    elif kind != "remove":
        message = port.chains([number])
        start, used = time.monotonic(), cpu(pid)
        driver.send("FCDS", message)
    driver.settle(chains)
    acked, used = time.monotonic(), cpu(pid) - used
    served(port.host(number), kind != "remove")
    return (acked - start) * 1000, (time.monotonic() - start) * 1000, used, driver.bytes


def measure(streams, config, mode, count, pair):
    listener = template(pair)
    port = Port(mode, listener, count)
    secret = xds.encode("SDS", port.name, 1, {"name": port.name, "tls_certificate": {
        "certificate_chain": {"inline_bytes": base64.b64encode(pair[0]).decode()},
        "private_key": {"inline_bytes": base64.b64encode(pair[1]).decode()}}})
    envoy = subprocess.Popen([os.environ["ENVOY"], "-c", config, "--concurrency", "2", "--disable-hot-restart",
                              "--drain-time-s", "2", "-l", os.environ.get("LEVEL", "error")])
    try:
        stream = streams.get(timeout=xds.PATIENCE)
        stream.push("CDS", [xds.encode("CDS", "a", 1, {"name": "a", "type": "STATIC", "connect_timeout": "1s"})])
        driver = Driver(stream, port, secret)
        start = time.monotonic()
        driver.send("LDS", [port.listener()])
        driver.settle([port.host(n) for n in port.edits] if mode == "fcds" else ())
        if mode == "format":
            driver.send("FCDS", port.chains(port.edits))
            driver.settle()
        served(port.host(0))
        print(f"{mode:8} {count:5} first: {(time.monotonic() - start) * 1000:8.1f} ms, {driver.bytes:9} bytes", flush=True)
        for kind in ("edit", "add", "remove"):
            other, results = Client(port.host(0)), []
            assert other.get() == 200
            drained = stat("listener_manager.total_filter_chains_draining")
            for turn in range(ROUNDS):
                time.sleep(0.3)
                number = count // 2 if kind == "edit" else 100_000 + turn
                results.append(change(driver, number, kind, envoy.pid))
                drained = max(drained, stat("listener_manager.total_filter_chains_draining"))
                other.alive()
            time.sleep(4)  # longer than the drain time
            middle = [statistics.median(column) for column in zip(*results)]
            print(f"{mode:8} {count:5} {kind:6} acknowledged {middle[0]:8.1f} ms, effective {middle[1]:8.1f} ms, "
                  f"CPU {middle[2]:6.1f} ms, "
                  f"{int(middle[3]):9} bytes; other connections {'live' if other.alive() else 'CLOSED'}, "
                  f"chains draining at most {drained}, in place {stat('listener_manager.listener_in_place_updated')}",
                  flush=True)
        with urllib.request.urlopen(f"http://127.0.0.1:{xds.ADMIN}/memory") as memory:
            print(f"{mode:8} {count:5} heap {int(json.load(memory)['allocated']) / 2**20:.1f} MiB", flush=True)
    finally:
        envoy.terminate()
        envoy.wait()


def main():
    counts = [int(count) for count in sys.argv[1:]] or [100, 1000, 3000]
    modes = os.environ.get("MODES", "lds matcher fcds").split()
    with tempfile.TemporaryDirectory() as work:
        socket, config = os.path.join(work, "xds.sock"), os.path.join(work, "bootstrap.json")
        with open(config, "w") as file:
            json.dump(xds.bootstrap(socket), file)
        pair = certificate(work)
        server, streams = xds.serve(socket)
        for count in counts:
            for mode in modes:
                measure(streams, config, mode, count, pair)
        server.stop(0)


if __name__ == "__main__":
    main()
