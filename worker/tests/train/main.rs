//! `motif-worker train` and `verify` as processes: every kind of experiment, killed, stopped and misused.

mod verify;

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

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_motif-worker"))
}

fn train(spec: &Path, out: &Path) -> Command {
    let mut command = program();
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
    for name in ["losses.txt", "test_losses.txt", "batches.csv", "hp.json"] {
        assert_eq!(read(undisturbed, name), read(disturbed, name), "{name}");
    }
    for name in ["checkpoint-last.safetensors", "checkpoint-best.safetensors"] {
        let [one, other] =
            [undisturbed, disturbed].map(|folder| std::fs::read(folder.join(name)).expect(name));
        assert!(one == other, "{name} differs");
    }
}

/// Few conditions, so that an evaluation is quick.
const QUICK: &str = "[evaluation]\nspeeds = [0]\ndirections = [0, 12]\n";

const BASE: &str = "seed = 4\n[network]\nhidden = 5\n[training]\nbatches = 5\nbatch_size = 2\nsave_every = 2\n\
                    tasks = [\"DlyHalfReach\"]\n";

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("{text}{QUICK}")).expect("written");
    path
}

/// Trains `BASE` into `base` below a folder.
fn base(folder: &Path) -> Checkpoint {
    finish(&mut train(
        &write(folder, "base.toml", BASE),
        &folder.join("base"),
    ));
    Checkpoint::read_from(&folder.join("base/checkpoint-last.safetensors")).expect("a base")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn verify(folder: &Path) -> Output {
    program().arg("verify").arg(folder).output().expect("runs")
}

#[test]
fn a_killed_gru_and_a_killed_transfer_give_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let gru = "seed = 2\n[network]\nkind = \"gru\"\nhidden = 4\n[training]\nbatches = 9\nbatch_size = 2\n\
               save_every = 3\ntasks = [\"DlyHalfReach\"]\n";
    let transfer = "kind = \"transfer\"\nbase = \"base\"\n[training]\nbatches = 9\nbatch_size = 2\n\
                    save_every = 3\ntasks = [\"forward_halfreach+backward_figure8\"]\n";
    for (name, text) in [("gru", gru), ("transfer", transfer)] {
        let spec = write(folder.path(), &format!("{name}.toml"), text);
        let [undisturbed, killed] = ["a", "b"].map(|which| folder.path().join(format!("{name}-{which}")));
        finish(&mut train(&spec, &undisturbed));
        let mut child = until_batch(&mut train(&spec, &killed), 5);
        child.kill().expect("killed");
        child.wait().expect("ended");
        finish(&mut train(&spec, &killed));
        for file in ["losses.txt", "test_losses.txt", "batches.csv"] {
            assert_eq!(read(&undisturbed, file), read(&killed, file), "{name} {file}");
        }
        assert_eq!(read(&killed, "losses.txt").lines().count(), 9);
        let verified = verify(&killed);
        assert!(verified.status.success(), "{}", said(&verified));
    }
}

#[test]
fn a_continued_run_s_files_are_those_of_the_uninterrupted_one() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let whole = write(
        folder.path(),
        "whole.toml",
        &BASE.replace("batches = 5", "batches = 9"),
    );
    finish(&mut train(&whole, &folder.path().join("whole")));
    let text = "kind = \"continue\"\nbase = \"base\"\n[training]\nbatches = 9\n";
    let spec = write(folder.path(), "continued.toml", text);
    let continued = folder.path().join("continued");
    let mut child = until_batch(&mut train(&spec, &continued), 6);
    child.kill().expect("killed");
    child.wait().expect("ended");
    finish(&mut train(&spec, &continued));
    for file in ["losses.txt", "test_losses.txt"] {
        assert_eq!(
            read(&folder.path().join("whole"), file),
            read(&continued, file),
            "{file}"
        );
    }
    let verified = verify(&continued);
    assert!(verified.status.success(), "{}", said(&verified));
    assert!(
        said(&verified).contains("batches 5 to 8 from the beginning: 4 equal"),
        "{}",
        said(&verified)
    );
}

#[test]
fn a_transfer_keeps_every_tensor_of_its_base_but_the_new_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = base(folder.path());
    let text =
        "kind = \"transfer\"\n[training]\nbatches = 3\nbatch_size = 2\ntasks = [\"DlyFullCircleCClk\"]\n";
    let spec = write(folder.path(), "transfer.toml", text);
    let out = folder.path().join("transfer");
    finish(
        train(&spec, &out)
            .arg("--base")
            .arg(folder.path().join("base/checkpoint-last.safetensors")),
    );
    let after = Checkpoint::read_from(&out.join("checkpoint-last.safetensors")).expect("a checkpoint");
    for (name, tensor) in &base.state {
        assert_eq!(after.state.get(name), Some(tensor), "{name}");
    }
    assert_eq!(after.moments.len(), 2);
}

#[test]
fn a_gru_goes_through_every_regime() {
    let folder = tempfile::tempdir().expect("a folder");
    let training = "[training]\nbatches = 3\nbatch_size = 2\n";
    let tasks = "tasks = [\"DlyHalfReach\", \"DlyFigure8\"]\n";
    let gru = "[network]\nkind = \"gru\"\nhidden = 4\n";
    let run = |name: &str, text: &str| {
        let spec = write(folder.path(), &format!("{name}.toml"), text);
        let out = folder.path().join(name);
        finish(&mut train(&spec, &out));
        let verified = verify(&out);
        assert!(verified.status.success(), "{name}: {}", said(&verified));
        Checkpoint::read_from(&out.join("checkpoint-last.safetensors")).ok()
    };
    let base = run("subset", &format!("{gru}{training}{tasks}")).expect("a checkpoint");
    run("blind", &format!("{gru}feedback = []\n{training}{tasks}"));
    let reservoir = run(
        "reservoir",
        &format!("{gru}{training}{tasks}frozen = [\"recurrent\", \"base_firing\"]\n"),
    );
    let moved = |name: &str| base.state[name] != reservoir.as_ref().expect("a checkpoint").state[name];
    // From the same seed, so what both train has moved apart, and what is frozen here has stayed.
    assert!(moved("gru.weight_hh_l0") && moved("gru.weight_ih_l0"));
    let trained: Vec<String> = reservoir.expect("a checkpoint").moments.into_keys().collect();
    assert!(
        !trained
            .iter()
            .any(|name| name.contains("_hh_l0") || name.contains("bias_ih")),
        "{trained:?}"
    );
    let continued = "kind = \"continue\"\nbase = \"subset\"\n[training]\nbatches = 5\n";
    assert_eq!(run("continued", continued).expect("a checkpoint").next_batch, 5);
    let transfer =
        |tasks: &str| format!("kind = \"transfer\"\nbase = \"subset\"\n{training}tasks = [\"{tasks}\"]\n");
    for (name, task) in [
        ("held-out", "DlyFullCircleCClk"),
        ("pairs", "forward_halfcircleclk+backward_fullreach"),
    ] {
        let after = run(name, &transfer(task)).expect("a checkpoint");
        let best = Checkpoint::read_from(&folder.path().join("subset/checkpoint-best.safetensors"));
        for (tensor, value) in &best.expect("a checkpoint").state {
            assert_eq!(after.state.get(tensor), Some(value), "{name} {tensor}");
        }
    }
    run(
        "pupil",
        &format!("base = \"subset\"\n{gru}{training}{tasks}objective = \"muscle_activity\"\n"),
    );
    run("table", "kind = \"evaluate\"\nbase = \"subset\"\n");
}

#[test]
fn threads_change_no_number() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, network) in [("rnn", ""), ("gru", "kind = \"gru\"\n")] {
        let text = SPEC
            .replace("hidden = 6\n", &format!("hidden = 40\n{network}"))
            .replace("batches = 18", "batches = 3")
            .replace("batch_size = 2", "batch_size = 24");
        let spec = write(folder.path(), &format!("{name}.toml"), &text);
        let [one, three] = ["1", "3"].map(|threads| {
            let out = folder.path().join(format!("{name}-{threads}"));
            finish(
                train(&spec, &out)
                    .args(["--threads", threads])
                    .env("OMP_NUM_THREADS", threads)
                    .env("MKL_NUM_THREADS", threads),
            );
            out
        });
        for file in ["losses.txt", "test_losses.txt"] {
            assert_eq!(read(&one, file), read(&three, file), "{name} {file}");
        }
    }
}

#[test]
fn a_base_that_does_not_fit_is_a_bad_spec_with_both_shapes() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let text = "kind = \"continue\"\nbase = \"base\"\n[network]\nhidden = 8\n[training]\nbatches = 9\n";
    let spec = write(folder.path(), "wider.toml", text);
    let output = train(&spec, &folder.path().join("out")).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    for words in ["/network/hidden", "[8, 8]", "[5, 5]"] {
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    let text = "kind = \"evaluate\"\nbase = \"nowhere\"\n";
    let spec = write(folder.path(), "nowhere.toml", text);
    let output = train(&spec, &folder.path().join("out")).output().expect("runs");
    assert!(said(&output).contains("there is no base at"), "{}", said(&output));
}

#[test]
fn a_folder_belongs_to_one_base() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let other = write(folder.path(), "other.toml", &BASE.replace("seed = 4", "seed = 5"));
    finish(&mut train(&other, &folder.path().join("other")));
    let text = "kind = \"transfer\"\n[training]\nbatches = 1\nbatch_size = 2\ntasks = [\"DlyFigure8\"]\n";
    let spec = write(folder.path(), "transfer.toml", text);
    let out = folder.path().join("transfer");
    finish(train(&spec, &out).arg("--base").arg(folder.path().join("base")));
    let output = train(&spec, &out)
        .arg("--base")
        .arg(folder.path().join("other"))
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("another base"), "{}", said(&output));
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
