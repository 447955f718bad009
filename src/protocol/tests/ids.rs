use super::super::interaction::{self, Interaction};
use super::{envelope, fixture};

macro_rules! assert_ids {
    ($name:literal, $callback_id:expr, $action_ids:expr) => {{
        let text = fixture!($name);
        let ids = interaction::read(envelope(text).payload);
        assert_eq!((ids.callback_id.as_deref(), shown(&ids)), ($callback_id, $action_ids.to_vec()), $name);
    }};
}

#[test]
fn an_interaction_bears_the_ids_its_app_gave() {
    const NONE: [&str; 0] = [];
    assert_ids!("interactive_block_actions", None, ["a"]);
    assert_ids!("interactive_block_suggestion", None, ["a"]);
    assert_ids!("interactive_view_submission", Some("c"), NONE);
    assert_ids!("interactive_message_action", Some("m"), NONE);
    assert_ids!("interactive_shortcut", Some("do-something"), NONE);
}

#[test]
fn all_elements_of_one_interaction_count_and_its_own_callback_comes_before_its_views() {
    let ids = interaction::read(
        r#" {"callback_id":"own","view":{"callback_id":"view"},"action_id":"a","actions":[{"action_id":"b"}, {"action_id":"c"}]}"#,
    );
    assert_eq!((ids.callback_id.as_deref(), shown(&ids)), (Some("own"), vec!["a", "b", "c"]));
}

#[test]
fn an_interaction_of_any_shape_has_no_ids_rather_than_an_error() {
    for payload in [
        "",
        "null",
        "[]",
        r#""text""#,
        r#"["callback_id","x"]"#,
        r#"{"callback_id":7,"view":"v","action_id":null,"actions":{"action_id":"a"}}"#,
        r#"{"callback_id":"","view":{"callback_id":[]},"actions":[7,null,{"action_id":""},["action_id"]]}"#,
    ] {
        assert_eq!(interaction::read(payload), Interaction::default(), "{payload}");
    }
    assert_eq!(shown(&interaction::read(r#"{"actions":[{"action_id":"a"},"#)), [""; 0]);
}

fn shown<'a>(ids: &'a Interaction<'_>) -> Vec<&'a str> {
    ids.action_ids.iter().map(|id| &**id).collect()
}
