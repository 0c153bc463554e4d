//! Webhooks: how deliveries are signed, when they are tried again, and which addresses are none of our business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::{Host, Url};

/// What secrets begin with.
const SECRET_PREFIX: &str = "whsec_";
/// Waits before each further attempt: a receiver may be away for a night.
const WAITS: [u64; 9] = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800];

/// A new secret: 256 random bits.
///
/// # Errors
/// The system has no randomness to give.
pub fn new_secret() -> Result<String, getrandom::Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(format!("{SECRET_PREFIX}{}", BASE64.encode(key)))
}

/// The signature of a body, as Standard Webhooks has it; none where the secret is none.
#[must_use]
pub fn signature(secret: &str, id: &str, timestamp: i64, body: &str) -> Option<String> {
    let key = BASE64.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    let mut hmac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    hmac.update(format!("{id}.{timestamp}.").as_bytes());
    hmac.update(body.as_bytes());
    Some(format!("v1,{}", BASE64.encode(hmac.finalize().into_bytes())))
}

/// How long to wait after so many attempts; none where it is given up.
#[must_use]
pub fn wait_after(attempts: u32) -> Option<Duration> {
    let place = usize::try_from(attempts.checked_sub(1)?).ok()?;
    WAITS.get(place).map(|&seconds| Duration::from_secs(seconds))
}

/// Whether addresses of this machine and of private networks may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Private {
    /// They may not: whoever makes webhooks could reach what only this machine can.
    #[default]
    Refused,
    /// They may.
    Allowed,
}

impl Private {
    /// Whether an address may be asked.
    #[must_use]
    pub fn admits(self, address: IpAddr) -> bool {
        self == Self::Allowed || is_public(address)
    }
}

/// Reads where deliveries go, as far as it can be judged without asking for the name's addresses.
///
/// # Errors
/// What is wrong with it.
pub fn read_url(text: &str, private: Private) -> Result<Url, &'static str> {
    if text.len() > 2000 {
        return Err("it is longer than 2000 bytes");
    }
    let url = Url::parse(text).map_err(|_| "it is no address")?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("it has to begin with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it cannot hold a name or password: check the signature instead");
    }
    let address = match url.host() {
        None => return Err("it names no host"),
        Some(Host::Domain(_)) => None,
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
    };
    if address.is_some_and(|address| !private.admits(address)) {
        return Err(NOT_PUBLIC);
    }
    Ok(url)
}

/// Why an address is not asked.
pub const NOT_PUBLIC: &str = "it leads to this machine or a private network, where this coordinator does not deliver \
                              without --webhooks-private";

/// Whether an address is one of the public internet. What is not known to be is not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        // Shared by the customers of a provider; benchmarks; assignments of protocols.
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        // Multicast, reserved, broadcast.
        || a >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is given out; of that not the tunnels, which hide an IPv4 address, and the documentation's.
    let is_given_out = a & 0xe000 == 0x2000;
    let is_tunnel = a == 0x2002 || (a == 0x2001 && b < 0x0200);
    let is_documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    is_given_out && !is_tunnel && !is_documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(
            signed.as_deref(),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
        assert_eq!(signature("no secret", "id", 0, ""), None);
        let made = new_secret().unwrap_or_else(|error| panic!("{error}"));
        assert!(signature(&made, "id", 0, "").is_some());
    }

    #[test]
    fn a_delivery_is_tried_ten_times_and_waits_longer_each_time() {
        let waits: Vec<Duration> = (1..).map_while(wait_after).collect();
        assert_eq!(waits.len(), 9);
        assert!(waits.is_sorted());
        assert_eq!(wait_after(0), None);
        assert_eq!(wait_after(10), None);
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_asked() {
        for public in [
            "8.8.8.8",
            "203.0.114.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            let address = public.parse().unwrap_or_else(|_| panic!("{public}"));
            assert!(Private::Refused.admits(address), "{public}");
        }
        for private in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:1::",
            "2001:db8::1",
            "3fff::1",
        ] {
            let address = private.parse().unwrap_or_else(|_| panic!("{private}"));
            assert!(!Private::Refused.admits(address), "{private}");
            assert!(Private::Allowed.admits(address), "{private}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_right_is_refused_when_it_is_given() {
        let read = |text: &str| read_url(text, Private::Refused).map(drop);
        assert_eq!(read("https://hooks.example/motif?x=1"), Ok(()));
        for wrong in [
            "",
            "hooks.example",
            "ftp://hooks.example",
            "file:///etc/passwd",
            "https://user:pw@hooks.example",
            "http://127.0.0.1:9000",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read_url("http://127.0.0.1:9000", Private::Allowed).is_ok());
    }
}
