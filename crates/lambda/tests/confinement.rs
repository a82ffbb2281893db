//! What handlers can't do. What this kernel has no means for is told by the host, and tested to be told.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::json;
use support::{World, ask};
use weir_lambda::Network;

const TRIES: &str = r#"
import ctypes, os, resource, socket
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, *arguments):
    ctypes.set_errno(0)
    return [getattr(libc, name)(*arguments), ctypes.get_errno()]
def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return error.errno
def write(path):
    try:
        open(path, "w").close()
        return 0
    except OSError as error:
        return error.errno
def datagram():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        return 0
    except OSError as error:
        return error.errno
def connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return 0
    except OSError as error:
        return error.errno
def handler(event, context):
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
    return {
        "user": os.getuid(), "groups": os.getgroups(), "session": os.getsid(0) == os.getpid(),
        "parent": os.getppid(),
        "ptrace": attempt("ptrace", 0, 0, 0, 0),
        "unshare": attempt("unshare", 0x10000000),
        "mount": attempt("mount", b"none", b"/mnt", b"tmpfs", 0, None),
        "keyctl": attempt("syscall", 250, 0, 0),
        "core": resource.getrlimit(resource.RLIMIT_CORE), "tasks": resource.getrlimit(resource.RLIMIT_NPROC),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "no_new_privs": status["NoNewPrivs"], "capabilities": int(status["CapEff"], 16),
        "secret": read(event["secret"]), "own": write(os.path.join(os.environ["TMPDIR"], "a")), "code": write(__file__),
        "environ": read("/proc/%d/environ" % os.getppid()),
        "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
        "datagram": datagram(),
        "open_folder": write(os.path.join(event["folder"], "a")), "tcp": connect(event["port"]),
    }
"#;

/// What a handler finds outside of its sandbox: a folder that is open to all, and a port.
struct Server {
    folder: std::path::PathBuf,
    listener: std::net::TcpListener,
}

impl Server {
    fn new(world: &World) -> Self {
        let folder = world.folder.path().join("open");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        Self { folder, listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn event(&self, secret: &std::path::Path) -> serde_json::Value {
        json!({"secret": secret, "folder": self.folder, "port": self.listener.local_addr().unwrap().port()})
    }
}

const EPERM: i32 = 1;
const EACCES: i32 = 13;

#[tokio::test]
async fn handlers_are_confined_as_far_as_the_host_says() {
    let world = World::new().await;
    // Readable to the server's user alone, as its data is.
    let secret = world.folder.path().join("data/secret");
    std::fs::write(&secret, "the server's").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // What the server was given by whoever started it, such as a socket of its supervisor's.
    let left_open = std::fs::File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&left_open, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let handler = world.deploy(world.python("tries", TRIES)).await;
    let server = Server::new(&world);
    let found = ask(&handler, server.event(&secret)).await;
    let holds = |name: &str| {
        let all = world.host.confinement();
        let feature = all.iter().find(|feature| feature.feature == name).unwrap();
        assert!(!feature.why.is_empty());
        feature.enforced
    };
    let root = nix::unistd::geteuid().is_root();
    assert_eq!(found["parent"], std::process::id());
    assert_eq!(found["session"], true);
    assert_eq!(found["core"], json!([0, 0]));
    assert_eq!(found["files"], json!([1024, 1024]));
    assert_eq!(found["no_new_privs"], "1");
    assert_eq!(found["own"], 0);
    // The streams, the API's socket, and the listing itself: nothing that the server has open.
    assert_eq!(found["open"], json!([0, 1, 2, 3, 4]));
    assert!(holds("new privileges") && holds("parent death"));
    if holds("own users") {
        assert!(root);
        assert!(found["user"].as_u64().unwrap() > 60_000 && found["user"].as_u64().unwrap() != 65_534);
        assert_eq!(found["groups"], json!([]));
        assert_eq!(found["capabilities"], 0);
        assert_eq!(found["tasks"], json!([1024, 1024]));
        assert_eq!(found["code"], EACCES);
        assert_eq!(found["environ"], EACCES);
    } else {
        assert_eq!(found["user"], nix::unistd::geteuid().as_raw());
    }
    if holds("own users") || holds("landlock files") {
        assert_eq!(found["secret"], EACCES);
    }
    if holds("seccomp") {
        for call in ["ptrace", "unshare", "mount", "keyctl"] {
            assert_eq!(found[call], json!([-1, EPERM]), "{call}");
        }
    }
    assert_eq!((&found["datagram"], &found["tcp"]), (&json!(0), &json!(0)));
    // Writable to all, and none of the handler's business.
    assert_eq!(found["open_folder"], if holds("landlock files") { EACCES } else { 0 });
    // What this kernel can't do is told as such: an enforced size of temp folders takes a mount.
    assert!(!holds("temp folder size"));
}

#[tokio::test]
async fn a_function_without_network_has_no_datagrams_and_each_environment_a_user_of_its_own() {
    let world = World::new().await;
    let mut spec = world.python("alone", TRIES);
    spec.allow.network = Network::None;
    let handler = world.deploy(spec).await;
    let server = Server::new(&world);
    let event = server.event(&world.folder.path().join("nothing"));
    let first = ask(&handler, event.clone()).await;
    assert_eq!(first["datagram"], EPERM);
    let holds = |name| world.host.confinement().iter().any(|feature| feature.feature == name && feature.enforced);
    assert_eq!(first["tcp"], if holds("landlock tcp") { EACCES } else { 0 });
    let other = world.deploy(world.python("other", TRIES)).await;
    let second = ask(&other, event).await;
    assert_eq!(first["user"] != second["user"], holds("own users"));
}
