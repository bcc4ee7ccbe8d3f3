//! A listener and clients that speak bytes.
use crate::support::FakeGate;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use transports::{
    mqtt::{MqttListener, MqttSettings},
    net::Shutdown,
};

/// Nothing in these tests takes longer.
pub const SOON: Duration = Duration::from_secs(5);
/// Long enough to see that nothing happens.
pub const QUIET: Duration = Duration::from_millis(120);

/// CONNECT as `c`, keep alive 60, clean.
pub const CONNECT_V3: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c";
pub const CONNECT_V5: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c";
pub const CONNACK_V3: &[u8] = b"\x20\x02\0\0";
pub const PINGREQ: &[u8] = b"\xc0\0";
pub const PINGRESP: &[u8] = b"\xd0\0";

pub struct Server {
    pub address: SocketAddr,
    pub gate: Arc<FakeGate>,
    pub stop: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
}

pub async fn server(settings: MqttSettings) -> Server {
    server_of(FakeGate::new(), settings).await
}

pub async fn server_of(gate: Arc<FakeGate>, settings: MqttSettings) -> Server {
    let listener = MqttListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), settings).await.unwrap();
    let (stop, shutdown) = Shutdown::channel();
    let address = listener.address();
    let serving = tokio::spawn(listener.serve(gate.clone(), shutdown));
    Server { address, gate, stop, serving }
}

impl Server {
    /// A connected 3.1.1 client.
    pub async fn v3(&self) -> Client {
        let mut client = self.raw().await;
        client.send(CONNECT_V3).await;
        client.expect(CONNACK_V3).await;
        client
    }

    /// A connected MQTT 5 client.
    pub async fn v5(&self) -> Client {
        self.v5_with(CONNECT_V5).await
    }

    /// An MQTT 5 client with another CONNECT.
    pub async fn v5_with(&self, connect: &[u8]) -> Client {
        let mut client = self.raw().await;
        client.send(connect).await;
        let connack = client.packet().await;
        assert_eq!(connack[..4], [0x20, connack[1], 0, 0], "{connack:02x?}");
        client
    }

    pub async fn raw(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

pub struct Client(pub TcpStream);

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Exactly these bytes come.
    #[track_caller]
    pub fn expect(&mut self, bytes: &[u8]) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let mut got = Vec::new();
            let read = timeout(SOON, async {
                while got.len() < bytes.len() {
                    let mut byte = [0];
                    if self.0.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    got.push(byte[0]);
                }
            });
            let in_time = read.await.is_ok();
            assert_eq!(hex(&got), hex(bytes), "{place} (in time: {in_time})");
        }
    }

    /// One packet, whole.
    pub async fn packet(&mut self) -> Vec<u8> {
        timeout(SOON, async {
            let mut packet = vec![0; 2];
            self.0.read_exact(&mut packet).await.unwrap();
            assert!(packet[1] < 0x80, "short packets only");
            let mut rest = vec![0; usize::from(packet[1])];
            self.0.read_exact(&mut rest).await.unwrap();
            packet.extend(rest);
            packet
        })
        .await
        .unwrap()
    }

    /// All bytes until the connection closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        let read = timeout(SOON, async {
            let mut buffer = [0; 512];
            while let Ok(count @ 1..) = self.0.read(&mut buffer).await {
                got.extend_from_slice(&buffer[..count]);
            }
        });
        assert!(read.await.is_ok(), "still open after {got:02x?}");
        got
    }

    /// The connection closes, and these are its last bytes.
    #[track_caller]
    pub fn closes_with(&mut self, bytes: &[u8]) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let got = self.rest().await;
            assert_eq!(hex(&got), hex(bytes), "{place}");
        }
    }

    /// A DISCONNECT with this code comes, then the connection closes.
    #[track_caller]
    pub fn disconnected(&mut self, code: u8) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let got = self.rest().await;
            assert!(
                got.len() >= 3 && got[0] == 0xe0 && got[2] == code,
                "{place}: {code:02x} expected, {got:02x?} came"
            );
        }
    }

    /// Nothing comes for a while, and the connection is open.
    #[track_caller]
    pub fn silent(&mut self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let mut byte = [0];
            let read = timeout(QUIET, self.0.read(&mut byte)).await;
            assert!(read.is_err(), "{place}: {read:?} {byte:02x?}");
        }
    }

    /// It still works.
    #[track_caller]
    pub fn ping(&mut self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            self.send(PINGREQ).await;
            let got = self.packet().await;
            assert_eq!(hex(&got), hex(PINGRESP), "{place}");
        }
    }
}

/// PUBLISH with QoS 1 on MQTT 5; `properties` without their length.
pub fn publish_v5(id: u16, topic: &str, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    body.extend(id.to_be_bytes());
    body.extend(varint(properties.len()));
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    packet(0x32, &body)
}

/// PUBLISH with QoS 1 on 3.1.1.
pub fn publish_v3(id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    body.extend(id.to_be_bytes());
    body.extend_from_slice(payload);
    packet(0x32, &body)
}

pub fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(varint(body.len()));
    bytes.extend_from_slice(body);
    bytes
}

pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A user property.
pub fn user(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], string(name), string(value)].concat()
}

pub fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// DISCONNECT of MQTT 5 with a reason string.
pub fn disconnect(code: u8, reason: &str) -> Vec<u8> {
    let text = [vec![0x1f], string(reason)].concat();
    packet(0xe0, &[vec![code], varint(text.len()), text].concat())
}

/// PUBACK of MQTT 5 with a reason string.
pub fn puback_with(id: u16, code: u8, reason: &str) -> Vec<u8> {
    let text = [vec![0x1f], string(reason)].concat();
    packet(0x40, &[id.to_be_bytes().to_vec(), vec![code], varint(text.len()), text].concat())
}

/// Waits until `done` says so.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}
