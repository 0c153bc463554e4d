//! A card that is a processor: runs the kernels of `engine/cuda/kernels` as the C++ compiler builds them here.

// Loading what a compiler made and calling it is what this is for; nothing in safe Rust can do it.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use libloading::{Library, Symbol};
use motif_motor::device::Precision;
use motif_motor::engine::cuda::{Address, Card, CardError, Grid, Run, source};

/// Memory with a stretch behind it that nobody may write.
type Allocation = Vec<u64>;
const GUARD: usize = 8;
const UNTOUCHED: u64 = 0x5a5a_5a5a_5a5a_5a5a;

/// How blocks run: lanes that take turns at every SYNC, and the order of rounds and blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    pub(crate) lanes: i32,
    pub(crate) order: i32,
}

impl Turns {
    pub(crate) const ALONE: Self = Self { lanes: 1, order: 0 };
}

pub(crate) struct HostCard {
    library: Library,
    rows: usize,
    turns: Turns,
    memory: Mutex<HashMap<Address, Allocation>>,
    /// Bytes that it has.
    size: usize,
}

impl fmt::Debug for HostCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostCard of {} rows", self.rows)
    }
}

impl HostCard {
    pub(crate) fn new(precision: Precision, rows: usize, turns: Turns) -> Arc<Self> {
        Self::with_memory(precision, rows, turns, usize::MAX)
    }

    pub(crate) fn with_memory(precision: Precision, rows: usize, turns: Turns, size: usize) -> Arc<Self> {
        let path = built(precision, rows);
        // SAFETY: the library was built from this crate's kernels and has no initialisers of its own.
        let library = unsafe { Library::new(&path) }.expect("a library");
        Arc::new(Self {
            library,
            rows,
            turns,
            memory: Mutex::default(),
            size,
        })
    }

    /// Bytes in use.
    pub(crate) fn taken(&self) -> usize {
        let memory = self.memory.lock().expect("no panic before");
        memory
            .values()
            .map(|allocation| size_of_val(&allocation[..]))
            .sum()
    }

    /// What lies at an address, which may be inside of an allocation.
    fn place(&self, address: Address, bytes: usize) -> *mut u8 {
        let memory = self.memory.lock().expect("no panic before");
        let allocation = &memory[&address];
        let (own, guard) = allocation.split_at(allocation.len() - GUARD);
        assert!(bytes <= size_of_val(own), "a copy is longer than its memory");
        assert!(
            guard.iter().all(|&word| word == UNTOUCHED),
            "a kernel wrote behind its memory"
        );
        own.as_ptr().cast_mut().cast()
    }
}

impl Card for HostCard {
    fn rows_per_block(&self) -> usize {
        self.rows
    }

    fn allocate(&self, bytes: usize) -> Result<Address, CardError> {
        if self.taken().saturating_add(bytes) > self.size {
            return Err(CardError::OutOfMemory { bytes });
        }
        let mut memory = self.memory.lock().expect("no panic before");
        let words = bytes.div_ceil(32) * 4;
        let mut allocation = vec![0; words + GUARD];
        allocation[words..].fill(UNTOUCHED);
        let address = allocation.as_ptr() as Address;
        memory.insert(address, allocation);
        Ok(address)
    }

    fn release(&self, address: Address, bytes: usize) {
        if bytes > 0 {
            self.place(address, bytes);
            self.memory.lock().expect("no panic before").remove(&address);
        }
    }

    fn write(&self, address: Address, bytes: &[u8]) -> Result<(), CardError> {
        let place = self.place(address, bytes.len());
        // SAFETY: `place` holds as many bytes, and nothing else uses them while the test's thread is here.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    fn read(&self, address: Address, bytes: &mut [u8]) -> Result<(), CardError> {
        let place = self.place(address, bytes.len());
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn launch(&self, kernel: &'static str, grid: Grid, run: &Run) -> Result<(), CardError> {
        type Kernel = unsafe extern "C" fn(&Run, i32, usize, i32, i32) -> i32;
        let Turns { lanes, order } = self.turns;
        let blocks = i32::try_from(grid.blocks).expect("few blocks");
        // The lanes' stacks and whose turn it is are the library's own: one launch at a time.
        let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: host.h declares every kernel so, and run.h and run.rs are checked to be of one size.
        let overrun = unsafe {
            let kernel: Symbol<'_, Kernel> = self.library.get(kernel.as_bytes()).expect("a kernel");
            kernel(run, blocks, grid.on_chip, lanes, order)
        };
        assert_eq!(overrun, 0, "{kernel} wrote behind its shared memory");
        Ok(())
    }

    /// A launch here returns when its kernel does.
    fn wait(&self) -> Result<(), CardError> {
        Ok(())
    }
}

static ALONE: Mutex<()> = Mutex::new(());

/// The kernels as a library, built once for each source and definition.
fn built(precision: Precision, rows: usize) -> PathBuf {
    let files = source::files();
    let definitions = source::definitions(precision, rows);
    let mut hasher = DefaultHasher::new();
    (FLAGS, &files, &definitions).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("kernels-{precision}-{rows}-{:016x}.so", hasher.finish()));
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if library.exists() {
        return library;
    }
    let work = tempfile::tempdir_in(folder).expect("a folder");
    for (name, text) in files {
        std::fs::write(work.path().join(name), text).expect("written");
    }
    let made = work.path().join("kernels.so");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let output = Command::new(compiler)
        .args(FLAGS)
        .args(definitions)
        .args(["-x", "c++"])
        .arg(work.path().join(source::MAIN))
        .arg("-o")
        .arg(&made)
        .output()
        .expect("a C++ compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::rename(&made, &library).expect("moved");
    library
}

/// Sums and products must round on their own: the noise's bits depend on it.
const FLAGS: [&str; 7] = [
    "-std=c++17",
    "-O2",
    "-ffp-contract=off",
    "-shared",
    "-fPIC",
    "-Wno-unknown-pragmas",
    "-DHOST",
];
