//! What tests need of the distribution's packages: PostgreSQL and MariaDB for lookups, nginx for crawls.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::bail;

use crate::run::{check, command, say};

/// What is looked for, and the package it is in.
const WANTED: [(&str, &str); 5] = [
    ("initdb", "postgresql"),
    ("psql", "postgresql-client"),
    ("mariadbd", "mariadb-server-core"),
    ("mariadb", "mariadb-client-core"),
    ("nginx", "nginx-light"),
];

/// Installs what is missing, where that is possible: as root, on Debian and its kin.
pub fn setup() -> anyhow::Result<()> {
    let missing: Vec<&str> = WANTED.iter().filter(|(name, _)| !is_there(name)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !is_root() || !is_there("apt-get") {
        bail!(
            "the tests need PostgreSQL, MariaDB and nginx; install them, such as by \
             `sudo apt-get install --no-install-recommends {packages}`"
        );
    }
    say(&format!("installing {packages}"));
    let install = || {
        let mut install = command("apt-get");
        install.args(["install", "-y", "-q", "--no-install-recommends"]).args(&missing);
        install.env("DEBIAN_FRONTEND", "noninteractive");
        check(&mut install)
    };
    // A fresh machine has no lists of packages, or old ones.
    install().or_else(|_| {
        check(command("apt-get").args(["update", "-q"]))?;
        install()
    })
}

/// Looks in the PATH, where administrators' programs are, and where Debian keeps PostgreSQL's.
fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.iter().any(|folder| folder.join(name).is_file())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
