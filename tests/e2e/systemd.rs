//! What systemd is told, on a socket of the test's own; and that the unit is one that systemd takes and finds well closed.
use crate::{
    disk,
    harness::{
        gateway::{Place, Running},
        http::Connection,
        not_here, services,
    },
    thread::KEEP,
};
use std::{
    os::unix::net::UnixDatagram,
    process::Command,
    time::{Duration, Instant},
};

/// The service manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn of(place: Place) -> (Manager, Place) {
        let path = place.folder().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        (Manager(socket), place.env("NOTIFY_SOCKET", path.to_str().unwrap()))
    }

    fn next(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
    }

    /// Reads until something says `what`.
    #[track_caller]
    fn hears(&self, what: &str, seconds: u64) {
        self.message(what, seconds);
    }

    /// The first message that says `what`.
    #[track_caller]
    fn message(&self, what: &str, seconds: u64) -> String {
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            if let Some(said) = self.next().filter(|said| said.lines().any(|line| line == what)) {
                return said;
            }
        }
        panic!("{what} was not said within {seconds} s");
    }

    /// Reads away what there is, then for how long nothing of the watchdog comes, up to `most`.
    fn silence(&self, most: Duration) -> Duration {
        let begin = Instant::now();
        while begin.elapsed() < most {
            if self.next().is_some_and(|said| said.contains("WATCHDOG=1")) {
                return begin.elapsed();
            }
        }
        begin.elapsed()
    }
}

#[test]
fn a_reload_is_said_with_its_time_and_its_end() {
    let (manager, place) = Manager::of(Place::with(KEEP));
    let running = place.start();
    manager.hears("READY=1", 20);
    // One that is applied, and one that is not: both end.
    for text in [KEEP, "routes: 1\n"] {
        place.rewrite(text);
        running.signal("HUP");
        let said = manager.message("RELOADING=1", 20);
        let usec = said.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("in the same message");
        assert!(usec.parse::<u64>().is_ok_and(|usec| usec > 0), "{said}");
        manager.hears("READY=1", 20);
    }
    assert_eq!(running.term(), Some(0), "{}", running.stderr());
}

#[test]
fn ready_watchdog_and_stopping_are_said() {
    let (manager, place) = Manager::of(Place::with(KEEP));
    let place = place.env("WATCHDOG_USEC", "4000000");
    let running = place.start();
    manager.hears("READY=1", 20);
    for _ in 0..3 {
        manager.hears("WATCHDOG=1", 20);
    }
    running.signal("TERM");
    manager.hears("STOPPING=1", 20);
    assert_eq!(running.end(20).code(), Some(0), "{}", running.stderr());
}

#[test]
fn the_watchdog_hears_nothing_while_nothing_can_be_acknowledged() {
    let (manager, place) = Manager::of(Place::with(KEEP));
    let place = place.env("WATCHDOG_USEC", "4000000");
    // Syncs of the journal hang, and nobody else notices.
    let Some(running) = disk::traced(&place, "fdatasync:delay_enter=90000000:when=20+") else { return };
    manager.hears("WATCHDOG=1", 20);
    std::thread::scope(|scope| {
        scope.spawn(|| send_until_it_ends(&place));
        let until = Instant::now() + Duration::from_secs(60);
        // Twice the time after which a manager would end it.
        while manager.silence(Duration::from_secs(8)) < Duration::from_secs(8) {
            assert!(Instant::now() < until, "the watchdog is told that all is well: {}", running.stderr());
        }
        assert!(running.stderr().contains("nothing was synced to the journal"), "{}", running.stderr());
        running.kill9();
    });
}

fn send_until_it_ends(place: &Place) {
    let mut connection = Connection::open(place.http);
    let headers = [("ce-specversion", "1.0"), ("ce-id", "h"), ("ce-source", "/e2e"), ("ce-type", "t")];
    while connection.try_ask("POST", "/events", &headers, b"x").is_ok_and(|answer| answer.status == 202) {}
}

#[test]
fn the_unit_is_valid_and_well_closed() {
    let unit = services::tests().join("../deploy/systemd/anygate.service");
    let folder = tempfile::tempdir().unwrap();
    // The binary need not be installed for its unit to be judged.
    let text = std::fs::read_to_string(&unit).unwrap().replace("/usr/local/bin/anygate", "/bin/true");
    let copy = folder.path().join("anygate.service");
    std::fs::write(&copy, text).unwrap();
    let run = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(&copy).output();
    let Ok(verified) = run(&["verify", "--man=no"]) else { return not_here("no systemd-analyze") };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("anygate.service")).collect();
    assert!(ours.is_empty(), "{said}");
    let judged = run(&["security", "--offline=true", "--threshold=20", "--no-pager"]).unwrap();
    assert!(judged.status.success(), "exposure above 2.0: {}", String::from_utf8_lossy(&judged.stdout));
}

/// A gateway that nobody manages says nothing and runs.
#[test]
fn without_a_manager_nothing_is_missing() {
    let place = Place::with(KEEP).env("NOTIFY_SOCKET", "");
    let running: Running<'_> = place.start();
    assert_eq!(running.send("n1", "t").status, 202);
    assert_eq!(running.term(), Some(0), "{}", running.stderr());
}
