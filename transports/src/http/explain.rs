//! A request as the listener would take it, without a connection: for `anygate explain`.
use super::{HttpSettings, fields::Fields, message, problem::Problem, target};
use bytes::Bytes;
use http::{Method, Request};
use schemas::{Message, Refusal, Word};

/// The message of a request, by the listener's own rules. Content codings, credentials and room are left out.
///
/// # Errors
/// What the listener would refuse before the gateway sees the message.
pub fn message_of(request: Request<Bytes>, settings: &HttpSettings) -> Result<Message, Refusal> {
    let (head, body) = request.into_parts();
    let read = || -> Result<Message, Problem> {
        let fields = Fields::read(&head.headers);
        fields.check(&head, settings)?;
        let target = target::read(head.uri.path())?;
        if head.method != Method::POST {
            return Err(Problem::new(Word::MethodNotAllowed, format!("{} is not taken here", head.method)));
        }
        if body.len() > settings.max_body {
            return Err(Problem::new(Word::TooLarge, format!("the body is larger than {} bytes", settings.max_body)));
        }
        message::build(&head.headers, &fields, &target, settings).map(|(message, _)| message)
    };
    read().map(|message| Message { payload: body.clone(), ..message }).map_err(Problem::into_refusal)
}
