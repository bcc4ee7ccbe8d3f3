//! A session: the link and the gateway's side of its messages, one at a time and in order; then the end.
use super::{answer::Answer, end::End, fault::code, handshake::Counted, link::Link, message, stream::Stream};
use crate::{
    Intake, Ticket,
    net::{Cause, Shutdown},
};
use schemas::{Message, Refusal, Word};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long the end of a connection waits for the client to have read the last packet: a socket that is closed with unread
/// input takes back what it sent.
const LINGER: Duration = Duration::from_millis(500);
/// How long a successor waits for the will of the connection that it takes over.
const WILL_FIRST: Duration = Duration::from_secs(1);
/// Most bytes that are read away while lingering.
const LINGER_BYTES: usize = 1024 * 1024;

/// The will of a connection, ready to be sent.
pub struct Testament {
    /// The message.
    pub message: Message,
    /// Its Message Expiry Interval: it begins when the will is sent.
    pub expiry: Option<u32>,
}

/// A connection after its CONNECT.
pub struct Session<S> {
    /// The client's side.
    pub link: Link<S>,
    /// The gateway's side.
    pub intake: Intake,
    /// The will, unless there is none.
    pub will: Option<Box<Testament>>,
    /// Fired when the gateway stops, or the connection has reached its age.
    pub shutdown: Shutdown,
    /// Counts the connection as open until it is dropped.
    #[allow(dead_code, reason = "dropping it is its use")]
    pub counted: Counted,
}

impl<S: Stream> Session<S> {
    /// Serves until the connection ends, and ends it.
    pub async fn run(mut self: Box<Self>) {
        let end = self.serve().await;
        tracing::debug!(peer = %self.intake.origin().peer, client = %self.intake.origin().client, ?end, "mqtt connection ended");
        Box::pin(self.say_goodbye(&end)).await;
        // 3.14.4-3: the will goes with a DISCONNECT that does not ask for it, and with nothing else.
        if !matches!(end, End::Left { will: false }) {
            Box::pin(self.send_will()).await;
        }
        self.link.leave();
        Box::pin(self.linger(&end)).await;
    }

    async fn serve(&mut self) -> End {
        let Session { link, intake, shutdown, .. } = self;
        let mut cause = pin!(shutdown.cause());
        let mut stopping = false;
        let mut poll_link = |link: &mut Link<S>, cx: &mut Context<'_>| {
            if !stopping && let Poll::Ready(cause) = cause.as_mut().poll(cx) {
                stopping = true;
                link.stop(match cause {
                    Cause::Stopping => End::Stopping,
                    Cause::Age => End::Old,
                });
            }
            link.poll(cx)
        };
        loop {
            // Boxed, so that an idle connection does not keep room for a message on its way.
            if !link.queue.is_empty()
                && let Some(end) = Box::pin(hand_over(link, intake, &mut poll_link)).await
            {
                return end;
            }
            if let Some(bytes) = link.room_wanted
                && let Some(end) = Box::pin(wait_for_room(bytes, link, intake, &mut poll_link)).await
            {
                return end;
            }
            link.rest();
            let wait = poll_fn(|cx| match poll_link(link, cx) {
                Poll::Ready(end) => Poll::Ready(Some(end)),
                Poll::Pending if link.needs() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(end) = wait.await {
                return end;
            }
        }
    }

    /// Puts the last packet behind what is on its way out, and waits until it has left.
    async fn say_goodbye(&mut self, end: &End) {
        let link = &mut self.link;
        let (code, reason) = match end {
            End::Closed | End::Broken | End::Left { .. } | End::AnswerLate | End::Stuck => return,
            End::Refused(Answer::Close | Answer::Ack(..)) => (None, String::new()),
            End::Refused(Answer::Disconnect(code, reason)) => (Some(*code), reason.clone()),
            End::TakenOver => (Some(code::TAKEN_OVER), String::new()),
            End::Stopping => (Some(code::SHUTTING_DOWN), Word::ShuttingDown.to_string()),
            End::Old => (Some(code::CONNECT_TIME), "max_connection_age".to_owned()),
            End::Fault(fault) => {
                // Silence refuses nothing.
                if fault.code != code::KEEP_ALIVE {
                    link.gate.refused(fault.word());
                }
                (Some(fault.code), fault.reason())
            }
        };
        if let Some(code) = code {
            link.peer.disconnect(link.output.bytes(), code, &reason);
        }
        let wait = if *end == End::TakenOver { WILL_FIRST } else { link.settings.write_timeout };
        let Link { output, stream, .. } = link;
        let _written = timeout(wait, poll_fn(|cx| output.poll_flush(stream, cx))).await;
    }

    /// Sends the will: in time before a successor's messages if the gateway takes it at once, and within the hold time in any
    /// case. A Will Delay Interval is not waited for: it counts as 0, because the session ends with the connection.
    async fn send_will(&mut self) {
        let Some(will) = self.will.take() else { return };
        let Testament { mut message, expiry } = *will;
        if let Some(seconds) = expiry
            && let Err(refusal) = message::start_expiry(&mut message, seconds)
        {
            return self.lost_will(&refusal);
        }
        let hold = self.link.settings.answer_timeout;
        let intake = &mut self.intake;
        let mut submit = Box::pin(async move {
            let room = intake.reserve(message.payload.len()).await?.into_room();
            let _ticket = intake.submit_in(room, message).await;
            Ok::<(), Refusal>(())
        });
        let mut sent = timeout(WILL_FIRST, &mut submit).await;
        if sent.is_err() {
            self.link.leave();
            sent = timeout(hold, &mut submit).await;
        }
        drop(submit);
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => self.lost_will(&refusal),
            Err(_) => self.lost_will(&Refusal::new(Word::Overloaded, "it was held as long as allowed")),
        }
    }

    fn lost_will(&self, refusal: &Refusal) {
        self.link.gate.refused(refusal.word);
        if refusal.word == Word::ShuttingDown {
            return;
        }
        tracing::warn!(client = %self.intake.origin().client, failure = %refusal.word, detail = %refusal.detail, "a will was not taken");
    }

    async fn linger(&mut self, end: &End) {
        if matches!(end, End::Broken | End::Stuck) {
            return;
        }
        let stream = &mut self.link.stream;
        let read_away = async {
            stream.shutdown().await?;
            let mut sink = vec![0; 1024];
            let mut left = LINGER_BYTES;
            while left > 0 {
                match stream.read(&mut sink).await? {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            Ok::<(), std::io::Error>(())
        };
        let _closed = timeout(LINGER, read_away).await;
    }
}

/// Hands over all messages of the line, one at a time; returns why the connection ends meanwhile.
async fn hand_over<S: Stream>(
    link: &mut Link<S>,
    intake: &mut Intake,
    poll_link: &mut impl FnMut(&mut Link<S>, &mut Context<'_>) -> Poll<End>,
) -> Option<End> {
    while let Some(next) = link.take_next() {
        let ticket = match next.work {
            Err(refusal) => Ticket::now(refusal.into()),
            Ok((message, room)) => {
                let submit = pin!(intake.submit_in(room, message));
                match beside(submit, |cx| poll_link(link, cx)).await {
                    Ok(ticket) => ticket,
                    Err(end) => return Some(end),
                }
            }
        };
        link.handed_over(next.due, ticket);
    }
    None
}

/// Waits for the room that the next PUBLISH needs; returns why the connection ends meanwhile.
async fn wait_for_room<S: Stream>(
    bytes: usize,
    link: &mut Link<S>,
    intake: &mut Intake,
    poll_link: &mut impl FnMut(&mut Link<S>, &mut Context<'_>) -> Poll<End>,
) -> Option<End> {
    let reserve = pin!(intake.reserve(bytes));
    match beside(reserve, |cx| poll_link(link, cx)).await {
        Ok(Ok(permit)) => link.grant(permit.into_room()),
        Ok(Err(refusal)) if refusal.word == Word::ShuttingDown => link.stop(End::Stopping),
        Ok(Err(refusal)) => return Some(link.refused(&refusal)),
        Err(end) => return Some(end),
    }
    None
}

/// Waits for `work` while the link goes on.
async fn beside<F: Future>(
    mut work: Pin<&mut F>,
    mut poll_link: impl FnMut(&mut Context<'_>) -> Poll<End>,
) -> Result<F::Output, End> {
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        poll_link(cx).map(Err)
    })
    .await
}
