//! One connection after CONNECT as a state machine: everything but the gateway's side of a message.
//!
//! [`Link::poll`] moves all that can move: answers into the output, the output in one write, packets from the input into the
//! line of messages, timers. It is polled beside the one pending `reserve` or `submit`, so answers flow and PINGREQ is answered
//! while a message is held. What arrives is bounded: `max_inflight` messages (MQTT 5: of QoS 1 and 2, more is a fault) and
//! `behind_max` bytes; above that the link stops reading, which also stops the keep-alive clock.
use super::{
    answer::{Answer, answer},
    end::{Clock, End},
    fault::{Fault, code},
    line::{Due, Next, Reply},
    received::Received,
    registry::Place,
    settings::{MqttSettings, Overload},
    stream::{CHUNK, Output, Stream, poll_fill},
    topics::Topics,
    write::{PUBACK, PUBREC, Peer},
};
use crate::{Answers, Gate, Room, Share, Ticket};
use bytes::BytesMut;
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Most bytes of answers that a client may leave unread before nothing more is read from it.
const OUTPUT_MAX: usize = 64 * 1024;
/// What the gateway's own hold time may be late before the link ends the wait.
const HOLD_GRACE: Duration = Duration::from_millis(200);

/// See the module.
pub struct Link<S> {
    pub(super) stream: S,
    pub(super) input: BytesMut,
    pub(super) output: Output,
    pub(super) peer: Peer,
    pub(super) settings: Arc<MqttSettings>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) share: Arc<Share>,
    pub(super) topics: Topics,
    pub(super) session_kept: bool,
    pub(super) queue: VecDeque<Next>,
    pub(super) queue_bytes: usize,
    pub(super) answers: Answers<Due>,
    /// Messages of QoS 1 without PUBACK, and of QoS 2 without PUBCOMP.
    pub(super) unacked: usize,
    /// Packet identifiers of QoS 2.
    pub(super) received: Received,
    /// Room for the packet whose header has been read.
    pub(super) granted: Option<Room>,
    /// Room that the link must wait for before it reads on.
    pub(super) room_wanted: Option<usize>,
    /// Bytes of a dropped packet that are still to come.
    pub(super) skip: usize,
    /// Since when a message is being handed over.
    pub(super) submitting: Option<Instant>,
    closing: Option<(End, Instant)>,
    paused: bool,
    pub(super) now: Instant,
    pub(super) last_packet: Instant,
    keep_alive: Duration,
    hold: Duration,
    timer: Pin<Box<Sleep>>,
    place: Option<Place>,
}

/// What a new link starts from.
pub struct Start<S> {
    /// The stream.
    pub stream: S,
    /// What came after CONNECT already.
    pub input: BytesMut,
    /// The CONNACK.
    pub output: Output,
    /// The client.
    pub peer: Peer,
    /// The listener's settings.
    pub settings: Arc<MqttSettings>,
    /// The gateway.
    pub gate: Arc<dyn Gate>,
    /// The principal's share of the byte budget.
    pub share: Arc<Share>,
    /// The line of answers.
    pub answers: Answers<Due>,
    /// Its place in the registry.
    pub place: Place,
    /// The keep alive in force, in seconds.
    pub keep_alive: u16,
    /// Whether CONNECT asked for a Session Expiry Interval above 0.
    pub session_kept: bool,
}

impl<S: Stream> Link<S> {
    /// A link that has everything before it.
    pub fn new(start: Start<S>) -> Self {
        let now = Instant::now();
        // One and a half times the keep alive (MQTT-3.1.2-22).
        let keep_alive = Duration::from_secs(u64::from(start.keep_alive)) * 3 / 2;
        let hold = match start.settings.overload {
            Overload::Hold(_) => start.settings.hold(start.keep_alive) + HOLD_GRACE,
            Overload::Refuse => start.settings.answer_timeout,
        };
        Link {
            stream: start.stream,
            input: start.input,
            output: start.output,
            peer: start.peer,
            settings: start.settings,
            gate: start.gate,
            share: start.share,
            topics: Topics::default(),
            session_kept: start.session_kept,
            queue: VecDeque::new(),
            queue_bytes: 0,
            answers: start.answers,
            unacked: 0,
            received: Received::default(),
            granted: None,
            room_wanted: None,
            skip: 0,
            submitting: None,
            closing: None,
            paused: false,
            now,
            last_packet: now,
            keep_alive,
            hold,
            timer: Box::pin(sleep_until(now + keep_alive)),
            place: Some(start.place),
        }
    }

    /// Moves all that can move. Ready when the connection must end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.now = Instant::now();
        match self.poll_all(cx) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// The next message to hand over.
    pub fn take_next(&mut self) -> Option<Next> {
        let mut next = self.queue.pop_front()?;
        if let Ok((_, room)) = &mut next.work {
            room.go();
        }
        self.queue_bytes -= next.bytes;
        self.submitting = Some(self.now);
        Some(next)
    }

    /// Gives back what the line does not need while it is empty.
    pub fn rest(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Whether somebody must do something for the link: hand a message over, or wait for room.
    pub fn needs(&self) -> bool {
        !self.queue.is_empty() || self.room_wanted.is_some()
    }

    /// The message that [`Link::take_next`] gave has been handed over.
    pub fn handed_over(&mut self, due: Due, ticket: Ticket) {
        self.submitting = None;
        self.answers.push(due, ticket);
    }

    /// The room that was wanted.
    pub fn grant(&mut self, room: Room) {
        self.room_wanted = None;
        self.granted = Some(room);
    }

    /// Reads nothing more; the link ends when what was read has been handed over and answered.
    pub fn stop(&mut self, end: End) {
        self.room_wanted = None;
        self.close(end);
    }

    /// Leaves the registry: a successor may begin.
    pub fn leave(&mut self) {
        self.place = None;
    }

    fn close(&mut self, end: End) {
        if self.closing.is_none() {
            self.closing = Some((end, self.now));
        }
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.place.as_ref().is_some_and(|place| place.poll_taken(cx).is_ready()) {
            return Err(End::TakenOver);
        }
        self.take_answers(cx)?;
        self.flush(cx)?;
        if self.closing.is_none() {
            match self.read(cx) {
                Ok(()) => {}
                // What was read before is handed over first.
                Err(
                    end @ (End::Closed | End::Broken | End::Left { .. } | End::Fault(_) | End::Stopping | End::Old),
                ) => {
                    self.close(end);
                }
                Err(end) => return Err(end),
            }
            self.flush(cx)?;
        }
        self.check_closing()?;
        self.poll_timers(cx)
    }

    /// All answers that may leave go into the output together.
    fn take_answers(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while let Poll::Ready(Some((due, verdict))) = self.answers.poll_next(cx) {
            if due.reply == Reply::Nothing {
                continue;
            }
            match answer(&verdict, self.peer.version) {
                Answer::Ack(code, reason) => {
                    let code = if due.topic && code > code::SUCCESS { code::TOPIC_NAME } else { code };
                    if !self.acknowledge(due.reply, code, &reason) {
                        return Err(End::Fault(Fault::new(
                            code::IMPLEMENTATION,
                            "the client takes no packet as large as an acknowledgement",
                        )));
                    }
                }
                other @ (Answer::Disconnect(..) | Answer::Close) => return Err(End::Refused(other)),
            }
        }
        Ok(())
    }

    /// Puts an acknowledgement into the output; says `false` when the client takes no packet of its size.
    fn acknowledge(&mut self, reply: Reply, code: u8, reason: &str) -> bool {
        let out = self.output.bytes();
        match reply {
            Reply::Nothing => true,
            Reply::Puback(id) => {
                self.unacked -= 1;
                self.peer.acknowledge(out, PUBACK, id, code, reason)
            }
            Reply::Pubrec(id) => {
                if code < 0x80 {
                    self.received.kept(id);
                } else {
                    self.unacked -= 1;
                    self.received.refused(id);
                }
                self.peer.acknowledge(out, PUBREC, id, code, reason)
            }
            // What became of the first one is known by now: it stands before this in the line.
            Reply::PubrecAgain(id) => {
                !self.received.is_kept(id) || self.peer.acknowledge(out, PUBREC, id, code::SUCCESS, "")
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.output.pending() == 0 {
            return Ok(());
        }
        match self.output.poll_flush(&mut self.stream, cx) {
            Poll::Ready(Err(_)) => Err(End::Broken),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let wanted = if self.output.pending() > OUTPUT_MAX { None } else { self.take_packets()? };
            let Some(wanted) = wanted else {
                self.paused = true;
                return Ok(());
            };
            if self.paused {
                self.paused = false;
                self.last_packet = self.now;
            }
            let more = wanted.saturating_sub(self.input.len()).max(if wanted > CHUNK { 1 } else { CHUNK });
            match poll_fill(&mut self.stream, cx, &mut self.input, more) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(End::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Err(End::Broken),
            }
        }
    }

    fn check_closing(&mut self) -> Result<(), End> {
        let Some((end, _)) = &self.closing else { return Ok(()) };
        let handed_over = self.queue.is_empty() && self.submitting.is_none();
        let done = match end {
            // Its reading side may be open: what is due is still sent.
            End::Closed | End::Stopping | End::Old => {
                handed_over && self.answers.is_empty() && self.output.pending() == 0
            }
            // A held message does not delay the end of a client that broke a rule.
            End::Fault(_) => self.queue.is_empty() || self.submitting.is_some(),
            End::Broken | End::Left { .. } | End::Refused(_) | End::TakenOver | End::AnswerLate | End::Stuck => {
                handed_over
            }
        };
        if done { Err(end.clone()) } else { Ok(()) }
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let (at, clock) = self.next_deadline();
            if at <= self.now {
                return Err(clock.end(self.closing.as_ref()));
            }
            // A later deadline is met when the timer fires early; an earlier one moves it.
            if self.timer.deadline() > at || self.timer.is_elapsed() {
                self.timer.as_mut().reset(at);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            self.now = Instant::now();
        }
    }

    /// The next time at which something is too late, and what it means then.
    fn next_deadline(&self) -> (Instant, Clock) {
        let settings = &self.settings;
        let idle =
            (self.closing.is_none() && !self.paused).then(|| (self.last_packet + self.keep_alive, Clock::KeepAlive));
        let answer =
            self.answers.head_since().map(|since| (Instant::from_std(since) + settings.answer_timeout, Clock::Answer));
        let hold = self.submitting.map(|since| (since + self.hold, Clock::Hold));
        let stuck = self.output.stuck_since().map(|since| (since + settings.write_timeout, Clock::Write));
        let drain = self.closing.as_ref().map(|(_, since)| (*since + settings.drain_timeout, Clock::Drain));
        let first = [idle, answer, hold, stuck, drain].into_iter().flatten().min();
        // Nothing runs only while somebody else waits for room, with a limit of his own.
        first.unwrap_or((self.now + settings.answer_timeout, Clock::Answer))
    }
}
