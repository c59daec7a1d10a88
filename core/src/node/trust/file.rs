//! A trust list in a file of its own.

use core::fmt;
use std::ffi::OsString;
use std::format;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::string::ToString;
use std::time::SystemTime;
use std::vec::Vec;

use super::error::TrustParseError;
use super::list::{MAX_BYTES, TrustList};
use crate::identity::keyfile::sync_folder;

/// A trust list, and the file that it is from.
///
/// Others write the file too, people with an editor first of all. So a list is written only over the file
/// that it was read from, and [`reload`](Self::reload) is cheap enough to be called every second or so.
///
/// On Unix a file that its group or others can write is refused, as whoever writes it decides whom the node
/// trusts. (Where there are no Unix modes, nothing of the kind is checked: keep the folder to yourself.)
///
/// Its methods block for as long as the file system does.
#[derive(Debug)]
pub struct TrustFile {
    path: PathBuf,
    list: TrustList,
    /// The file that the list is from; `None` if there was none.
    source: Option<Stamp>,
    /// The file that was looked at last, whether there was a list in it or not.
    seen: Option<Stamp>,
}

impl TrustFile {
    /// Loads the list in `path`.
    ///
    /// # Errors
    /// [`TrustFileError`], with [`TrustFileError::NotFound`] when there is no such file.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, TrustFileError> {
        let path = path.into();
        let (list, stamp) = read(&path, &TrustList::new())?;
        Ok(Self { path, list, source: Some(stamp), seen: Some(stamp) })
    }

    /// Loads the list in `path`, or an empty one if there is no such file. The file comes into being with the
    /// first change that is saved.
    ///
    /// # Errors
    /// [`TrustFileError`], as of [`load`](Self::load). A file that is refused or wrong is never taken for an
    /// empty one.
    pub fn load_or_empty(path: impl Into<PathBuf>) -> Result<Self, TrustFileError> {
        let path = path.into();
        match Self::load(&path) {
            Err(TrustFileError::NotFound) => {
                Ok(Self { path, list: TrustList::new(), source: None, seen: None })
            }
            outcome => outcome,
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The list as it was read or written last.
    pub const fn list(&self) -> &TrustList {
        &self.list
    }

    /// Looks whether the file has changed, by its length, mode, times and inode; reads it if it has. Gives
    /// the list if that says something else than before. A file that changes while it is read is read again.
    ///
    /// A change that leaves the length as it is and comes within the tick of the file system's clock in which
    /// the file was read, some milliseconds, may be overlooked. Writing a new file in place of the old one is
    /// always noticed.
    ///
    /// # Errors
    /// [`TrustFileError`] if there is no list in the file any more, once for each state of the file; an error
    /// of the operating system each time, as another time it may be gone. The list stays as it was until
    /// there is a good one: a mistake in the file neither adds a peer nor takes one away. Neither does
    /// deleting it; to trust nobody, leave it empty.
    pub fn reload(&mut self) -> Result<Option<&TrustList>, TrustFileError> {
        let now = stamp(&self.path)?;
        if now == self.seen {
            return Ok(None);
        }
        match self.read_again() {
            Ok(changed) => Ok(changed.then_some(&self.list)),
            Err(error) => {
                if !matches!(error, TrustFileError::Io(_) | TrustFileError::ChangedMeanwhile) {
                    self.seen = now;
                }
                Err(error)
            }
        }
    }

    /// Reads the file; true if it says something else than before.
    fn read_again(&mut self) -> Result<bool, TrustFileError> {
        let (list, stamp) = read(&self.path, &self.list)?;
        (self.source, self.seen) = (Some(stamp), Some(stamp));
        let changed = list != self.list;
        if changed {
            self.list = list;
        }
        Ok(changed)
    }

    /// Changes the list as the file has it now, and saves it if that changes anything. Gives what `change`
    /// gives. Take over [`list`](Self::list) as a whole behind it, after an error too: it has what others
    /// have changed meanwhile, and [`reload`](Self::reload) won't tell of it again.
    ///
    /// # Errors
    /// As of [`reload`](Self::reload) and [`save`](Self::save).
    pub fn edit<T>(&mut self, change: impl FnOnce(&mut TrustList) -> T) -> Result<T, TrustFileError> {
        if stamp(&self.path)? != self.source {
            self.read_again()?;
        }
        let mut list = self.list.clone();
        let outcome = change(&mut list);
        if list != self.list {
            self.save(list)?;
        }
        Ok(outcome)
    }

    /// Writes `list` in place of the one in the file.
    ///
    /// It is written to a temporary file in the same folder, flushed to the disk, and renamed: who reads
    /// meanwhile sees the old file or the new one. Mode and owner stay as they are; a new file has mode 0644,
    /// less what the process's umask takes away. Of a symbolic link, the file that it leads to is replaced.
    ///
    /// # Errors
    /// [`TrustFileError::ChangedMeanwhile`] if the file is not the one that this list was read from or
    /// written to, or has gone: [`reload`](Self::reload), and change that, as [`edit`](Self::edit) does. Who
    /// writes between that check and the renaming, in the same moment, is still overwritten. After an error
    /// the list is as it was, and the file too.
    pub fn save(&mut self, list: TrustList) -> Result<(), TrustFileError> {
        // The file that a link leads to, so that it is that one that is replaced.
        let path = match fs::canonicalize(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.path.clone(),
            outcome => outcome?,
        };
        let (temporary, mut file) = Temporary::beside(&path)?;
        if let Some(metadata) = metadata(&path)? {
            check_mode(&metadata)?;
            take_after(&file, &metadata)?;
        }
        file.write_all(list.to_string().as_bytes())?;
        file.sync_all()?;
        if stamp(&path)? != self.source {
            return Err(TrustFileError::ChangedMeanwhile);
        }
        temporary.publish(&path)?;
        let written = Stamp::of(&file.metadata()?);
        (self.list, self.source, self.seen) = (list, Some(written), Some(written));
        Ok(())
    }
}

/// What a file looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Device, inode, mode, and the time of the last change of any kind, which nobody can set. Zero where
    /// there are no such things.
    unix: [i128; 4],
}

impl Stamp {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            unix: [metadata.dev().into(), metadata.ino().into(), metadata.mode().into(), changed],
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok(), unix: [0; 4] }
    }
}

fn metadata(path: &Path) -> Result<Option<Metadata>, TrustFileError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TrustFileError::Io(error)),
    }
}

fn stamp(path: &Path) -> Result<Option<Stamp>, TrustFileError> {
    Ok(metadata(path)?.as_ref().map(Stamp::of))
}

/// How often a file that changes while it is read is read again.
const TRIES: usize = 4;

/// Reads the list in `path`, of which `known` may have a part.
fn read(path: &Path, known: &TrustList) -> Result<(TrustList, Stamp), TrustFileError> {
    for _ in 0..TRIES {
        // To open a pipe would mean to wait for who writes to it.
        if !metadata(path)?.ok_or(TrustFileError::NotFound)?.is_file() {
            return Err(TrustFileError::NotAFile);
        }
        let mut file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => TrustFileError::NotFound,
            _ => TrustFileError::Io(error),
        })?;
        // Of the open file, not of the path, which may lead elsewhere by now.
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(TrustFileError::NotAFile);
        }
        check_mode(&before)?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        Read::by_ref(&mut file).take(limit + 1).read_to_end(&mut bytes)?;
        let stamp = Stamp::of(&before);
        if Stamp::of(&file.metadata()?) != stamp {
            continue;
        }
        if bytes.len() > MAX_BYTES {
            return Err(TrustFileError::TooLarge { bytes: before.len() });
        }
        let text = core::str::from_utf8(&bytes).map_err(|error| {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            TrustFileError::NotText { line: good.split(|byte| *byte == b'\n').count() }
        })?;
        return Ok((TrustList::parse_knowing(text, known)?, stamp));
    }
    Err(TrustFileError::ChangedMeanwhile)
}

#[cfg(unix)]
fn check_mode(metadata: &Metadata) -> Result<(), TrustFileError> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(TrustFileError::Writable { mode }) }
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // The signature is that of the Unix form.
fn check_mode(_: &Metadata) -> Result<(), TrustFileError> {
    Ok(())
}

/// Gives `file` the owner and the mode of the one whose place it takes: else a service could lose the right
/// to read its list when somebody else edits it.
#[cfg(unix)]
fn take_after(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    let owner = (old.uid() != new.uid()).then_some(old.uid());
    let group = (old.gid() != new.gid()).then_some(old.gid());
    if owner.is_some() || group.is_some() {
        fchown(file, owner, group)?;
    }
    // Behind the owner: a new owner may take bits of the mode away.
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // The signature is that of the Unix form.
fn take_after(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// The name of a file in the making. The file goes when this is dropped, unless it has got its name.
struct Temporary(Option<PathBuf>);

impl Temporary {
    /// How many writers of one process, living or cut short, can have files in the making.
    const MOST: usize = 16;

    fn beside(path: &Path) -> Result<(Self, File), TrustFileError> {
        let name = path.file_name().ok_or(TrustFileError::NotAFile)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
        let mut number = 0;
        loop {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}.{number}.tmp", std::process::id()));
            let temporary = path.with_file_name(temporary);
            match options.open(&temporary) {
                Ok(file) => return Ok((Self(Some(temporary)), file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < Self::MOST => number += 1,
                Err(error) => return Err(TrustFileError::Io(error)),
            }
        }
    }

    /// Moves the file to `path`, in place of what is there.
    fn publish(mut self, path: &Path) -> io::Result<()> {
        if let Some(temporary) = &self.0 {
            fs::rename(temporary, path)?;
        }
        // The name is free from here on, and may be another writer's.
        self.0 = None;
        sync_folder(path);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(temporary) = &self.0 {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Why there is no list from a file, or none goes into it.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrustFileError {
    /// There is no such file.
    NotFound,
    /// The path is a folder, a device or the like.
    NotAFile,
    /// Group or others can write the file.
    Writable {
        /// The mode's lower twelve bits.
        mode: u32,
    },
    /// The file is larger than [`MAX_BYTES`].
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
    /// The file is not UTF-8.
    NotText {
        /// The first line that is not, counted from 1.
        line: usize,
    },
    /// A line is wrong.
    Parse(TrustParseError),
    /// Somebody else has written or deleted the file.
    ChangedMeanwhile,
    /// The operating system refused.
    Io(io::Error),
}

impl From<io::Error> for TrustFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TrustParseError> for TrustFileError {
    fn from(error: TrustParseError) -> Self {
        Self::Parse(error)
    }
}

impl fmt::Display for TrustFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such trust file: make an empty one to trust nobody"),
            Self::NotAFile => f.write_str("the trust file is not a regular file"),
            Self::Writable { mode } => write!(
                f,
                "others can write the trust file (mode {mode:04o}): check what it says, then chmod go-w it"
            ),
            Self::TooLarge { bytes } => {
                write!(f, "the trust file has {bytes} bytes of at most {MAX_BYTES}: shorten it")
            }
            Self::NotText { line } => write!(f, "line {line} of the trust file is not UTF-8: write it anew"),
            Self::Parse(error) => write!(f, "trust file: {error}"),
            Self::ChangedMeanwhile => {
                f.write_str("the trust file has been changed by somebody else meanwhile: read it again")
            }
            Self::Io(error) if error.kind() == ErrorKind::NotFound => {
                f.write_str("the folder of the trust file does not exist: make it first")
            }
            Self::Io(error) => write!(f, "the trust file cannot be used: {error}"),
        }
    }
}

impl core::error::Error for TrustFileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Parse(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
