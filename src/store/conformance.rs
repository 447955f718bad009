//! What every store promises, as tests. A database joins by saying how it is opened: see [`Ground`].

pub(in crate::store) mod accounts;
pub(in crate::store) mod answers;
pub(in crate::store) mod apps;
pub(in crate::store) mod archive;
pub(in crate::store) mod audit;
pub(in crate::store) mod deliveries;
pub(in crate::store) mod events;
pub(in crate::store) mod keys;
pub(in crate::store) mod retention;
pub(in crate::store) mod routes;
pub(in crate::store) mod webhooks;
pub(in crate::store) mod workspaces;

use std::sync::Arc;

use crate::config::KeySource;
use crate::event::{DedupeKey, Event, Kind};
use crate::ids::{AppId, HandlerId, Seq, WorkspaceName, WriterId};
use crate::secret::{AppToken, BotToken};
use crate::store::{
    Change, DeliveryId, DeliveryMode, Desired, OpenOptions, Put, Secret, Store, When, WorkspaceSpec,
};

/// A place where a store lives and can be opened again after it was closed.
pub(in crate::store) trait Ground {
    /// Opens the store of this place.
    async fn open(&self) -> Box<dyn Store>;

    /// The key it is opened with.
    fn key(&self) -> KeySource;

    /// What opens it with other keys.
    fn with_key(&self, key: KeySource) -> OpenOptions;
}

/// Runs the suite on a [`Ground`]: one test for each promise.
macro_rules! conformance {
    ($ground:expr) => {
        $crate::store::conformance::run! { $ground;
            workspaces: a_workspace_is_created_updated_and_left_alone_by_the_same_body;
            workspaces: an_absent_secret_is_kept_and_null_removes_it;
            workspaces: names_come_sorted_and_in_pages;
            workspaces: a_list_goes_by_name_or_time_either_way_and_names_decide_where_times_are_equal;
            workspaces: a_change_made_to_depend_on_a_version_is_refused_once_somebody_else_has_changed_it;
            workspaces: what_a_connection_learns_moves_no_version;
            workspaces: what_must_not_be_there_yet_is_made_once;
            workspaces: what_decides_what_is_shown_of_each_workspace_is_read_at_once;
            workspaces: a_removed_workspace_is_gone_with_its_tokens_and_its_name_is_free;
            workspaces: two_workspaces_of_one_app_and_team_are_a_conflict;
            workspaces: a_learnt_team_stays_until_another_is_learnt;
            workspaces: all_of_it_is_there_after_reopening;
            workspaces: a_trouble_stays_until_something_that_mends_it_and_what_came_before_that_is_stale;
            workspaces: slack_disproves_what_was_believed_and_nothing_else_nor_later;
            workspaces: a_trouble_and_a_limit_are_there_after_reopening;
            apps: a_token_already_known_seats_the_workspace_on_its_app;
            apps: a_second_token_of_the_same_slack_app_becomes_the_candidate;
            apps: a_new_token_of_a_workspaces_own_app_is_a_candidate_until_promoted_or_dropped;
            apps: the_token_in_force_put_again_ends_a_candidacy;
            apps: an_id_that_no_hello_has_proven_neither_seats_nor_refuses_anybody;
            apps: a_token_of_another_slack_app_moves_the_workspace_to_a_fresh_app;
            apps: an_unknown_token_for_a_shared_app_moves_only_its_own_workspace;
            apps: an_app_is_wanted_on_while_one_of_its_workspaces_is_and_has_the_most_links_asked_for;
            apps: removed_tokens_are_gone_and_a_later_one_is_in_force_at_once;
            apps: a_slack_app_id_is_learnt_once_and_never_by_two_apps;
            apps: an_app_without_living_workspaces_is_none;
            apps: what_slack_says_of_a_workspace_is_a_change_that_other_nodes_find;
            apps: what_two_nodes_see_of_a_workspace_is_one_line_of_its_history;
            apps: apps_come_in_pages_and_by_the_id_slack_gave_them;
            apps: what_anybody_changes_of_an_app_is_found_behind_a_mark;
            apps: history_is_newest_first_and_keeps_a_thousand_an_app;
            apps: history_goes_on_below_a_number_and_numbers_are_never_reused;
            webhooks: a_webhook_is_made_changed_and_removed_and_its_secret_comes_back;
            webhooks: a_notice_waits_for_every_webhook_that_wants_it_until_it_is_taken;
            webhooks: a_notice_that_fails_is_due_later_and_one_that_is_given_up_is_shown;
            webhooks: of_too_many_notices_the_oldest_are_given_up;
            webhooks: what_was_told_is_remembered_over_a_reopening;
            webhooks: what_is_told_is_an_incident_from_its_beginning_to_its_end_and_is_told_once;
            webhooks: who_sees_one_label_finds_the_incidents_of_its_workspaces_alone;
            webhooks: an_old_secret_signs_beside_the_new_one_until_its_time_and_one_before_that_no_more;
            webhooks: what_was_given_up_is_due_again_when_it_is_asked_for_and_posts_are_counted;
            webhooks: who_sees_one_label_has_webhooks_for_it_and_no_others;
            webhooks: a_webhook_that_is_told_of_more_than_its_label_is_not_changed_by_who_sees_that_alone;
            webhooks: a_webhook_that_is_told_of_less_keeps_no_notice_of_the_rest;
            webhooks: who_sees_one_label_takes_the_webhooks_of_no_other;
            webhooks: changes_of_webhooks_are_written_down_without_their_secret;
            events: events_come_back_as_they_went_in_odd_bytes_included;
            events: a_key_seen_before_is_a_duplicate_and_not_stored_again;
            events: duplicates_inside_a_group_are_found;
            events: the_same_group_with_the_same_seqs_is_fresh_again_and_stored_once;
            events: a_group_of_any_size_is_taken_whole;
            events: a_row_no_database_takes_is_a_data_error_and_leaves_nothing_behind;
            events: another_events_seq_is_never_overwritten;
            events: reading_goes_by_seq_and_stops_at_the_limit_and_at_the_bytes;
            events: a_writer_that_never_ended_is_taken_over_from_where_it_had_settled;
            events: a_writer_that_ended_in_order_leaves_nothing_to_take_over;
            events: what_is_settled_never_moves_back;
            events: a_writer_that_never_began_is_refused;
            events: what_was_seen_long_ago_is_forgotten_in_bounded_steps;
            events: any_number_of_events_dated_ahead_holds_up_no_forgetting;
            events: old_events_are_deleted_once_they_are_handled_and_their_keys_forgotten;
            events: a_poison_event_can_be_put_aside;
            events: the_journal_is_there_after_reopening;
            events: a_ping_reads_and_writes;
            deliveries: a_handler_is_known_by_the_same_id_for_ever_and_can_be_paused;
            deliveries: what_is_owed_waits_in_its_lane_in_order_until_it_is_done;
            deliveries: what_failed_is_due_when_its_time_has_come_and_its_end_is_kept;
            deliveries: what_a_clock_that_was_ahead_put_off_is_due_when_it_is_hurried;
            deliveries: a_key_that_is_held_holds_up_its_own_alone;
            deliveries: an_owed_event_that_is_gone_is_told_and_one_that_wants_a_key_waits;
            deliveries: what_is_owed_is_there_after_reopening;
            deliveries: a_workspace_is_paused_until_it_is_resumed_and_its_history_tells;
            retention: payloads_go_before_their_events_and_never_what_is_still_owed;
            retention: old_events_go_with_what_became_of_their_deliveries_and_never_what_is_still_owed;
            retention: the_oldest_payloads_go_while_there_are_too_many_bytes_of_them;
            retention: what_was_put_aside_goes_by_its_age;
            retention: what_is_owed_of_a_removed_workspace_is_called_off_also_what_comes_late;
            retention: what_waits_in_a_line_that_a_removed_workspace_has_left_is_called_off_too;
            retention: what_a_start_takes_up_of_a_workspace_that_was_removed_long_ago_is_called_off;
            retention: who_is_purged_has_no_payload_left_and_others_keep_theirs;
            retention: a_purge_that_broke_off_goes_on_where_it_was;
            archive: events_are_found_newest_first_by_what_is_asked_of_them;
            archive: an_event_is_shown_whose_it_is_and_whether_it_is_settled;
            archive: what_is_stuck_is_found_by_status_handler_workspace_and_time;
            archive: who_sees_one_label_finds_and_changes_the_deliveries_of_its_workspaces_alone;
            archive: what_has_died_is_tried_anew_and_its_end_stays_to_be_seen;
            archive: what_is_discarded_is_given_to_nobody;
            archive: a_replay_is_a_new_run_for_those_named_or_those_not_done;
            archive: what_was_called_off_or_has_expired_or_is_a_removed_customers_is_not_brought_back;
            archive: many_are_counted_and_then_changed_in_steps;
            archive: many_are_replayed_in_steps_to_those_not_done_or_to_those_named;
            archive: a_handler_is_shown_with_what_weighs_on_it_and_paused_by_somebody;
            archive: the_oldest_that_a_handler_owes_is_found_whatever_else_is_owed;
            routes: a_route_is_made_changed_and_removed_and_each_change_is_marked;
            routes: a_route_is_changed_only_as_it_was_read;
            routes: changes_of_routes_are_written_down_and_who_sees_one_label_makes_none;
            routes: no_more_routes_are_made_than_there_can_be;
            routes: workspaces_are_found_by_the_names_and_labels_that_routes_are_about;
            accounts: a_token_is_found_by_its_digest_until_it_is_revoked;
            accounts: a_living_tokens_name_is_taken_and_a_revoked_ones_is_free;
            accounts: no_more_tokens_live_than_are_allowed;
            accounts: the_use_of_a_token_is_kept_to_the_minute;
            accounts: tokens_come_in_the_order_they_were_made_and_in_pages;
            accounts: who_sees_one_label_finds_its_workspaces_and_no_others;
            accounts: of_an_app_who_sees_one_label_finds_the_workspaces_that_bear_it;
            accounts: who_sees_one_label_neither_takes_what_is_not_theirs_nor_lets_go_of_their_own;
            accounts: who_sees_one_label_changes_the_token_of_an_app_only_where_all_on_it_bear_the_label;
            accounts: who_sees_one_label_asks_for_nothing_that_is_the_nodes;
            audit: every_change_on_somebodys_behalf_is_written_down_with_what_it_changed;
            audit: what_changes_nothing_or_fails_is_not_written_down;
            audit: changes_are_filtered_and_come_newest_first_and_in_pages;
            audit: old_changes_are_forgotten_in_bounded_steps;
            answers: an_answer_is_kept_for_a_day_for_the_request_and_the_token_it_belongs_to;
            answers: a_place_without_an_answer_is_free_again_when_it_is_released_or_left_behind;
            answers: nothing_is_kept_in_a_place_that_was_taken_over;
            keys: what_one_key_sealed_is_sealed_anew_with_another_while_a_node_runs;
            keys: an_event_sealed_with_a_key_that_is_not_here_waits_for_it_and_so_do_those_behind_it;
            keys: sealing_anew_that_broke_off_goes_on_where_it_was;
            answers: old_answers_are_forgotten_in_bounded_steps;
        }
    };
}

macro_rules! run {
    ($ground:expr; $($file:ident: $name:ident;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::store::conformance::$file::$name(&$ground).await;
            }
        )+
    };
}

pub(in crate::store) use {conformance, run};

fn name(text: &str) -> WorkspaceName {
    WorkspaceName::parse(text).unwrap()
}

fn app_token(text: &str) -> Secret<AppToken> {
    Secret::Set(AppToken::parse(text).unwrap())
}

fn bot_token(text: &str) -> Secret<BotToken> {
    Secret::Set(BotToken::parse(text).unwrap())
}

/// A workspace wanted on, with this app-level token.
fn spec(token: &str) -> WorkspaceSpec {
    WorkspaceSpec { app_token: app_token(token), ..no_token() }
}

fn no_token() -> WorkspaceSpec {
    WorkspaceSpec {
        title: None,
        desired: Desired::Connected,
        delivery: DeliveryMode::Active,
        links: 1,
        labels: vec![],
        app_token: Secret::Keep,
        bot_token: Secret::Keep,
    }
}

async fn put(store: &dyn Store, workspace: &str, spec: &WorkspaceSpec, now_ms: i64) -> Put {
    store.put_workspace(&name(workspace), spec, When::Always, now_ms).await.unwrap()
}

/// Puts a new workspace; the app it sits on.
async fn seated(store: &dyn Store, workspace: &str, token: &str) -> AppId {
    let put = put(store, workspace, &spec(token), 1).await;
    assert_eq!(put.change, Change::Created);
    put.workspace.app
}

async fn token_of(store: &dyn Store, app: AppId) -> Option<String> {
    Some(store.app(app).await.unwrap().unwrap().token?.unwrap().expose().to_owned())
}

async fn candidate_of(store: &dyn Store, app: AppId) -> Option<String> {
    Some(store.app(app).await.unwrap().unwrap().candidate?.unwrap().expose().to_owned())
}

async fn writer(store: &dyn Store) -> WriterId {
    store.begin_writer("node", 1).await.unwrap().id
}

/// An event with this seq and a key of its own made from `key`.
fn event(seq: i64, key: &str, payload: &str) -> Arc<Event> {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(key.bytes()).for_each(|(to, from)| *to = from);
    Arc::new(Event {
        seq: Seq(seq),
        app: AppId(1),
        workspace: None,
        kind: Kind::EventsApi,
        kind_type: "message".into(),
        slack_id: key.into(),
        dedupe: DedupeKey(bytes),
        retry: 0,
        received_ms: seq.saturating_mul(10),
        payload: payload.into(),
    })
}

/// Behind all deliveries of events up to this.
fn behind(seq: i64) -> DeliveryId {
    DeliveryId { seq: Seq(seq), handler: HandlerId(i64::MAX), run: u32::MAX }
}
