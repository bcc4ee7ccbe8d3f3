//! Where to send: `http://127.0.0.1:8080`, `mqtt://127.0.0.1:1883`. Plain connections only.
use std::net::{SocketAddr, ToSocketAddrs};

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, empty for none.
    pub path: String,
}

impl Target {
    /// Reads a URL of this scheme. `scheme://` may be missing.
    ///
    /// # Errors
    /// What cannot be read, for people.
    pub fn parse(url: &str, scheme: &str, port: u16) -> Result<Target, String> {
        let fault = |what: &str| format!("{url:?}: {what}, as in {scheme}://127.0.0.1:{port}");
        let rest = match url.split_once("://") {
            Some((given, rest)) if given == scheme => rest,
            Some(_) => return Err(fault(&format!("it must begin with {scheme}://"))),
            None => url,
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(fault("no secrets in a URL"));
        }
        let (host, port_text) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = match port_text {
            Some(text) => text.parse().map_err(|_| fault("the port is no number up to 65535"))?,
            None => port,
        };
        if host.is_empty() {
            return Err(fault("it has no host"));
        }
        Ok(Target { host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The first address of the host.
    ///
    /// # Errors
    /// The name has none.
    pub fn resolve(&self) -> Result<SocketAddr, String> {
        let fault = |what: String| format!("{}: {what}", self.address());
        let mut found = self.address().to_socket_addrs().map_err(|error| fault(error.to_string()))?;
        found.next().ok_or_else(|| fault("the name has no address".to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let target = Target::parse("http://127.0.0.1:8080/", "http", 80).unwrap();
        assert_eq!((target.address().as_str(), target.path.as_str()), ("127.0.0.1:8080", ""));
        assert_eq!(Target::parse("mqtt://broker", "mqtt", 1883).unwrap().address(), "broker:1883");
        assert_eq!(Target::parse("[::1]:9/in", "http", 80).unwrap().address(), "[::1]:9");
        for wrong in ["https://a", "http://", "http://a:99999", "http://me:pw@a"] {
            assert!(Target::parse(wrong, "http", 80).is_err(), "{wrong}");
        }
    }
}
