//! Addresses: host and port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{Bad, text_value};

/// `host:port`. The host is an IPv4 address, an IPv6 address in brackets, or a name; the port is 0 to 65535 (0: any free one).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as an address, when it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// True when only this machine can reach it: 127.0.0.0/8, ::1, localhost.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or_else(|| self.host.eq_ignore_ascii_case("localhost"), |ip| ip.to_canonical().is_loopback())
    }

    /// True when both cannot be listened on at once: the same port, and the same host or one that stands for all.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        let any = |address: &Self| address.ip().is_some_and(|ip| ip.is_unspecified());
        self.port != 0 && self.port == other.port && (self.host == other.host || any(self) || any(other))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let help = "write host:port, such as 127.0.0.1:8080 or [::1]:8080";
        let Some((host, port)) = text.rsplit_once(':') else {
            let only_port = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let (what, help) =
                if only_port { ("host", format!("127.0.0.1:{text}")) } else { ("port", format!("{text}:PORT")) };
            return Err(Bad::new(format!("the {what} is missing")).help(format!("write {help}")));
        };
        let start = text.chars().count() - port.chars().count();
        let port_range = start..text.chars().count();
        let Ok(port) = port.parse::<u16>() else {
            let bad = Bad::new(format!("\"{port}\" is no port")).help("a port is a number from 0 to 65535");
            return Err(if port_range.is_empty() { bad } else { bad.at(port_range) });
        };
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match inner {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(inner) => return Err(Bad::new(format!("\"{inner}\" is no IPv6 address")).help(help)),
            None if host.contains(':') => {
                return Err(Bad::new("an IPv6 address needs brackets").help(format!("write [{host}]:{port}")));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(Bad::new("the host is missing")
                .help(format!("write 127.0.0.1:{port}, or 0.0.0.0:{port} for all networks")));
        }
        if inner.is_none() {
            name(host, help)?;
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// A host name, or an IPv4 address: all digits and dots must be an address.
fn name(host: &str, help: &str) -> Result<(), Bad> {
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let legal = host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if (numeric && host.parse::<std::net::Ipv4Addr>().is_err()) || !legal {
        return Err(Bad::new(format!("\"{host}\" is no host")).at(0..host.chars().count()).help(help));
    }
    Ok(())
}

text_value!(Address, "address", "Host and port: 127.0.0.1:8080, [::1]:8080.");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn addresses() {
        assert!(read("127.0.0.1:0").is_loopback());
        assert!(read("127.9.9.9:1").is_loopback());
        assert!(read("localhost:80").is_loopback());
        assert!(read("[::1]:80").is_loopback());
        assert!(read("[::ffff:127.0.0.1]:80").is_loopback());
        for open in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "localhost.example:80"] {
            assert!(!read(open).is_loopback(), "{open}");
        }
        assert_eq!(read("[::1]:80").to_string(), "[::1]:80");
        assert!(read("0.0.0.0:80").clashes(&read("127.0.0.1:80")));
        assert!(!read("127.0.0.2:80").clashes(&read("127.0.0.1:80")));
        assert!(!read("127.0.0.1:0").clashes(&read("127.0.0.1:0")));
        for bad in [
            "8080",
            ":80",
            "127.0.0.1",
            "1.2.3:80",
            "256.1.1.1:80",
            "a b:1",
            "::1:80",
            "[x]:80",
            "h:70000",
            "h:",
            "http://h:80",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
