//! Libraries of CUDA that are there or not: found when they are first needed, so that one program serves machines
//! with a card and without.

// Functions of a library that is loaded at run time can only be called so. Everything unsafe about CUDA is in this
// file, `driver.rs` and `compiler.rs`.
#![allow(unsafe_code)]

use std::path::Path;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::card::CardError;

/// Opens the first of some names that there is.
pub(super) fn open(library: &'static str, names: &[String]) -> Result<Library, CardError> {
    let mut problem = String::new();
    for name in names {
        // SAFETY: the names are CUDA's own libraries, whose initialisers only set up their own state.
        match unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => return Ok(library),
            // The first name is the one that people look for.
            Err(error) if problem.is_empty() => problem = error.to_string(),
            Err(_) => {}
        }
    }
    Err(CardError::Library { library, problem })
}

/// Keeps a library of a folder loaded, so that another one finds it by name.
pub(super) fn keep_loaded(folder: &Path, beginning: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let named = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(beginning));
        if named {
            // SAFETY: as in `open`.
            if let Ok(library) = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
                std::mem::forget(library);
            }
        }
    }
}

/// Declares a table of a library's functions, and how it is filled.
macro_rules! functions {
    ($(#[$attribute:meta])* $table:ident of $library:literal { $($name:ident = $symbol:literal ($($argument:ty),*);)* }) => {
        $(#[$attribute])*
        pub(super) struct $table {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> i32,)*
            _library: libloading::os::unix::Library,
        }

        impl $table {
            pub(super) fn of(library: libloading::os::unix::Library) -> Result<Self, CardError> {
                Ok(Self {
                    $(
                        // SAFETY: the types are those of CUDA's headers, and the library outlives the table.
                        $name: unsafe {
                            *library.get(concat!($symbol, "\0").as_bytes()).map_err(|error| CardError::Library {
                                library: $library,
                                problem: error.to_string(),
                            })?
                        },
                    )*
                    _library: library,
                })
            }
        }
    };
}
pub(super) use functions;
