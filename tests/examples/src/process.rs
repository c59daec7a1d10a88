//! Another process of an example.

use std::io;
use std::process::{Child, ExitStatus};

/// A process that is killed when nobody has it any more.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end. Blocks: ask for it when the process has nothing left to do.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = self.kill();
    }
}
