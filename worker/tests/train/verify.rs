//! What `motif-worker verify` finds, and what it accepts.

use motif_motor::checkpoint::Checkpoint;
use motif_motor::host_tensor::HostTensor;

use super::{base, finish, program, read, said, train, verify, write};

#[test]
fn an_evaluation_by_the_reference_engine_is_verified_by_it() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let spec = write(
        folder.path(),
        "evaluate.toml",
        "kind = \"evaluate\"\nbase = \"base\"\n",
    );
    let [reference, fused] = ["reference", "fused"].map(|engine| {
        let out = folder.path().join(engine);
        finish(train(&spec, &out).args(["--engine", engine]));
        let verified = verify(&out);
        assert!(verified.status.success(), "{engine}: {}", said(&verified));
        read(&out, "evaluation.csv")
    });
    assert_ne!(
        reference, fused,
        "the engines round alike: nothing was told apart"
    );
}

#[test]
fn an_evaluation_leaves_its_table_and_can_be_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let spec = folder.path().join("evaluate.toml");
    let text = "kind = \"evaluate\"\nbase = \"base\"\n[evaluation]\nspeeds = [1, 3]\ndirections = [0, 1, 9]\n\
                delays = [25, 40]\nnoise = false\n";
    std::fs::write(&spec, text).expect("written");
    let out = folder.path().join("table");
    let output = program()
        .args(["train", "--spec"])
        .arg(&spec)
        .arg("--out")
        .arg(&out)
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("DlyHalfReach"), "{}", said(&output));
    let table: serde_json::Value = serde_json::from_str(&read(&out, "evaluation.json")).expect("JSON");
    let conditions = table["conditions"].as_array().expect("a list");
    assert_eq!(conditions.len(), 4);
    assert_eq!(
        (&conditions[1]["speed"], &conditions[1]["delay"]),
        (&1.into(), &40.into())
    );
    assert_eq!(read(&out, "evaluation.csv").lines().count(), 1 + 4 * 3);
    assert!(!out.join("losses.txt").exists());
    assert!(verify(&out).status.success());
    let spoilt = read(&out, "evaluation.csv").replacen(",25,1,0.", ",25,1,1.", 1);
    std::fs::write(out.join("evaluation.csv"), spoilt).expect("written");
    let verified = verify(&out);
    assert_eq!(verified.status.code(), Some(1));
    assert!(said(&verified).contains("DIFFERENT"), "{}", said(&verified));
}

#[test]
fn a_changed_loss_is_found_and_both_numbers_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let run = folder.path().join("base");
    let verified = program()
        .args(["verify", "--json"])
        .arg(&run)
        .output()
        .expect("runs");
    let report: serde_json::Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(report["passed"], true, "{report}");
    let mut lines: Vec<String> = read(&run, "losses.txt").lines().map(str::to_owned).collect();
    let number: f64 = lines[2].parse().expect("a number");
    lines[2] = format!("{:.18e}", f64::from_bits(number.to_bits() + 1));
    std::fs::write(run.join("losses.txt"), lines.join("\n") + "\n").expect("written");
    let verified = verify(&run);
    assert_eq!(verified.status.code(), Some(1));
    assert!(
        said(&verified).contains("DIFFERENT at 2: recomputed"),
        "{}",
        said(&verified)
    );
}

#[test]
fn whatever_is_changed_in_a_folder_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    base(folder.path());
    let run = folder.path().join("base");
    let checkpoint = |name: &'static str, change: fn(&mut Checkpoint)| {
        let run = &run;
        move || {
            let path = run.join(name);
            let mut checkpoint = Checkpoint::read_from(&path).expect(name);
            change(&mut checkpoint);
            checkpoint.write_to(&path).expect("written");
        }
    };
    let text = |name: &'static str, change: fn(&str) -> String| {
        let run = &run;
        move || std::fs::write(run.join(name), change(&read(run, name))).expect("written")
    };
    let other_moments = |checkpoint: &mut Checkpoint| {
        let moment = checkpoint.moments.get_mut("first.fc.bias").expect("a moment");
        *moment = HostTensor::from_tensor(&(moment.to_tensor() * 1.01));
    };
    let other_weights = |checkpoint: &mut Checkpoint| {
        let weights = checkpoint.state.get_mut("fc.weight").expect("weights");
        *weights = HostTensor::from_tensor(&(weights.to_tensor() * 1.01));
    };
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let changes: [Change<'_>; 6] = [
        (
            "tensor `first.fc.bias`",
            Box::new(checkpoint("checkpoint-last.safetensors", other_moments)),
        ),
        (
            "tensor `fc.weight`",
            Box::new(checkpoint("checkpoint-best.safetensors", other_weights)),
        ),
        (
            "test_losses.txt: evaluations from the beginning: DIFFERENT at 2",
            Box::new(text("test_losses.txt", |text| {
                let mut lines: Vec<&str> = text.lines().collect();
                lines[1] = "1.250000000000000000e-01";
                lines.join("\n") + "\n"
            })),
        ),
        (
            "has 6 lines",
            Box::new(text("losses.txt", |text| text.to_owned() + "1.0e-01\n")),
        ),
        (
            "has 4 lines",
            Box::new(text("losses.txt", |text| {
                text.lines().take(4).map(|line| format!("{line}\n")).collect()
            })),
        ),
        (
            "asks for `learning_rate` 0.002",
            Box::new(text("hp.json", |text| {
                text.replace("\"learning_rate\": 0.001", "\"learning_rate\": 0.002")
            })),
        ),
    ];
    let files = ["losses.txt", "test_losses.txt", "hp.json"];
    let files = files
        .into_iter()
        .chain(["checkpoint-last.safetensors", "checkpoint-best.safetensors"]);
    let sound: Vec<(&str, Vec<u8>)> = files
        .map(|name| (name, std::fs::read(run.join(name)).expect(name)))
        .collect();
    for (found, change) in changes {
        change();
        let verified = verify(&run);
        assert_eq!(verified.status.code(), Some(1), "{found}");
        assert!(said(&verified).contains(found), "{found}: {}", said(&verified));
        for (name, bytes) in &sound {
            std::fs::write(run.join(name), bytes).expect("written");
        }
    }
    assert!(verify(&run).status.success());
}
