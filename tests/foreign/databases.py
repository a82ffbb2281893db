"""PostgreSQL and MariaDB for a test: the real ones, in a temporary folder, on ports that the system gives.

They refuse to run as root, so that root gives them to the user that their package made, or to nobody. `cargo xtask setup` installs them.
"""

import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from conftest import free_port

# Every character here has a meaning in a URL.
PASSWORD = "p@ss/w:rd#1?%41"


def program(name: str) -> str:
    """The path of a server's program; Debian keeps PostgreSQL's out of the PATH."""
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)
    assert found, f"there is no `{name}`: `cargo xtask setup` installs it where apt-get is"
    return found


class Database:
    """A server that can be killed and started again."""

    user: str
    # Whether its certificate is its own root: how most people begin.
    signs_itself = False

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-db-"))
        self.port = free_port()
        self.identity = {}
        if os.geteuid() == 0:
            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            entry = known.get(self.user) or known["nobody"]
            self.identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self.process = None
        self.certify()
        self.initialize()
        self.start()

    def call(self, *args, **kwargs) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            list(map(str, args)),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            **self.identity,
            **kwargs,
        )
        assert done.returncode == 0, f"{args}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def certify(self):
        """A certificate for `localhost`, and the root that it comes from."""
        self.certificate, self.key, self.root = (self.folder / name for name in ("server.crt", "server.key", "root.crt"))
        new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
        if self.signs_itself:
            self.root = self.certificate
            named = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
            self.call(*new, "-x509", "-days", "2", *named, "-keyout", self.key, "-out", self.certificate)
            return self.open_folder()
        self.call(*new, "-x509", "-days", "2", "-subj", "/CN=weir tests", "-keyout", "root.key", "-out", self.root)
        self.call(*new, "-subj", "/CN=localhost", "-keyout", self.key, "-out", "server.csr")
        extensions = self.folder / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        signed = ("-CA", self.root, "-CAkey", "root.key", "-CAcreateserial", "-extfile", extensions)
        self.call("openssl", "x509", "-req", "-days", "2", "-in", "server.csr", *signed, "-out", self.certificate)
        self.open_folder()

    def open_folder(self):
        self.key.chmod(0o600)
        # weir may run as somebody else.
        self.folder.chmod(0o755)

    def start(self):
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            list(map(str, self.command())),
            cwd=self.folder,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            **self.identity,
        )
        end = time.monotonic() + 60
        while True:
            try:
                return self.sql("select 1")
            except AssertionError:
                code = self.process.poll()
                assert code is None and time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.05)

    def kill(self):
        """Ends it at once, with whatever processes it made."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.log.close()

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Database):
    user = "postgres"
    scheme = "postgres"
    signs_itself = True

    def initialize(self):
        self.call(program("initdb"), "-D", "data", "-U", "admin", "-A", "trust", "--no-sync", "-E", "UTF8")
        hba = "local all admin trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "data" / "pg_hba.conf").write_text(hba)

    def command(self):
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "ssl": "on",
            "ssl_cert_file": self.certificate,
            "ssl_key_file": self.key,
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [program("postgres"), "-D", "data", "-p", self.port, *options]

    def sql(self, text: str) -> str:
        where = ("-h", self.folder, "-p", self.port, "-U", "admin", "-d", "postgres")
        return self.call("psql", *where, "-v", "ON_ERROR_STOP=1", "-qAt", "-c", text)

    def make_user(self):
        self.sql(f"create user weir password '{PASSWORD}'")
        self.sql("grant select on all tables in schema public to weir")
        self.sql("alter default privileges grant select on tables to weir")

    def url(self, parameters="", host="localhost") -> str:
        return f"postgres://weir@{host}:{self.port}/postgres{parameters}"

    def socket_url(self) -> str:
        return f"postgres://weir@localhost:{self.port}/postgres?socket={self.folder}"


class MariaDb(Database):
    user = "mysql"
    scheme = "mysql"

    def initialize(self):
        self.call(
            *(program("mariadb-install-db"), "--no-defaults", f"--datadir={self.folder}/data"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )

    def command(self):
        return [
            *(program("mariadbd"), "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.folder}/socket"),
            *(f"--port={self.port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder}/pid"),
            *(f"--ssl-cert={self.certificate}", f"--ssl-key={self.key}", "--skip-name-resolve"),
            *("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M", "--sql-mode="),
        ]

    def sql(self, text: str) -> str:
        return self.call("mariadb", "--no-defaults", f"--socket={self.folder}/socket", "-uroot", "-N", "-e", text)

    def make_user(self):
        self.sql(f"create database shop character set utf8mb4; create user weir identified by '{PASSWORD}'")
        self.sql("grant select on shop.* to weir")

    def url(self, parameters="", host="localhost") -> str:
        return f"mysql://weir@{host}:{self.port}/shop{parameters}"

    def socket_url(self) -> str:
        return f"mysql://weir@localhost/shop?socket={self.folder}/socket"
