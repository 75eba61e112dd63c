//! Where a client really is: `Forwarded` (RFC 7239) and `X-Forwarded-For`, believed only as far as trusted proxies wrote them.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use http::{HeaderMap, header};

/// A network in CIDR notation, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before `/` is no address.
    #[error("not an IP address or network, such as 10.0.0.0/8 or ::1")]
    Address,
    /// What stands behind `/` is no length of a prefix of this address.
    #[error("the length behind '/' is not a number from 0 to 32 (IPv4) or 128 (IPv6)")]
    Prefix,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8` or `127.0.0.1`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(raw: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match raw.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (raw, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(raw) if raw.bytes().all(|b| b.is_ascii_digit()) => {
                raw.parse().ok().filter(|prefix| *prefix <= max).ok_or(NetworkError::Prefix)?
            }
            Some(_) => return Err(NetworkError::Prefix),
        };
        Ok(Self { address, prefix })
    }

    /// Whether the address lies in the network. An IPv4 address in its IPv6 form is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                same_prefix(network.to_bits().into(), address.to_bits().into(), u32::from(self.prefix), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                same_prefix(network.to_bits(), address.to_bits(), u32::from(self.prefix), 128)
            }
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, prefix: u32, bits: u32) -> bool {
    // A shift by all 128 bits is none: then nothing is compared.
    (a ^ b).checked_shr(bits - prefix).is_none_or(|differing| differing == 0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::parse(raw)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The proxies whose word about a client's address is taken. The default trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// Hops that are looked at, from the nearest.
const HOPS_MAX: usize = 32;

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether the address is a trusted proxy's.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client's address: the first, walking back from the socket, that no trusted proxy has.
    ///
    /// Where both headers are there and disagree, one of them was not written by the proxy but passed through from the client. Nobody can
    /// tell which, so neither is believed. What cannot be read is not believed either: then it is the socket's address.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let forwarded = headers.contains_key(header::FORWARDED).then(|| self.walk(forwarded_hops(headers)));
        let x_forwarded = headers.contains_key(X_FORWARDED_FOR).then(|| self.walk(x_forwarded_hops(headers)));
        match (forwarded, x_forwarded) {
            (Some(one), Some(other)) if one == other => one,
            (Some(one), None) | (None, Some(one)) => one,
            _ => None,
        }
        .unwrap_or(peer)
    }

    /// `hops`: from the nearest; `None` among them is what cannot be read.
    fn walk(&self, hops: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut last = None;
        for hop in hops.take(HOPS_MAX) {
            let hop = hop?;
            last = Some(hop);
            if !self.contains(hop) {
                break;
            }
        }
        last
    }
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";

fn x_forwarded_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
    lines.into_iter().rev().flat_map(|line| {
        // A line that is not ASCII is one hop that cannot be read.
        line.to_str().unwrap_or("?").rsplit(',').map(|hop| parse_node(hop.trim()))
    })
}

fn forwarded_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(header::FORWARDED).iter().collect::<Vec<_>>();
    lines.into_iter().rev().flat_map(|line| {
        let elements = line.to_str().ok().and_then(|line| split_quoted(line, ','));
        let mut hops: Vec<_> =
            elements.map_or_else(|| vec![None], |elements| elements.into_iter().map(forwarded_for).collect());
        hops.reverse();
        hops
    })
}

/// The `for` of one element: `for="[2001:db8::17]:4711";proto=http`. `None` if it has none, two, or one without an address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split_quoted(element, ';')? {
        let (name, value) = pair.trim().split_once('=')?;
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        // Quotes elsewhere than around a whole value are somebody's attempt; addresses need no escaped ones.
        if unquoted.contains('"') {
            return None;
        }
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        // An escape has no place in an address, so none is undone.
        Some(quoted) => parse_node(quoted.strip_suffix('"')?),
        None => parse_node(value),
    }
}

/// Splits, but not inside of quotes (RFC 7239 §4: a value may be a quoted string, with `\` before a quote that is part of it).
///
/// `None` if a quote is left open: a client that opens one would swallow what the proxies wrote behind it.
fn split_quoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|c| {
        let separates = c == separator && !quoted;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        separates
    });
    let parts = parts.collect();
    (!quoted).then_some(parts)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_node(node: &str) -> Option<IpAddr> {
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = node.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let bare: IpAddr = node.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    bare.is_ipv6().then(|| bare.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "fd00::/8"].iter().map(|raw| raw.parse().unwrap()).collect())
    }

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        proxies().client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn the_client_is_the_first_that_no_trusted_proxy_has() {
        const XFF: &str = "x-forwarded-for";
        const FWD: &str = "forwarded";
        for (peer, headers, expected) in [
            // An untrusted peer may write what it likes.
            ("192.0.2.9", &[(XFF, "198.51.100.1"), (FWD, "for=198.51.100.1")][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("::ffff:10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            // What stands left of the first untrusted hop was written by a stranger.
            ("10.0.0.1", &[(XFF, "6.6.6.6, 198.51.100.1, 10.2.3.4")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "6.6.6.6"), (XFF, "198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "10.9.9.9, 10.8.8.8")], "10.9.9.9"),
            ("10.0.0.1", &[(XFF, "198.51.100.1:4711")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "[2001:db8::1]:4711")], "2001:db8::1"),
            ("10.0.0.1", &[(XFF, "2001:db8::1")], "2001:db8::1"),
            ("fd00::1", &[(FWD, "for=\"[2001:db8::1]:4711\"")], "2001:db8::1"),
            ("10.0.0.1", &[(FWD, "for=6.6.6.6, For=198.51.100.1;proto=http;by=203.0.113.43")], "198.51.100.1"),
            ("10.0.0.1", &[(FWD, "for=6.6.6.6"), (FWD, "proto=https;for=198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(FWD, "for=198.51.100.1;host=\"a,for=6.6.6.6\"")], "198.51.100.1"),
            ("10.0.0.1", &[(FWD, "for=198.51.100.1"), (XFF, "198.51.100.1")], "198.51.100.1"),
            // One of the two was passed through.
            ("10.0.0.1", &[(FWD, "for=6.6.6.6"), (XFF, "198.51.100.1")], "10.0.0.1"),
            // What cannot be read is not believed.
            ("10.0.0.1", &[(XFF, "unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1,")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "6.6.6.6, caf\u{e9}")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "for=\"198.51.100.1")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "for=198.51.100.1;for=6.6.6.6")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "for=6.6.6.6;x=\", for=198.51.100.1")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "for=6.6.6.6;x=\", for=\"198.51.100.1\"")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "for=6.6.6.6;\"x=, for=198.51.100.1")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "proto=https")], "10.0.0.1"),
            ("10.0.0.1", &[(FWD, "for")], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn networks_are_compared_by_their_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("fd00::/8", "fdff::1", "fc00::1"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        assert!("10.0.0.0/8".parse::<Network>().unwrap().contains("::ffff:10.1.1.1".parse().unwrap()));
        for raw in ["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "::/129", "::/1000"] {
            assert_eq!(raw.parse::<Network>(), Err(NetworkError::Prefix), "{raw}");
        }
        for raw in ["", "/8", "10.0.0", "localhost", "[::1]"] {
            assert_eq!(raw.parse::<Network>(), Err(NetworkError::Address), "{raw}");
        }
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
            any::<u128>().prop_map(|bits| IpAddr::from(core::net::Ipv6Addr::from_bits(bits))),
        ]
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(peer in address(), forwarded in ".{0,80}", x_forwarded in ".{0,80}") {
            let mut headers = HeaderMap::new();
            for (name, text) in [("forwarded", &forwarded), ("x-forwarded-for", &x_forwarded)] {
                if let Ok(value) = http::HeaderValue::from_bytes(text.as_bytes()) {
                    headers.append(name, value);
                }
            }
            proxies().client(peer, &headers);
        }

        /// Whatever is on the left of the first untrusted hop changes nothing.
        #[test]
        fn an_untrusted_hop_is_where_belief_ends(
            peer in address(),
            trusted in proptest::collection::vec(any::<[u8; 3]>(), 0..4),
            stranger in "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
            forged in prop_oneof!["[ -~]{0,40}", "(for=6\\.6\\.6\\.6|x=|[;,\"\\\\a ]){0,12}"],
            in_forwarded in any::<bool>(),
        ) {
            let trusted: Vec<_> = trusted.iter().map(|[a, b, c]| format!("10.{a}.{b}.{c}")).collect();
            let headers = |forged: Option<&str>| {
                let mut hops: Vec<String> = forged.map(str::to_owned).into_iter().collect();
                let real = std::iter::once(stranger.clone()).chain(trusted.iter().cloned());
                hops.extend(real.map(|hop| if in_forwarded { format!("for={hop}") } else { hop }));
                let name = if in_forwarded { "forwarded" } else { "x-forwarded-for" };
                let mut map = HeaderMap::new();
                map.append(name, http::HeaderValue::from_str(&hops.join(", ")).unwrap());
                map
            };
            let stranger_address = stranger.parse::<IpAddr>().ok();
            // A quote that the stranger leaves open may swallow what follows; then nothing can be read, and that is the peer.
            let believed = proxies().client(peer, &headers(Some(&forged)));
            if !proxies().contains(peer) {
                prop_assert_eq!(believed, peer.to_canonical());
            } else if stranger_address.is_some_and(|address| !proxies().contains(address)) {
                let expected = proxies().client(peer, &headers(None));
                prop_assert!(believed == expected || (in_forwarded && forged.contains('"') && believed == peer.to_canonical()));
            }
        }
    }
}
