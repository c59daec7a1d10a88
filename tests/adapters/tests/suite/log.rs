//! What a case logs.

use std::io;
use std::sync::{Arc, Mutex, Once};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What it says so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }

    /// Whoever logs to this.
    pub(crate) fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        // Places in the code keep what the subscribers that there are want of them. One that is always there wants all:
        // else a place that another thread passes first, while there is none, may stay silent.
        static ALWAYS: Once = Once::new();
        ALWAYS.call_once(|| {
            let all = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(io::sink);
            tracing::subscriber::set_global_default(all.finish()).expect("the only one");
        });
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
        subscriber.with_writer(self.clone()).finish()
    }

    /// In how many lines.
    pub(crate) fn lines(&self) -> usize {
        self.text().lines().count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
