//! A small MQTT client that publishes one message at a time and waits for its answer.
//!
//! For 3.1.1, which the client library of `send` does not speak, and for the demo's devices. It never reconnects: the caller
//! decides what an answer that did not come means.
use super::wire::{self, Hello, Publish, Said, Version};
use std::{fmt, io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a connection may take until its CONNACK.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What went wrong with a connection.
#[derive(Debug)]
pub enum LinkFault {
    /// There is no connection.
    Unreachable(io::Error),
    /// CONNACK said no, or DISCONNECT came.
    Said(&'static str, Said),
    /// The connection closed, or nothing came in time: whether the message was kept is not known.
    NoAnswer(String),
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkFault::Unreachable(error) => write!(f, "{error}"),
            LinkFault::Said(packet, said) => write!(f, "{packet} 0x{:02x} {}", said.code, said.reason),
            LinkFault::NoAnswer(what) => f.write_str(what),
        }
    }
}

/// One connection, open.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    read: Vec<u8>,
    version: Version,
    packet_id: u16,
}

impl Link {
    /// Connects and waits for CONNACK.
    ///
    /// # Errors
    /// No connection, or CONNACK says no.
    pub async fn open(address: SocketAddr, hello: &Hello<'_>) -> Result<Link, LinkFault> {
        let opening = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&wire::connect(hello)).await?;
            Ok(stream)
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let stream =
            timeout(CONNECT_TIME, opening).await.unwrap_or_else(|_| Err(late())).map_err(LinkFault::Unreachable)?;
        let mut link = Link { stream, read: Vec::new(), version: hello.version, packet_id: 0 };
        let (first, said, _) =
            timeout(CONNECT_TIME, link.packet()).await.map_err(|_| LinkFault::Unreachable(late()))??;
        match (first & 0xf0, said.code) {
            (wire::CONNACK, 0) => Ok(link),
            (wire::CONNACK, _) => Err(LinkFault::Said("connack", said)),
            _ => Err(LinkFault::NoAnswer("it answered CONNECT with something else".to_owned())),
        }
    }

    /// Publishes; with QoS 1 it waits for the PUBACK, at most for `patience`. A code ≥ 0x80 is an answer, not a fault.
    ///
    /// # Errors
    /// DISCONNECT, or no answer.
    pub async fn publish(&mut self, message: &Publish<'_>, patience: Duration) -> Result<Said, LinkFault> {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let mut bytes = Vec::with_capacity(message.payload.len() + 128);
        wire::publish(&mut bytes, self.version, self.packet_id, message);
        let lost = |error: io::Error| LinkFault::NoAnswer(error.to_string());
        self.stream.write_all(&bytes).await.map_err(lost)?;
        if message.qos == 0 {
            return Ok(Said::default());
        }
        let waiting = async {
            loop {
                let (first, said, id) = self.packet().await?;
                match first & 0xf0 {
                    wire::PUBACK if id == Some(self.packet_id) => return Ok(said),
                    wire::SERVER_DISCONNECT => return Err(LinkFault::Said("disconnect", said)),
                    _ => {}
                }
            }
        };
        let none = || LinkFault::NoAnswer(format!("no answer within {} s", patience.as_secs()));
        timeout(patience, waiting).await.unwrap_or_else(|_| Err(none()))
    }

    /// Says good-bye. What fails here matters to nobody.
    pub async fn close(mut self) {
        let _gone = self.stream.write_all(&wire::DISCONNECT).await;
        let _gone = self.stream.shutdown().await;
    }

    async fn packet(&mut self) -> Result<(u8, Said, Option<u16>), LinkFault> {
        loop {
            match wire::next(&self.read) {
                Err(wire::Broken) => return Err(LinkFault::NoAnswer("what came is no MQTT".to_owned())),
                Ok(Some(packet)) => {
                    let said = wire::said(packet.first, packet.body, self.version);
                    let (first, id, size) = (packet.first, wire::packet_id(packet.body), packet.size);
                    self.read.drain(..size);
                    return Ok((first, said, id));
                }
                Ok(None) => {}
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) => return Err(LinkFault::NoAnswer("the connection was closed without an answer".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(LinkFault::NoAnswer(error.to_string())),
            }
        }
    }
}
