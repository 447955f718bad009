//! How often an address may be wrong. Whoever bears a right token is not asked: nobody is locked out by somebody else's guesses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many at once.
const BURST: u32 = 10;
/// And then one in this time.
const STEP: Duration = Duration::from_secs(6);
/// Addresses that are remembered. Of more the one that was wrong longest ago is forgotten.
const MAX_ADDRESSES: usize = 4096;

/// Who was wrong lately.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, Wrong>>);

#[derive(Clone, Copy, Debug)]
struct Wrong {
    times: u32,
    /// When one of them is next forgotten, less a step.
    since: Duration,
}

impl Wrong {
    fn at(self, now: Duration) -> Self {
        let steps = now.saturating_sub(self.since).as_millis() / STEP.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        Self { times: self.times.saturating_sub(steps), since: self.since.saturating_add(STEP * steps) }
    }
}

impl Guesses {
    /// How long this address has to wait before it may be wrong again; none when it need not.
    pub(super) fn wait(&self, address: Option<IpAddr>, now: Duration) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = all.get(&network(address))?.at(now);
        (wrong.times >= BURST).then(|| wrong.since.saturating_add(STEP).saturating_sub(now))
    }

    /// This address was wrong.
    pub(super) fn wrong(&self, address: Option<IpAddr>, now: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&address) {
            all.retain(|_, wrong| wrong.at(now).times > 0);
            let oldest = all.iter().min_by_key(|(_, wrong)| wrong.since).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| all.len() >= MAX_ADDRESSES) {
                all.remove(&oldest);
            }
        }
        let wrong = all.entry(address).or_insert(Wrong { times: 0, since: now });
        *wrong = wrong.at(now);
        if wrong.times == 0 {
            wrong.since = now;
        }
        wrong.times = wrong.times.saturating_add(1).min(BURST);
    }
}

/// Who has one IPv6 address has 2^64 of them.
fn network(address: Option<IpAddr>) -> IpAddr {
    match address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |address| address.to_canonical()) {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn an_address_may_be_wrong_ten_times_and_then_once_in_six_seconds() {
        let guesses = Guesses::default();
        let home = Some([192, 0, 2, 1].into());
        for _ in 0..BURST {
            assert_eq!(guesses.wait(home, NOW), None);
            guesses.wrong(home, NOW);
        }
        assert_eq!(guesses.wait(home, NOW), Some(STEP));
        assert_eq!(guesses.wait(Some([192, 0, 2, 2].into()), NOW), None, "others are not asked to wait");
        let later = NOW + STEP;
        assert_eq!(guesses.wait(home, later), None);
        guesses.wrong(home, later);
        assert_eq!(guesses.wait(home, later), Some(STEP));
        assert_eq!(guesses.wait(home, later + STEP * BURST), None);
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together() {
        let guesses = Guesses::default();
        for host in 0..u128::from(BURST) {
            let address = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | host);
            guesses.wrong(Some(address.into()), NOW);
        }
        assert!(guesses.wait(Some("2001:db8::ffff".parse().unwrap()), NOW).is_some());
        assert_eq!(guesses.wait(Some("2001:db8:0:1::1".parse().unwrap()), NOW), None);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let guesses = Guesses::default();
        for host in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 10 {
            guesses.wrong(Some(std::net::Ipv4Addr::from_bits(host).into()), NOW);
        }
        assert_eq!(guesses.0.lock().unwrap().len(), MAX_ADDRESSES);
    }
}
