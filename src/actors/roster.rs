//! Whose event is it: the workspaces seated on an app, as a link sees them.

use std::sync::{PoisonError, RwLock};

use crate::ids::WorkspaceId;
use crate::protocol::routing::Routing;
use crate::store::{Desired, Seat};

/// The seats of one app, shared by its connection and its links. Replaced whole when something changes.
#[derive(Debug)]
pub(super) struct Roster(RwLock<Vec<Seat>>);

/// What the roster says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This workspace's.
    Of(WorkspaceId),
    /// This workspace's, whose team was not known until now: it is the app's only one.
    Learnt(WorkspaceId),
    /// Nobody's here, or of a workspace that is wanted off while others keep the app on line: kept under the app, never handed to some
    /// other tenant.
    Nobody,
}

impl Roster {
    /// The roster of these seats.
    pub(super) fn new(seats: Vec<Seat>) -> Self {
        Self(RwLock::new(seats))
    }

    /// From now on these.
    pub(super) fn replace(&self, seats: Vec<Seat>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = seats;
    }

    /// Whose event this is, by the team or organisation it was delivered for.
    pub(super) fn owner(&self, routing: &Routing<'_>) -> Owner {
        let team = routing.team_id.as_deref();
        let enterprise = routing.enterprise_id.as_deref();
        let seats = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let by_team = team.and_then(|team| seats.iter().find(|seat| seat.team_id.as_deref() == Some(team)));
        // Where an app is installed in an organisation as a whole, the seat has no team and stands for all of them.
        let by_org = || {
            let enterprise = enterprise?;
            seats
                .iter()
                .find(|seat| seat.team_id.is_none() && seat.enterprise_id.as_deref() == Some(enterprise))
        };
        // For an install in a whole organisation the team is where the event happened, which says nothing of the install.
        let seat = if routing.is_enterprise_install { by_org().or(by_team) } else { by_team.or_else(by_org) };
        if let Some(seat) = seat {
            // While all are wanted off, what is still on its way is theirs.
            let is_off = seat.desired == Desired::Disconnected
                && seats.iter().any(|seat| seat.desired == Desired::Connected);
            return if is_off { Owner::Nobody } else { Owner::Of(seat.workspace) };
        }
        match seats.as_slice() {
            [only] if only.team_id.is_none() && only.enterprise_id.is_none() => {
                let tells = enterprise.is_some() || (team.is_some() && !routing.is_enterprise_install);
                if tells { Owner::Learnt(only.workspace) } else { Owner::Of(only.workspace) }
            }
            _ => Owner::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::ids::WorkspaceName;
    use crate::protocol::routing;

    #[test]
    fn an_event_goes_to_the_workspace_of_its_team_and_to_no_other() {
        let roster = Roster::new(vec![seat(1, Some("T1"), None), seat(2, Some("T2"), None)]);
        assert_eq!(owner(&roster, r#"{"team_id":"T2"}"#), Owner::Of(WorkspaceId(2)));
        assert_eq!(owner(&roster, r#"{"team_id":"T3"}"#), Owner::Nobody);
        assert_eq!(owner(&roster, "{}"), Owner::Nobody);
    }

    #[test]
    fn the_only_workspace_of_an_app_learns_its_team_from_its_first_event_and_keeps_it() {
        let new = Roster::new(vec![seat(1, None, None)]);
        assert_eq!(owner(&new, r#"{"team_id":"T9"}"#), Owner::Learnt(WorkspaceId(1)));
        let known = Roster::new(vec![seat(1, Some("T1"), None)]);
        assert_eq!(owner(&known, r#"{"team_id":"T9"}"#), Owner::Nobody);
    }

    #[test]
    fn where_an_event_of_an_organisation_s_install_happened_tells_nothing_of_the_install() {
        let new = Roster::new(vec![seat(1, None, None)]);
        let event = |enterprise: &str| {
            format!(r#"{{"authorizations":[{{{enterprise}"team_id":"T7","is_enterprise_install":true}}]}}"#)
        };
        assert_eq!(owner(&new, &event(r#""enterprise_id":"E1","#)), Owner::Learnt(WorkspaceId(1)));
        assert_eq!(owner(&new, &event("")), Owner::Of(WorkspaceId(1)));
    }

    #[test]
    fn an_organisation_install_stands_for_all_teams_of_the_organisation() {
        let roster = Roster::new(vec![seat(1, None, Some("E1")), seat(2, Some("T2"), Some("E1"))]);
        let event = |team: &str| {
            format!(
                r#"{{"team_id":"{team}","authorizations":[{{"enterprise_id":"E1","team_id":"{team}","is_enterprise_install":true}}]}}"#
            )
        };
        assert_eq!(owner(&roster, &event("T7")), Owner::Of(WorkspaceId(1)));
        assert_eq!(owner(&roster, &event("T2")), Owner::Of(WorkspaceId(1)));
        assert_eq!(owner(&roster, r#"{"team_id":"T2","enterprise_id":"E1"}"#), Owner::Of(WorkspaceId(2)));
    }

    #[test]
    fn a_workspace_wanted_off_gets_nothing_while_others_keep_the_app_on_line_and_nobody_gets_it_in_its_place()
    {
        let off = |seat| Seat { desired: Desired::Disconnected, ..seat };
        let org = || seat(1, None, Some("E1"));
        let event = r#"{"team_id":"T2","enterprise_id":"E1"}"#;
        let roster = Roster::new(vec![org(), off(seat(2, Some("T2"), Some("E1")))]);
        assert_eq!(owner(&roster, event), Owner::Nobody);
        assert_eq!(owner(&roster, r#"{"team_id":"T3","enterprise_id":"E1"}"#), Owner::Of(WorkspaceId(1)));
        let draining = Roster::new(vec![off(org()), off(seat(2, Some("T2"), Some("E1")))]);
        assert_eq!(owner(&draining, event), Owner::Of(WorkspaceId(2)));
    }

    fn owner(roster: &Roster, payload: &str) -> Owner {
        roster.owner(&routing::read(Kind::EventsApi, payload))
    }

    fn seat(id: i64, team: Option<&str>, enterprise: Option<&str>) -> Seat {
        Seat {
            workspace: WorkspaceId(id),
            name: WorkspaceName::parse("w").unwrap(),
            team_id: team.map(str::to_owned),
            enterprise_id: enterprise.map(str::to_owned),
            desired: Desired::Connected,
            bot_ms: None,
            trouble: None,
        }
    }
}
