//! The figures of a real node, by the rules of promtool: what a scraper would refuse or a reader would take for something else.

use std::collections::{BTreeMap, BTreeSet};

use tautline::simulator::{Act, Ending, Fault, Load, Outgoing, Which};

use super::harness::{Stage, eventually};

/// Whose values have no bound.
const NEVER_LABELS: [&str; 8] = ["workspace", "tenant", "app", "app_id", "team", "team_id", "url", "id"];
const UNITS: [&str; 3] = ["_seconds", "_bytes", "_ratio"];
/// Units that Prometheus does not count in.
const NO_UNITS: [&str; 8] =
    ["_ms", "_milliseconds", "_minutes", "_hours", "_kilobytes", "_kb", "_mb", "_percent"];

#[actix::test]
async fn the_figures_of_a_node_at_work_keep_to_the_rules_and_say_what_is_so() {
    let stage = Stage::new();
    let node = stage.node().await;
    let customers = [stage.customer("acme"), stage.customer("initech")];
    node.welcome(&customers.each_ref()).await;
    stage
        .slack
        .load(&customers[0].app_id, Load { count: Some(50), window: Some(8), ..Default::default() })
        .unwrap();
    stage.until_acked(&customers[0], 50).await;
    let limited = Fault::ApiStatus { method: None, status: 429, retry_after: Some(1), body: None };
    stage.slack.arm(Some(&customers[1].app_id), limited).unwrap();
    stage.slack.act(Some(&customers[1].app_id), Which::All, &Act::End { how: Ending::Reset }).unwrap();
    stage.until(&customers[1], "it is told 429", |app| app.opens.len() > 1).await;
    eventually("the 429 is counted", async || {
        let text = node.get("/metrics").await.text;
        text.contains("tautline_opens_total{outcome=\"ratelimited\"}").then_some(())
    })
    .await;
    eventually("what handlers owe was counted", async || {
        node.get("/metrics").await.text.contains("tautline_handler_backlog{").then_some(())
    })
    .await;
    let text = node.get("/metrics").await.text;
    let families = lint(&text);
    for wanted in [
        "tautline_build_info",
        "tautline_connections",
        "tautline_connection_warnings",
        "tautline_links",
        "tautline_link_hello_seconds",
        "tautline_opens_waiting",
        "tautline_opens_in_flight",
        "tautline_opens_pace_ratio",
        "tautline_database_up",
        "tautline_database_pool_connections",
        "tautline_database_pool_connections_max",
        "tautline_handler_backlog",
        "tautline_handler_oldest_seconds",
        "tautline_handler_dead_letters",
        "tautline_events_waiting",
        "tautline_envelopes_in_memory_bytes",
        "tautline_webhook_posts_total",
        "tautline_webhook_notices_waiting",
        "process_open_fds",
        "process_max_fds",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        assert!(families.contains(wanted), "{wanted} is missing:\n{text}");
    }
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}:\n{text}")).parse().unwrap()
    };
    assert!(value("process_open_fds") > 10.0 && value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_cpu_seconds_total") > 0.0 && value("process_start_time_seconds") > 1.7e9);
    assert!(value("tautline_database_up") > 0.5 && value("tautline_opens_pace_ratio") > 0.99);
    assert!(value("tautline_link_hello_seconds_count") >= 2.0);
    let pool = value("tautline_database_pool_connections{state=\"idle\"}")
        + value("tautline_database_pool_connections{state=\"busy\"}");
    assert!((1.0..=value("tautline_database_pool_connections_max")).contains(&pool), "{text}");
    node.stop().await;
}

#[actix::test]
async fn an_ack_whose_link_is_gone_before_its_event_is_on_disk_never_went_and_is_counted() {
    let stage = Stage::new();
    let node = stage.node().await;
    let acme = stage.customer("acme");
    node.welcome(&[&acme]).await;
    let figure = async |name: &str| -> f64 {
        let text = node.get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}:\n{text}")).parse().unwrap()
    };
    assert!(figure("tautline_acks_lost_total").await < 1.0);
    let other = stage.database.hold().await;
    stage.slack.send(&acme.app_id, Outgoing::default()).unwrap();
    let is_read = async || (figure("tautline_envelopes_in_memory_bytes").await > 0.0).then_some(());
    eventually("it waits for the disk", is_read).await;
    stage.slack.act(Some(&acme.app_id), Which::All, &Act::End { how: Ending::Reset }).unwrap();
    let is_lost = async || (figure("tautline_acks_lost_total").await > 0.0).then_some(());
    eventually("its ack is lost", is_lost).await;
    drop(other);
    stage.until_settled(&acme).await;
    let lost = figure("tautline_acks_lost_total").await;
    assert!((0.9..1.1).contains(&lost), "{lost}");
    assert!(figure("tautline_receive_to_stored_seconds_count").await > 0.9);
    node.stop().await;
}

/// Complains about what promtool would; the names of all families.
fn lint(text: &str) -> BTreeSet<String> {
    let mut families: BTreeMap<String, (bool, Option<String>)> = BTreeMap::new();
    let mut current = String::new();
    let mut series = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!families.contains_key(name), "{name} comes in two places");
            assert!(help.ends_with('.') && help.len() > 10, "{line}");
            families.insert(name.into(), (true, None));
            current = name.into();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "the type stands below its help");
            families.get_mut(name).unwrap().1 = Some(kind.into());
            name_is_fine(name, kind);
            continue;
        }
        let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.insert(key.to_owned()), "{key} is there twice");
        let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
        let kind = families[&current].1.as_deref().expect("the type comes before the first value");
        let suffix = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} below {current}"));
        match kind {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            let plain = label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(plain && !NEVER_LABELS.contains(&label), "{line}");
            assert!(value.starts_with('"') && value.ends_with('"') && value.len() < 80, "{line}");
            assert!(label != "le" || (kind == "histogram" && suffix == "_bucket"), "{line}");
        }
    }
    for (name, (_, kind)) in &families {
        if kind.as_deref() == Some("histogram") {
            let last =
                series.iter().find(|key| key.starts_with(&format!("{name}_bucket")) && key.contains("+Inf"));
            assert!(last.is_some() || !text.contains(&format!("{name}_bucket")), "{name} has no last bucket");
        }
        assert!(kind.is_some(), "{name} has no type");
    }
    families.into_keys().collect()
}

/// A prefix, the unit last but for `_total`, and no word of another kind of figure.
fn name_is_fine(name: &str, kind: &str) {
    assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
    assert!(name.starts_with("tautline_") || name.starts_with("process_"), "{name}");
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} {kind}");
    assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
    let bare = name.strip_suffix("_total").unwrap_or(name);
    for reserved in ["_count", "_sum", "_bucket", "_counter", "_gauge", "_histogram"] {
        assert!(!bare.ends_with(reserved), "{name}");
    }
    assert!(
        !NO_UNITS.iter().any(|unit| bare.ends_with(unit) || bare.contains(&format!("{unit}_"))),
        "{name}"
    );
    for unit in UNITS {
        let at = bare.find(unit);
        assert!(at.is_none_or(|at| at + unit.len() == bare.len()), "{name}: the unit comes last");
    }
}
