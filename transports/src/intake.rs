//! The intake of one ordered stream: room, then a message, then a ticket.
use crate::{Credentials, DurableWait, Gate, Origin, Principal, Room, Share, Submission, Ticket, gate::Door};
use schemas::{ByteStr, Message, Refusal, Verdict, Word};
use std::{sync::Arc, time::Duration};
use tower::{Service, ServiceExt};

/// Room that a small message takes at least, so that a flood of empty ones is bounded too.
pub const ROOM_MIN: usize = 512;

/// One per ordered stream. `&mut` makes two submits of one stream at a time impossible: order is a borrow.
pub struct Intake {
    gate: Arc<dyn Gate>,
    door: Door,
    /// The generation that the door was asked of.
    generation: u64,
    origin: Arc<Origin>,
    share: Arc<Share>,
    hold: Duration,
}

impl Intake {
    /// The intake of a new stream, as nobody in particular. `hold` is how long room is waited for.
    pub fn new(gate: Arc<dyn Gate>, origin: Origin, hold: Duration) -> Self {
        let share = gate.budget().share(&origin.principal.name);
        let generation = gate.generation();
        Intake { door: gate.door(), generation, gate, origin: Arc::new(origin), share, hold }
    }

    /// Another stream of the same connection (an HTTP/2 stream).
    #[must_use]
    pub fn fork(&self) -> Self {
        Intake {
            gate: Arc::clone(&self.gate),
            door: self.door.clone(),
            generation: self.generation,
            origin: Arc::clone(&self.origin),
            share: Arc::clone(&self.share),
            hold: self.hold,
        }
    }

    /// Finds out who sends; what is submitted from now on is theirs.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub fn authenticate(&mut self, credentials: Credentials<'_>) -> Result<(), Refusal> {
        let principal = self.gate.authenticate(self.origin.peer, credentials)?;
        if principal != self.origin.principal {
            self.become_principal(principal);
        }
        Ok(())
    }

    /// Names the protocol's version and what it calls the sender, once known.
    pub fn describe(&mut self, version: &'static str, client: impl Into<ByteStr>) {
        self.origin = Arc::new(Origin { version, client: client.into(), ..Origin::clone(&self.origin) });
    }

    /// Where this stream comes from.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The gateway.
    pub fn gate(&self) -> &Arc<dyn Gate> {
        &self.gate
    }

    /// A wait for this stream's tickets.
    pub fn durable_wait(&self) -> Box<dyn DurableWait> {
        self.gate.durable_wait()
    }

    /// Takes room for a message of `bytes`, waiting for it up to the hold time; only with empty hands, so that nobody waits
    /// for somebody who waits. Dropping the future took nothing.
    ///
    /// # Errors
    /// `too_large` when it can never be granted, `overloaded` after the hold time, `shutting_down`.
    pub async fn reserve(&mut self, bytes: usize) -> Result<Permit<'_>, Refusal> {
        let bytes = self.check(bytes)?;
        // Who waits for room is of a listener that holds.
        let now = if self.hold.is_zero() { self.share.try_take(bytes) } else { self.share.try_read(bytes) };
        let room = match now {
            Some(room) => room,
            None => match tokio::time::timeout(self.hold, self.share.take(bytes)).await {
                Ok(room) => room,
                Err(_) => return Err(overloaded()),
            },
        };
        Ok(Permit { intake: self, room })
    }

    /// Takes room without waiting.
    ///
    /// # Errors
    /// As [`Intake::reserve`].
    pub fn try_reserve(&mut self, bytes: usize) -> Result<Permit<'_>, Refusal> {
        let bytes = self.check(bytes)?;
        let room = self.share.try_take(bytes).ok_or_else(overloaded)?;
        Ok(Permit { intake: self, room })
    }

    fn check(&self, bytes: usize) -> Result<usize, Refusal> {
        if self.gate.is_stopping() {
            return Err(Refusal::new(Word::ShuttingDown, "the gateway is stopping"));
        }
        let bytes = bytes.max(ROOM_MIN);
        if self.share.can_ever_take(bytes) {
            return Ok(bytes);
        }
        Err(Refusal::new(Word::TooLarge, "the message is larger than one sender's share of the byte budget"))
    }

    fn become_principal(&mut self, principal: Principal) {
        self.share = self.gate.budget().share(&principal.name);
        self.origin = Arc::new(Origin { principal, ..Origin::clone(&self.origin) });
    }
}

fn overloaded() -> Refusal {
    Refusal::new(Word::Overloaded, "the byte budget has no room").retry_after(Duration::from_secs(1))
}

/// Room for one message.
pub struct Permit<'a> {
    intake: &'a mut Intake,
    room: Room,
}

impl Permit<'_> {
    /// Adds room for `bytes` more, as they arrive. Never waits.
    ///
    /// # Errors
    /// `overloaded`.
    pub fn try_grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.room.try_grow(bytes) { Ok(()) } else { Err(overloaded()) }
    }

    /// Bytes reserved so far.
    pub fn bytes(&self) -> usize {
        self.room.bytes()
    }

    /// Keeps the room but gives the intake back, for a stream whose payload arrives over several reads.
    pub fn into_room(self) -> Room {
        self.room
    }

    /// Decode, middleware, route, append. Dropping this future kept nothing or everything, never a part.
    pub async fn submit(self, message: Message) -> Ticket {
        self.intake.submit_in(self.room, message).await
    }
}

impl Intake {
    /// As [`Permit::submit`], with room that was taken earlier.
    pub async fn submit_in(&mut self, room: Room, message: Message) -> Ticket {
        let generation = self.gate.generation();
        if generation != self.generation {
            // After a reload: the stream goes on with the new pipelines and routes, from this message on.
            self.generation = generation;
            self.door = self.gate.door();
        }
        let submission = Submission { message, room, origin: Arc::clone(&self.origin) };
        let answer = match self.door.ready().await {
            Ok(door) => door.call(submission).await,
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(|refusal| Ticket::now(Verdict::Refusal(refusal)))
    }
}
