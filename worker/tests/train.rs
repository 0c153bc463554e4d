//! `motif-worker train` as a process: killed, stopped and misused.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use motif_motor::checkpoint::Checkpoint;

const SPEC: &str = r#"
seed = 4
[network]
hidden = 6
[training]
batches = 18
batch_size = 2
save_every = 10
tasks = ["DlyHalfReach"]
"#;

fn train(spec: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motif-worker"));
    command
        .args(["train", "--json", "--spec"])
        .arg(spec)
        .arg("--out")
        .arg(out);
    command
}

fn finish(command: &mut Command) -> Output {
    let output = command.output().expect("runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Starts a training and lets it run until it has said that it trained a batch.
fn until_batch(command: &mut Command, batch: u64) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let sign = format!("\"batch\":{batch},");
    let seen = lines.any(|line| {
        let line = line.expect("text");
        line.contains("\"event\":\"batch\"") && line.contains(&sign)
    });
    assert!(seen, "the training ended before batch {batch}");
    // Who keeps writing to a closed pipe would end early.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect(name)
}

fn assert_same_results(undisturbed: &Path, disturbed: &Path) {
    assert_eq!(read(undisturbed, "losses.txt").lines().count(), 18);
    // After batches 0, 10 and the last.
    assert_eq!(read(undisturbed, "test_losses.txt").lines().count(), 3);
    for name in ["losses.txt", "test_losses.txt", "hp.json"] {
        assert_eq!(read(undisturbed, name), read(disturbed, name), "{name}");
    }
    for name in ["checkpoint-last.safetensors", "checkpoint-best.safetensors"] {
        // The order of a file's metadata is not fixed; what it says is.
        let [one, other] =
            [undisturbed, disturbed].map(|folder| Checkpoint::read_from(&folder.join(name)).expect(name));
        assert!(one == other, "{name} differs");
    }
}

#[test]
fn a_killed_training_goes_on_and_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spec, undisturbed, killed) = (
        folder.path().join("spec.toml"),
        folder.path().join("a"),
        folder.path().join("b"),
    );
    std::fs::write(&spec, SPEC).expect("written");
    finish(&mut train(&spec, &undisturbed));

    for batch in [4, 14] {
        let mut child = until_batch(&mut train(&spec, &killed), batch);
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let kept = read(&killed, "losses.txt").lines().count();
    assert!((14..18).contains(&kept), "{kept} lines");
    finish(&mut train(&spec, &killed));
    assert_same_results(&undisturbed, &killed);

    let again = finish(&mut train(&spec, &killed));
    assert!(!String::from_utf8_lossy(&again.stdout).contains("\"event\":\"batch\""));
    assert_same_results(&undisturbed, &killed);
}

#[test]
fn a_terminated_training_leaves_a_checkpoint_and_loses_no_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spec, undisturbed, stopped) = (
        folder.path().join("spec.toml"),
        folder.path().join("a"),
        folder.path().join("b"),
    );
    std::fs::write(&spec, SPEC).expect("written");
    finish(&mut train(&spec, &undisturbed));

    let mut child = until_batch(&mut train(&spec, &stopped), 3);
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    assert!(child.wait().expect("ended").success());
    let before = read(&stopped, "losses.txt");
    assert!((4..18).contains(&before.lines().count()));

    let resumed = finish(&mut train(&spec, &stopped));
    let first_batch = format!("\"first_batch\":{}", before.lines().count());
    assert!(String::from_utf8_lossy(&resumed.stdout).contains(&first_batch));
    assert!(read(&stopped, "losses.txt").starts_with(&before));
    assert_same_results(&undisturbed, &stopped);
}

#[test]
fn a_wrong_spec_is_explained_field_by_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = folder.path().join("spec.toml");
    std::fs::write(&spec, "[network]\nhidden = 0\nactivatoin = \"relu\"\n").expect("written");
    let output = train(&spec, &folder.path().join("out")).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for words in [
        "/network/hidden",
        "an integer from 1 to 4096",
        "/network/activatoin",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_folder_of_another_spec_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spec, out) = (folder.path().join("spec.toml"), folder.path().join("out"));
    std::fs::write(&spec, SPEC.replace("batches = 18", "batches = 1")).expect("written");
    finish(&mut train(&spec, &out));
    std::fs::write(&spec, SPEC.replace("seed = 4", "seed = 5")).expect("written");
    let output = train(&spec, &out).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another spec"));
}
