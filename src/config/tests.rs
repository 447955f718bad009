use std::fs;

use super::layers::KEYS;
use super::*;

#[test]
fn with_nothing_said_the_documented_defaults_hold() {
    let settings = load(&[], None, &[]).unwrap();
    assert_eq!(settings.database_url, "sqlite://tautline.db");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.slack_api_url.as_str(), "https://slack.com/api/");
    assert_eq!((settings.ack, settings.links), (Ack::Stored, 1));
    assert_eq!((settings.opens_per_second, settings.opens_at_once), (300, 64));
    assert_eq!((settings.handlers.join(","), settings.retention_days), ("log".into(), Some(30)));
    assert_eq!((settings.log.as_str(), settings.log_format), ("info", LogFormat::Text));
    assert!(matches!(settings.key, KeySource::Beside) && !settings.allow_plaintext);
    assert!(
        settings.metrics_listen.is_none()
            && settings.admin_token.is_none()
            && settings.extra_ca_file.is_none()
    );
    assert!(settings.slack_app_token.is_none() && settings.slack_bot_token.is_none());
}

#[test]
fn every_setting_is_in_the_documentation() {
    for (key, _) in KEYS {
        let documented = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        assert!(DEFAULTS.lines().any(documented), "{key}");
    }
}

#[test]
fn the_file_beats_the_default_the_variable_the_file_and_the_flag_the_variable() {
    let file = "links = 2\n";
    let variable = [("TAUTLINE_LINKS", "3")];
    assert_eq!(load(&[], Some(file), &[]).unwrap().links, 2);
    assert_eq!(load(&variable, Some(file), &[]).unwrap().links, 3);
    assert_eq!(load(&variable, Some(file), &[("links", "4")]).unwrap().links, 4);
}

#[test]
fn events_are_kept_for_days_or_for_ever() {
    let days =
        |text| load(&[("TAUTLINE_RETENTION_DAYS", text)], None, &[]).map(|settings| settings.retention_days);
    assert_eq!(
        (days("2").unwrap(), days("3650").unwrap(), days("off").unwrap()),
        (Some(2), Some(3650), None)
    );
    for wrong in ["0", "1", "3651", "-2", "a month"] {
        assert!(days(wrong).unwrap_err().to_string().contains("from 2 to 3650, or off"), "{wrong}");
    }
}

#[test]
fn payloads_are_kept_no_longer_than_their_events_and_only_so_many_bytes_of_them() {
    let payloads = |days, of| {
        let given = [("TAUTLINE_RETENTION_DAYS", of), ("TAUTLINE_PAYLOAD_RETENTION_DAYS", days)];
        load(&given, None, &[]).map(|settings| settings.payload_retention_days)
    };
    assert_eq!(payloads("", "30").unwrap(), None);
    assert_eq!((payloads("1", "2").unwrap(), payloads("2", "2").unwrap()), (Some(1), Some(2)));
    assert_eq!(payloads("3650", "off").unwrap(), Some(3650), "events are kept for ever");
    assert!(payloads("3", "2").unwrap_err().to_string().contains("more than retention_days"));
    assert!(payloads("0", "2").unwrap_err().to_string().contains("from 1 to 3650"));

    let bytes = |text| {
        load(&[("TAUTLINE_RETENTION_MAX_BYTES", text)], None, &[])
            .map(|settings| settings.retention_max_bytes)
    };
    assert_eq!(bytes("").unwrap(), None);
    for (text, number) in [
        ("1000000", 1_000_000),
        ("500MB", 500_000_000),
        ("50 GB", 50_000_000_000),
        ("64GiB", 64 << 30),
        ("2TiB", 2 << 40),
    ] {
        assert_eq!(bytes(text).unwrap(), Some(number), "{text}");
    }
    for wrong in ["999999", "1KB", "-5GB", "many", "5 XB", "99999999999TB"] {
        assert!(bytes(wrong).unwrap_err().to_string().contains("a number of bytes"), "{wrong}");
    }
}

#[test]
fn an_empty_variable_is_as_if_it_were_not_there() {
    let env = [("TAUTLINE_DATABASE_URL", ""), ("DATABASE_URL", "sqlite:b.db"), ("SLACK_APP_TOKEN", "")];
    let settings = load(&env, None, &[]).unwrap();
    assert_eq!(settings.database_url, "sqlite:b.db");
    assert!(settings.slack_app_token.is_none());
    let both = [("TAUTLINE_DATABASE_URL", "sqlite:a.db"), ("DATABASE_URL", "postgres://x")];
    assert_eq!(load(&both, None, &[]).unwrap().database_url, "sqlite:a.db");
}

#[test]
fn a_postgres_address_is_taken_by_either_name_and_never_shown() {
    for address in ["postgres://u:hunter2@h/d", "postgresql://u:hunter2@h:6432/d?sslmode=verify-full"] {
        let settings = load(&[("DATABASE_URL", address)], None, &[]).unwrap();
        assert_eq!(settings.database_url, address);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}

#[test]
fn routes_are_tables_of_the_file_with_their_lines() {
    let file = r#"
links = 2
[[routes]]
name = "billing"
match.types = ["message", "app_*"]
enabled = false

[[routes]]
name = "rest"
"#;
    let settings = load(&[], Some(file), &[]).unwrap();
    let routes: Vec<_> = settings.routes.iter().map(|route| serde_json::json!(route.fields)).collect();
    assert_eq!(
        routes,
        [
            serde_json::json!({"name": "billing", "match": {"types": ["message", "app_*"]}, "enabled": false}),
            serde_json::json!({"name": "rest"}),
        ]
    );
    let lines: Vec<_> = settings.routes.iter().map(|route| route.place.to_string()).collect();
    assert!(lines[0].ends_with(" line 3") && lines[1].ends_with(" line 8"), "{lines:?}");
    for wrong in
        ["routes = 7", "routes = [\"secret\"]", "[[routes]]\nname = 7.5", "[routes]\nname = \"secret\""]
    {
        let error = load(&[], Some(wrong), &[]).unwrap_err().to_string();
        assert!(error.contains("routes must be tables like [[routes]]"), "{wrong}: {error}");
        assert!(error.contains(" line 1") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn every_setting_can_be_given_in_the_file() {
    let file = r#"
        database_url = "sqlite://x.db"
        listen = "0.0.0.0:9000"
        allow_plaintext = true
        metrics_listen = "localhost:9464"
        admin_token = "admin-token-of-a-test"
        key_file = "/run/key"
        slack_api_url = "http://127.0.0.1:3000/api"
        extra_ca_file = "/ca.pem"
        slack_app_token = "xapp-1-A1-2-abc"
        slack_bot_token = "xoxb-1-2-abc"
        ack = "received"
        journal = "off"
        handlers = ["log", "echo"]
        links = 9
        opens_per_second = 1000
        opens_at_once = 1
        payload_retention_days = 7
        retention_max_bytes = "50GB"
        log = "debug"
        log_format = "json"
    "#;
    let settings = load(&[], Some(file), &[]).unwrap();
    assert_eq!(settings.listen.port(), 9000);
    assert_eq!(settings.metrics_listen.unwrap().to_string(), "127.0.0.1:9464");
    assert_eq!(settings.slack_api_url.as_str(), "http://127.0.0.1:3000/api/");
    assert_eq!(settings.handlers, ["log", "echo"]);
    assert_eq!((settings.ack, settings.links), (Ack::Unkept, 9));
    assert_eq!((settings.opens_per_second, settings.opens_at_once), (1000, 1));
    assert!(matches!(&settings.key, KeySource::File(path) if path == Path::new("/run/key")));
    assert_eq!(settings.slack_app_token.unwrap().slack_app_id(), Some("A1"));
    assert_eq!(settings.payload_retention_days, Some(7));
    assert_eq!(settings.retention_max_bytes, Some(50_000_000_000));
    assert_eq!(settings.log_format, LogFormat::Json);
}

#[test]
fn an_admin_token_that_is_found_by_guessing_is_refused_and_not_repeated() {
    for short in ["abc", "deadbeefdeadbee", " deadbeefdeadbee "] {
        let error = message(&[("TAUTLINE_ADMIN_TOKEN", short)], None);
        assert!(error.contains("TAUTLINE_ADMIN_TOKEN") && error.contains("16"), "{error}");
        assert!(!error.contains(short.trim()), "{error}");
    }
    let settings = load(&[("TAUTLINE_ADMIN_TOKEN", "deadbeefdeadbeef")], None, &[]).unwrap();
    assert!(settings.admin_token.is_some());
}

#[test]
fn a_variable_that_looks_like_a_setting_and_is_none_is_found() {
    let given = ["PATH", "TAUTLINE_LNKS", "TAUTLINE_LINKS", "TAUTLINE_NODE", "TAUTLINE_ACKS", "LINKS"];
    let unknown = unknown_variables(given.into_iter().map(str::to_owned));
    assert_eq!(unknown, ["TAUTLINE_ACKS", "TAUTLINE_LNKS"]);
}

#[test]
fn without_a_journal_nothing_is_acked_as_stored() {
    let settings = load(&[("TAUTLINE_JOURNAL", "off"), ("TAUTLINE_ACK", "stored")], None, &[]).unwrap();
    assert_eq!(settings.ack, Ack::Unkept);
}

#[test]
fn listening_beyond_loopback_has_to_be_asked_for() {
    for address in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:80"] {
        let error = message(&[("TAUTLINE_LISTEN", address)], None);
        assert!(error.contains("TAUTLINE_LISTEN") && error.contains("allow_plaintext"), "{error}");
        load(&[("TAUTLINE_LISTEN", address), ("TAUTLINE_ALLOW_PLAINTEXT", "1")], None, &[]).unwrap();
    }
    for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8080", "[::ffff:127.0.0.1]:1", "localhost:8080"] {
        load(&[("TAUTLINE_LISTEN", address)], None, &[]).unwrap();
    }
}

#[test]
fn what_is_wrong_names_its_place_and_what_would_be_right_but_never_the_value() {
    for (variable, value, right) in [
        ("TAUTLINE_LISTEN", "hunter2", "127.0.0.1:8080"),
        ("TAUTLINE_METRICS_LISTEN", "hunter2", "127.0.0.1:8080"),
        ("TAUTLINE_LINKS", "hunter2", "1 to 9"),
        ("TAUTLINE_LINKS", "10", "1 to 9"),
        ("TAUTLINE_LINKS", "0", "1 to 9"),
        ("TAUTLINE_OPENS_PER_SECOND", "0", "1 to 10000"),
        ("TAUTLINE_OPENS_PER_SECOND", "10001", "1 to 10000"),
        ("TAUTLINE_OPENS_AT_ONCE", "hunter2", "1 to 1000"),
        ("TAUTLINE_ACK", "hunter2", "stored or received"),
        ("TAUTLINE_JOURNAL", "hunter2", "on or off"),
        ("TAUTLINE_LOG_FORMAT", "hunter2", "text or json"),
        ("TAUTLINE_LOG", "info,hunter2=hunter2", "filter"),
        ("TAUTLINE_HANDLERS", "log,hunter2!", "names"),
        ("TAUTLINE_HANDLERS", "log,log", "each once"),
        ("TAUTLINE_SLACK_API_URL", "ftp://hunter2/", "https://slack.com/api/"),
        ("TAUTLINE_SLACK_API_URL", "hunter2", "https://slack.com/api/"),
        ("TAUTLINE_SLACK_API_URL", "https://slack.com/api/?token=hunter2", "without a query"),
        ("TAUTLINE_ADMIN_TOKEN", "hunter2 hunter2", "without blanks"),
        ("TAUTLINE_DATABASE_URL", "mysql://u:hunter2@h/d", "like sqlite://tautline.db, or like postgres://"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/d", "or like postgres://"),
        ("TAUTLINE_DATABASE_URL", "sqlite://", "sqlite://tautline.db"),
        ("SLACK_APP_TOKEN", "xoxb-hunter2", "starts with 'xapp-'"),
        ("SLACK_BOT_TOKEN", "xapp-hunter2", "starts with 'xoxb-'"),
        ("SLACK_APP_TOKEN", "xapp-hunter2 x", "no blanks"),
    ] {
        let error = message(&[(variable, value)], None);
        assert!(error.contains(variable) && error.contains(right), "{error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_line_of_the_file_is_told_and_the_flag() {
    assert!(
        message(&[], Some("links = 1\n\nack = \"never\"\n")).contains("tautline.toml line 3: ack must be")
    );
    let syntax = message(&[], Some("links = 1\nkey = hunter2\n"));
    assert!(syntax.contains("line 2") && !syntax.contains("hunter2"), "{syntax}");
    let error = load(&[], None, &[("log_format", "xml")]).unwrap_err().to_string();
    assert_eq!(error, "flag --log-format: log_format must be text or json");
    for odd in ["[1]", "0x1", "1.5", "{}"] {
        let error = message(&[], Some(&format!("links = {odd}\n")));
        assert!(error.contains("line 1: links must be a text, a number"), "{error}");
    }
}

#[test]
fn an_unknown_setting_is_refused_with_those_there_are() {
    let error = message(&[], Some("\nlistne = \"127.0.0.1:1\"\n"));
    assert!(error.contains("line 2") && error.contains("\"listne\"") && error.contains("listen"), "{error}");
    assert!(message(&[], Some("[log]\nlevel = \"info\"\n")).contains("log must be a text"));
}

#[test]
fn a_key_and_a_key_file_are_one_too_many() {
    let error = message(&[("TAUTLINE_KEY", "hunter2"), ("TAUTLINE_KEY_FILE", "/k")], None);
    assert!(
        error.contains("TAUTLINE_KEY") && error.contains("not both") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_second_key_opens_besides_the_one_that_seals() {
    let env = |name: &str| match name {
        "TAUTLINE_KEY_FILE" => Some("/new".to_owned()),
        "TAUTLINE_OTHER_KEY_FILE" => Some("/old".to_owned()),
        _ => None,
    };
    let settings = Settings::load(&Sources { file: None, env: &env, flags: Vec::new() }).unwrap();
    assert!(matches!(
        settings.key.parts(),
        (KeySource::File(new), Some(KeySource::File(old))) if new == Path::new("/new") && old == Path::new("/old")
    ));
    let error = message(&[("TAUTLINE_OTHER_KEY", "hunter2"), ("TAUTLINE_OTHER_KEY_FILE", "/k")], None);
    assert!(error.contains("TAUTLINE_OTHER_KEY") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_settings_file_that_is_not_there_is_an_error() {
    let sources =
        Sources { file: Some(Path::new("/nowhere/tautline.toml")), env: &|_| None, flags: Vec::new() };
    let error = Settings::load(&sources).unwrap_err().to_string();
    assert!(error.contains("/nowhere/tautline.toml") && error.contains("cannot be read"), "{error}");
}

#[test]
fn no_secret_is_shown() {
    let env = [
        ("TAUTLINE_ADMIN_TOKEN", "hunter2-hunter2-hunter2"),
        ("TAUTLINE_KEY", "hunter2"),
        ("SLACK_APP_TOKEN", "xapp-hunter2"),
        ("SLACK_BOT_TOKEN", "xoxb-hunter2"),
        ("TAUTLINE_SLACK_API_URL", "https://u:hunter2@slack.com/api/"),
    ];
    assert!(!format!("{:?}", load(&env, None, &[]).unwrap()).contains("hunter2"));
}

fn message(env: &[(&str, &str)], file: Option<&str>) -> String {
    load(env, file, &[]).expect_err("settings that are wrong").to_string()
}

fn load(
    env: &[(&str, &str)],
    file: Option<&str>,
    flags: &[(&'static str, &str)],
) -> Result<Settings, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
    }
    let look_up =
        |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Settings::load(&Sources {
        file: file.map(|_| path.as_path()),
        env: &look_up,
        flags: flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(),
    })
}
