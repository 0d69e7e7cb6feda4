"""A client by Python's own HTTP: so many connections, so many requests on each, directly or through a relay.

Reads one JSON argument (see job.rs) and prints how many requests were answered completely.
"""
import http.client
import json
import socket
import ssl
import struct
import sys

JOB = json.loads(sys.argv[1])
CONTEXT = None
if JOB["tls"]:
    CONTEXT = ssl.create_default_context(cafile=JOB["ca"])
    CONTEXT.set_alpn_protocols(["http/1.1"])


def socks5(*_):
    """Connects to the server through a SOCKS5 relay (RFC 1928)."""
    raw = socket.create_connection((JOB["relay"], JOB["relay_port"]), 20)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.sendall(b"\x05\x01\x00")
    assert raw.recv(2) == b"\x05\x00"
    raw.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(JOB["server"]) + struct.pack(">H", JOB["port"]))
    assert raw.recv(10)[1] == 0
    return raw


def connect():
    kind = http.client.HTTPSConnection if JOB["tls"] else http.client.HTTPConnection
    extra = {"context": CONTEXT} if JOB["tls"] else {}
    if JOB["way"] == "direct":
        return kind(JOB["server"], JOB["port"], timeout=20, source_address=(JOB["from"], 0), **extra)
    if JOB["way"] == "connect":
        made = kind(JOB["relay"], JOB["relay_port"], timeout=20, **extra)
        made.set_tunnel(JOB["server"], JOB["port"])
        return made
    made = kind(JOB["server"], JOB["port"], timeout=20, **extra)
    if JOB["way"] == "forward":
        made._create_connection = lambda *_: socket.create_connection((JOB["relay"], JOB["relay_port"]), 20)
    else:
        made._create_connection = socks5
    return made


def body(number):
    text = "GET / HTTP/1.1\r\n\r\n" + "word " * (20 + number * 37 % 900)
    return json.dumps({"stream": True, "max_tokens": 30 + number * 31 % 200, "messages": [{"role": "user", "content": text}]})


def main():
    done = 0
    for _ in range(JOB["connections"]):
        made = connect()
        for number in range(JOB["requests"]):
            if JOB["post"]:
                made.request("POST", JOB["path"], body(number), {"Content-Type": "application/json"})
            else:
                made.request("GET", JOB["path"])
            answer = made.getresponse()
            if answer.read() and answer.status == 200:
                done += 1
        made.close()
    print(done)


main()
