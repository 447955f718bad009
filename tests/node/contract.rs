//! The API against its own document: whatever that allows is asked, and what it does not, and every answer must be one it names.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::harness::{ADMIN_TOKEN, Stage};

/// What it makes up for each operation, in each of its ways: a bound on its work, not on its time, so that a slow machine asks the
/// same questions.
const EXAMPLES: &str = "8";
/// Far longer than that takes; only a failing test waits for it.
const AT_MOST: Duration = Duration::from_secs(400);

#[actix::test]
async fn no_answer_is_other_than_the_document_says() {
    let stage = Stage::new();
    let node = stage.node().await;
    // The workspace of the document's examples.
    node.welcome(&[&stage.customer("acme")]).await;
    let python = std::env::var("TAUTLINE_PEERS_PYTHON").unwrap_or_else(|_| {
        panic!("TAUTLINE_PEERS_PYTHON names no Python: run scripts/setup and source the env file it writes, or run scripts/test")
    });
    let tool = Path::new(&python).with_file_name("schemathesis");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/python");
    let folder = tempfile::tempdir().expect("there is room for what it writes");
    let asking = Command::new(&tool)
        .arg("--config-file")
        .arg(here.join("schemathesis.toml"))
        .arg("run")
        // Read from its file: from its address it would leave that address out.
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json"))
        .args(["--url", &format!("http://{}", node.app.address())])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_TOKEN}")])
        .args([
            "--max-examples",
            EXAMPLES,
            "--request-timeout",
            "70",
            "--seed",
            "1",
            "--no-color",
            "--continue-on-failure",
        ])
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", &here)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(AT_MOST, asking).await.expect("it ends in time");
    let output = output
        .unwrap_or_else(|error| panic!("{} cannot be run ({error}): run scripts/setup", tool.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let document = node.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|path| path.as_object().unwrap().len()).sum();
    // All but the stream.
    let asked = operations - 1;
    assert!(
        said.contains(&format!("Tested: {asked}")),
        "it has asked for all but the stream, {asked}: {said}"
    );
    node.stop().await;
}
