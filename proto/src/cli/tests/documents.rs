//! What the command line and files say: specs, `--set`, run references, settings.

use std::path::Path;

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use clap::{CommandFactory, Parser};
use serde_json::{Value, json};

use crate::cli::config::{ConfigFile, Settings};
use crate::cli::run_ref::{RunRef, only_one};
use crate::cli::spec_file::{self, Assignment, Document, Format};
use crate::cli::{Arguments, CliError, Command};
use crate::client::stub::{run, serve};
use crate::run::{RunList, RunState};

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn a_submission_needs_a_file_or_a_preset_or_a_base() {
    let parse = |words: &[&str]| Arguments::try_parse_from(["motif", "submit"].iter().chain(words));
    assert!(parse(&[]).is_err());
    assert!(parse(&["spec.toml", "--preset", "demo"]).is_err());
    assert!(parse(&["--base", "latest", "--set", "kind=evaluate"]).is_ok());
    assert!(parse(&["spec.toml", "--base", "a1b2c3", "--base-checkpoint", "last"]).is_ok());
    assert!(parse(&["--preset", "demo", "--base-checkpoint", "last"]).is_err());
    let given = parse(&["--preset", "demo", "--set", "network.hidden=8", "--seed", "3"]).unwrap();
    assert!(matches!(given.command, Command::Submit(_)));
}

#[test]
fn set_reads_numbers_truths_lists_and_text() {
    for (text, value) in [
        ("a=128", json!(128)),
        ("a=1_000", json!(1000)),
        ("a=1e-3", json!(1e-3)),
        ("a=-0.5", json!(-0.5)),
        ("a=true", json!(true)),
        ("a=null", Value::Null),
        ("a=relu", json!("relu")),
        ("a=\"128\"", json!("128")),
        ("a=x=y", json!("x=y")),
        ("a=", json!("")),
        ("a=nan", json!("NaN")),
        ("a=[\"x\", 'y']", json!(["x", "y"])),
        ("a=2026-01-01", json!("2026-01-01")),
        ("a=1\nb = 2", json!("1\nb = 2")),
    ] {
        assert_eq!(text.parse::<Assignment>().unwrap().value, value, "{text}");
    }
    for text in ["a", "=1", "a..b=1", ".a=1"] {
        assert!(text.parse::<Assignment>().is_err(), "{text}");
    }
}

#[test]
fn set_reaches_into_tables_and_makes_missing_ones() {
    let mut document = Format::Toml
        .parse("[network]\nhidden = 64\nkind = \"rnn\"")
        .unwrap();
    for text in ["network.hidden=128", "training.losses.rate=0"] {
        text.parse::<Assignment>().unwrap().apply(&mut document).unwrap();
    }
    assert_eq!(
        Value::Object(document),
        json!({"network": {"hidden": 128, "kind": "rnn"}, "training": {"losses": {"rate": 0}}})
    );
}

#[test]
fn set_below_a_value_that_is_no_table_says_which() {
    let mut document = Document::new();
    document.insert("seed".to_owned(), json!(1));
    let assignment: Assignment = "seed.deep=1".parse().unwrap();
    let error = assignment.apply(&mut document).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--set seed.deep: `seed` is not a table of fields"
    );
}

#[test]
fn the_same_spec_reads_alike_from_toml_and_json() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        spec_file::read(&path)
    };
    let toml = "name = \"x\"\n[training]\nlearning_rate = 1e-3\ntasks = [\"DlyHalfReach\"]\n";
    let json = "{\"name\": \"x\", \"training\": {\"learning_rate\": 0.001, \"tasks\": [\"DlyHalfReach\"]}}";
    let expected = write("spec.toml", toml).unwrap();
    assert_eq!(write("spec.json", json).unwrap(), expected);
    assert_eq!(write("no-extension", json).unwrap(), expected);
    assert_eq!(write("other", toml).unwrap(), expected);
}

#[test]
fn files_that_are_no_specs_are_refused_with_their_name_and_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text, reason) in [
        ("a.json", "[1]", "it must be a JSON object"),
        ("b.json", "{\"a\": }", "line 1"),
        ("c.toml", "a = \n", "line 1"),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let error = spec_file::read(&path).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(reason), "{error}");
    }
    let missing = spec_file::read(Path::new("/nowhere/spec.toml")).unwrap_err();
    assert!(matches!(missing, CliError::File { action: "read", .. }));
    let long = directory.path().join("long.toml");
    std::fs::write(&long, "#".repeat((1 << 20) + 1)).unwrap();
    assert!(
        spec_file::read(&long)
            .unwrap_err()
            .to_string()
            .contains("longer than")
    );
}

#[test]
fn a_configuration_file_of_regions_is_put_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("spec.toml");
    std::fs::write(
        &spec,
        "[network]\nactivation = \"relu\"\nregions_file = \"areas.json\"\n",
    )
    .unwrap();
    let regions = folder.path().join("areas.json");
    std::fs::write(
        &regions,
        r#"{"recurrent_regions": [{"name": "m1", "num_units": 8}]}"#,
    )
    .unwrap();
    let refused = spec_file::read(&spec).unwrap_err().to_string();
    assert!(
        refused.contains("areas.json") && refused.contains("input_regions"),
        "{refused}"
    );
    std::fs::write(
        &regions,
        r#"{"recurrent_regions": [{"name": "m1", "num_units": 8}], "input_regions": [{"num_units": 28}]}"#,
    )
    .unwrap();
    let document = spec_file::read(&spec).unwrap();
    assert_eq!(document["network"]["activation"], "relu");
    assert_eq!(document["network"]["regions"]["recurrent"][0]["units"], 8);
    assert!(document["network"].get("regions_file").is_none());
}

#[test]
fn a_run_is_named_by_latest_an_id_or_six_digits() {
    assert_eq!("latest".parse(), Ok(RunRef::Latest));
    let id = run("abcdef12", RunState::Queued).id;
    assert_eq!(id.to_string().parse(), Ok(RunRef::Id(id)));
    assert_eq!("ABCdef".parse(), Ok(RunRef::Digits("abcdef".to_owned())));
    assert_eq!(
        "01890000-0000".parse(),
        Ok(RunRef::Digits("018900000000".to_owned()))
    );
    for word in ["abcde", "newest", "ghijkl", ""] {
        assert!(word.parse::<RunRef>().is_err(), "{word}");
    }
}

#[tokio::test]
async fn digits_are_looked_for_on_every_page() {
    let routes = Router::new().route(
        "/runs",
        get(
            |Query(query): Query<std::collections::HashMap<String, String>>| async move {
                let second = query.get("cursor").map(String::as_str) == Some("next");
                Json(RunList {
                    runs: vec![run(
                        if second { "beef0002" } else { "beef0001" },
                        RunState::Queued,
                    )],
                    next_cursor: (!second).then(|| "next".to_owned()),
                    total: None,
                })
            },
        ),
    );
    let client = serve(routes).await;
    let resolve = async |word: &str| word.parse::<RunRef>().unwrap().resolve(&client).await;
    assert_eq!(
        resolve("ef0002").await.unwrap(),
        run("beef0002", RunState::Queued).id
    );
    assert_eq!(
        resolve("latest").await.unwrap(),
        run("beef0001", RunState::Queued).id
    );
    assert!(
        resolve("abcdef")
            .await
            .unwrap_err()
            .to_string()
            .contains("no run has an id")
    );
    // The head is the same for runs of the same time.
    assert!(
        resolve("018900")
            .await
            .unwrap_err()
            .to_string()
            .contains("stands for 2 runs")
    );
}

#[test]
fn digits_that_fit_several_runs_list_them() {
    let runs = [
        run("aa00ffff", RunState::Queued),
        run("bb00ffff", RunState::Queued),
    ];
    let error = only_one("00ffff", &runs).unwrap_err().to_string();
    assert_eq!(
        error,
        "`00ffff` stands for 2 runs: aa00ffff (demo), bb00ffff (demo)"
    );
}

#[test]
fn the_command_line_wins_over_the_file_and_the_file_over_the_default() {
    let file = || toml::from_str::<ConfigFile>("server = \"http://lab\"\ntoken = \"t\"").unwrap();
    let none = Settings::resolve(None, None, ConfigFile::default());
    assert_eq!(
        (none.server.as_str(), none.token),
        ("http://127.0.0.1:8080", None)
    );
    let from_file = Settings::resolve(None, None, file());
    assert_eq!(
        (from_file.server.as_str(), from_file.token.as_deref()),
        ("http://lab", Some("t"))
    );
    let given = Settings::resolve(Some("http://lab/".to_owned()), Some("mine".to_owned()), file());
    assert_eq!(given.token.as_deref(), Some("mine"));
}

#[test]
fn the_files_token_goes_to_no_other_server() {
    let file = toml::from_str("server = \"http://lab\"\ntoken = \"t\"").unwrap();
    let elsewhere = Settings::resolve(Some("http://elsewhere".to_owned()), None, file);
    assert_eq!(elsewhere.token, None);
}

#[test]
fn a_broken_settings_file_is_named_without_repeating_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    assert!(ConfigFile::read(&path).unwrap().server.is_none());
    std::fs::write(&path, "tokn = \"hush\"").unwrap();
    let error = ConfigFile::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("config.toml") && error.contains("tokn") && !error.contains("hush"),
        "{error}"
    );
}
