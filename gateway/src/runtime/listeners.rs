//! The listeners that run: started, given other settings, handed from one generation to the next, ended.
//!
//! A listener whose address stays keeps its socket, and its connections too, unless it is another protocol now or knows its
//! senders another way. Everything that can fail (an address that is taken) happens in [`Listeners::prepare`], before anything changes.
use super::{
    Bound, StartError,
    build::{address_fault, resolve},
};
use crate::{
    config::{Listener, model::Config},
    gate::{Entrances, ListenerGate},
    state::Shared,
    vital::guard,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use transports::{
    Gate,
    http::{HttpControl, HttpListener},
    mqtt::{MqttControl, MqttListener},
    net::{Listening, Shutdown},
};

/// A listener whose address is bound but which does not accept yet.
enum Waiting {
    Http(Box<HttpListener>),
    Mqtt(MqttListener),
}

/// What changes a running listener's settings.
enum Control {
    Http(HttpControl),
    Mqtt(MqttControl),
}

/// A listener that runs.
struct Open {
    name: String,
    config: Listener,
    bound: Bound,
    /// Its socket once more, for a listener that takes the address over.
    socket: Listening,
    control: Control,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What becomes of one listener of the new generation.
enum Step {
    /// It goes on as it is.
    Keep,
    /// It goes on with other settings.
    Change,
    /// It begins; one of the same name that runs ends.
    Begin(Waiting, Listening),
}

/// Everything that a change of listeners needs, acquired.
pub(super) struct Prepared(Vec<(String, Listener, Step)>);

#[derive(Default)]
struct State {
    open: Vec<Open>,
    /// Listeners that answer what is in flight and end.
    ending: Vec<JoinHandle<()>>,
    closed: bool,
}

/// The listeners of the process.
pub(super) struct Listeners {
    shared: Arc<Shared>,
    entrances: Arc<Entrances>,
    edge: Handle,
    state: Mutex<State>,
}

impl Listeners {
    /// None yet. They run on `edge`.
    pub(super) fn new(shared: Arc<Shared>, entrances: Arc<Entrances>, edge: Handle) -> Arc<Self> {
        Arc::new(Listeners { shared, entrances, edge, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where they listen.
    pub(super) fn bound(&self) -> Vec<Bound> {
        self.state().open.iter().map(|open| open.bound.clone()).collect()
    }

    /// Binds what has to be bound. Nothing has changed when it fails. Call it on the edge runtime.
    ///
    /// # Errors
    /// The first address that cannot be bound, with the listener's name.
    pub(super) async fn prepare(&self, config: &Config) -> Result<Prepared, (String, StartError)> {
        let mut steps = Vec::new();
        for (name, listener) in config.listeners.iter() {
            let step = self.step(name, listener).await.map_err(|error| (name.clone(), error))?;
            steps.push((name.clone(), listener.clone(), step));
        }
        Ok(Prepared(steps))
    }

    async fn step(&self, name: &str, listener: &Listener) -> Result<Step, StartError> {
        let key = format!("listeners.{name}.{}.listen", listener.kind());
        let listen = &listener.common().listen;
        let fault = |error| address_fault(&key, listen, error);
        let socket = {
            let state = self.state();
            let same = state.open.iter().find(|open| open.name == name && open.config.common().listen == *listen);
            if let Some(same) = same.filter(|same| !must_begin_anew(&same.config, listener)) {
                return Ok(if same.config == *listener { Step::Keep } else { Step::Change });
            }
            // Whoever has the address now ends or begins anew: otherwise two listeners of the config would share it.
            let other = || state.open.iter().find(|open| listen.port() != 0 && open.config.common().listen == *listen);
            let holder = same.or_else(other);
            holder.map(|open| open.socket.again()).transpose().map_err(fault)?
        };
        let socket = match socket {
            Some(socket) => socket,
            None => Listening::bind(resolve(&key, listen)?).await.map_err(fault)?,
        };
        let again = socket.again().map_err(fault)?;
        Ok(Step::Begin(wait_on(name, listener, socket), again))
    }

    /// Does what was prepared: new listeners accept, those that are gone end.
    pub(super) fn commit(&self, prepared: Prepared) {
        let mut state = self.state();
        let mut open = Vec::with_capacity(prepared.0.len());
        for (name, config, step) in prepared.0 {
            let before = state.open.iter().position(|open| open.name == name).map(|place| state.open.remove(place));
            match (step, before) {
                (Step::Keep, Some(before)) => open.push(before),
                (Step::Change, Some(before)) => {
                    before.control.change(&name, &config, before.bound.address);
                    open.push(Open { config, ..before });
                }
                (Step::Begin(waiting, socket), before) => {
                    state.ending.extend(before.map(Open::end));
                    open.push(self.begin(name, config, waiting, socket));
                }
                // Only a listener that runs is kept or changed.
                (Step::Keep | Step::Change, None) => {}
            }
        }
        let gone = std::mem::replace(&mut state.open, open);
        state.ending.extend(gone.into_iter().map(Open::end));
        state.ending.retain(|task| !task.is_finished());
        self.shared.set_bound(state.open.iter().map(|open| (open.name.clone(), open.bound.address)).collect());
        if state.closed {
            let late = std::mem::take(&mut state.open);
            state.ending.extend(late.into_iter().map(Open::end));
        }
    }

    fn begin(&self, name: String, config: Listener, waiting: Waiting, socket: Listening) -> Open {
        let (stop, signal) = Shutdown::channel();
        let gate: Arc<dyn Gate> =
            ListenerGate::new(Arc::clone(&self.shared), Arc::clone(&self.entrances), name.clone(), config.kind());
        let bound = Bound { name: name.clone(), kind: config.kind(), address: socket.address() };
        let (shared, part) = (Arc::clone(&self.shared), format!("listener {name}"));
        let (control, task) = match waiting {
            Waiting::Http(http) => {
                (Control::Http(http.control()), self.edge.spawn(guard(shared, part, http.serve(gate, signal))))
            }
            Waiting::Mqtt(mqtt) => {
                (Control::Mqtt(mqtt.control()), self.edge.spawn(guard(shared, part, mqtt.serve(gate, signal))))
            }
        };
        Open { name, config, bound, socket, control, stop, task }
    }

    /// Waits for `stop`, ends all listeners, and returns when the last connection is gone.
    pub(super) async fn until(self: Arc<Self>, mut stop: Shutdown) {
        stop.fired().await;
        let tasks = {
            let mut state = self.state();
            state.closed = true;
            let open = std::mem::take(&mut state.open);
            let mut tasks = std::mem::take(&mut state.ending);
            tasks.extend(open.into_iter().map(Open::end));
            tasks
        };
        futures_util::future::join_all(tasks).await;
    }
}

impl Open {
    /// No new connections; what is in flight is answered.
    fn end(self) -> JoinHandle<()> {
        self.stop.send_replace(true);
        self.task
    }
}

impl Control {
    fn change(&self, name: &str, config: &Listener, address: SocketAddr) {
        match (self, config) {
            (Control::Http(control), Listener::Http(http)) => control.change(http.settings(address)),
            (Control::Mqtt(control), Listener::Mqtt(mqtt)) => control.change(mqtt.settings(name)),
            // Another protocol begins anew.
            (Control::Http(_), Listener::Mqtt(_)) | (Control::Mqtt(_), Listener::Http(_)) => {}
        }
    }
}

fn wait_on(name: &str, listener: &Listener, socket: Listening) -> Waiting {
    match listener {
        Listener::Http(http) => {
            Waiting::Http(Box::new(HttpListener::on(name, http.settings(socket.address()), socket)))
        }
        Listener::Mqtt(mqtt) => Waiting::Mqtt(MqttListener::on(mqtt.settings(name), socket)),
    }
}

/// Whether connections must not go on: another protocol, or senders that were let in once and for all by what is no longer so.
/// HTTP asks for credentials with each request, and asks again after a reload.
fn must_begin_anew(before: &Listener, after: &Listener) -> bool {
    match (before, after) {
        (Listener::Http(_), Listener::Http(_)) => false,
        (Listener::Mqtt(before), Listener::Mqtt(after)) => before.common.auth != after.common.auth,
        (Listener::Http(_), Listener::Mqtt(_)) | (Listener::Mqtt(_), Listener::Http(_)) => true,
    }
}
