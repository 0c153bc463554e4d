//! Spec files, and what they refer to on this machine's disk.

use std::path::{Path, PathBuf};

use motif_proto::problem::FieldProblem;
use motif_proto::spec::base::BaseRequest;
use motif_proto::spec::preset::Preset;
use motif_proto::spec::regions::RegionsSpec;
use motif_proto::spec::{ExperimentKind, ExperimentSpec};
use serde_json::{Value, json};

use crate::base::{BaseError, LocalBase};

/// Files above this are refused unread.
const MAX_SPEC_BYTES: u64 = 1 << 20;

/// Why a file is not a spec.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} has {bytes} bytes: no spec is larger than {MAX_SPEC_BYTES}")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{path} is not {language}: {problem}")]
    Syntax {
        path: PathBuf,
        language: &'static str,
        problem: String,
    },
    #[error("{path} is not a spec that can be carried out")]
    Fields {
        path: PathBuf,
        problems: Vec<FieldProblem>,
    },
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(
        "the preset `{preset}` starts from what `{base_preset}` trains, which is not at {looked_at}: train that \
         first, or name another base with --base"
    )]
    BaseToTrain {
        preset: String,
        base_preset: &'static str,
        looked_at: String,
    },
}

/// A spec with what it starts from.
#[derive(Debug)]
pub struct LocalSpec {
    pub spec: ExperimentSpec,
    pub base: Option<LocalBase>,
}

/// Reads a spec file, JSON where its name ends in `.json`, else TOML, and the base that it names.
///
/// `base` takes the place of the spec's own. `beside` is the folder in which the base of a preset is looked for
/// under its stem when none is named.
///
/// # Errors
/// [`SpecError`]; with every field that is wrong where the file can be read at all.
pub fn read_file(path: &Path, base: Option<&Path>, beside: Option<&Path>) -> Result<LocalSpec, SpecError> {
    let mut document = read_document(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let fields = |problems| SpecError::Fields {
        path: path.to_owned(),
        problems,
    };
    take_regions_file(&mut document, folder)?.map_err(fields)?;
    let named = document
        .get("base")
        .and_then(Value::as_str)
        .map(|name| folder.join(name));
    let found = match (base, named) {
        (Some(base), _) => Some(base.to_owned()),
        (None, Some(named)) => Some(named),
        (None, None) => base_of_preset(&document, beside)?,
    };
    if let (Some(found), Some(object)) = (&found, document.as_object_mut()) {
        let absolute = std::path::absolute(found).unwrap_or_else(|_| found.clone());
        object.insert("base".to_owned(), json!(absolute));
    }
    let base = match (BaseRequest::of(&document), found) {
        (Some(request), Some(found)) => {
            let hints = match request.kind {
                ExperimentKind::Train => None,
                _ => document.get("network"),
            };
            Some(LocalBase::find(&found, request.checkpoint, hints)?)
        }
        _ => None,
    };
    let terms = base.as_ref().map(LocalBase::terms);
    let spec = ExperimentSpec::resolve(&document, terms.as_ref()).map_err(fields)?;
    Ok(LocalSpec { spec, base })
}

/// The document of a file, whatever it says.
fn read_document(path: &Path) -> Result<Value, SpecError> {
    let failed = |source| SpecError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_SPEC_BYTES {
        return Err(SpecError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Value, SpecError> {
    let json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let (language, parsed) = if json {
        (
            "JSON",
            serde_json::from_str(text).map_err(|error| error.to_string()),
        )
    } else {
        ("TOML", toml::from_str(text).map_err(|error| error.to_string()))
    };
    parsed.map_err(|problem: String| SpecError::Syntax {
        path: path.to_owned(),
        language,
        problem: problem.trim_end().to_owned(),
    })
}

/// Puts the regions of the family's configuration file that `network.regions_file` names where the spec's own would
/// stand. The inner error is about fields of that file.
fn take_regions_file(
    document: &mut Value,
    folder: &Path,
) -> Result<Result<(), Vec<FieldProblem>>, SpecError> {
    let Some(network) = document.get_mut("network").and_then(Value::as_object_mut) else {
        return Ok(Ok(()));
    };
    let Some(file) = network.remove("regions_file") else {
        return Ok(Ok(()));
    };
    let problem = |detail: &str| FieldProblem {
        pointer: "/network/regions_file".to_owned(),
        detail: detail.to_owned(),
        given: Some(file.clone()),
        allowed: Some("the name of a JSON file, in place of `regions`".to_owned()),
        nearest: None,
    };
    let Some(name) = file.as_str() else {
        return Ok(Err(vec![problem("is no name of a file")]));
    };
    if network.contains_key("regions") {
        return Ok(Err(vec![problem("`regions` is given too")]));
    }
    let configuration = read_document(&folder.join(name))?;
    Ok(match RegionsSpec::from_configuration(&configuration) {
        Ok(regions) => {
            network.insert("regions".to_owned(), json!(regions));
            Ok(())
        }
        Err(mut problems) => {
            for problem in &mut problems {
                problem.pointer = format!("{name}{}", problem.pointer);
            }
            Err(problems)
        }
    })
}

/// Where the network lies that a preset is made to start from: beside the run's own folder, under the stem that the
/// family uses or the id of the preset that trains it.
fn base_of_preset(document: &Value, beside: Option<&Path>) -> Result<Option<PathBuf>, SpecError> {
    let preset = document
        .get("preset")
        .and_then(Value::as_str)
        .and_then(Preset::find);
    let Some((preset, base_preset, stem)) =
        preset.and_then(|preset| Some((preset, preset.base_preset?, preset.base_stem()?)))
    else {
        return Ok(None);
    };
    let beside = beside.unwrap_or(Path::new("."));
    let places = [
        beside.join(stem),
        beside.join(format!("{stem}.pth")),
        beside.join(base_preset),
    ];
    match places.iter().find(|place| place.exists()) {
        Some(place) => Ok(Some(place.clone())),
        None => Err(SpecError::BaseToTrain {
            preset: preset.id.to_owned(),
            base_preset,
            looked_at: places.map(|place| place.display().to_string()).join(" or "),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<ExperimentSpec, SpecError> {
        read_file(path, None, None).map(|local| local.spec)
    }

    #[test]
    fn a_spec_file_is_toml_unless_its_name_says_json() {
        let folder = tempfile::tempdir().expect("a folder");
        let toml = folder.path().join("a.toml");
        std::fs::write(&toml, "seed = 3\n[network]\nhidden = 8\n").expect("written");
        let json = folder.path().join("a.json");
        std::fs::write(&json, r#"{"seed": 3, "network": {"hidden": 8}}"#).expect("written");
        assert_eq!(read(&toml).expect("read"), read(&json).expect("read"));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "[network]\nhiden = 8\n").expect("written");
        let Err(SpecError::Fields { problems, .. }) = read(&path) else {
            panic!("accepted")
        };
        assert_eq!(problems[0].pointer, "/network/hiden");
        std::fs::write(&path, "[network\n").expect("written");
        assert!(matches!(read(&path), Err(SpecError::Syntax { .. })));
    }

    #[test]
    fn regions_come_from_a_file_of_the_family() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "[network]\nregions_file = \"regions.json\"\n").expect("written");
        let regions = |dst: &str| {
            json!({
                "recurrent_regions": [{ "name": "m1", "num_units": 5 }, { "name": "pmd", "num_units": 4 }],
                "input_regions": [{ "name": "obs", "num_units": 28 }],
                "recurrent_connections": [{ "src_region": "m1", "dst_region": dst, "sparsity": 0.5 }],
                "input_connections": [{ "src_region": "obs", "dst_region": "m1" }],
            })
        };
        let file = folder.path().join("regions.json");
        std::fs::write(&file, regions("pmd").to_string()).expect("written");
        let spec = read(&path).expect("read");
        assert_eq!(spec.network.hidden(), 9);
        std::fs::write(&file, regions("m2").to_string()).expect("written");
        let Err(SpecError::Fields { problems, .. }) = read(&path) else {
            panic!("accepted")
        };
        assert!(
            problems[0]
                .pointer
                .starts_with("regions.json/recurrent_connections/0"),
            "{problems:?}"
        );
        assert!(format!("{:?}", problems[0]).contains("pmd"), "{problems:?}");
    }

    #[test]
    fn a_preset_whose_base_is_missing_says_what_to_train_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "preset = \"run_train_subsets_held_out_base_model\"\n").expect("written");
        let error = read_file(&path, None, Some(folder.path()))
            .expect_err("nothing there")
            .to_string();
        for words in [
            "run_train_subsets_all_base_model",
            "rnn256_softplus_heldout",
            "--base",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
}
