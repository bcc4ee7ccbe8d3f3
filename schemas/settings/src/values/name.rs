//! Names, attribute names, JSON pointers and networks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{Bad, text_value};

macro_rules! text_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_type!(
    /// The name of a listener, route, backend, pipeline, schema or node: letters, digits, `-` and `_`, from a letter or digit on, at most
    /// 64 characters.
    Name
);
text_type!(
    /// The name of a CloudEvents attribute: lower-case letters and digits, at most 64 (ours at most 20).
    Attribute
);
text_type!(
    /// A JSON pointer (RFC 6901): empty, or `/` and tokens.
    Pointer
);

impl FromStr for Name {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let help = "a name has letters, digits, - and _, starts with a letter or digit, and has at most 64 characters";
        if let Some(at) = text.chars().position(|c| !legal(c)) {
            let wrong = text.chars().nth(at).unwrap_or(' ');
            return Err(Bad::new(format!("\"{text}\" has '{wrong}' in it")).at(at..at + 1).help(help));
        }
        if text.is_empty() || text.len() > 64 || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(Bad::new(format!("\"{text}\" is none")).help(help));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Attribute {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let legal = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if text.is_empty() || text.len() > 64 || !legal {
            let plain: String = text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).take(64).collect();
            let help = format!("attribute names have lower-case letters and digits only: {plain}");
            return Err(Bad::new(format!("\"{text}\" is none")).help(help));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Pointer {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(Bad::new(format!("\"{text}\" does not start with /"))
                .help(format!("write /{}", text.replace('.', "/"))));
        }
        let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !escaped {
            return Err(Bad::new(format!("\"{text}\" has a bare ~")).help("write ~0 for ~ and ~1 for /"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A network in CIDR form, such as `10.20.0.0/16`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// True when the address lies in this network. An IPv4 address in IPv6 form counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(net).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(net).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let help = "write an address and its prefix length, such as 10.20.0.0/16";
        let bad = || Bad::new(format!("\"{text}\" is none")).help(help);
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(widest), |bits| bits.parse::<u8>().map_err(|_| bad()))?;
        if bits > widest {
            return Err(bad());
        }
        Ok(Self { address, bits })
    }
}

text_value!(Name, "name", "A name: letters, digits, - and _.");
text_value!(Attribute, "attribute", "An attribute's name: lower-case letters and digits.");
text_value!(Pointer, "pointer", "A JSON pointer: /reading/severity.");
text_value!(Network, "network", "A network: 10.20.0.0/16.");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_attributes() {
        for good in ["a", "edge-1", "A_b", "9"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a.b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("tenant7".parse::<Attribute>().is_ok());
        assert!("tenant_id".parse::<Attribute>().unwrap_err().help.unwrap().ends_with("tenantid"));
        assert!("/a/~1b".parse::<Pointer>().is_ok());
        assert_eq!("a.b".parse::<Pointer>().unwrap_err().help.unwrap(), "write /a/b");
        assert!("/a~".parse::<Pointer>().is_err());
    }

    #[test]
    fn networks_contain_their_addresses() {
        let net: Network = "10.20.0.0/16".parse().unwrap();
        assert!(net.contains("10.20.255.1".parse().unwrap()));
        assert!(net.contains("::ffff:10.20.0.9".parse().unwrap()));
        assert!(!net.contains("10.21.0.1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("9.9.9.9".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("::9".parse().unwrap()));
        assert!("10.0.0.1".parse::<Network>().unwrap().contains("10.0.0.1".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }
}
