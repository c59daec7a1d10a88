//! A secret key in a file of its own.
//!
//! The file is text: empty lines and lines that begin with `#` count for nothing, and exactly one line is the
//! key in its text form. A new file has mode 0600. A file that its group or others can read, write or execute
//! is refused, as its key may be known. (Where there are no Unix modes, nothing of the kind is checked: keep
//! the folder private.)

use super::{SecretKey, Signer, TextError};
use crate::crypto::Seed;
use core::fmt;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::vec::Vec;
use zeroize::Zeroizing;

/// The largest file that is read, in bytes: room for a key and some lines of comment.
pub const MAX_FILE: u64 = 4096;

/// Loads the key in `path`.
///
/// # Errors
/// [`KeyFileError`], with [`KeyFileError::NotFound`] when there is no such file.
pub fn load(path: impl AsRef<Path>) -> Result<SecretKey, KeyFileError> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::NotFound,
        _ => KeyFileError::Io(error),
    })?;
    // Of the open file, not of the path, which may lead elsewhere by now.
    let metadata = file.metadata().map_err(KeyFileError::Io)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    check_mode(&metadata)?;
    parse(&read_bounded(&mut file)?)
}

/// Creates `path` with the key derived from `seed` ([`SecretKey::from_seed`]).
///
/// The key is written to a temporary file in the same folder, flushed to the disk, and moved to its name. A
/// file that is there already is never replaced, even if it comes into being meanwhile.
///
/// # Errors
/// [`KeyFileError`], with [`KeyFileError::AlreadyExists`] when there is something at `path`.
pub fn create(path: impl AsRef<Path>, seed: &Seed) -> Result<SecretKey, KeyFileError> {
    let path = path.as_ref();
    let key = SecretKey::from_seed(seed);
    let temporary = Temporary::beside(path, &key)?;
    let text = key.to_text();
    let mut file = temporary.open().map_err(KeyFileError::Io)?;
    writeln!(file, "# Secret key of node {}", key.node_id())
        .and_then(|()| file.write_all(text.expose().as_bytes()))
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .map_err(KeyFileError::Io)?;
    drop(file);
    temporary.publish(path)?;
    Ok(key)
}

/// Loads the key in `path`, or creates it from `seed` where there is none. Of two processes that start at
/// once, both get the key that is in the file in the end.
///
/// # Errors
/// [`KeyFileError`]. A file that is refused or malformed stays as it is: a node doesn't change its identity
/// by itself.
pub fn load_or_create(path: impl AsRef<Path>, seed: &Seed) -> Result<SecretKey, KeyFileError> {
    let path = path.as_ref();
    match load(path) {
        Err(KeyFileError::NotFound) => match create(path, seed) {
            Err(KeyFileError::AlreadyExists) => load(path),
            outcome => outcome,
        },
        outcome => outcome,
    }
}

#[cfg(unix)]
fn check_mode(metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    let others = mode & 0o077;
    if others == 0 { Ok(()) } else { Err(KeyFileError::Exposed { mode }) }
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // The signature is that of the Unix form.
fn check_mode(_: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

fn read_bounded(file: &mut File) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let limit = usize::try_from(MAX_FILE).unwrap_or(usize::MAX);
    // One buffer of the final size: one that grows leaves copies behind.
    let mut buffer = Zeroizing::new(std::vec![0; limit + 1]);
    let mut filled = 0;
    while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
        match file.read(space) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(KeyFileError::Io(error)),
        }
    }
    if filled > limit {
        return Err(KeyFileError::TooLong);
    }
    buffer.truncate(filled);
    Ok(buffer)
}

fn parse(bytes: &[u8]) -> Result<SecretKey, KeyFileError> {
    let text = core::str::from_utf8(bytes).map_err(|_| KeyFileError::NotText)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => SecretKey::from_text(line).map_err(KeyFileError::BadKey),
        (None, _) => Err(KeyFileError::NoKey),
        (Some(_), Some(_)) => Err(KeyFileError::SeveralKeys),
    }
}

/// The name of a file in the making. The file goes when this is dropped.
struct Temporary(PathBuf);

impl Temporary {
    /// The fingerprint keeps the names of two processes apart, and tells nothing of the secret.
    fn beside(path: &Path, key: &SecretKey) -> Result<Self, KeyFileError> {
        let name = path.file_name().ok_or(KeyFileError::NotAFile)?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(std::format!(".{}.tmp", key.node_id().fingerprint()));
        Ok(Self(path.with_file_name(temporary)))
    }

    fn open(&self) -> io::Result<File> {
        // What is left of an attempt with the same seed that was cut short.
        let _ = fs::remove_file(&self.0);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.0)
    }

    /// Moves the file to `path` unless there is something. A plain rename would replace it, so the file first
    /// gets the second name and then loses the first; only where a file system has no links, it is
    /// renamed.
    fn publish(self, path: &Path) -> Result<(), KeyFileError> {
        match fs::hard_link(&self.0, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(KeyFileError::AlreadyExists);
            }
            Err(_) if fs::symlink_metadata(path).is_ok() => return Err(KeyFileError::AlreadyExists),
            Err(_) => fs::rename(&self.0, path).map_err(KeyFileError::Io)?,
        }
        drop(self);
        sync_folder(path);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the new name survive a power cut. Not every file system can; the file is complete either way.
pub(crate) fn sync_folder(path: &Path) {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Why there is no key from a file. It repeats nothing of the file.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is no such file.
    NotFound,
    /// There is a file already, which is never replaced.
    AlreadyExists,
    /// The path is a folder, a device or the like.
    NotAFile,
    /// Group or others have some access; `chmod 600` mends it if the key is not known to anybody else.
    Exposed {
        /// The mode's lower twelve bits.
        mode: u32,
    },
    /// The file is larger than [`MAX_FILE`].
    TooLong,
    /// The file is not UTF-8.
    NotText,
    /// The file holds no key.
    NoKey,
    /// The file holds more lines than one key.
    SeveralKeys,
    /// The key's line is wrong.
    BadKey(TextError),
    /// The operating system refused.
    Io(io::Error),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such key file"),
            Self::AlreadyExists => f.write_str("the key file exists already"),
            Self::NotAFile => f.write_str("the key file is not a regular file"),
            Self::Exposed { mode } => {
                write!(f, "the key file is open to others (mode {mode:04o}, wanted 0600)")
            }
            Self::TooLong => write!(f, "the key file has more than {MAX_FILE} bytes"),
            Self::NotText => f.write_str("the key file is not text"),
            Self::NoKey => f.write_str("the key file holds no key"),
            Self::SeveralKeys => f.write_str("the key file holds more than one key"),
            Self::BadKey(error) => write!(f, "the key in the key file {error}"),
            Self::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                f.write_str("the folder of the key file does not exist: make it first")
            }
            Self::Io(error) => write!(f, "the key file cannot be used: {error}"),
        }
    }
}

impl core::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::BadKey(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
