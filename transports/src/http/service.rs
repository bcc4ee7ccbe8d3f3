//! One request, from its head to its answer.
//!
//! The order of checks is: HTTP itself, path, method, credentials, the message's headers, room, body, and then the gateway.
//! Whatever is refused before the gateway had the message is counted here.
use super::{
    activity::{Activity, Unsent},
    body::{self, Reader},
    coding::Coding,
    fields::{Field, Fields},
    guard::Fault,
    message,
    problem::{ALLOW, Answer, Problem},
    reply::reply,
    seat::{Seat, Seats, Timer},
    sent::Sent,
    settings::HttpSettings,
    target::{self, Target},
    webhook,
};
use crate::{DurableWait, Gate, Ticket, budget::SHARE_PARTS};
use http::{HeaderValue, Method, Request, Response, Version, header, request::Parts};
use hyper::body::Incoming;
use schemas::{Unknown, Verdict, Word};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};
use tokio::time::Instant;

/// What the requests of one connection share.
pub(super) struct Connection {
    pub(super) gate: Arc<dyn Gate>,
    pub(super) settings: Arc<HttpSettings>,
    pub(super) activity: Arc<Activity>,
    pub(super) seats: Seats,
}

/// Serves one request.
pub(super) async fn serve(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    let _in_flight = connection.activity.request();
    let (head, mut body) = request.into_parts();
    let (mut answer, mut closes) = match connection.answer(&head, &mut body).await {
        Ok(answer) => (answer, false),
        Err(problem) => {
            connection.gate.refused(problem.word);
            let closes = problem.closes;
            (problem.into_answer(), closes)
        }
    };
    if head.version < Version::HTTP_2 {
        // The answer leaves at once, so that asking for the body here sends no 100.
        let all_read = hyper::body::Body::is_end_stream(&body) || (!closes && body::drain(&mut body).await);
        if !all_read {
            connection.activity.leaves_unread();
            closes = true;
        }
        if closes || connection.gate.is_stopping() || connection.activity.is_old() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    let unsent = (head.version >= Version::HTTP_2).then(|| Unsent::new(Arc::clone(&connection.activity)));
    Ok(answer.map(|body| Sent { body, _unsent: unsent }))
}

impl Connection {
    async fn answer(&self, head: &Parts, body: &mut Incoming) -> Result<Answer, Problem> {
        let fields = Fields::read(&head.headers);
        if let Some(fault) = self.refused(head, &fields) {
            return Err(fault.into());
        }
        fields.check(head, &self.settings)?;
        let target = target::read(head.uri.path())?;
        if head.method == Method::OPTIONS {
            return webhook::handshake(&head.headers);
        }
        if head.method != Method::POST {
            return Err(Problem::new(Word::MethodNotAllowed, format!("{} is not taken here", head.method))
                .header(header::ALLOW, ALLOW));
        }
        let mut seat = self.seats.take();
        let answer = self.post(&mut seat, head, &fields, &target, body).await;
        self.seats.give_back(seat);
        answer
    }

    /// The fault that this request stands for: the guard lets no HTTP/1.1 head without a Host pass but its own.
    fn refused(&self, head: &Parts, fields: &Fields<'_>) -> Option<Fault> {
        if head.version == Version::HTTP_11 && matches!(fields.host, Field::Absent) {
            self.activity.refused()
        } else {
            None
        }
    }

    async fn post(
        &self,
        seat: &mut Seat,
        head: &Parts,
        fields: &Fields<'_>,
        target: &Target<'_>,
        body: &mut Incoming,
    ) -> Result<Answer, Problem> {
        let authorization = fields.authorization.at_most_once("Authorization");
        seat.authenticate(
            authorization.map_err(|_| Problem::new(Word::Unauthenticated, "more than one Authorization header"))?,
        )?;
        let coding = Coding::read(fields.content_encoding.at_most_once("Content-Encoding")?)?;
        let (mut message, form) = message::build(&head.headers, fields, target, &self.settings)?;
        let share = self.gate.budget().limit() / SHARE_PARTS;
        let first = body::first_room(body::declared(body), self.settings.max_body, share)?;
        let mut room = seat.intake.reserve(first).await?.into_room();
        let encoded = Reader::new(body, &mut seat.timer, &self.settings).read(&mut room).await?;
        message.payload = coding.decode(encoded, self.settings.max_body, &mut room)?;
        let deadline = Instant::now() + self.settings.deadline;
        let Seat { intake, waits, timer, .. } = seat;
        let submitting = pin!(intake.submit_in(room, message));
        Ok(reply(verdict(submitting, waits.as_mut(), timer, deadline).await, form))
    }
}

/// Waits until the message was handed over and its verdict is known. After the deadline the outcome is unknown: the gateway may
/// have kept it, and goes on without a sender to tell.
///
/// The hand-over comes by reference: moving it through futures would keep a copy of the message's size in each of them.
async fn verdict(
    mut submitting: Pin<&mut impl Future<Output = Ticket>>,
    waits: &mut dyn DurableWait,
    timer: &mut Timer,
    deadline: Instant,
) -> Verdict {
    let mut ticket = None;
    poll_fn(|cx| {
        if ticket.is_none()
            && let Poll::Ready(submitted) = submitting.as_mut().poll(cx)
        {
            ticket = Some(submitted);
        }
        if let Some(Poll::Ready(verdict)) = ticket.as_mut().map(|ticket| ticket.poll_verdict(cx, waits)) {
            return Poll::Ready(verdict);
        }
        timer.poll(cx, deadline).map(|()| Verdict::Unknown(Unknown { word: Word::Timeout }))
    })
    .await
}
