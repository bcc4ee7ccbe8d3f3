//! The journal's disk fails, is full, is read-only, belongs to somebody else: what senders, probes and people are told, and the exit code.
//!
//! Errors come from strace (`-e inject`), which needs no root and no special kernel; full and read-only disks are a tmpfs, which
//! needs root. What is missing is said, not passed over.
use crate::harness::{
    eventually,
    gateway::{Place, Running, binary},
    http::Connection,
    mqtt::{Client, Said},
    not_here, skip,
};
use crate::thread::KEEP;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

fn has(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success())
}

/// A gateway under strace: `inject` is what `-e inject=` takes, for the files of the journal's ring alone. What strace saw is in
/// `trace` of the place's folder.
pub fn traced<'a>(place: &'a Place, inject: &str) -> Option<Running<'a>> {
    if !has("strace") {
        skip("no strace: tests/setup installs it");
        return None;
    }
    let trace = place.folder().join("trace").to_str().unwrap().to_owned();
    let (syscall, _) = inject.split_once(':').unwrap();
    let mut wrap: Vec<String> = ["strace", "-f", "-qq", "-y", "-o", &trace].map(str::to_owned).into();
    wrap.extend(["-e".to_owned(), format!("trace={syscall}"), "-e".to_owned(), format!("inject={inject}")]);
    for number in 0..20 {
        let file = place.data_dir().join(format!("journal/{number:020}.seg"));
        wrap.extend(["-P".to_owned(), file.to_str().unwrap().to_owned()]);
    }
    Some(place.start_in(&wrap.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Sends events one by one until one is not acknowledged; how many were, and the answer.
fn until_refused(place: &Place) -> (u32, crate::harness::http::Answer) {
    let mut connection = Connection::open(place.http);
    for number in 0..5000 {
        let id = format!("e{number}");
        let headers = [("ce-specversion", "1.0"), ("ce-id", id.as_str()), ("ce-source", "/e2e"), ("ce-type", "t")];
        let answer = connection.post("/events", &headers, b"x");
        if answer.status != 202 {
            return (number, answer);
        }
    }
    panic!("5000 events were acknowledged")
}

/// What follows the first error of a write or sync.
fn the_end_of_a_disk(inject: &str) {
    let place = Place::with(KEEP);
    let Some(running) = traced(&place, inject) else { return };
    let mut idle = Connection::open(place.http);
    let mut device = Client::connect(place.mqtt, "d", 5);
    let (acked, answer) = until_refused(&place);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["outcome"], "unknown", "it may be on the disk: {}", answer.text());
    // Who comes now is refused for good: nothing of it is kept.
    let headers = [("ce-specversion", "1.0"), ("ce-id", "after"), ("ce-source", "/e2e"), ("ce-type", "t")];
    let refused = idle.post("/events", &headers, b"x");
    assert_eq!((refused.status, refused.failure().as_str()), (503, "shutting_down"), "{refused:?}");
    assert!(refused.json()["outcome"].is_null(), "{}", refused.text());
    let ready = running.admin("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(ready.text().contains("journal"), "{}", ready.text());
    assert_eq!(running.admin("/livez").status, 200, "it still refuses in peace");
    device.publish("a", b"x", &Said::default());
    let packet = device.next(10);
    assert!(!packet.as_ref().is_some_and(crate::harness::mqtt::Packet::is_puback), "never a PUBACK: {packet:x?}");
    let begin = Instant::now();
    assert_eq!(running.end(30).code(), Some(74), "{}", running.stderr());
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    let said = running.stderr();
    assert!(said.contains("journal") && said.contains("nput/output error"), "{said}");
    drop(running);
    let trace = std::fs::read_to_string(place.folder().join("trace")).unwrap();
    never_again(&trace);
    // What was acknowledged is there, and what was refused for good is not.
    let running = place.start();
    let rows = running.rows_at_least(acked as usize);
    let ids = rows.ids();
    for number in 0..acked {
        assert!(ids.contains(&format!("e{number}").as_str()), "e{number} was acknowledged");
    }
    assert!(!ids.contains(&"after"), "refused, and kept");
}

/// After the first injected error no call names the same file of the journal again.
fn never_again(trace: &str) {
    let mut failed: Option<&str> = None;
    for line in trace.lines() {
        let Some(file) = line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(file, _)| file) else {
            continue;
        };
        match failed {
            None if line.contains("(INJECTED)") => failed = Some(file),
            Some(before) => assert_ne!(before, file, "the file is used again after it failed: {line}"),
            None => {}
        }
    }
    assert!(failed.is_some_and(|file| file.contains("/journal/")), "nothing was injected into the journal: {trace}");
}

#[test]
fn a_sync_that_fails_is_the_end_and_never_tried_again() {
    // The first ones are of headers; the twentieth is a group's.
    the_end_of_a_disk("fdatasync:error=EIO:when=20+");
}

#[test]
fn a_write_that_fails_is_the_end_too() {
    the_end_of_a_disk("pwrite64:error=EIO:when=20+");
}

/// A small file system of the test's own, gone with it. `None`, said aloud, without the right to mount.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Option<Small> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Small(at.to_owned()));
        }
        not_here("no right to mount a tmpfs");
        None
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_read_only_disk_is_said_plainly() {
    let place = Place::with(KEEP);
    let Some(small) = Small::mount(&place.data_dir(), "256m") else { return };
    small.remount("ro");
    let running = place.spawn();
    assert_eq!(running.end(20).code(), Some(74), "{}", running.stderr());
    let said = running.stderr();
    assert!(said.contains("ead-only") && said.contains(place.data_dir().to_str().unwrap()), "what and where: {said}");
    assert!(said.contains("help") && said.contains("mount"), "and what to do: {said}");
}

#[test]
fn a_disk_without_room_to_start_is_said_plainly() {
    let place = Place::with(KEEP);
    let Some(_small) = Small::mount(&place.data_dir(), "1m") else { return };
    let running = place.spawn();
    assert_eq!(running.end(20).code(), Some(74), "{}", running.stderr());
    let said = running.stderr();
    assert!(said.contains("No space left") && said.contains("help"), "{said}");
}

#[test]
fn a_folder_of_somebody_else_is_said_plainly() {
    if !is_root() {
        return not_here("only root can take a right away from a child");
    }
    let place = Place::with(KEEP);
    std::fs::create_dir_all(place.data_dir()).unwrap();
    // Root may write everywhere, so the gateway runs as nobody, in a folder of root's.
    let wrap = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    open_to_all(place.folder());
    let reads = Command::new(wrap[0]).args(&wrap[1..]).args(["test", "-x"]).arg(binary()).status();
    if !reads.is_ok_and(|status| status.success()) {
        return not_here("nobody else may run the binary where it lies");
    }
    let running = place.spawn_in(&wrap);
    assert_eq!(running.end(20).code(), Some(1), "{}", running.stderr());
    let said = running.stderr();
    assert!(said.contains("ermission denied") && said.contains("data"), "{said}");
    assert!(said.contains("help") && said.contains("own"), "{said}");
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Lets other users look into a folder, but not write.
fn open_to_all(folder: &Path) {
    let status = Command::new("chmod").arg("0755").arg(folder).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_disk_that_hangs_does_not_hold_up_the_end_for_ever() {
    let place = Place::with(KEEP);
    let Some(running) = traced(&place, "fdatasync:delay_enter=90000000:when=20+") else { return };
    let acked = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = Connection::open(place.http);
            let headers = [("ce-specversion", "1.0"), ("ce-id", "h"), ("ce-source", "/e2e"), ("ce-type", "t")];
            while connection.try_ask("POST", "/events", &headers, b"x").is_ok_and(|answer| answer.status == 202) {
                acked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (mut seen, mut since) = (0, Instant::now());
        eventually("a sync hangs", 20, || {
            let now = acked.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            (now > 5 && since.elapsed() > Duration::from_secs(2)).then_some(())
        });
        running.signal("TERM");
        // The drain time of 5 s and what belongs to it: a stop has an end, whatever hangs. (strace 6.1 keeps a process that ends
        // while one of its calls is delayed, so the exit code cannot be seen here.)
        eventually("it ends without the disk", 40, || running.stderr().contains("ended without it").then_some(()));
        running.kill9();
    });
}
