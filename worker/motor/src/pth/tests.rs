use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use proptest::prelude::*;
use safetensors::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

/// A file written by PyTorch itself (`tests/pth/README.md`).
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pth").join(name);
    std::fs::read(path).expect(name)
}

fn floats(tensor: &HostTensor) -> Vec<f32> {
    Vec::try_from(&tensor.to_tensor().to_kind(tch::Kind::Float).reshape([-1])).expect("numbers")
}

/// An archive around a pickle.
fn archive(pickle: &[u8], compression: CompressionMethod, storage: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(compression);
    for (name, bytes) in [("x/data.pkl", pickle), ("x/data/0", storage)] {
        zip.start_file(name, options).expect("begun");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}

fn refused(pickle: &[u8]) -> PthError {
    let bytes = archive(pickle, CompressionMethod::Stored, &[0; 16]);
    PthFile::from_bytes(&bytes).expect_err("refused")
}

/// `{"w": _rebuild_tensor_v2(storage 0 of `length` floats, offset, shape, strides, …)}`.
fn pickled_view(length: i32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let integer = |value: i32| [b"J".as_slice(), &value.to_le_bytes()].concat();
    let text = |text: &str| {
        [
            b"X".as_slice(),
            &(text.len() as u32).to_le_bytes(),
            text.as_bytes(),
        ]
        .concat()
    };
    let tuple = |values: &[i32]| {
        let values: Vec<u8> = values.iter().flat_map(|&value| integer(value)).collect();
        [b"(".as_slice(), &values, b"t"].concat()
    };
    [
        b"\x80\x02}".to_vec(),
        text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        integer(length),
        b"tQ".to_vec(),
        integer(offset),
        tuple(shape),
        tuple(strides),
        b"\x89NtRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn a_trained_network_of_pytorch_is_read_with_its_optimizer() {
    let file = PthFile::from_bytes(&fixture("rnn.pth")).expect("read");
    let names: Vec<&str> = file.state.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[0], "mrnn.region_base_firing");
    assert_eq!(names[8], "fc.bias");
    assert_eq!(file.table()["mrnn.input_region"].shape(), [6, 28]);
    let adam = file.adam.expect("an optimizer");
    assert_eq!((adam.step, adam.learning_rate), (2, 1e-3));
    // Five trained tensors; masks and signs have no moments.
    assert_eq!(adam.moments.len(), 10);
    let told: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&fixture("rnn.json")).expect("told");
    for (name, told) in told["adam"].as_object().expect("states") {
        for (which, place) in [("first", 1), ("second", 2)] {
            let moment = adam.moments[&format!("{which}.{name}")].to_tensor();
            let mean = moment.mean(None::<tch::Kind>).double_value(&[]);
            let theirs = told[place].as_f64().expect("a number");
            assert!(
                (mean - theirs).abs() <= 1e-6 * theirs.abs(),
                "{which}.{name}: {mean} {theirs}"
            );
        }
    }
}

#[test]
fn views_of_storages_are_read_as_what_they_show() {
    let file = PthFile::from_bytes(&fixture("strided.pth")).expect("read");
    assert_eq!(file.adam, None);
    let table = file.table();
    assert_eq!(table["transposed"].shape(), [6, 4]);
    assert_eq!(floats(&table["transposed"])[..5], [0.0, 6.0, 12.0, 18.0, 1.0]);
    assert_eq!(floats(&table["shared_block"]), [8.0, 9.0, 10.0, 14.0, 15.0, 16.0]);
    assert_eq!(floats(&table["expanded"]), [2.5; 6]);
    assert_eq!(table["double"].dtype(), Dtype::F64);
    assert_eq!(table["double"].to_tensor().double_value(&[1]), -1e300);
    assert_eq!(table["integer"].to_tensor().int64_value(&[1, 0]), 1 << 40);
    assert_eq!(floats(&table["mask"]), [1.0, 0.0, 1.0]);
    assert_eq!(
        (table["scalar"].shape().len(), floats(&table["scalar"])),
        (0, vec![4.0])
    );
    assert_eq!(floats(&table["parameter"]), [1.0, 2.0]);
    assert_eq!(table["empty"].shape(), [0, 3]);
}

#[test]
fn what_is_written_is_read_again() {
    for name in ["rnn.pth", "gru.pth"] {
        let file = PthFile::from_bytes(&fixture(name)).expect("read");
        let again = PthFile::from_bytes(&file.to_bytes().expect("written")).expect("read again");
        assert!(again == file, "{name}");
    }
    let file = PthFile::from_bytes(&fixture("strided.pth")).expect("read");
    let again = PthFile::from_bytes(&file.to_bytes().expect("written")).expect("read again");
    assert!(again == file);
}

#[test]
fn a_pickle_that_names_other_things_is_refused_by_name() {
    let error = PthFile::from_bytes(&fixture("hostile.pth")).expect_err("refused");
    assert!(
        matches!(&error, PthError::Forbidden(name) if name == "posix.system"),
        "{error}"
    );
    let error = PthFile::from_bytes(&fixture("module.pth")).expect_err("refused");
    assert!(
        matches!(&error, PthError::Forbidden(name) if name == "torch.nn.modules.linear.Linear"),
        "{error}"
    );
    let error = PthFile::from_bytes(&fixture("half.pth")).expect_err("refused");
    assert!(
        matches!(&error, PthError::Forbidden(name) if name == "torch.HalfStorage"),
        "{error}"
    );
    // Protocol 4 spells names otherwise, protocol 0 has an instruction of its own.
    let error = refused(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x02ls\x85R.");
    assert!(
        matches!(&error, PthError::Forbidden(name) if name == "os.system"),
        "{error}"
    );
    let error = refused(b"(S'ls'\nios\nsystem\n.");
    assert!(matches!(error, PthError::Instruction(_)), "{error}");
}

#[test]
fn the_format_before_1_6_is_refused_with_the_way_out() {
    let error = PthFile::from_bytes(&fixture("legacy.pth")).expect_err("refused");
    assert!(matches!(error, PthError::Legacy));
    assert!(error.to_string().contains("save it again"));
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let whole = fixture("rnn.pth");
    for length in (0..whole.len()).step_by(97) {
        PthFile::from_bytes(&whole[..length]).expect_err("refused");
    }
    let mut spoilt = whole.clone();
    let place = whole.len() / 2;
    spoilt[place] ^= 0x10;
    PthFile::from_bytes(&spoilt).expect_err("a checksum is wrong");
}

#[test]
fn views_beyond_their_storage_are_refused() {
    let whole = pickled_view(4, 0, &[2, 2], &[2, 1]);
    PthFile::from_bytes(&archive(&whole, CompressionMethod::Stored, &[0; 16])).expect("fits");
    for (length, offset, shape, strides) in [
        (4, 1, vec![2, 2], vec![2, 1]),
        (4, 0, vec![2, 2], vec![3, 1]),
        (4, 0, vec![i32::MAX; 4], vec![i32::MAX; 4]),
        (4, 0, vec![2, 2], vec![1]),
        (5, 0, vec![5], vec![1]),
        (4, -1, vec![1], vec![1]),
        (4, 0, vec![-1], vec![1]),
        // One number shown a million times: more than the file can account for.
        (4, 0, vec![1 << 20], vec![0]),
        (4, 0, vec![1; 9], vec![1; 9]),
    ] {
        refused(&pickled_view(length, offset, &shape, &strides));
    }
}

#[test]
fn compressed_entries_are_refused() {
    // A stored entry whose header claims to be deflated, as a zip bomb's is.
    let pickle = pickled_view(4, 0, &[4], &[1]);
    let mut bytes = archive(&pickle, CompressionMethod::Stored, &[0; 16]);
    let central = bytes
        .windows(4)
        .position(|four| four == b"PK\x01\x02")
        .expect("a directory");
    bytes[central + 10] = 8;
    bytes[8] = 8;
    let error = PthFile::from_bytes(&bytes).expect_err("refused");
    assert!(matches!(error, PthError::Archive(_)), "{error}");
}

#[test]
fn containers_that_hold_themselves_or_repeat_cost_nothing() {
    // A dictionary in itself, and a list doubled forty times: 2⁴⁰ entries if it were unfolded.
    let error = refused(b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s.");
    assert!(matches!(error, PthError::NoStateDict(_)), "{error}");
    let doubled: Vec<u8> = (0..40).flat_map(|_| *b"q\x00h\x00\x86").collect();
    let error = refused(&[b"\x80\x02N".as_slice(), &doubled, b"."].concat());
    assert!(matches!(error, PthError::NoStateDict(_)), "{error}");
}

#[test]
fn an_optimizer_of_another_kind_is_refused() {
    let bytes = PthFile::from_bytes(&fixture("rnn.pth"))
        .and_then(|file| file.to_bytes())
        .expect("written");
    let archived = Archive::open(&bytes)
        .and_then(|mut archive| archive.pickle())
        .expect("a pickle");
    let beta = 0.999_f64.to_be_bytes();
    let place = archived
        .windows(8)
        .position(|eight| eight == beta)
        .expect("a beta");
    let mut other = archived.clone();
    other[place..place + 8].copy_from_slice(&0.99_f64.to_be_bytes());
    let pickle = Pickle::read(&other).expect("read");
    let mut archive = Archive::open(&bytes).expect("an archive");
    let mut tensors = tensor::Reader::new(&mut archive, bytes.len());
    let optimizer = pickle
        .entry(pickle.root(), "optimizer_state_dict")
        .expect("there");
    let error = optimizer::read(&pickle, optimizer, &[], &mut tensors).expect_err("refused");
    assert!(error.to_string().contains("betas"), "{error}");
}

proptest! {
    #[test]
    fn no_pickle_makes_the_reader_panic(pickle in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = PthFile::from_bytes(&archive(&pickle, CompressionMethod::Stored, &[0; 16]));
    }

    #[test]
    fn no_spoilt_pickle_makes_the_reader_panic(place in 0_usize..200, byte in any::<u8>()) {
        let mut pickle = pickled_view(4, 0, &[2, 2], &[2, 1]);
        let place = place % pickle.len();
        pickle[place] = byte;
        let _ = PthFile::from_bytes(&archive(&pickle, CompressionMethod::Stored, &[0; 16]));
    }
}
