//! Real processes: the binary, started and ended, and judged by what comes out of it. Nothing here sleeps: who waits, waits for a
//! line, for the end of the output, or for the simulator's record, and each wait has a bound. Nothing stays behind: a process is
//! killed when its value goes, also when that is a test that fails.
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tautline::simulator::{self, Handle, NewApp, Record, Rules, Simulator, Team};

use super::Database;

/// Far longer than anything here takes, on a machine that has other things to do; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The admin token of every node here.
pub(crate) const ADMIN_TOKEN: &str = "admin-token-of-a-test";

/// A simulated Slack and a folder for a node's database. Outlives the processes that run on it.
pub(crate) struct Site {
    pub(crate) slack: Handle,
    pub(crate) database: Database,
    pub(crate) folder: tempfile::TempDir,
}

/// A customer with an app of their own.
pub(crate) struct Customer {
    pub(crate) app_id: String,
    pub(crate) app_token: String,
    pub(crate) bot_token: String,
}

impl Site {
    pub(crate) fn new(change: impl FnOnce(&mut Rules)) -> Self {
        let mut options = simulator::Options::default();
        change(&mut options.rules);
        let folder = tempfile::tempdir().expect("there is room for a folder");
        Self {
            slack: Simulator::start(options).expect("a port is free"),
            database: Database::new(folder.path()),
            folder,
        }
    }

    /// A customer whom Slack knows.
    pub(crate) fn customer(&self, number: u8) -> Customer {
        let app_id = format!("A0REAL{number}");
        let app_token = format!("xapp-1-{app_id}-1-0123456789abcdef");
        let bot_token = format!("xoxb-{number}-0123456789abcdef");
        let team_id = format!("T0REAL{number}");
        let teams = vec![Team { team_id, bot_token: Some(bot_token.clone()), enterprise_id: None }];
        let app = NewApp { app_token: app_token.clone(), slack_app_id: Some(app_id.clone()), teams };
        self.slack.add_app(app).expect("the simulator knows the app");
        Customer { app_id, app_token, bot_token }
    }

    /// The command line with an environment of its own: this Slack, a free port, lines for machines.
    pub(crate) fn tautline(&self, arguments: &[&str]) -> Command {
        let mut command = tautline(self.folder.path(), arguments);
        command
            .env("TAUTLINE_LISTEN", "127.0.0.1:0")
            .env("TAUTLINE_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("TAUTLINE_SLACK_API_URL", self.slack.api_url())
            .env("TAUTLINE_LOG_FORMAT", "json")
            .env("TAUTLINE_WEBHOOKS_ALLOW_PRIVATE", "true")
            .envs(self.database.environment());
        command
    }

    /// A node that is up.
    pub(crate) fn serve(&self) -> Process {
        let node = Process::start(self.tautline(&["serve"]));
        node.address();
        node
    }

    /// A node with the handler of an example, under the example's name.
    pub(crate) fn serve_example(&self, name: &str) -> Process {
        let node = Process::start(self.example(name));
        node.address();
        node
    }

    /// The command line of an example that serves with its own handler.
    pub(crate) fn example(&self, name: &str) -> Command {
        let mut folder = std::env::current_exe().expect("a test has a path");
        folder.pop();
        folder.pop();
        let mut command = Command::new(folder.join("examples").join(name));
        let like = self.tautline(&["serve", "--handlers", name]);
        command.args(like.get_args()).current_dir(self.folder.path()).env_clear();
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Waits until the simulator's record is as wanted.
    pub(crate) fn until(&self, what: &str, look: impl FnMut(&Record) -> bool) {
        let waited = block_on(self.slack.until(look, PATIENCE));
        assert!(waited.is_ok(), "not within {PATIENCE:?}: {what}");
    }
}

/// Waits in a test that has no runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The binary in a folder, with nothing of this process's environment.
pub(crate) fn tautline(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tautline"));
    command.args(arguments).env_clear().current_dir(folder);
    command
}

/// A site whose database a node has made.
pub(crate) fn used_site() -> Site {
    let site = Site::new(|_| {});
    let ended = site.serve().stop();
    assert_eq!(ended.code, Some(0), "{}", ended.output.text());
    site
}

/// `check` with so many files to open at most.
pub(crate) fn limited(site: &Site, files: &str) -> Command {
    let check = site.tautline(&["check"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
    command.arg(check.get_program()).args(check.get_args()).env_clear().current_dir(site.folder.path());
    command.envs(check.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The one line of a node that does not start.
pub(crate) fn refused(command: Command) -> String {
    let Ended { code, output } = Process::start(command).ended();
    assert_eq!(code, Some(2), "{output:#?}");
    assert_eq!((output.stderr.len(), output.stdout.len()), (1, 0), "{output:#?}");
    let line = output.stderr.first().unwrap();
    assert!(line.starts_with("tautline: "), "{line}");
    line.clone()
}

/// A process whose output is read by threads of its own, so that it never waits for this one.
pub(crate) struct Process {
    child: Child,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    so_far: Mutex<Output>,
    more: Condvar,
}

/// What a process has said: whole lines only. The last line of a killed one may lack its end, and is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
    closed: u8,
    /// Is nothing read at the moment?
    deaf: bool,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) output: Output,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            piped.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let heard = Arc::new(Heard::default());
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        listen(stdout, Arc::clone(&heard), |output| &mut output.stdout);
        listen(stderr, Arc::clone(&heard), |output| &mut output.stderr);
        Self { child, heard }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on stderr and returns it.
    pub(crate) fn line(&self, wanted: impl FnMut(&str) -> bool) -> String {
        self.line_after(0, wanted)
    }

    /// The same, of the lines after the first `lines`.
    pub(crate) fn line_after(&self, mut lines: usize, mut wanted: impl FnMut(&str) -> bool) -> String {
        let mut found = None;
        self.heard.wait(PATIENCE, |output| {
            while let Some(line) = output.stderr.get(lines).filter(|_| found.is_none()) {
                found = wanted(line).then(|| line.clone());
                lines += 1;
            }
            found.is_some() || output.is_over()
        });
        found.unwrap_or_else(|| {
            let said = self.heard.lock().stderr.split_off(lines.saturating_sub(50));
            panic!("the line did not come; the last ones of {lines} are {said:#?}")
        })
    }

    /// So many lines are on stderr by now.
    pub(crate) fn lines(&self) -> usize {
        self.heard.lock().stderr.len()
    }

    /// Where the admin API is, once the node says so.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.line(|line| message_of(line).as_deref() == Some("serving"));
        let line: Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
    }

    /// Lets it run for a while. It must not end meanwhile.
    pub(crate) fn run_for(&self, time: Duration) {
        let ended = self.heard.wait(time, Output::is_over);
        assert!(!ended, "it ended by itself: {:#?}", self.heard.lock());
    }

    /// Reads no more of what it says until its end. A node that cannot get rid of its lines cannot handle its events.
    pub(crate) fn stop_listening(&self) {
        self.heard.lock().deaf = true;
    }

    /// Reads again, and what has come meanwhile.
    pub(crate) fn listen_again(&self) {
        self.heard.lock().deaf = false;
        self.heard.more.notify_all();
    }

    /// Sends a signal: `TERM`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(sent.success(), "{kill}");
    }

    /// `kill -9`, and what it had said until then.
    pub(crate) fn kill(mut self) -> Output {
        self.child.kill().expect("it was running");
        self.listen_again();
        self.ended().output
    }

    /// Asks it to stop, and how it did.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(self) -> Ended {
        self.ended_within(PATIENCE)
    }

    pub(crate) fn ended_within(mut self, within: Duration) -> Ended {
        // Both ends of its output are closed when it is gone: that can be waited for with a bound.
        let ended = self.heard.wait(within, Output::is_over);
        let output = std::mem::take(&mut *self.heard.lock());
        assert!(ended, "it still runs after {within:?}: {output:#?}");
        let code = self.child.wait().expect("it can be waited for").code();
        Ended { code, output }
    }

    /// A request to its admin API: status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        ask(self.address(), method, path, body)
    }

    /// Registers a customer as a workspace.
    pub(crate) fn register(&self, name: &str, customer: &Customer) {
        let body = json!({"app_token": customer.app_token, "bot_token": customer.bot_token});
        let (status, answer) = self.ask("PUT", &format!("/api/v1/workspaces/{name}"), Some(&body));
        assert_eq!(status, 201, "{answer}");
    }

    /// Waits until the connection of a workspace is in a state, told by its line.
    pub(crate) fn state(&self, workspace: &str, state: &str) {
        self.line(|line| {
            serde_json::from_str(line).is_ok_and(|line: Value| {
                line["workspace"] == workspace && line["message"] == state && line.get("app").is_some()
            })
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After its end there is nobody to kill, and that is all that can go wrong.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Output> {
        self.so_far.lock().expect("no reader has panicked")
    }

    /// Waits until what was said is as wanted, and tells whether it is.
    fn wait(&self, within: Duration, mut enough: impl FnMut(&Output) -> bool) -> bool {
        let outcome = self.more.wait_timeout_while(self.lock(), within, |output| !enough(output));
        let (_output, time) = outcome.expect("no reader has panicked");
        !time.timed_out()
    }
}

impl Output {
    fn is_over(&self) -> bool {
        self.closed == 2
    }

    /// The events that the handler `log` has told of.
    pub(crate) fn handled(&self) -> Vec<Handled> {
        self.stderr.iter().filter_map(|line| Handled::read(line)).collect()
    }

    /// All that was said, for searching.
    pub(crate) fn text(&self) -> String {
        [self.stdout.join("\n"), self.stderr.join("\n")].join("\n")
    }
}

/// A line of the handler `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handled {
    /// Slack's id of the event.
    pub(crate) id: String,
    /// The journal's number of it.
    pub(crate) seq: String,
    /// Whose it is, in whatever words.
    pub(crate) workspace: String,
}

impl Handled {
    pub(crate) fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        if line["message"] != "event" {
            return None;
        }
        Some(Self { id: text("id")?, seq: text("seq")?, workspace: text("workspace")? })
    }
}

/// What a line in JSON says.
fn message_of(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    line["message"].as_str().map(str::to_owned)
}

/// A request on a connection of its own: status and body; a body that is no JSON as text.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    ask_as(ADMIN_TOKEN, address, method, path, body)
}

/// The same, for the bearer of another token.
pub(crate) fn ask_as(
    token: &str,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let mut tcp = TcpStream::connect_timeout(&address, PATIENCE).expect("the admin API listens");
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(request.as_bytes()).expect("it reads the request");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

/// Collects the lines of one end until it is closed.
fn listen(
    from: impl Read + Send + 'static,
    heard: Arc<Heard>,
    lines: impl Fn(&mut Output) -> &mut Vec<String> + Send + 'static,
) {
    let read = move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) && line.ends_with(b"\n") {
            let whole = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines(&mut heard.lock()).push(whole);
            heard.more.notify_all();
            line.clear();
            drop(heard.more.wait_while(heard.lock(), |output| output.deaf));
        }
        heard.lock().closed += 1;
        heard.more.notify_all();
    };
    std::thread::Builder::new().name("output".into()).spawn(read).expect("there is room for a thread");
}
