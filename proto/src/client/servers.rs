//! Which coordinator is asked, where several serve one database.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Url;

use super::ClientError;

/// Coordinators of one database, in the order in which they are tried. Clones turn to the same one.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    list: Arc<[(Url, String)]>,
    current: Arc<AtomicUsize>,
}

impl Servers {
    /// Reads addresses with commas between.
    pub(super) fn parse(given: &str) -> Result<Self, ClientError> {
        let list: Vec<(Url, String)> = given
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(|address| {
                let base = parse_base(address)?;
                let name = base.as_str().trim_end_matches('/').to_owned();
                Ok((base, name))
            })
            .collect::<Result<_, ClientError>>()?;
        if list.is_empty() {
            parse_base(given)?;
        }
        Ok(Self {
            list: list.into(),
            current: Arc::default(),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// The one to ask now: its address, and the same without a slash at its end.
    pub(super) fn current(&self) -> (&Url, &str) {
        let (base, name) = &self.list[self.current.load(Ordering::Relaxed) % self.list.len()];
        (base, name)
    }

    /// The address of one of them, without a slash at its end.
    pub(super) fn name(&self, server: usize) -> &str {
        &self.list[server % self.list.len()].1
    }

    /// Which of them an address of a request belongs to.
    pub(super) fn of(&self, url: &Url) -> usize {
        let belongs = |(base, _): &(Url, String)| {
            base.origin() == url.origin() && url.path().starts_with(base.path().trim_end_matches('/'))
        };
        // Two may differ only in the path before the API's: the longest counts.
        let found = self.list.iter().enumerate().filter(|(_, server)| belongs(server));
        found
            .max_by_key(|(i, (base, _))| (base.path().len(), usize::MAX - i))
            .map_or(0, |(i, _)| i)
    }

    /// Asks the next one from now on, unless somebody has turned away from this one already.
    pub(super) fn turn_away_from(&self, server: usize) {
        let next = (server + 1) % self.list.len();
        // Another may have been quicker; then it is as it should be.
        let _ = self
            .current
            .compare_exchange(server, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The address of the same request at the coordinator that is asked after `server`.
    pub(super) fn moved(&self, url: &Url, server: usize) -> Url {
        let (from, _) = &self.list[server % self.list.len()];
        let (to, _) = &self.list[(server + 1) % self.list.len()];
        let path = url.path().strip_prefix(from.path().trim_end_matches('/'));
        let mut moved = to.clone();
        moved.set_path(&format!(
            "{}{}",
            to.path().trim_end_matches('/'),
            path.unwrap_or_default()
        ));
        moved.set_query(url.query());
        moved
    }

    pub(super) fn are_on_this_machine(&self) -> bool {
        self.list.iter().all(|(base, _)| is_this_machine(base))
    }
}

fn parse_base(given: &str) -> Result<Url, ClientError> {
    let invalid = |reason: &str| ClientError::InvalidServer {
        given: given.to_owned(),
        reason: reason.to_owned(),
    };
    let url = Url::parse(given.trim()).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("it must begin with http:// or https:// and name a host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it must end before any `?` or `#`"));
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_move_from_one_coordinator_to_the_next_with_path_and_query() {
        let servers = Servers::parse("http://a:1, https://b/lab/ ,http://a:1/second").expect("addresses");
        assert_eq!(servers.count(), 3);
        assert_eq!(servers.current().1, "http://a:1");
        let url: Url = "http://a:1/api/v1/runs?limit=3".parse().expect("an address");
        assert_eq!(servers.of(&url), 0);
        let second = servers.moved(&url, 0);
        assert_eq!(second.as_str(), "https://b/lab/api/v1/runs?limit=3");
        assert_eq!(servers.of(&second), 1);
        let third = servers.moved(&second, 1);
        assert_eq!(third.as_str(), "http://a:1/second/api/v1/runs?limit=3");
        assert_eq!(servers.of(&third), 2);
        assert_eq!(servers.moved(&third, 2), url);
    }

    #[test]
    fn one_failure_turns_everybody_to_the_next_once() {
        let servers = Servers::parse("http://a,http://b").expect("addresses");
        servers.clone().turn_away_from(0);
        servers.turn_away_from(0);
        assert_eq!(servers.current().1, "http://b");
        servers.turn_away_from(1);
        assert_eq!(servers.current().1, "http://a");
    }

    #[test]
    fn every_address_of_a_list_has_to_be_one() {
        for wrong in ["", ",", "http://a,b", "ftp://a", "http://a?x"] {
            assert!(Servers::parse(wrong).is_err(), "{wrong}");
        }
    }
}
