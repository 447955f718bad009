//! Who is measured: how each is started, and in which version.

use std::path::Path;
use std::process::Command;

use crate::node::Variant;

/// A client of Socket Mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// The bare loop, or a node.
    Rust(Variant),
    /// `@slack/socket-mode`
    SocketMode,
    /// Bolt for JavaScript
    BoltJs,
    /// `slack_sdk` with threads of its own
    Builtin,
    /// `slack_sdk` on asyncio
    Asyncio,
    /// Bolt for Python
    BoltPython,
    /// slack-morphism
    Morphism,
}

impl Client {
    /// In the order of the tables.
    pub(crate) const ALL: [Self; 10] = [
        Self::Rust(Variant::Loop),
        Self::Rust(Variant::Unkept),
        Self::Rust(Variant::Stored),
        Self::Rust(Variant::Postgres),
        Self::Morphism,
        Self::SocketMode,
        Self::BoltJs,
        Self::Asyncio,
        Self::Builtin,
        Self::BoltPython,
    ];

    /// By what the command line names it.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Rust(variant) => variant.name(),
            Self::SocketMode => "socket-mode",
            Self::BoltJs => "bolt-js",
            Self::Builtin => "builtin",
            Self::Asyncio => "asyncio",
            Self::BoltPython => "bolt-python",
            Self::Morphism => "morphism",
        }
    }

    /// By what the tables name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust(Variant::Loop) => "bare loop",
            Self::Rust(Variant::Unkept) => "Tautline, nothing kept",
            Self::Rust(Variant::Stored) => "Tautline, stored, SQLite",
            Self::Rust(Variant::Postgres) => "Tautline, stored, Postgres",
            Self::Rust(Variant::Batched | Variant::Received) => "not measured here",
            Self::SocketMode => "@slack/socket-mode",
            Self::BoltJs => "Bolt for JavaScript",
            Self::Builtin => "slack_sdk, built-in",
            Self::Asyncio => "slack_sdk, aiohttp",
            Self::BoltPython => "Bolt for Python",
            Self::Morphism => "slack-morphism",
        }
    }

    pub(crate) fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.key() == key)
    }

    /// Postgres takes part where a server is named, slack-morphism where it was built: `scripts/bench beside` does both.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Rust(variant) => variant.is_there(),
            Self::Morphism => std::env::var(MORPHISM).is_ok(),
            Self::SocketMode | Self::BoltJs | Self::Builtin | Self::Asyncio | Self::BoltPython => true,
        }
    }

    /// A node, which goes on writing behind its acks, and has handled in the end exactly what it has acked.
    pub(crate) const fn is_node(self) -> bool {
        matches!(self, Self::Rust(Variant::Unkept | Variant::Stored | Variant::Postgres))
    }

    /// How it is started, with so many connections to the Slack at this address.
    pub(crate) fn command(self, slack: &str, sockets: usize, folder: &Path) -> Command {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/beside/peers");
        let (program, script) = match self {
            Self::Rust(variant) => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--child", variant.name(), slack, &sockets.to_string()]).arg(folder);
                return command;
            }
            Self::SocketMode => (NODE, Some("socket-mode.mjs")),
            Self::BoltJs => (NODE, Some("bolt.mjs")),
            Self::Builtin => (PYTHON, Some("builtin.py")),
            Self::Asyncio => (PYTHON, Some("asyncio_client.py")),
            Self::BoltPython => (PYTHON, Some("bolt.py")),
            Self::Morphism => (MORPHISM, None),
        };
        let mut command = Command::new(std::env::var(program).unwrap());
        command
            .args(script.map(|script| peers.join(script)))
            .args([format!("http://{slack}/api/"), sockets.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

const NODE: &str = "TAUTLINE_PEERS_NODE";
const PYTHON: &str = "TAUTLINE_PEERS_PYTHON";
const MORPHISM: &str = "TAUTLINE_PEERS_MORPHISM";

/// Versions of the runtimes and SDKs in use, or what is missing and how it is had.
pub(crate) fn versions(clients: &[Client]) -> Result<String, String> {
    let mut versions = vec![format!("Tautline {}", env!("CARGO_PKG_VERSION"))];
    let is_in_use = |of: &[Client]| clients.iter().any(|client| of.contains(client));
    if is_in_use(&[Client::Morphism]) {
        let manifest = include_str!("peers/rust/Cargo.toml");
        let version =
            manifest.split("slack-morphism = { version = \"=").nth(1).and_then(|rest| rest.split('"').next());
        versions.push(format!("slack-morphism {}", version.expect("it is pinned there")));
    }
    if is_in_use(&[Client::SocketMode, Client::BoltJs]) {
        let script = "const {createRequire} = require('node:module');
            const modules = process.env.TAUTLINE_PEERS_NODE_MODULES;
            const version = (name) => `${name} ${require(`${modules}/${name}/package.json`).version}`;
            console.log(['Node ' + process.version, ...['@slack/socket-mode', '@slack/bolt', 'undici'].map(version)].join(', '))";
        versions.push(said(NODE, "-e", script)?);
    }
    if is_in_use(&[Client::Builtin, Client::Asyncio, Client::BoltPython]) {
        let script = "import platform; from importlib.metadata import version
print(', '.join(['Python ' + platform.python_version()] + [f'{name} {version(name)}' for name in ('slack_sdk', 'aiohttp', 'slack_bolt')]))";
        versions.push(said(PYTHON, "-c", script)?);
    }
    Ok(versions.join(", "))
}

fn said(program: &str, flag: &str, script: &str) -> Result<String, String> {
    let how = "run scripts/setup, which installs them, and 'source target/peers/env'; or run 'scripts/bench beside', which does both";
    let path = std::env::var(program).map_err(|_| {
        format!("Slack's SDKs are not installed, or nobody has said where ({program}): {how}")
    })?;
    let output = Command::new(&path).args([flag, script]).output();
    let output = output.map_err(|error| format!("{path} of {program} does not run: {error}: {how}"))?;
    if !output.status.success() {
        return Err(format!(
            "not all SDKs are there: {how}; {path} said:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
