"""Servers of socketserver that answer each line in upper case.

Usage: servers.py threading|forking. It prints the port, and serves until its input ends.
"""

import socketserver
import sys
import threading


class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Threading(socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    daemon_threads = True


class Forking(socketserver.ForkingTCPServer):
    request_queue_size = 1024
    max_children = 1024


servers = {"threading": Threading, "forking": Forking}

with servers[sys.argv[1]](("127.0.0.1", 0), Upper) as server:
    print(server.server_address[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()
