//! Files that commands read and write.

use std::fs;
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// Reads a file as text.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::File { action: "read", path: path.to_owned(), source })
}

/// Writes a file that is no secret.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|source| Failure::File { action: "write", path: path.to_path_buf(), source })
}

/// Writes beside the file and renames, so that a full disk leaves no partial answer under the file's name.
pub(super) fn replace(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part: PathBuf = file.with_file_name(name);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, file));
    written.map_err(|source| {
        // Best effort: the failure to report is the first one.
        let _ = fs::remove_file(&part);
        Failure::File { action: "write", path: file.to_path_buf(), source }
    })
}

/// Makes the folder of a file.
pub(super) fn make_folder_of(file: &Path) -> Result<(), Failure> {
    let Some(folder) = file.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|source| Failure::File { action: "make", path: folder.to_owned(), source })
}
