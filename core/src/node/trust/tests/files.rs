use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::path::{Path, PathBuf};

use super::id;
use crate::node::trust::{
    Added, MAX_BYTES, TrustEntry, TrustFile, TrustFileError, TrustList, TrustParseError, UnixTime,
};

/// A folder of the test's own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("handclasp-{}-trust-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The file `trust` with these contents.
    fn file(&self, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join("trust");
        fs::write(&path, contents).unwrap();
        mode(&path, 0o644);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(unix)]
fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn mode(_: &Path, _: u32) {}

#[cfg(unix)]
fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn listed(list: &TrustList) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn line(n: u8) -> String {
    format!("{}\n", id(n))
}

#[test]
fn i4_the_list_survives_a_restart_with_its_comments() {
    let folder = Folder::new("restart");
    let text = format!("# Ours.\n{}\n\n# Theirs.\n{}", line(1), line(2));
    let path = folder.file(&text);
    let mut file = TrustFile::load(&path).unwrap();
    assert_eq!(file.path(), path);
    let since = UnixTime::from_secs(86_400);
    let added = file.edit(|list| list.add(TrustEntry::new(id(3)).added(since))).unwrap();
    assert_eq!(added, Ok(Added::New));
    assert!(file.edit(|list| list.remove(&id(1))).unwrap());

    let expected = format!("# Ours.\n\n\n# Theirs.\n{}{} added=1970-01-02\n", line(2), id(3));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    let again = TrustFile::load(&path).unwrap();
    assert_eq!(again.list(), file.list());
    assert_eq!(again.list().len(), 2);
    assert_eq!(folder.names(), ["trust"], "nothing temporary is left");
}

#[test]
fn i4_a_missing_file_is_an_empty_list_only_if_that_is_asked_for() {
    let folder = Folder::new("missing");
    let path = folder.0.join("trust");
    assert!(matches!(TrustFile::load(&path), Err(TrustFileError::NotFound)));
    let mut file = TrustFile::load_or_empty(&path).unwrap();
    assert!(file.list().is_empty());
    assert!(file.reload().unwrap().is_none());
    assert!(!file.edit(|list| list.remove(&id(1))).unwrap());
    assert!(folder.names().is_empty(), "no change makes no file");
    assert_eq!(file.edit(|list| list.add(TrustEntry::new(id(1)))).unwrap(), Ok(Added::New));
    assert_eq!(fs::read_to_string(&path).unwrap(), line(1));
    #[cfg(unix)]
    assert_eq!(mode_of(&path) & !0o044, 0o600, "for the owner to write, whatever the umask");

    folder.file("a mistake");
    assert!(matches!(TrustFile::load_or_empty(&path), Err(TrustFileError::Parse(_))));
    let nowhere = folder.0.join("none").join("trust");
    let mut file = TrustFile::load_or_empty(nowhere).unwrap();
    let error = file.edit(|list| list.add(TrustEntry::new(id(1)))).unwrap_err();
    assert!(error.to_string().contains("folder"), "{error}");
    assert!(file.list().is_empty());
}

#[test]
fn i4_a_change_of_the_file_is_read_while_the_process_runs() {
    let folder = Folder::new("reload");
    let path = folder.file(line(1));
    let mut file = TrustFile::load(&path).unwrap();
    assert!(file.reload().unwrap().is_none());

    folder.file(format!("{}{}", line(1), line(2)));
    assert_eq!(file.reload().unwrap().map(listed), Some([id(1), id(2)].map(|id| id.to_string()).into()));
    assert!(file.reload().unwrap().is_none());

    // In place of the old file, as editors do; of the same length.
    let other = folder.0.join("other");
    fs::write(&other, format!("{}{}", line(1), line(3))).unwrap();
    mode(&other, 0o644);
    fs::rename(&other, &path).unwrap();
    assert!(file.reload().unwrap().is_some());
    assert!(file.list().get(&id(2)).is_none() && file.list().get(&id(3)).is_some());

    // Touched, and not changed.
    fs::write(&other, format!("{}{}", line(1), line(3))).unwrap();
    mode(&other, 0o644);
    fs::rename(&other, &path).unwrap();
    assert!(file.reload().unwrap().is_none());

    // What the process writes itself is no news.
    file.edit(|list| list.remove(&id(1))).unwrap();
    assert!(file.reload().unwrap().is_none());
}

#[test]
fn i4_a_file_with_a_mistake_leaves_the_list_as_it_was_and_says_so_once() {
    let folder = Folder::new("mistake");
    let path = folder.file(format!("{}{}", line(1), line(2)));
    let mut file = TrustFile::load(&path).unwrap();
    let before = file.list().clone();

    folder.file(format!("{}{} expire=2020-01-01\n", line(1), id(2)));
    let error = file.reload().unwrap_err();
    assert!(
        matches!(&error, TrustFileError::Parse(TrustParseError::UnknownOption { line: 2, .. })),
        "{error}"
    );
    assert!(error.to_string().contains("line 2") && error.to_string().contains("expire"));
    assert_eq!(file.list(), &before);
    assert!(file.reload().unwrap().is_none(), "once is enough");
    let error = file.edit(|list| list.remove(&id(1))).unwrap_err();
    assert!(matches!(error, TrustFileError::Parse(_)), "somebody's half-done work is not overwritten");
    assert!(matches!(file.save(TrustList::new()), Err(TrustFileError::ChangedMeanwhile)));
    assert_eq!(file.list(), &before);

    fs::remove_file(&path).unwrap();
    assert!(matches!(file.reload(), Err(TrustFileError::NotFound)));
    assert!(file.reload().unwrap().is_none());
    assert_eq!(file.list(), &before);
    assert!(matches!(file.edit(|list| list.remove(&id(1))), Err(TrustFileError::NotFound)));
    assert!(folder.names().is_empty(), "a list that was taken away does not come back by itself");

    folder.file(line(2));
    assert_eq!(file.reload().unwrap().map(TrustList::len), Some(1));
}

#[test]
fn i4_two_writers_do_not_undo_each_other() {
    let folder = Folder::new("writers");
    let path = folder.file(format!("{}{}", line(1), line(2)));
    let (mut one, mut two) = (TrustFile::load(&path).unwrap(), TrustFile::load(&path).unwrap());
    assert!(one.edit(|list| list.remove(&id(1))).unwrap());

    let mut stale = two.list().clone();
    assert_eq!(stale.add(TrustEntry::new(id(3))), Ok(Added::New));
    assert!(matches!(two.save(stale), Err(TrustFileError::ChangedMeanwhile)));
    assert_eq!(fs::read_to_string(&path).unwrap(), line(2));
    assert_eq!(folder.names(), ["trust"]);

    assert_eq!(two.edit(|list| list.add(TrustEntry::new(id(3)))).unwrap(), Ok(Added::New));
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}{}", line(2), line(3)));
    assert!(two.list().get(&id(1)).is_none(), "revoked stays revoked");

    // A file that came into being since is another one too.
    let folder = Folder::new("writers-new");
    let mut file = TrustFile::load_or_empty(folder.0.join("trust")).unwrap();
    folder.file(line(1));
    assert!(matches!(file.save(TrustList::new()), Err(TrustFileError::ChangedMeanwhile)));
    assert_eq!(file.edit(|list| list.add(TrustEntry::new(id(2)))).unwrap(), Ok(Added::New));
    assert_eq!(file.list().len(), 2);
}

#[test]
fn i4_what_is_no_list_is_refused_with_the_place() {
    let folder = Folder::new("refused");
    assert!(matches!(TrustFile::load(&folder.0), Err(TrustFileError::NotAFile)));
    let path = folder.file([format!("# é\n{}", line(1)).as_bytes(), b"# \xff\n"].concat());
    assert!(matches!(TrustFile::load(&path), Err(TrustFileError::NotText { line: 3 })));
    folder.file(alloc::vec![b'\n'; MAX_BYTES + 1]);
    assert!(matches!(TrustFile::load(&path), Err(TrustFileError::TooLarge { bytes }) if bytes > 1 << 24));
    folder.file(alloc::vec![b'\n'; MAX_BYTES]);
    assert!(TrustFile::load(&path).unwrap().list().is_empty());
    folder.file(id(1).to_string());
    let error = TrustFile::load(&path).unwrap_err();
    assert!(matches!(error, TrustFileError::Parse(TrustParseError::Unfinished { line: 1 })));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn i4_a_file_that_others_can_write_is_refused() {
        let folder = Folder::new("modes");
        let path = folder.file(line(1));
        for good in [0o600, 0o644, 0o640, 0o444, 0o400] {
            mode(&path, good);
            assert!(TrustFile::load(&path).is_ok(), "{good:o}");
        }
        for bad in [0o664, 0o646, 0o666, 0o620, 0o602, 0o777] {
            mode(&path, bad);
            let error = TrustFile::load(&path).unwrap_err();
            assert!(matches!(error, TrustFileError::Writable { mode } if mode == bad), "{bad:o}: {error}");
            assert!(error.to_string().contains("go-w"));
        }
        // While the process runs as well, in both directions.
        mode(&path, 0o644);
        let mut file = TrustFile::load(&path).unwrap();
        mode(&path, 0o666);
        assert!(matches!(file.reload(), Err(TrustFileError::Writable { .. })));
        let edited = file.edit(|list| list.remove(&id(1)));
        assert!(matches!(edited, Err(TrustFileError::Writable { .. })));
        assert_eq!(file.list().len(), 1);
        mode(&path, 0o644);
        assert!(file.reload().unwrap().is_none());
        assert!(file.edit(|list| list.remove(&id(1))).unwrap());
    }

    #[test]
    fn i4_saving_keeps_the_mode_and_replaces_the_file_whole() {
        let folder = Folder::new("kept");
        for kept in [0o600, 0o640, 0o444, 0o755] {
            let path = folder.file(line(1));
            mode(&path, kept);
            let mut file = TrustFile::load(&path).unwrap();
            // Who has the old file open reads it to its end.
            let old = fs::File::open(&path).unwrap();
            assert!(file.edit(|list| list.remove(&id(1))).unwrap());
            assert_eq!(mode_of(&path), kept);
            assert_eq!(std::io::read_to_string(old).unwrap(), line(1));
            assert_eq!(fs::read_to_string(&path).unwrap(), "");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn i4_a_link_to_the_file_stays_a_link() {
        let folder = Folder::new("link");
        let target = folder.file(line(1));
        fs::create_dir(folder.0.join("etc")).unwrap();
        let path = folder.0.join("etc").join("trust");
        symlink("../trust", &path).unwrap();
        let mut file = TrustFile::load(&path).unwrap();
        assert!(file.edit(|list| list.remove(&id(1))).unwrap());
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "");
        assert!(file.reload().unwrap().is_none());
    }

    #[test]
    fn i4_what_interrupted_writers_left_does_no_harm_and_stays_theirs() {
        let folder = Folder::new("left");
        let path = folder.file(line(1));
        let left = folder.0.join(format!(".trust.{}.0.tmp", std::process::id()));
        fs::write(&left, "another writer's").unwrap();
        let mut file = TrustFile::load(&path).unwrap();
        assert!(file.edit(|list| list.remove(&id(1))).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_to_string(&left).unwrap(), "another writer's");
    }

    #[test]
    fn i4_a_file_that_cannot_be_written_leaves_list_and_file_as_they_were() {
        let folder = Folder::new("unwritable");
        let path = folder.file(line(1));
        let mut file = TrustFile::load(&path).unwrap();
        // Takes all names that a writer of this process can have.
        for number in 0..=16 {
            fs::write(folder.0.join(format!(".trust.{}.{number}.tmp", std::process::id())), "").unwrap();
        }
        let before = fs::metadata(&path).unwrap().ino();
        assert!(matches!(file.edit(|list| list.remove(&id(1))), Err(TrustFileError::Io(_))));
        assert_eq!(file.list().len(), 1);
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        assert_eq!(fs::read_to_string(&path).unwrap(), line(1));
    }

    /// A pipe has no end while its writer lives: it must be refused before it is opened.
    #[test]
    fn i4_a_device_is_no_list() {
        assert!(matches!(TrustFile::load("/dev/null"), Err(TrustFileError::NotAFile)));
    }
}
