//! A broker that refuses the password, played by a few lines: the mock cluster knows no logins.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use backends::{
    Backend as _, Outcome,
    kafka::{Kafka, KafkaSettings, Sasl},
};
use common::{event, events};
use schemas::Word;
use settings::SecretText;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;

/// Answers version, handshake and login requests (Kafka protocol, versions 0); every login fails with code 58.
fn serve(mut peer: TcpStream) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        peer.read_exact(&mut length)?;
        let mut request = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        peer.read_exact(&mut request)?;
        let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        let (key, version) = (number(0), number(2));
        let mut body = request[4..8].to_vec();
        match (key, version) {
            (API_VERSIONS, 0) => {
                body.extend(0i16.to_be_bytes());
                let known = [(0, 7), (3, 4), (SASL_HANDSHAKE, 1), (API_VERSIONS, 0), (22, 1), (SASL_AUTHENTICATE, 0)];
                body.extend(i32::try_from(known.len()).unwrap().to_be_bytes());
                for (key, most) in known {
                    body.extend([key, 0, most].into_iter().flat_map(i16::to_be_bytes));
                }
            }
            (API_VERSIONS, _) => {
                // UNSUPPORTED_VERSION, in the form of version 0: the client asks again with that.
                body.extend(35i16.to_be_bytes());
                body.extend(0i32.to_be_bytes());
            }
            (SASL_HANDSHAKE, _) => {
                body.extend(0i16.to_be_bytes());
                body.extend(1i32.to_be_bytes());
                body.extend(5i16.to_be_bytes());
                body.extend(b"PLAIN");
            }
            (SASL_AUTHENTICATE, _) => {
                let text = b"no such user or password";
                body.extend(58i16.to_be_bytes());
                body.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
                body.extend(text);
                body.extend(0i32.to_be_bytes());
            }
            other => panic!("asked {other:?} before the login"),
        }
        peer.write_all(&i32::try_from(body.len()).unwrap().to_be_bytes())?;
        peer.write_all(&body)?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_password_is_the_place_and_not_a_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for peer in listener.incoming() {
            let peer = peer.unwrap();
            thread::spawn(move || serve(peer));
        }
    });
    let mut settings = KafkaSettings::new(vec![address], "t".parse().unwrap());
    let password = SecretText::new("wrong-secret");
    settings.sasl = Some(Sasl { mechanism: "PLAIN", username: "ann".into(), password });
    assert!(!format!("{settings:?}").contains("wrong-secret"), "a password is never printed");
    let kafka = Kafka::start(settings).unwrap();
    let call = kafka.deliver(events([event(1, "a", "x"), event(2, "b", "x")]));
    let outcomes = tokio::time::timeout(Duration::from_secs(15), call).await.expect("no outcome within 15 s");
    for outcome in &outcomes {
        let Outcome::Destination(why) = outcome else { panic!("{outcome:?}") };
        assert!(why.word == Word::Unauthenticated && why.detail.contains("no such user or password"), "{why}");
        assert!(!why.detail.contains("wrong-secret"));
    }
    let why = kafka.probe().await.unwrap_err();
    assert_eq!(why.word, Word::Unauthenticated, "{why}");
    drop(tokio::time::timeout(Duration::from_secs(1), kafka.close()).await);
}
