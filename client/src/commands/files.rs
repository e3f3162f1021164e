//! Files that commands read and write.

use std::fs;
use std::path::Path;

use super::failure::Failure;

/// Reads a file as text.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::File { action: "read", path: path.to_owned(), source })
}

/// Writes a file that is no secret.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|source| Failure::File { action: "write", path: path.to_path_buf(), source })
}

/// Makes the folder of a file.
pub(super) fn make_folder_of(file: &Path) -> Result<(), Failure> {
    let Some(folder) = file.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|source| Failure::File { action: "make", path: folder.to_owned(), source })
}
