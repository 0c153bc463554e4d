//! The story of an attempt reaches the coordinator.

use motif_proto::log::LogLevel;
use motif_proto::worker::Outcome;
use serde_json::json;

use crate::pretend::PANICS;
use crate::{daemon, spec};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_an_attempt_tells_its_story_from_start_to_end() {
    let daemon = daemon().await;
    let attempt = daemon.stub.submit(&spec(25), None);
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    let world = daemon.stub.world();
    let log = world.log(attempt);
    assert_eq!(log.first(), Some(&"attempt started"));
    assert_eq!(log.last(), Some(&"succeeded"));
    let count = |beginning| log.iter().filter(|line| line.starts_with(beginning)).count();
    assert_eq!(count("training"), 1);
    assert_eq!(count("evaluated: "), 4);
    assert_eq!(count("checkpoint kept"), 8, "the best and the last, each time");
    let lines = &world.logs[&attempt];
    assert_eq!(lines[0].fields["worker"], "test");
    let numbers: Vec<u64> = lines.iter().map(|line| line.sequence).collect();
    assert_eq!(numbers, (0..lines.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_hand_backs_are_the_last_words_of_their_attempts() {
    let daemon = daemon().await;
    let mut panics = spec(30);
    panics["name"] = json!(PANICS);
    let failed = daemon.stub.submit(&panics, None);
    daemon.until_finished().await;
    let handed_back = daemon.stub.submit(&spec(1_000_000), None);
    daemon
        .until("it trains", |world| {
            !world.steps(handed_back, "loss/total").is_empty()
        })
        .await;
    let stub = daemon.stop().await;
    let world = stub.world();
    let last = world.logs[&failed].last().expect("lines");
    assert_eq!(last.level, LogLevel::Error);
    assert!(last.message.contains("out of pretence"), "{}", last.message);
    assert_eq!(world.log(handed_back).last(), Some(&"handed back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_an_outage_arrive_when_it_is_over() {
    let daemon = daemon().await;
    let attempt = daemon.stub.submit(&spec(300), None);
    daemon
        .until("the first lines arrive", |world| !world.log(attempt).is_empty())
        .await;
    daemon.stub.world().away = true;
    daemon.until("all was trained", |_| daemon.trained() == 300).await;
    daemon
        .until("something was turned away", |world| world.turned_away > 1)
        .await;
    daemon.stub.world().away = false;
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    let world = daemon.stub.world();
    let log = world.log(attempt);
    assert_eq!(
        log.iter().filter(|line| line.starts_with("evaluated")).count(),
        31
    );
    assert_eq!(log.last(), Some(&"succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_takes_no_log_lines_gets_everything_else() {
    let daemon = daemon().await;
    daemon.stub.world().takes_no_logs = true;
    let attempt = daemon.stub.submit(&spec(25), None);
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    let world = daemon.stub.world();
    assert_eq!(world.steps(attempt, "loss/total").len(), 25);
    assert!(world.logs.is_empty());
}
