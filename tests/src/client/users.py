"""Direct users with Python's own HTTP client (and `requests` where installed).

Reads a plan (see plan.rs), runs until SIGTERM, writes one JSON line for each request.
"""
import http.client
import json
import random
import signal
import socket
import ssl
import sys
import threading
import time

try:
    import requests
    from requests.adapters import HTTPAdapter
except ImportError:
    requests = None

PLAN = json.load(open(sys.argv[1], encoding="utf-8"))
STOP = threading.Event()
OUT = open(PLAN["out"], "a", encoding="utf-8", buffering=1)
OUT_LOCK = threading.Lock()
TIMEOUT_S = PLAN["timeout_s"]

# The name resolves to the lab's server; everything else about the clients is stock.
REAL_GETADDRINFO = socket.getaddrinfo


def getaddrinfo(host, port, *args, **kwargs):
    return REAL_GETADDRINFO(PLAN["server"] if host == PLAN["name"] else host, port, *args, **kwargs)


socket.getaddrinfo = getaddrinfo
CONTEXT = ssl.create_default_context(cafile=PLAN["ca"])
# What http.client itself would set on a context of its own.
CONTEXT.set_alpn_protocols(["http/1.1"])


def report(at, group, address, error):
    line = {
        "at": at,
        "end": time.time(),
        "label": "benign",
        "kind": group["kind"],
        "from": address,
        "port": PLAN["tls_port"] if group["tls"] else PLAN["plain_port"],
        "outcome": "refused" if error else "served",
        "error": error,
    }
    with OUT_LOCK:
        OUT.write(json.dumps(line) + "\n")


def body(group, turns):
    messages = [{"role": "user", "content": "How much does a token weigh? " * 4}] * turns
    return json.dumps({
        "model": "lab-1", "stream": True, "max_tokens": group["max_tokens"],
        "user": "benign-" + group["kind"], "messages": messages,
    })


def error_name(error):
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "timeout"
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, (ConnectionError, http.client.HTTPException)):
        return "reset"
    return type(error).__name__


def stdlib_session(group, address, draw, count):
    port = PLAN["tls_port"] if group["tls"] else PLAN["plain_port"]
    source = (address, 0)
    if group["tls"]:
        connection = http.client.HTTPSConnection(
            PLAN["name"], port, timeout=TIMEOUT_S, source_address=source, context=CONTEXT)
    else:
        connection = http.client.HTTPConnection(PLAN["name"], port, timeout=TIMEOUT_S, source_address=source)
    try:
        for turn in range(count):
            if turn and STOP.wait(draw.uniform(*group["think_s"])):
                return
            at, error = time.time(), None
            try:
                connection.request("POST", "/v1/chat/completions", body(group, turn + 1),
                                   {"Content-Type": "application/json"})
                answer = connection.getresponse()
                done = False
                for line in answer:
                    done = done or line.startswith(b"data: [DONE]")
                error = None if done else "cut"
            except Exception as caught:  # every failure is a refused request, whatever its name
                error = error_name(caught)
            report(at, group, address, error)
            if error:
                return
    finally:
        connection.close()


if requests:
    class BoundAdapter(HTTPAdapter):
        """Binds the source address, as the documentation of requests shows."""

        def __init__(self, address):
            self.address = address
            super().__init__()

        def init_poolmanager(self, *args, **kwargs):
            kwargs["source_address"] = (self.address, 0)
            super().init_poolmanager(*args, **kwargs)


def requests_session(group, address, draw, count):
    url = f"https://{PLAN['name']}:{PLAN['tls_port']}/v1/chat/completions"
    with requests.Session() as session:
        session.mount("https://", BoundAdapter(address))
        for turn in range(count):
            if turn and STOP.wait(draw.uniform(*group["think_s"])):
                return
            at, error = time.time(), None
            try:
                with session.post(url, data=body(group, turn + 1), headers={"Content-Type": "application/json"},
                                  verify=PLAN["ca"], stream=True, timeout=TIMEOUT_S) as answer:
                    lines = list(answer.iter_lines())
                error = None if b"data: [DONE]" in lines else "cut"
            except requests.exceptions.Timeout:
                error = "timeout"
            except Exception as caught:
                error = error_name(caught)
            report(at, group, address, error)
            if error:
                return


def session(group, address, draw):
    count = draw.randint(*group["requests"])
    (requests_session if group["kind"] == "requests" else stdlib_session)(group, address, draw, count)


def regular(group, address, seed):
    """A user who comes back again and again."""
    draw = random.Random(seed)
    if STOP.wait(draw.uniform(0, group["think_s"][1])):
        return
    while not STOP.is_set():
        session(group, address, draw)
        STOP.wait(draw.uniform(*group["think_s"]))


def arrivals(group, seed, workers):
    """New users, each on an address of his own."""
    draw = random.Random(seed)
    for address in group["addresses"]:
        if STOP.wait(draw.expovariate(group["arrivals_per_s"])):
            return
        worker = threading.Thread(target=session, args=(group, address, random.Random(draw.random())))
        worker.start()
        workers.append(worker)


def main():
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    workers = []
    sources = []
    for number, group in enumerate(PLAN["groups"]):
        seed = f"{PLAN['seed']}/{number}"
        if group["kind"] == "requests" and not requests:
            continue
        if group["arrivals_per_s"] > 0:
            sources.append(threading.Thread(target=arrivals, args=(group, seed, workers)))
        else:
            sources.extend(threading.Thread(target=regular, args=(group, address, f"{seed}/{address}"))
                           for address in group["addresses"])
    for source in sources:
        source.start()
    while not STOP.wait(0.5):
        pass
    for thread in sources + workers:
        thread.join()


main()
