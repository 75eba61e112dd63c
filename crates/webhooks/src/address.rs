//! Which addresses are the public internet's. All others are somebody's inside, where a webhook has no business unless the operator says so.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address can be reached by everybody and is nobody's special purpose (the registries of RFC 6890). An IPv4 address that is written inside of
/// an IPv6 one, by whichever of the known ways, is looked at as what it is.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => embedded(address).map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network; multicast; reserved, with the broadcast address.
        (0 | 224..=255, ..) => true,
        // Private; shared between a carrier's customers (RFC 6598); loopback; link-local, where clouds tell secrets.
        (10 | 127, ..) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments; documentation; the old relays of 6to4; benchmarks (RFC 2544).
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) | (198, 18..=19, _) => true,
        // Reached from every cloud's inside only.
        (168, 63, 129) => address == Ipv4Addr::new(168, 63, 129, 16),
        _ => false,
    };
    !special
}

/// Only what was given out for the whole world (2000::/3), less what is special in it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let special = match (a, b) {
        // IETF protocol assignments with Teredo, ORCHID and benchmarks; documentation.
        (0x2001, 0..=0x01ff | 0x0db8) | (0x3fff, 0..=0x0fff) => true,
        _ => false,
    };
    a & 0xe000 == 0x2000 && !special
}

/// The IPv4 address inside: mapped, compatible, translated (NAT64), 6to4, ISATAP.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // Mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96, RFC 2765), compatible (::/96), of which :: and ::1 are no IPv4 addresses but are not public either.
        [0, 0, 0, 0, 0, 0 | 0xffff, g, h] | [0, 0, 0, 0, 0xffff, 0, g, h] => Some(low(g, h)),
        [0x0064, 0xff9b, 0, 0, 0, 0, g, h] => Some(low(g, h)),
        // A translator's own prefix (RFC 8215): its addresses are the operator's inside, wherever it leads.
        [0x0064, 0xff9b, 1, ..] => Some(Ipv4Addr::LOCALHOST),
        [0x2002, b, c, ..] => Some(low(b, c)),
        [.., 0 | 0x0200, 0x5efe, g, h] => Some(low(g, h)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn what_is_inside_is_not_public() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!public(inside), "{inside}");
            let inside: Ipv4Addr = inside.parse().unwrap();
            let [a, b, c, d] = inside.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for way in [
                format!("::ffff:{inside}"),
                format!("::{inside}"),
                format!("::ffff:0:{inside}"),
                format!("64:ff9b::{inside}"),
                format!("2002:{high:x}:{low:x}::1"),
                format!("2606:4700::5efe:{inside}"),
                format!("2606:4700::200:5efe:{inside}"),
            ] {
                assert!(!public(&way), "{way}");
            }
        }
        for inside in [
            "::",
            "::1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "4000::1",
            "5f00::1",
        ] {
            assert!(!public(inside), "{inside}");
        }
    }

    #[test]
    fn the_neighbours_of_what_is_inside_are_public() {
        for outside in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::1.1.1.1",
            "::ffff:1.1.1.1",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2002:101:101::1",
        ] {
            assert!(public(outside), "{outside}");
        }
    }
}
