//! What of a payload is looked at, still raw: gathered while the frame around it is read, before its kind is known.

use crate::protocol::scan::Scanner;

/// A value as it is written; empty when it is absent, which reads as a value of a wrong type does.
type Raw<'a> = &'a str;

/// The members of a payload of any kind, the last of each name.
#[derive(Clone, Default)]
pub(in crate::protocol) struct Members<'a> {
    pub(super) kind: Raw<'a>,
    pub(super) command: Raw<'a>,
    pub(super) event: Option<Inner<'a>>,
    pub(super) event_id: Raw<'a>,
    pub(super) api_app_id: Raw<'a>,
    pub(super) authorizations: Raw<'a>,
    pub(super) is_enterprise_install: Raw<'a>,
    pub(super) team: Raw<'a>,
    pub(super) team_id: Raw<'a>,
    pub(super) enterprise: Raw<'a>,
    pub(super) enterprise_id: Raw<'a>,
    pub(super) user: Raw<'a>,
    pub(super) view: Raw<'a>,
    pub(super) channel: Raw<'a>,
    pub(super) channel_id: Raw<'a>,
    pub(super) container: Raw<'a>,
    pub(super) response_url: Raw<'a>,
    pub(super) response_urls: Raw<'a>,
}

/// The members of the event in an `events_api` payload.
#[derive(Clone, Default)]
pub(super) struct Inner<'a> {
    pub(super) kind: Raw<'a>,
    pub(super) channel: Raw<'a>,
    pub(super) channel_id: Raw<'a>,
    pub(super) item: Raw<'a>,
}

impl<'a> Members<'a> {
    /// Passes over a payload and gathers on the way. None when it is no JSON; one that is no object has no members.
    pub(in crate::protocol) fn gather(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut members = Self::default();
        if scanner.peek() != Some(b'{') {
            scanner.value()?;
            return Some(members);
        }
        scanner.object(|scanner, key| {
            let member = match key {
                b"event" if scanner.peek() == Some(b'{') => {
                    members.event = Some(Inner::gather(scanner)?);
                    return Some(());
                }
                b"event" => {
                    members.event = None;
                    return scanner.value().map(drop);
                }
                b"type" => &mut members.kind,
                b"command" => &mut members.command,
                b"event_id" => &mut members.event_id,
                b"api_app_id" => &mut members.api_app_id,
                b"authorizations" => &mut members.authorizations,
                b"is_enterprise_install" => &mut members.is_enterprise_install,
                b"team" => &mut members.team,
                b"team_id" => &mut members.team_id,
                b"enterprise" => &mut members.enterprise,
                b"enterprise_id" => &mut members.enterprise_id,
                b"user" => &mut members.user,
                b"view" => &mut members.view,
                b"channel" => &mut members.channel,
                b"channel_id" => &mut members.channel_id,
                b"container" => &mut members.container,
                b"response_url" => &mut members.response_url,
                b"response_urls" => &mut members.response_urls,
                _ => return scanner.value().map(drop),
            };
            *member = scanner.value()?;
            Some(())
        })?;
        Some(members)
    }
}

impl<'a> Inner<'a> {
    fn gather(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut inner = Self::default();
        scanner.object(|scanner, key| {
            let member = match key {
                b"type" => &mut inner.kind,
                b"channel" => &mut inner.channel,
                b"channel_id" => &mut inner.channel_id,
                b"item" => &mut inner.item,
                _ => return scanner.value().map(drop),
            };
            *member = scanner.value()?;
            Some(())
        })?;
        Some(inner)
    }
}
