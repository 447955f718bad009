//! `?wait=10s`: an answer that comes when what was asked for is so. It waits on what the connection publishes; nothing is polled.

use std::time::Duration;

use actix_web::HttpRequest;
use tokio::sync::watch;

use super::problem::Problem;
use super::query::{self, Taken, digits};
use super::{Steered, Steering};
use crate::ids::Generation;
use crate::status::{LinkState, State, Status};

const LONGEST: Duration = Duration::from_secs(60);

/// How long the answer may wait; not at all where nobody says.
pub(super) fn parse(request: &HttpRequest) -> Result<Option<Duration>, Problem> {
    let mut wait = None;
    query::read(request, "wait", |key, value| match key {
        "wait" => Taken::of(duration(value).map(Some), &mut wait),
        _ => Taken::Unknown,
    })?;
    Ok(wait)
}

/// `10`, `10s` or `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wait = match text.strip_suffix("ms") {
        Some(ms) => digits(ms).map(Duration::from_millis),
        None => digits(text.strip_suffix('s').unwrap_or(text)).map(Duration::from_secs),
    };
    wait.filter(|wait| *wait <= LONGEST).ok_or_else(|| "a time of at most 60s, as 10s or 500ms".to_owned())
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Events flow and no link is on its way.
    Online,
    /// Nothing is open.
    Offline,
    /// Online, over links that were not there before.
    Fresh,
}

/// How the wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is so, or a person must act before it can be.
    Settled,
    /// Not within the time, or not any more: somebody has decided otherwise.
    Open,
}

/// Waits until the connection has taken up what was asked, or the time is over.
pub(super) async fn obeyed(steering: Steering, within: Duration) {
    drop(actix_rt::time::timeout(within, steering).await);
}

/// Waits for the goal.
pub(super) async fn reached(goal: Goal, steering: Steering, within: Duration) -> Ended {
    let waiting = async {
        let Steered { mut status, youngest } = steering.await?;
        settles(goal, &mut status, youngest).await
    };
    match actix_rt::time::timeout(within, waiting).await {
        Ok(Some(ended)) => ended,
        Ok(None) | Err(_) => Ended::Open,
    }
}

async fn settles(
    goal: Goal,
    status: &mut watch::Receiver<Status>,
    youngest: Option<Generation>,
) -> Option<Ended> {
    let mut ended = None;
    // Gone with its sender: the app is no more.
    status
        .wait_for(|status| {
            ended = goal.judge(status, youngest);
            ended.is_some()
        })
        .await
        .ok()?;
    ended
}

impl Goal {
    /// None while it may still be reached.
    fn judge(self, status: &Status, youngest: Option<Generation>) -> Option<Ended> {
        let opening = status.links.iter().any(|link| link.state == LinkState::Opening);
        let fresh = status.links.iter().all(|link| youngest.is_none_or(|old| link.generation > old));
        match (self, status.state) {
            (Self::Offline, State::Disconnected) => Some(Ended::Settled),
            (Self::Offline, _) => None,
            (Self::Online | Self::Fresh, State::Failed) => Some(Ended::Settled),
            (Self::Online | Self::Fresh, State::Disconnecting | State::Disconnected) => Some(Ended::Open),
            (Self::Online, State::Ready) if !opening => Some(Ended::Settled),
            (Self::Fresh, State::Ready) if !opening && fresh => Some(Ended::Settled),
            (
                Self::Online | Self::Fresh,
                State::Ready
                | State::Connecting
                | State::Authenticated
                | State::Connected
                | State::Reconnecting,
            ) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::status::{Health, LinkStatus};

    #[test]
    fn a_wait_is_told_in_seconds_or_milliseconds_and_is_at_most_a_minute() {
        for (text, ms) in [("10s", 10_000), ("10", 10_000), ("500ms", 500), ("0", 0), ("60s", 60_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "ms", "61s", "60001ms", "-1", "+5", "1.5s", "1m", "01", "99999999999999999999"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        let parse = |query: &str| {
            parse(&TestRequest::default().uri(&format!("/{query}")).to_http_request()).map_err(|_| ())
        };
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("?wait=10s&wiat=10s"), Err(()));
    }

    #[test]
    fn online_is_ready_with_nothing_on_its_way_and_failed_ends_the_wait_too() {
        let judge = |state, links: &[_]| Goal::Online.judge(&status(state, links), None);
        assert_eq!(judge(State::Ready, &[(1, LinkState::Live)]), Some(Ended::Settled));
        assert_eq!(judge(State::Ready, &[(1, LinkState::Live), (2, LinkState::Opening)]), None);
        assert_eq!(judge(State::Failed, &[]), Some(Ended::Settled));
        assert_eq!(judge(State::Reconnecting, &[]), None);
        assert_eq!(judge(State::Disconnected, &[]), Some(Ended::Open), "somebody has switched it off");
    }

    #[test]
    fn fresh_waits_until_the_last_old_link_has_gone() {
        let judge = |links: &[_]| Goal::Fresh.judge(&status(State::Ready, links), Some(Generation(4)));
        assert_eq!(judge(&[(4, LinkState::Live), (5, LinkState::Live)]), None);
        assert_eq!(judge(&[(4, LinkState::Closing), (5, LinkState::Live)]), None);
        assert_eq!(judge(&[(5, LinkState::Live)]), Some(Ended::Settled));
    }

    #[actix_web::test]
    async fn a_wait_ends_when_the_status_says_so_and_when_the_time_is_over() {
        let (tell, status_of) = watch::channel(status(State::Connecting, &[]));
        let steering = |status| -> Steering { Box::pin(async { Some(Steered { status, youngest: None }) }) };
        let ended = actix_rt::spawn(reached(Goal::Online, steering(status_of.clone()), LONGEST));
        tell.send_replace(status(State::Ready, &[(1, LinkState::Live)]));
        assert_eq!(ended.await.unwrap(), Ended::Settled);
        let soon = Duration::from_millis(5);
        assert_eq!(reached(Goal::Offline, steering(status_of.clone()), soon).await, Ended::Open);
        drop(tell);
        assert_eq!(reached(Goal::Offline, steering(status_of), LONGEST).await, Ended::Open);
        assert_eq!(reached(Goal::Offline, Box::pin(async { None }), LONGEST).await, Ended::Open);
    }

    fn status(state: State, links: &[(u64, LinkState)]) -> Status {
        let link = |(generation, state): &(u64, LinkState)| LinkStatus {
            generation: Generation(*generation),
            state: *state,
            opened_ms: None,
            host: None,
            pong_ms: None,
            num_connections: None,
        };
        Status { state, health: Health::Ok, links: links.iter().map(link).collect(), ..Status::off(0) }
    }
}
