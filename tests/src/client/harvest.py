"""The harvester: one request for each new connection, every time from another address; through relays (the hydra) or,
with the same software and volume, directly (the flash crowd).

Reads a plan (see plan.rs), runs until SIGTERM, writes one JSON line for each attempt.
"""
import http.client
import json
import random
import signal
import socket
import ssl
import struct
import sys
import threading
import time

PLAN = json.load(open(sys.argv[1], encoding="utf-8"))
STOP = threading.Event()
OUT = open(PLAN["out"], "a", encoding="utf-8", buffering=1)
OUT_LOCK = threading.Lock()
CONTEXT = ssl.create_default_context(cafile=PLAN["ca"])
CONTEXT.set_alpn_protocols(["http/1.1"])
BODY = json.dumps({
    "model": "lab-1", "stream": True, "max_tokens": PLAN["max_tokens"], "user": PLAN["label"] + "-harvest",
    "messages": [{"role": "user", "content": "Explain step by step, with all your reasoning. " * 6}],
})


def socks5(address):
    """Connects to the server through a SOCKS5 relay (RFC 1928)."""
    raw = socket.create_connection((address, PLAN["relay_port"]), PLAN["timeout_s"])
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(b"\x05\x01\x00")
        if raw.recv(2) != b"\x05\x00":
            raise ConnectionError("relay wants authentication")

        def target(port):
            raw.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(PLAN["server"]) + struct.pack(">H", port))
            answer = raw.recv(10)
            if len(answer) < 2 or answer[1] != 0:
                raise ConnectionError("relay cannot reach the server")
            return raw

        return target
    except BaseException:
        raw.close()
        raise


def connection(way, address, tls):
    port = PLAN["tls_port"] if tls else PLAN["plain_port"]
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    extra = {"context": CONTEXT} if tls else {}
    if way == "connect":
        made = kind(address, PLAN["relay_port"], timeout=PLAN["timeout_s"], **extra)
        made.set_tunnel(PLAN["name"], port)
        return made
    if way == "direct":
        made = kind(PLAN["name"], port, timeout=PLAN["timeout_s"], source_address=(address, 0), **extra)
        made._create_connection = lambda _, *rest: socket.create_connection((PLAN["server"], port), *rest)
        return made
    made = kind(PLAN["name"], port, timeout=PLAN["timeout_s"], **extra)
    made._create_connection = lambda *_: socks5(address)(port)
    return made


def error_name(error):
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "timeout"
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, (ConnectionError, http.client.HTTPException)):
        return "reset"
    return type(error).__name__


def attempt(at, way, address, tls, slots):
    error = None
    made = connection(way, address, tls)
    try:
        made.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        done = False
        for line in made.getresponse():
            done = done or line.startswith(b"data: [DONE]")
        error = None if done else "cut"
    except Exception as caught:  # every failure is a refused attempt, whatever its name
        error = error_name(caught)
    finally:
        made.close()
        slots.release()
    line = {
        "at": at, "end": time.time(), "label": PLAN["label"], "kind": way, "from": address,
        "port": PLAN["tls_port"] if tls else PLAN["plain_port"],
        "outcome": "refused" if error else "served", "error": error,
    }
    with OUT_LOCK:
        OUT.write(json.dumps(line) + "\n")


def main():
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    draw = random.Random(PLAN["seed"])
    slots = threading.Semaphore(PLAN["concurrency"])
    last = None
    workers = []
    due = time.monotonic()
    while not STOP.is_set():
        due += draw.expovariate(PLAN["rate_per_s"])
        if STOP.wait(max(0.0, due - time.monotonic())):
            break
        choice = draw.choice(PLAN["exits"])
        while choice is last and len(PLAN["exits"]) > 1:
            choice = draw.choice(PLAN["exits"])
        last = choice
        way, address = choice
        while not slots.acquire(timeout=0.5):
            if STOP.is_set():
                break
        else:
            tls = draw.random() >= PLAN["plain_share"]
            worker = threading.Thread(target=attempt, args=(time.time(), way, address, tls, slots))
            worker.start()
            workers = [one for one in workers if one.is_alive()] + [worker]
    for worker in workers:
        worker.join()


main()
