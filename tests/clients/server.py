"""A running grantbook and ana, who is signed in to it on acme. Knows: its command line and its pages. Must not know: which clients
are tested."""

import html
import http.cookiejar
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

START_SECONDS = 60


class Grantbook:
    """A dev server on a port of its own, with settings as environment variables have them."""

    def __init__(self, executable, **settings):
        self.directory = tempfile.TemporaryDirectory()
        directory = Path(self.directory.name)
        self.executable, self.data = executable, directory / "data"
        self.log = open(directory / "log", "w+")
        command = [executable, "serve", "--dev", "--listen", "127.0.0.1:0", "--data", self.data]
        environment = os.environ | {"GRANTBOOK_" + name: str(value) for name, value in settings.items()}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=directory, env=environment)
        self.url = self.when_it_serves()
        jar = http.cookiejar.CookieJar()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), StayHere())
        _, _, page = self.ask("/sign-in")
        self.ask("/sign-in/dev", {"csrf": field(page, "csrf"), "user": "ana", "account": "acme"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(60) == 0, "grantbook did not stop in order"
        self.directory.cleanup()

    def when_it_serves(self):
        control, end = self.data / "control.json", time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                url = json.loads(control.read_text())["url"]
                urllib.request.urlopen(url + "/readyz").close()
                return url
            except (OSError, ValueError, KeyError):
                time.sleep(0.1)
        self.log.seek(0)
        sys.exit("grantbook does not serve:\n" + self.log.read())

    def command(self, *words):
        command = [self.executable, *words, "--json", "--data", self.data]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def app(self, name, redirect_uri, *words):
        return self.command("app", "register", "--name", name, "--owner", "Test", "--redirect-uri", redirect_uri,
            "--scope", "widgets", *words)

    def key(self, role):
        return self.command("key", "new", "--name", role, "--role", role)["key"]

    def ask(self, path, form=None, headers=None):
        body = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(urllib.parse.urljoin(self.url, path), body, headers or {})
        with self.browser.open(request) as reply:
            return reply.status, reply.headers, reply.read().decode()

    def token(self):
        """Has ana approve a new app, and exchanges the code."""
        app = self.app("Installed", "https://app.example/callback")
        query = urllib.parse.urlencode({"client_id": app["client_id"], "scope": "widgets", "state": "s"})
        back = self.approve("/oauth/authorize?" + query)
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"][0]
        form = {"code": code, "client_id": app["client_id"], "client_secret": app["client_secret"]}
        return json.loads(self.ask("/oauth/token", form)[2])["access_token"]

    def approve(self, url):
        """Where the browser is sent once ana has approved, or at once if there is nothing to approve."""
        while urllib.parse.urljoin(self.url, url).startswith(self.url + "/"):
            _, headers, page = self.ask(url)
            if "Location" not in headers:
                _, headers, _ = self.ask("/oauth/authorize", {"ticket": field(page, "ticket"), "decision": "approve"})
            url = headers["Location"]
        return url

    def approver(self):
        """A server that approves what is posted to it: libraries have no browser."""

        class Approver(http.server.BaseHTTPRequestHandler):
            def do_POST(approver):
                url = approver.rfile.read(int(approver.headers["Content-Length"])).decode()
                try:
                    status, said = 200, self.approve(url).encode()
                except urllib.error.HTTPError as error:
                    status, said = 502, error.read()
                approver.send_response(status)
                approver.end_headers()
                approver.wfile.write(said)

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Approver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"


class StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other."""

    def http_error_303(self, request, reply, code, message, headers):
        return reply


def field(page, name):
    """A hidden field of a form."""
    return html.unescape(re.search(f'name="{name}" value="([^"]*)"', page).group(1))
