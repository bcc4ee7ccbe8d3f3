//! The floor of HTTP plus disk: a server that reads the body and answers 202 after a group-committed `fdatasync`, nothing else.
//!
//! It parses no event, checks nothing, routes nothing and keeps no index: what a gateway costs is what it needs above this.
//! One thread commits: it takes everything that has arrived, writes it to a preallocated file of zeros, syncs, and answers;
//! what arrives meanwhile is the next group. With `--no-disk` it is bare hyper. It is a tool of `tests/bench/run`; never run it
//! as anything else, because it overwrites its own file from the start whenever that is full.
//!
//!     cargo run --release -p gateway --example reference -- --listen 127.0.0.1:8099 [--no-disk | --file FILE]
//!     cargo run --release -p gateway --example reference -- --measure-disk 2 --file FILE
use bytes::Bytes;
use clap::Parser;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// The file's size: it is written round and round.
const FILE_BYTES: usize = 256 << 20;
/// Groups are written in whole pages, as a journal's are.
const PAGE: usize = 4096;

/// A server that only reads, syncs and answers.
#[derive(Debug, Parser)]
struct Reference {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// The file that bodies are written to
    #[arg(long, default_value = "reference.data")]
    file: PathBuf,
    /// Answer without writing anything: bare hyper
    #[arg(long)]
    no_disk: bool,
    /// Serve nothing: write and sync one page at a time for so many seconds, and print the times as JSON
    #[arg(long, value_name = "SECONDS")]
    measure_disk: Option<f64>,
}

/// What has arrived since the last group.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// What requests and the committer share.
#[derive(Default)]
struct Door {
    group: Mutex<Group>,
    arrived: Condvar,
}

impl Door {
    /// Adds a body to the next group; the answer comes when that is on disk.
    fn add(&self, body: &Bytes) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        group.bytes.extend_from_slice(body);
        group.waiting.push(sender);
        let first = group.waiting.len() == 1;
        drop(group);
        if first {
            self.arrived.notify_one();
        }
        receiver
    }

    /// The next group, once there is one. `empty` takes its place, so that no buffer is allocated anew.
    fn take(&self, empty: Group) -> Group {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.arrived.wait_while(group, |group| group.waiting.is_empty());
        std::mem::replace(&mut *waited.unwrap_or_else(PoisonError::into_inner), empty)
    }
}

fn zeros(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let page = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES >> 20 {
        file.write_all(&page)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// Commits groups for ever. Answers are sent from the edge's runtime, which costs one wake-up per group and not one per body.
fn commit(door: &Door, file: &File, answers: &mpsc::UnboundedSender<Vec<oneshot::Sender<()>>>) -> io::Result<()> {
    let (mut at, mut bytes) = (0, Vec::new());
    loop {
        let mut group = door.take(Group { bytes, waiting: Vec::new() });
        group.bytes.resize(group.bytes.len().next_multiple_of(PAGE), 0);
        if at + group.bytes.len() > FILE_BYTES {
            at = 0;
        }
        file.write_all_at(&group.bytes, u64::try_from(at).unwrap_or(0))?;
        file.sync_data()?;
        at += group.bytes.len();
        if answers.send(group.waiting).is_err() {
            return Ok(());
        }
        bytes = group.bytes;
        bytes.clear();
    }
}

async fn answer(request: Request<Incoming>, door: Option<Arc<Door>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    let Ok(body) = request.into_body().collect().await else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    if let Some(door) = door
        && door.add(&body.to_bytes()).await.is_err()
    {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

async fn serve(options: Reference) -> io::Result<()> {
    let door = if options.no_disk { None } else { Some(Arc::new(Door::default())) };
    if let Some(door) = door.clone() {
        let file = zeros(&options.file)?;
        let (answers, mut committed) = mpsc::unbounded_channel::<Vec<oneshot::Sender<()>>>();
        std::thread::Builder::new().name("reference-commit".into()).spawn(move || commit(&door, &file, &answers))?;
        tokio::spawn(async move {
            while let Some(group) = committed.recv().await {
                for waiting in group {
                    // A client that is gone needs no answer.
                    let _gone = waiting.send(());
                }
            }
        });
    }
    let listener = TcpListener::bind(options.listen).await?;
    eprintln!("ready on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let door = door.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, door.clone()));
            // A client that hangs up is no error here.
            let _ended =
                http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Writes and syncs one page at a time.
fn measure_disk(path: &Path, time: Duration) -> io::Result<()> {
    let file = zeros(path)?;
    let page = [0x5a; PAGE];
    let (mut took, begun, mut at) = (Vec::new(), Instant::now(), 0);
    while begun.elapsed() < time {
        file.write_all_at(&page, at)?;
        let before = Instant::now();
        file.sync_data()?;
        took.push(before.elapsed());
        at = (at + 4096) % (256 << 20);
    }
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).map_or(0, Duration::as_micros);
    println!("{{\"fdatasync_us\":{{\"p50\":{},\"p99\":{},\"count\":{}}}}}", at(50), at(99), took.len());
    Ok(())
}

fn main() -> io::Result<()> {
    let options = Reference::parse();
    if let Some(seconds) = options.measure_disk {
        return measure_disk(&options.file, Duration::from_secs_f64(seconds));
    }
    // As many threads as the gateway's edge has.
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve(options))
}
