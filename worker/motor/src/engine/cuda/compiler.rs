//! NVRTC, CUDA's compiler as a library: turns the kernels' source into a program for one kind of card.

#![allow(unsafe_code)] // See `libraries.rs`.

use std::ffi::{CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::OnceLock;

use super::card::CardError;
use super::libraries::{functions, keep_loaded, open};
use super::source;
use crate::device::Precision;

type Program = *mut c_void;

functions! {
    Nvrtc of "libnvrtc" {
        create = "nvrtcCreateProgram"(
            *mut Program, *const c_char, *const c_char, i32, *const *const c_char, *const *const c_char
        );
        compile = "nvrtcCompileProgram"(Program, i32, *const *const c_char);
        destroy = "nvrtcDestroyProgram"(*mut Program);
        log_size = "nvrtcGetProgramLogSize"(Program, *mut usize);
        log = "nvrtcGetProgramLog"(Program, *mut c_char);
        cubin_size = "nvrtcGetCUBINSize"(Program, *mut usize);
        cubin = "nvrtcGetCUBIN"(Program, *mut c_char);
    }
}

/// A folder that NVRTC is in, where it lies neither beside libtorch nor where the system looks.
pub const FOLDER_VARIABLE: &str = "MOTIF_NVRTC";

/// Versions that know every kind of card that the kernels are for, the newest first.
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

fn nvrtc() -> Result<&'static Nvrtc, CardError> {
    static LOADED: OnceLock<Result<Nvrtc, CardError>> = OnceLock::new();
    let load = || {
        let mut names = NAMES.map(str::to_owned).to_vec();
        if let Some(folder) = folders().into_iter().find(|folder| holds_nvrtc(folder)) {
            // NVRTC looks for this library of its own by name alone.
            keep_loaded(&folder, "libnvrtc-builtins.so");
            names.splice(0..0, NAMES.map(|name| folder.join(name).display().to_string()));
        }
        Nvrtc::of(open("libnvrtc", &names)?)
    };
    LOADED.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let beside_libtorch = option_env!("LIBTORCH").map(|libtorch| Path::new(libtorch).join("lib"));
    named.into_iter().chain(beside_libtorch).collect()
}

fn holds_nvrtc(folder: &Path) -> bool {
    NAMES.iter().any(|name| folder.join(name).exists())
}

/// The kernels as a program for a kind of card.
#[derive(Debug)]
pub struct Compiled {
    /// As the driver loads it.
    pub cubin: Vec<u8>,
    /// What the compiler said, with the registers, the spills and the stack of every kernel.
    pub log: String,
}

/// Compiles the kernels for cards of an architecture, such as `sm_90`.
///
/// # Errors
/// [`CardError::Library`] where NVRTC is not installed, [`CardError::Compile`] with what it says of the source.
pub fn compile(
    architecture: &str,
    precision: Precision,
    rows_per_block: usize,
) -> Result<Compiled, CardError> {
    let nvrtc = nvrtc()?;
    let files = source::files();
    let text = |text: &str| {
        CString::new(text).map_err(|_| CardError::Compile("a source has a zero in it".to_owned()))
    };
    let main = files.iter().find(|(name, _)| *name == source::MAIN);
    let main = text(main.map_or("", |(_, text)| text))?;
    let mut contents = Vec::new();
    let mut names = Vec::new();
    for (name, content) in files.iter().filter(|(name, _)| *name != source::MAIN) {
        names.push(text(name)?);
        contents.push(text(content)?);
    }
    let mut options = source::definitions(precision, rows_per_block);
    options.extend([
        format!("--gpu-architecture={architecture}"),
        "--std=c++17".to_owned(),
        "--ptxas-options=-v".to_owned(),
    ]);
    let options: Vec<CString> = options
        .iter()
        .map(|option| text(option))
        .collect::<Result<_, _>>()?;
    let name = text(source::MAIN)?;

    let mut program = Compiling {
        nvrtc,
        program: null_mut(),
    };
    let (contents, names, options) = (pointers(&contents), pointers(&names), pointers(&options));
    // SAFETY: every pointer is to a string that ends with zero and lives until the end of this function, the counts
    // are those of the lists, and what NVRTC writes goes where it was told that there is room.
    unsafe {
        checked(
            "nvrtcCreateProgram",
            (nvrtc.create)(
                &raw mut program.program,
                main.as_ptr(),
                name.as_ptr(),
                names.len() as i32,
                contents.as_ptr(),
                names.as_ptr(),
            ),
        )?;
        let result = (nvrtc.compile)(program.program, options.len() as i32, options.as_ptr());
        let log = program.text(nvrtc.log_size, nvrtc.log)?;
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
        if result != 0 {
            return Err(CardError::Compile(log));
        }
        let cubin = program.text(nvrtc.cubin_size, nvrtc.cubin)?;
        Ok(Compiled { cubin, log })
    }
}

/// A program of NVRTC's until it is done with.
struct Compiling {
    nvrtc: &'static Nvrtc,
    program: Program,
}

impl Compiling {
    /// What one function gives the size of and another the bytes.
    ///
    /// # Safety
    /// The two must be a pair of NVRTC's.
    unsafe fn text(
        &self,
        size: unsafe extern "C" fn(Program, *mut usize) -> i32,
        bytes: unsafe extern "C" fn(Program, *mut c_char) -> i32,
    ) -> Result<Vec<u8>, CardError> {
        let mut count = 0;
        // SAFETY: the program was created, and the room has the size that NVRTC asks for.
        unsafe {
            checked("nvrtcGetProgramLogSize", size(self.program, &raw mut count))?;
            let mut room = vec![0_u8; count];
            checked(
                "nvrtcGetProgramLog",
                bytes(self.program, room.as_mut_ptr().cast()),
            )?;
            Ok(room)
        }
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        if !self.program.is_null() {
            // SAFETY: created by this library, and not used any more.
            unsafe { (self.nvrtc.destroy)(&raw mut self.program) };
        }
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).collect()
}

fn checked(call: &'static str, result: i32) -> Result<(), CardError> {
    match result {
        0 => Ok(()),
        code => Err(CardError::Driver {
            call,
            problem: format!("error {code}"),
        }),
    }
}
