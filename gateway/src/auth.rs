//! Who a sender is: by network, by one token, or by name and password. Compiled from the config once per listener.
//!
//! Secrets are compared in constant time, and never logged.
use crate::config::model::Config;
use schemas::{ByteStr, Refusal, Word};
use settings::{Lookup, Network};
use std::{collections::HashMap, fmt, fs, net::IpAddr};
use transports::{
    Credentials, Principal,
    net::config::{AuthMethod, ListenerAuth},
};

/// How one listener knows its senders.
pub enum Auth {
    /// Everybody who reaches the address, as nobody in particular.
    Everyone,
    /// Senders from these networks.
    Network {
        /// The networks.
        allow: Vec<Network>,
        /// Who they are; `None`: their address.
        principal: Option<ByteStr>,
    },
    /// Whoever has the token.
    Token {
        /// The token.
        token: Box<[u8]>,
        /// Who they are.
        principal: ByteStr,
    },
    /// Names and their passwords.
    Users(HashMap<String, Box<[u8]>>),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::Everyone => "Everyone",
            Auth::Network { .. } => "Network",
            Auth::Token { .. } => "Token",
            Auth::Users(_) => "Users",
        })
    }
}

impl Auth {
    /// Reads what the config says: secrets from their files or the environment.
    ///
    /// # Errors
    /// Which secret could not be read, and why.
    pub fn build(config: &Config, auth: Option<&ListenerAuth>, env: &Lookup<'_>) -> Result<Self, String> {
        let method = match auth {
            None | Some(ListenerAuth::None) => return Ok(Auth::Everyone),
            Some(ListenerAuth::Inline(method)) => method,
            Some(ListenerAuth::Named(name)) => {
                config.auth.get(name.as_str()).ok_or_else(|| format!("no auth named {:?}", name.as_str()))?
            }
        };
        let name = |name: &Option<settings::Name>| name.as_ref().map(|name| ByteStr::from(name.as_str()));
        match method {
            AuthMethod::Network(network) => {
                Ok(Auth::Network { allow: network.allow.clone(), principal: name(&network.principal) })
            }
            AuthMethod::Token(token) => {
                let secret = token.secret.read(&config.folder, env)?;
                let principal = name(&token.principal).unwrap_or(ByteStr::from_static("token"));
                Ok(Auth::Token { token: secret.expose().as_bytes().into(), principal })
            }
            AuthMethod::Users(users) => read_users(&config.folder.join(&users.file)).map(Auth::Users),
        }
    }

    /// Whether this address may connect at all.
    pub fn admits(&self, peer: IpAddr) -> bool {
        match self {
            Auth::Network { allow, .. } => allow.iter().any(|network| network.contains(peer.to_canonical())),
            Auth::Everyone | Auth::Token { .. } | Auth::Users(_) => true,
        }
    }

    /// Who the sender is.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub fn authenticate(&self, peer: IpAddr, credentials: Credentials<'_>) -> Result<Principal, Refusal> {
        let named = |name: ByteStr| Ok(Principal { name, tenant: ByteStr::EMPTY });
        match self {
            Auth::Everyone => Ok(Principal::default()),
            Auth::Network { principal, .. } if self.admits(peer) => {
                named(principal.clone().unwrap_or_else(|| peer.to_canonical().to_string().into()))
            }
            Auth::Network { .. } => Err(refused("this address is not allowed")),
            Auth::Token { token, principal } => {
                let shown = match credentials {
                    Credentials::Bearer(shown) => shown.as_bytes(),
                    Credentials::Password { password, .. } => password,
                    Credentials::None => return Err(refused("a token is needed")),
                };
                if same(shown, token) { named(principal.clone()) } else { Err(refused("the token is wrong")) }
            }
            Auth::Users(users) => {
                let Credentials::Password { user, password } = credentials else {
                    return Err(refused("a user name and a password are needed"));
                };
                let known = users.get(user);
                // An unknown name costs the same comparison as a known one.
                let right = same(password, known.map_or(password, |known| known));
                if right && known.is_some() {
                    named(user.into())
                } else {
                    Err(refused("the user name or the password is wrong"))
                }
            }
        }
    }
}

fn refused(detail: &'static str) -> Refusal {
    Refusal::new(Word::Unauthenticated, detail)
}

/// Compares in a time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

fn read_users(file: &std::path::Path) -> Result<HashMap<String, Box<[u8]>>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut users = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, password)) = line.split_once(':') else {
            return Err(format!("{}:{number}: a line is name:password", file.display()));
        };
        users.insert(name.to_owned(), password.as_bytes().into());
    }
    Ok(users)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_users() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let token = Auth::Token { token: b"s3cret".as_slice().into(), principal: "plant".into() };
        assert_eq!(token.authenticate(here, Credentials::Bearer("s3cret")).unwrap().name.as_str(), "plant");
        for wrong in [Credentials::None, Credentials::Bearer("s3cre"), Credentials::Bearer("")] {
            assert_eq!(token.authenticate(here, wrong).unwrap_err().word, Word::Unauthenticated);
        }
        let users = Auth::Users([("ann".to_owned(), b"pw".as_slice().into())].into());
        let password = |user, password| Credentials::Password { user, password };
        assert_eq!(users.authenticate(here, password("ann", b"pw")).unwrap().name.as_str(), "ann");
        assert!(users.authenticate(here, password("ann", b"px")).is_err());
        assert!(users.authenticate(here, password("bob", b"")).is_err());
    }
}
