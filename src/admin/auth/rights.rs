//! What each role may do: one table. What is not in it is for admins who see everything.

use actix_web::http::Method;

use crate::store::Role;

/// What of a node a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Reach {
    /// Workspaces: the store shows each caller their own.
    Workspaces,
    /// One workspace and what belongs to it, named by the path: it must be the caller's own before anything else is looked at.
    OneWorkspace,
    /// The whole node: not for a token that sees one label's workspaces alone.
    Node,
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Right {
    /// The least role.
    pub(in crate::admin) role: Role,
    /// What it reaches.
    pub(in crate::admin) reach: Reach,
}

/// Method, path, least role, reach. `{}` stands for one segment. Of several lines the first counts.
const RIGHTS: &[(&[Method], &str, Role, Reach)] = &[
    (&[Method::GET], "/metrics", Role::Viewer, Reach::Node),
    (&[Method::GET], "/api/v1/workspaces", Role::Viewer, Reach::Workspaces),
    (&[Method::POST], "/api/v1/workspaces", Role::Operator, Reach::Workspaces),
    (&[Method::POST], "/api/v1/workspaces/check", Role::Operator, Reach::Workspaces),
    (&[Method::POST], "/api/v1/workspaces/import", Role::Operator, Reach::Workspaces),
    (&[Method::POST], "/api/v1/workspaces/actions", Role::Operator, Reach::Node),
    (&[Method::GET], "/api/v1/workspaces/{}", Role::Viewer, Reach::Workspaces),
    (CHANGES, "/api/v1/workspaces/{}", Role::Operator, Reach::Workspaces),
    (&[Method::GET], "/api/v1/workspaces/{}/{}", Role::Viewer, Reach::OneWorkspace),
    (&[Method::POST], "/api/v1/workspaces/{}/{}", Role::Operator, Reach::OneWorkspace),
    (&[Method::GET], "/api/v1/manifest", Role::Viewer, Reach::Workspaces),
    (&[Method::GET], "/api/v1/stream", Role::Viewer, Reach::Workspaces),
    (&[Method::GET], "/api/v1/incidents", Role::Viewer, Reach::Workspaces),
    (&[Method::GET], "/api/v1/incidents/{}", Role::Viewer, Reach::Workspaces),
    (&[Method::GET], "/api/v1/webhooks", Role::Viewer, Reach::Workspaces),
    (&[Method::POST], "/api/v1/webhooks", Role::Operator, Reach::Workspaces),
    (&[Method::GET], "/api/v1/webhooks/{}", Role::Viewer, Reach::Workspaces),
    (CHANGES, "/api/v1/webhooks/{}", Role::Operator, Reach::Workspaces),
    (&[Method::GET], "/api/v1/webhooks/{}/notices", Role::Viewer, Reach::Workspaces),
    (&[Method::POST], "/api/v1/webhooks/{}/{}", Role::Operator, Reach::Workspaces),
    (&[Method::POST], "/api/v1/webhooks/{}/notices/{}/resend", Role::Operator, Reach::Workspaces),
    (&[Method::GET], "/api/v1/apps", Role::Viewer, Reach::Node),
    (&[Method::GET], "/api/v1/apps/{}", Role::Viewer, Reach::Node),
    (&[Method::GET], "/api/v1/stats", Role::Viewer, Reach::Node),
    (&[Method::GET, Method::PUT], "/api/v1/log", Role::Admin, Reach::Node),
    (&[Method::GET], "/api/v1/handlers", Role::Viewer, Reach::Node),
    (&[Method::POST], "/api/v1/handlers/{}/{}", Role::Operator, Reach::Node),
    (&[Method::GET], "/api/v1/events", Role::Viewer, Reach::Workspaces),
    (&[Method::POST], "/api/v1/events/replay", Role::Operator, Reach::Node),
    (&[Method::GET], "/api/v1/events/{}", Role::Viewer, Reach::Workspaces),
    (&[Method::POST], "/api/v1/events/{}/replay", Role::Operator, Reach::Workspaces),
    (&[Method::GET], "/api/v1/deliveries", Role::Viewer, Reach::Workspaces),
    (&[Method::POST], "/api/v1/deliveries/actions", Role::Operator, Reach::Node),
    (&[Method::GET], "/api/v1/deliveries/{}", Role::Viewer, Reach::Workspaces),
    (&[Method::POST], "/api/v1/deliveries/{}/{}", Role::Operator, Reach::Workspaces),
    (&[Method::GET], "/api/v1/routes", Role::Viewer, Reach::Node),
    (&[Method::GET], "/api/v1/routes/{}", Role::Viewer, Reach::Node),
    (&[Method::PUT, Method::DELETE], "/api/v1/routes/{}", Role::Operator, Reach::Node),
    (&[Method::GET], "/api/v1/jobs", Role::Viewer, Reach::Node),
    (&[Method::GET], "/api/v1/jobs/{}", Role::Viewer, Reach::Node),
    (&[Method::POST], "/api/v1/jobs/{}/cancel", Role::Operator, Reach::Node),
];

const CHANGES: &[Method] = &[Method::PUT, Method::PATCH, Method::DELETE];

/// What this request takes. The path is compared as it came: spelt in any odd way it is an admin's alone.
pub(in crate::admin) fn of(method: &Method, path: &str) -> Right {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let line =
        RIGHTS.iter().find(|(methods, pattern, ..)| methods.contains(method) && matches(pattern, path));
    line.map_or(Right { role: Role::Admin, reach: Reach::Node }, |&(_, _, role, reach)| Right { role, reach })
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("{}"), Some(segment)) if !segment.is_empty() => {}
            (Some(word), Some(segment)) if word == segment => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_does_not_name_is_for_admins_who_see_everything() {
        let nobodys = Right { role: Role::Admin, reach: Reach::Node };
        for (method, path) in [
            (Method::GET, "/api/v1/tokens"),
            (Method::DELETE, "/api/v1/tokens/tok_1"),
            (Method::GET, "/api/v1/audit"),
            (Method::GET, "/api/v1/log"),
            (Method::PUT, "/api/v1/log"),
            (Method::GET, "/api/v1/nothing"),
            (Method::GET, "/api/v1/workspaces/"),
            (Method::GET, "/api/v1/%77orkspaces"),
            (Method::GET, "/api/v1/workspaces/a/b/c"),
            (Method::DELETE, "/api/v1/workspaces"),
            (Method::TRACE, "/api/v1/workspaces"),
        ] {
            assert_eq!(of(&method, path), nobodys, "{method} {path}");
        }
    }

    #[test]
    fn viewers_look_and_operators_change() {
        for (method, path, role) in [
            (Method::GET, "/api/v1/workspaces", Role::Viewer),
            (Method::HEAD, "/api/v1/workspaces/acme", Role::Viewer),
            (Method::GET, "/api/v1/workspaces/acme/timeline", Role::Viewer),
            (Method::PUT, "/api/v1/workspaces/acme", Role::Operator),
            (Method::DELETE, "/api/v1/workspaces/acme", Role::Operator),
            (Method::POST, "/api/v1/workspaces/acme/connect", Role::Operator),
        ] {
            let right = of(&method, path);
            assert_eq!(right.role, role, "{method} {path}");
            assert_ne!(right.reach, Reach::Node, "{method} {path}");
        }
    }
}
