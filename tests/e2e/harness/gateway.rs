//! The binary `anygate` as a child process: started with a config, asked, killed or ended, started again.
use super::{
    eventually, free_port,
    http::{self, Answer},
    metrics::Metrics,
    store::Rows,
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

/// The binary, built once per run with the profile of this test. `ANYGATE_TEST_BIN` names another one.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("ANYGATE_TEST_BIN") {
            return given.into();
        }
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let name = profile.file_name().unwrap().to_str().unwrap();
        let name = if name == "debug" { "dev" } else { name };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "gateway", "--bin", "anygate", "--profile", name]);
        build.env("CARGO_TARGET_DIR", profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "the gateway does not build");
        profile.join("anygate")
    })
}

/// One place to run gateways in: a folder, a config and its ports. The folder goes away with it.
pub struct Place {
    folder: tempfile::TempDir,
    pub config: PathBuf,
    pub http: u16,
    pub mqtt: u16,
    pub admin: u16,
    env: Vec<(String, String)>,
}

impl Place {
    /// A config as text. It finds its ports and its data folder in the environment, as the pinned configs do.
    pub fn new(config: &str) -> Place {
        let folder = tempfile::Builder::new().prefix("anygate-e2e.").tempdir().unwrap();
        let file = folder.path().join("anygate.yaml");
        fs::write(&file, config).unwrap();
        Place { config: file, http: free_port(), mqtt: free_port(), admin: free_port(), env: Vec::new(), folder }
    }

    /// A config that stands where it is.
    pub fn of_file(file: &Path) -> Place {
        Place { config: file.to_owned(), ..Place::new("") }
    }

    /// Routes and backends below one HTTP and one MQTT listener: what most tests need.
    pub fn with(rest: &str) -> Place {
        Place::new(&format!("{HEAD}{rest}"))
    }

    pub fn env(mut self, name: &str, value: &str) -> Place {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What `env` set.
    pub fn variable(&self, name: &str) -> &str {
        self.env.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Writes a file beside the config.
    pub fn file(self, name: &str, text: &str) -> Place {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    /// Another config for the next start.
    pub fn rewrite(&self, rest: &str) {
        fs::write(&self.config, format!("{HEAD}{rest}")).unwrap();
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command of the binary, in this place's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path());
        command
            .env("DATA_DIR", self.data_dir())
            .env("HTTP_PORT", self.http.to_string())
            .env("MQTT_PORT", self.mqtt.to_string());
        command
            .env("ADMIN_PORT", self.admin.to_string())
            .env("ANYGATE_ADMIN", format!("http://127.0.0.1:{}", self.admin));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Starts the gateway and waits until it is ready.
    #[track_caller]
    pub fn start(&self) -> Running<'_> {
        self.start_in(&[])
    }

    /// As [`Place::start`], below another program: `strace -f …`.
    #[track_caller]
    pub fn start_in(&self, wrap: &[&str]) -> Running<'_> {
        let running = self.spawn_in(wrap);
        eventually("the gateway is ready", 20, || {
            let text = running.stderr();
            assert!(!running.has_ended(), "the gateway ended while starting:\n{text}");
            text.contains("\nready in ").then_some(())
        });
        running
    }

    /// Starts the gateway and waits for nothing.
    pub fn spawn(&self) -> Running<'_> {
        self.spawn_in(&[])
    }

    /// As [`Place::spawn`], below another program that takes the gateway's command line as its last arguments.
    pub fn spawn_in(&self, wrap: &[&str]) -> Running<'_> {
        let mut command = self.command(&["run", "--config", self.config.to_str().unwrap()]);
        if let [program, arguments @ ..] = wrap {
            let inner = command;
            command = Command::new(program);
            command.args(arguments).arg(inner.get_program()).args(inner.get_args());
            command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(self.folder());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (pipe, kept) = (child.stderr.take().unwrap(), Arc::clone(&stderr));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Running { place: self, child: Mutex::new(child), stderr }
    }
}

/// One HTTP and one MQTT listener, addresses from the environment.
const HEAD: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?set DATA_DIR}", drain_timeout: 5s }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
listeners:
  web: { http: { listen: "127.0.0.1:${HTTP_PORT:?}" } }
  devices: { mqtt: { listen: "127.0.0.1:${MQTT_PORT:?}" } }
"#;

/// A gateway under way. Dropped, it is killed.
pub struct Running<'a> {
    pub place: &'a Place,
    child: Mutex<Child>,
    stderr: Arc<Mutex<String>>,
}

impl Running<'_> {
    /// Everything it has written to stderr.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The gateway's own process, also when another program stands above it.
    pub fn innermost(&self) -> u32 {
        let mut pid = self.pid();
        while let Some(child) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .ok()
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
        {
            pid = child;
        }
        pid
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    fn has_ended(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&self) {
        let innermost = self.innermost();
        if innermost != self.pid() {
            let _gone = Command::new("kill").args(["-9", &innermost.to_string()]).status();
        }
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal by name: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.innermost().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end by itself.
    #[track_caller]
    pub fn end(&self, seconds: u64) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                // The reader of stderr gets the last lines.
                std::thread::sleep(Duration::from_millis(50));
                return status;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(seconds),
                "still running after {seconds} s:\n{}",
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and the exit code.
    #[track_caller]
    pub fn term(&self) -> Option<i32> {
        self.signal("TERM");
        self.end(20).code()
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        http::Connection::open(self.place.http).post(path, headers, body.as_ref())
    }

    /// One structured event; its answer.
    pub fn send(&self, id: &str, kind: &str) -> Answer {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/e2e"),
            ("ce-type", kind),
            ("content-type", "application/json"),
        ];
        self.post("/events", &headers, format!("{{\"id\":\"{id}\"}}"))
    }

    pub fn admin(&self, path: &str) -> Answer {
        http::Connection::open(self.place.admin).ask("GET", path, &[], b"")
    }

    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin("/metrics").text())
    }

    /// Rows of the store `keep`.
    pub fn rows(&self) -> Rows {
        Rows::read(&self.place.data_dir(), "keep")
    }

    /// Waits until the store `keep` has so many rows.
    #[track_caller]
    pub fn rows_at_least(&self, count: usize) -> Rows {
        let until = Instant::now() + Duration::from_secs(15);
        loop {
            let rows = self.rows();
            if rows.len() >= count {
                return rows;
            }
            assert!(Instant::now() < until, "{} of {count} rows in the store: {:?}", rows.len(), rows.ids());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The ids in the store `keep`, once everything sent so far has arrived: a last message goes after it. `routed` is a type that
    /// the config takes.
    #[track_caller]
    pub fn settled(&self, routed: &str) -> Vec<String> {
        let answer = self.send("the-last", routed);
        assert_eq!(answer.status, 202, "{}", answer.text());
        eventually("the last message is in the store", 10, || {
            let rows = self.rows();
            let ids: Vec<String> = rows.ids().into_iter().map(str::to_owned).collect();
            (ids.last().map(String::as_str) == Some("the-last")).then(|| ids[..ids.len() - 1].to_vec())
        })
    }

    /// The JSON lines of a command that asks this gateway.
    #[track_caller]
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.place.output(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "anygate {arguments:?}: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let innermost = self.innermost();
        let child = self.child.get_mut().unwrap();
        if innermost != child.id() && child.try_wait().ok().flatten().is_none() {
            let _gone = Command::new("kill").args(["-9", &innermost.to_string()]).status();
        }
        if child.try_wait().ok().flatten().is_none() {
            let _gone = child.kill();
            let _gone = child.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "--- stderr of the gateway\n{}---",
                self.stderr.lock().map(|text| text.clone()).unwrap_or_default()
            );
        }
    }
}
