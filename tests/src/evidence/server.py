"""A streaming HTTP/1 server by Python's own http.server: `server.py DIR TLS_PORT PLAIN_PORT`, with and without TLS."""
import http.server
import ssl
import sys
import threading
import time

DIR, TLS_PORT, PLAIN_PORT = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(4):
            time.sleep(0.002)
            self.wfile.write(b"6\r\ntoken \r\n")
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def serve(port, wrap):
    server = http.server.ThreadingHTTPServer(("", int(port)), Handler)
    server.socket = wrap(server.socket)
    threading.Thread(target=server.serve_forever).start()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(DIR + "/nginx-chain.pem", DIR + "/nginx-key.pem")
serve(TLS_PORT, lambda plain: context.wrap_socket(plain, server_side=True))
serve(PLAIN_PORT, lambda plain: plain)
open(DIR + "/server-ready", "w", encoding="ascii").close()
