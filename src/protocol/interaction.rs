//! By what an interaction finds who asked for it: the ids that apps give to their views, shortcuts and elements.

use std::borrow::Cow;

use super::peek;

/// The ids in an interaction's payload, as Slack wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interaction<'a> {
    /// Of the shortcut, dialog or message that it is about, else of the view that it happened in.
    pub callback_id: Option<Cow<'a, str>>,
    /// Of the elements that were used; of the one that asks for options.
    pub action_ids: Vec<Cow<'a, str>>,
}

/// The ids of a payload that stands alone. Never fails: what is missing or of a wrong type is none.
pub fn read(payload: &str) -> Interaction<'_> {
    let (mut callback, mut view, mut action, mut actions) = ("", "", "", "");
    if payload.trim_start().starts_with('{') {
        peek::object(payload, |key, value| match key {
            b"callback_id" => callback = value,
            b"view" => view = value,
            b"action_id" => action = value,
            b"actions" => actions = value,
            _ => {}
        });
    }
    let of_view = || peek::member(view, "callback_id").and_then(peek::word);
    let mut action_ids: Vec<_> = peek::word(action).into_iter().collect();
    peek::items(actions, |item| {
        action_ids.extend(peek::member(item, "action_id").and_then(peek::word));
    });
    Interaction { callback_id: peek::word(callback).or_else(of_view), action_ids }
}
