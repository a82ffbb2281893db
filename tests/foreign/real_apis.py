"""Real servers' APIs behind a real limit: datasette and pygeoapi, from PyPI, behind nginx with `limit_req`, each started here and ended.

datasette has rows of a database (next URL in the body, or in a Link header), pygeoapi features as OGC's API has them (offset and limit,
or a link among others in the body). Neither knows anything of weir, and nginx answers 429 whatever they would have said.
"""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request

from conftest import free_port, until

BIN = pathlib.Path(sys.executable).parent


def nginx_binary() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    assert found, "nginx is not installed: `cargo xtask setup`"
    return found


class Program:
    """A program in a folder of its own, that ends with the test."""

    def __init__(self, folder: pathlib.Path, command: list, ready: str, **env):
        self.log = folder / f"{pathlib.Path(command[0]).name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=log, cwd=folder, env={**os.environ, **env}
            )
        until(lambda: self.answers(ready), f"{command[0]} answers at {ready}", 60)

    def answers(self, url: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# The user matters to root alone, whose workers could not write here otherwise.
NGINX = """
daemon off;
USER
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events { worker_connections 256; }
http {
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  log_format times '$msec $status $request_uri';
  access_log FOLDER/access.log times;
  limit_req_zone $server_port zone=calls:1m rate=RATEr/s;
  server {
    listen 127.0.0.1:PORT;
    location / {
      limit_req zone=calls burst=BURST nodelay;
      limit_req_status 429;
      REFUSED
      proxy_pass http://127.0.0.1:BEHIND;
      proxy_set_header Host $http_host;
    }
    location = /_ready { access_log off; return 204; }
    LIMITED
  }
}
"""


class Nginx(Program):
    """A limit before a server: `rate` calls a second, and `burst` on top of them."""

    def __init__(self, folder: pathlib.Path, port: int, behind: int, rate: int, burst: int, retry_after: int | None):
        folder.mkdir()
        named = {"FOLDER": str(folder), "RATE": str(rate), "BURST": str(burst), "PORT": str(port), "BEHIND": str(behind)}
        text = NGINX.replace("REFUSED", "error_page 429 = @limited;" if retry_after else "")
        limited = f"location @limited {{ add_header Retry-After {retry_after} always; return 429; }}"
        text = text.replace("USER", "user root;" if os.geteuid() == 0 else "")
        text = text.replace("LIMITED", limited if retry_after else "")
        for name, value in named.items():
            text = text.replace(name, value)
        (folder / "nginx.conf").write_text(text)
        self.access = folder / "access.log"
        self.url = f"http://127.0.0.1:{port}"
        command = [nginx_binary(), "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
        super().__init__(folder, command, f"{self.url}/_ready")

    def calls(self) -> list[tuple[float, int, str]]:
        """Seconds, status and path of each call so far."""
        lines = (line.split(" ", 2) for line in self.access.read_text().splitlines())
        return [(float(at), int(status), path) for at, status, path in lines]


def start_datasette(folder: pathlib.Path, port: int) -> tuple[Program, dict[int, int]]:
    """A database of shops and what they sold: returns how many sales each shop has."""
    folder.mkdir()
    database = sqlite3.connect(folder / "trade.db")
    database.execute("create table shops (id integer primary key, name text)")
    database.execute("create table sales (id integer primary key, shop integer references shops(id), amount real)")
    sold = {shop: shop * 7 % 45 for shop in range(60)}
    database.executemany("insert into shops values (?, ?)", [(shop, f"Shop {shop}") for shop in sold])
    sales = [(shop, index * 1.25) for shop, count in sold.items() for index in range(count)]
    database.executemany("insert into sales (shop, amount) values (?, ?)", sales)
    database.commit()
    database.close()
    command = [BIN / "datasette", "serve", "trade.db", "--port", port]
    return Program(folder, command, f"http://127.0.0.1:{port}/-/versions.json"), sold


COLLECTION = """
  NAME:
    type: collection
    title: NAME
    description: NAME
    keywords: [NAME]
    links: []
    extents: {spatial: {bbox: [-180, -90, 180, 90], crs: "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}}
    providers:
      - {type: feature, name: GeoJSON, data: FOLDER/NAME.geojson, id_field: id}
"""

GEO = """
server:
  bind: {host: 127.0.0.1, port: BEHIND}
  url: http://127.0.0.1:PORT
  mimetype: application/json; charset=UTF-8
  encoding: utf-8
  languages: [en-US]
  limits: {default_items: 10, max_items: 50}
  map: {url: "https://tile.example/{z}/{x}/{y}.png", attribution: none}
logging: {level: ERROR}
metadata:
  identification: {title: wells, description: wells, keywords: [wells], keywords_type: theme, terms_of_service: none, url: "http://example.org"}
  license: {name: CC0, url: "http://example.org"}
  provider: {name: nobody, url: "http://example.org"}
  contact: {name: nobody, email: nobody@example.org}
resources:
"""


def start_pygeoapi(folder: pathlib.Path, port: int, behind: int) -> tuple[Program, dict[str, int]]:
    """Collections of features, which say that they are at `port`: returns how many features each has."""
    import json

    folder.mkdir()
    text = GEO
    collections = {f"wells{index}": index * 37 % 120 + 1 for index in range(8)}
    for name, count in collections.items():
        features = [
            {
                "type": "Feature",
                "id": index,
                "geometry": {"type": "Point", "coordinates": [index % 90, index % 45]},
                "properties": {"code": f"{name}-{index}", "depth": index * 1.5},
            }
            for index in range(count)
        ]
        (folder / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        text += COLLECTION.replace("NAME", name)
    config, openapi = folder / "config.yml", folder / "openapi.yml"
    config.write_text(text.replace("FOLDER", str(folder)).replace("BEHIND", str(behind)).replace("PORT", str(port)))
    env = {"PYGEOAPI_CONFIG": str(config), "PYGEOAPI_OPENAPI": str(openapi)}
    generate = [BIN / "pygeoapi", "openapi", "generate", str(config), "--output-file", str(openapi)]
    subprocess.run(generate, env={**os.environ, **env}, check=True, capture_output=True, timeout=120)
    # pygeoapi's own command starts a debugger, too.
    serve = f"from pygeoapi.flask_app import APP; APP.run(host='127.0.0.1', port={behind}, threaded=True)"
    return Program(folder, [sys.executable, "-c", serve], f"http://127.0.0.1:{behind}/conformance", **env), collections


def two_ports() -> tuple[int, int]:
    port = free_port()
    behind = free_port()
    while behind == port:
        behind = free_port()
    return port, behind
